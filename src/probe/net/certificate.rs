//! Until when a certificate holds.

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::core::time::WallTime;

/// The end of the validity of a certificate in DER (RFC 5280, 4.1.2.5); none where it cannot be read. What TLS verified
/// can be read.
pub fn expires(der: &[u8]) -> Option<WallTime> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    Some(WallTime::from_millis(seconds.saturating_mul(1000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_validity_is_read() {
        let mut params = rcgen::CertificateParams::new(vec!["example.com".to_owned()]).expect("names");
        // One is encoded as UTCTime, the other as GeneralizedTime.
        for (year, expected) in [(2031, "2031-02-03T00:00:00.000Z"), (2061, "2061-02-03T00:00:00.000Z")] {
            params.not_after = rcgen::date_time_ymd(year, 2, 3);
            let key = rcgen::KeyPair::generate().expect("a key");
            let certificate = params.clone().self_signed(&key).expect("a certificate");
            assert_eq!(expires(certificate.der()).map(|at| at.rfc3339().to_string()).as_deref(), Some(expected));
        }
        assert_eq!(expires(b"no certificate"), None);
    }
}
