//! Whose word is taken for a database's certificate: the system's authorities, as for everything else, and Amazon RDS' own,
//! which no system knows.

use crate::https;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::Path;
use std::sync::LazyLock;

/// The roots of RDS for each region, as in AWS's `global-bundle.pem`, without those that have expired or are for previews.
/// A region that is newer has its own at `https://truststore.pki.rds.amazonaws.com/<region>/<region>-bundle.pem`; it can be
/// named with the address's option `ssl-ca`.
const AMAZON_RDS: &[u8] = include_bytes!("../certificates/amazon-rds.pem");

/// The authorities as PEM, read once.
pub fn authorities() -> &'static [u8] {
    static PEM: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut pem = usable(AMAZON_RDS);
        pem.push_str(&https::system_bundle().map(|file| from_file(&file)).unwrap_or_default());
        pem.into_bytes()
    });
    &PEM
}

fn from_file(file: &Path) -> String {
    match std::fs::read(file) {
        Ok(pem) => usable(&pem),
        Err(error) => {
            tracing::warn!(%error, file = %file.display(), "the system's certificate authorities cannot be read");
            String::new()
        }
    }
}

/// Those that our TLS can use: one that it can't must not spoil the others.
fn usable(pem: &[u8]) -> String {
    let certificates = CertificateDer::pem_slice_iter(pem).flatten();
    let usable = certificates.filter(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok());
    usable
        .map(|certificate| {
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(&certificate))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_amazons_roots_are_usable_and_what_is_none_is_left_out() {
        let count = |text: &str| text.matches("-----BEGIN CERTIFICATE-----").count();
        let listed = count(std::str::from_utf8(AMAZON_RDS).expect("text"));
        assert_eq!((listed, count(&usable(AMAZON_RDS))), (87, 87));
        assert_eq!(count(&usable(usable(AMAZON_RDS).as_bytes())), 87);
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(usable(broken), "");
    }
}
