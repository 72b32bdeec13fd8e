//! Headers on their way through: what concerns one connection alone stays there, and the target learns who asked.

use std::net::IpAddr;
use std::time::SystemTime;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const TRACE: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// Headers of one connection (RFC 9110, 7.6.1), besides those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
];

/// Takes away what doesn't concern the next hop.
pub fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Says who asked, how, and under which number the request can be followed.
pub fn tell(headers: &mut HeaderMap, client: IpAddr, protocol: &'static str, port: u16) {
    let before: Vec<&str> = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
    let chain = before.into_iter().map(str::to_owned).chain([client.to_string()]).collect::<Vec<_>>().join(", ");
    if let Ok(chain) = HeaderValue::from_str(&chain) {
        headers.insert(FORWARDED_FOR, chain);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(protocol));
    headers.insert(FORWARDED_PORT, HeaderValue::from(port));
    if !headers.contains_key(TRACE) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let trace = format!("Root=1-{now:08x}-{:024x}", rand::random::<u128>() >> 32);
        headers.extend(HeaderValue::from_str(&trace).map(|trace| (TRACE, trace)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn what_concerns_one_connection_stays_there() {
        let mut through = headers(&[
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("content-type", "text/plain"),
        ]);
        strip(&mut through);
        assert_eq!(through, headers(&[("content-type", "text/plain")]));
    }

    #[test]
    fn the_target_learns_who_asked() {
        let mut told = headers(&[("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "gopher")]);
        tell(&mut told, IpAddr::from([127, 0, 0, 1]), "https", 443);
        assert_eq!(told[FORWARDED_FOR], "203.0.113.7, 127.0.0.1");
        assert_eq!(
            (&told[FORWARDED_PROTO], &told[FORWARDED_PORT]),
            (&"https".parse().unwrap(), &"443".parse().unwrap())
        );
        let trace = told[TRACE].to_str().unwrap();
        assert!(trace.starts_with("Root=1-") && trace.len() == "Root=1-67891233-abcdef012345678912345678".len());
    }
}
