//! The web page: files that are part of the program, and need nothing from elsewhere.

use crate::state::AppState;
use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

use crate::error::ApiError;

/// What the page may do: run and show its own files, talk to its own API, show QR codes that it fetched.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const INDEX: &str = include_str!("../../assets/index.html");

/// A file of the page.
struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
    /// Names the content
    etag: HeaderValue,
}

macro_rules! assets {
    ($($name:literal: $kind:expr),* $(,)?) => {
        [$(Asset::new($name, $kind, include_str!(concat!("../../assets/", $name)))),*]
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    Vec::from(assets! {
        "style.css": "text/css; charset=utf-8",
        "seatmap.css": "text/css; charset=utf-8",
        "icon.svg": "image/svg+xml",
        "account.js": SCRIPT,
        "admin.js": SCRIPT,
        "api.js": SCRIPT,
        "app.js": SCRIPT,
        "booking.js": SCRIPT,
        "dialogs.js": SCRIPT,
        "events.js": SCRIPT,
        "i18n.js": SCRIPT,
        "notifications.js": SCRIPT,
        "queue.js": SCRIPT,
        "reservations.js": SCRIPT,
        "seatmap.js": SCRIPT,
        "staff.js": SCRIPT,
        "texts.en.js": SCRIPT,
        "texts.ko.js": SCRIPT,
        "ui.js": SCRIPT,
        "wallet.js": SCRIPT,
    })
});

impl Asset {
    fn new(name: &'static str, kind: &'static str, text: &'static str) -> Self {
        Self { name, kind, text, etag: etag(text) }
    }
}

fn etag(text: &str) -> HeaderValue {
    let etag = format!("\"{}\"", &hex::encode(Sha256::digest(text))[..32]);
    HeaderValue::from_str(&etag).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// Routes of the page.
pub fn routes() -> Router<AppState> {
    Router::new().route("/", get(index)).route("/staff", get(index)).route("/assets/{name}", get(asset))
}

/// The page in the language that the browser asks for. The page itself decides by its address what it shows.
async fn index(headers: HeaderMap) -> Response {
    let wanted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let text = INDEX.replacen("lang=\"en\"", &format!("lang=\"{}\"", language(wanted)), 1);
    let mut response = answer(&headers, "text/html; charset=utf-8", etag(&text), text);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-language"));
    response
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or_else(|| ApiError::not_found("page"))?;
    Ok(answer(&headers, asset.kind, asset.etag.clone(), asset.text.to_owned()))
}

/// The text, unless the browser has it already. It asks every time, so that a new release is seen at once.
fn answer(request: &HeaderMap, kind: &'static str, etag: HeaderValue, text: String) -> Response {
    let known = request.get(header::IF_NONE_MATCH) == Some(&etag);
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::ETAG, etag),
    ];
    if known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, text).into_response()
}

/// The better of the two languages for an `Accept-Language` header (RFC 9110, 12.5.4); English if it names neither.
fn language(wanted: &str) -> &'static str {
    let mut best = ("en", 0.0);
    for range in wanted.split(',') {
        let mut parts = range.split(';');
        let tag = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let weight = parts
            .find_map(|part| part.trim().strip_prefix("q="))
            .map_or(1.0, |weight| weight.trim().parse::<f64>().unwrap_or(0.0));
        let language = match tag.split('-').next() {
            Some("ko") => "ko",
            Some("en") => "en",
            _ => continue,
        };
        if weight > best.1 {
            best = (language, weight);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_that_is_wanted_most() {
        for (wanted, expected) in [
            ("", "en"),
            ("ko", "ko"),
            ("ko-KR,ko;q=0.9,en;q=0.8", "ko"),
            ("en-GB,en;q=0.9,ko;q=0.5", "en"),
            ("fr,ko;q=0.3,en;q=0.4", "en"),
            ("ja,ko;q=0.3", "ko"),
            ("ko;q=0", "en"),
            ("ko;q=nonsense", "en"),
            ("*", "en"),
        ] {
            assert_eq!(language(wanted), expected, "{wanted}");
        }
    }

    #[test]
    fn the_page_is_served_in_both_languages() {
        assert_eq!(INDEX.matches("lang=\"en\"").count(), 1, "the place where the language goes");
        for asset in ASSETS.iter().filter(|asset| asset.kind != "image/svg+xml") {
            assert!(!asset.text.contains("http://"), "{} names something outside", asset.name);
            assert!(!asset.text.contains("https://"), "{} names something outside", asset.name);
        }
    }
}
