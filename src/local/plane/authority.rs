//! The local cloud's own certificate authority: endpoints have certificates for the names that AWS gave them, and clients
//! really verify them.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

use super::Error;

/// How long certificates are valid. A local cloud doesn't live that long.
const YEARS: i16 = 5;

/// The authority of a data directory.
pub struct Authority {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, in files: PEM, the key for the user's eyes alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    /// The data directory's authority, made on first use.
    ///
    /// # Errors
    /// When its files cannot be written or are damaged.
    pub fn of(data: &Path) -> Result<Self, Error> {
        let directory = data.join("authority");
        crate::local::create_private(&directory)?;
        let (certificate, key) = (directory.join("ca.pem"), directory.join("ca.key"));
        let read = |file: &Path| fs::read_to_string(file).map_err(|error| Error::file(file, error));
        if !certificate.exists() {
            // The certificate is written last: without it, a key is one of an unfinished start.
            let pair = KeyPair::generate()?;
            let mut params = params("ticketctl local cloud CA")?;
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            let made = params.self_signed(&pair)?;
            super::write(&key, pair.serialize_pem().as_bytes())?;
            super::write(&certificate, made.pem().as_bytes())?;
        }
        let pair = KeyPair::from_pem(&read(&key)?)?;
        // Only the issuer's name and its key are taken from here; the certificate itself stays as it is.
        let mut params = params("ticketctl local cloud CA")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        Ok(Self { directory, issuer: Issuer::new(params, pair) })
    }

    /// The authority's own certificate, for whoever verifies.
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// The certificate of a server under these names and addresses, or of a client when there are none. It is made anew
    /// only when the names have changed.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn issue(&self, name: &str, hosts: &[String], addresses: &[IpAddr]) -> Result<Certificate, Error> {
        let file = |ending: &str| self.directory.join(format!("{name}.{ending}"));
        let issued = Certificate { certificate: file("pem"), key: file("key") };
        let wanted = serde_json::to_vec(&(hosts, addresses))?;
        let names = file("names");
        if fs::read(&names).is_ok_and(|names| names == wanted) {
            return Ok(issued);
        }
        let mut params = params(name)?;
        for host in hosts {
            params.subject_alt_names.push(SanType::DnsName(host.as_str().try_into()?));
        }
        params.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        let purposes = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.extended_key_usages = if hosts.is_empty() { purposes[1..].to_vec() } else { purposes.to_vec() };
        params.use_authority_key_identifier_extension = true;
        let pair = KeyPair::generate()?;
        let made = params.signed_by(&pair, &self.issuer)?;
        super::write(&issued.key, pair.serialize_pem().as_bytes())?;
        super::write(&issued.certificate, made.pem().as_bytes())?;
        super::write(&names, &wanted)?;
        Ok(issued)
    }

    /// Removes the certificate of something that is gone.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn revoke(&self, name: &str) -> Result<(), Error> {
        for ending in ["names", "pem", "key"] {
            super::remove(&self.directory.join(format!("{name}.{ending}")))?;
        }
        Ok(())
    }
}

fn params(name: &str) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    let mut subject = DistinguishedName::new();
    // A common name has 64 characters at most (RFC 5280, ub-common-name).
    subject.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    params.distinguished_name = subject;
    let today = jiff::Zoned::now().date();
    // The day before: clocks and time zones differ.
    let begin = today.yesterday().unwrap_or(today);
    let date = |date: jiff::civil::Date, years: i16| {
        date_time_ymd(i32::from(date.year() + years), date.month().unsigned_abs(), date.day().unsigned_abs().min(28))
    };
    (params.not_before, params.not_after) = (date(begin, 0), date(begin, YEARS));
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    #[test]
    fn certificates_verify_name_their_hosts_and_survive_a_restart() {
        let data = tempfile::tempdir().expect("a directory");
        let hosts = ["shop.cluster-x.ap-northeast-2.rds.amazonaws.com".to_owned()];
        let address = [IpAddr::from([127, 77, 1, 1])];
        let first = Authority::of(data.path()).expect("an authority");
        let issued = first.issue("database-shop-1", &hosts, &address).expect("a certificate");
        let text = fs::read(&issued.certificate).expect("a file");
        let again = Authority::of(data.path()).expect("the same authority");
        assert_eq!(again.issue("database-shop-1", &hosts, &address).expect("the same"), issued);
        assert_eq!(fs::read(&issued.certificate).expect("a file"), text);
        let other = again.issue("database-shop-2", &hosts, &address).expect("one by the reopened authority");
        for key in [data.path().join("authority/ca.key"), issued.key.clone()] {
            assert_eq!(fs::metadata(key).expect("a key").permissions().mode() & 0o777, 0o600);
        }
        for certificate in [&issued.certificate, &other.certificate] {
            let mut openssl = Command::new("openssl");
            openssl.args(["verify", "-x509_strict", "-verify_hostname", &hosts[0], "-verify_ip", "127.77.1.1"]);
            let output = openssl.arg("-CAfile").arg(again.certificate()).arg(certificate).output().expect("openssl");
            assert!(output.status.success(), "{output:?}");
        }
    }
}
