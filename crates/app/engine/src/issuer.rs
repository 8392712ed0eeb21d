//! The authority that issues ACM's certificates here: keys, and certificates signed with its own (RFC 5280).

use std::time::Duration;

use pileus_certificates::{Authority, Issued, Order};
use pileus_core::{Secret, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use rsa::rand_core::OsRng;
use time::OffsetDateTime;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Of the authority: ten years.
const AUTHORITY_DAYS: u32 = 3650;
/// Of a certificate, as ACM's.
const CERTIFICATE_DAYS: u32 = 198;
/// In bits.
const RSA_SIZE: usize = 2048;
/// X.509 allows no longer common name.
const MAX_COMMON_NAME: usize = 64;

#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    #[error("a certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("an RSA key cannot be made: {0}")]
    Rsa(#[from] rsa::Error),
    #[error("an RSA key cannot be written: {0}")]
    Pkcs8(#[from] rsa::pkcs8::Error),
}

/// Makes an authority. `name` tells it from those of other engines.
pub(crate) fn authority(name: &str, now: Timestamp) -> Result<Authority, IssueError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = params(&format!("Pileus {name}"), now, AUTHORITY_DAYS);
    params.distinguished_name.push(DnType::OrganizationName, "Pileus");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    Ok(Authority { certificate: certificate.pem(), key: Secret::new(key.serialize_pem()) })
}

/// Makes a key and a certificate for an order.
pub(crate) fn issue(authority: &Authority, order: &Order, now: Timestamp) -> Result<Issued, IssueError> {
    let issuer_key = KeyPair::from_pem(authority.key.reveal())?;
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, issuer_key)?;
    let key = key(&order.key_algorithm)?;
    let common_name = order.names.first().filter(|name| name.len() <= MAX_COMMON_NAME);
    let mut params = params(common_name.map_or("", String::as_str), now, CERTIFICATE_DAYS);
    params.subject_alt_names = CertificateParams::new(order.names.clone())?.subject_alt_names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if order.key_algorithm.starts_with("RSA") {
        params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Issued { certificate: certificate.pem(), key: Secret::new(key.serialize_pem()) })
}

fn key(algorithm: &str) -> Result<KeyPair, IssueError> {
    match algorithm {
        "EC_prime256v1" => Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?),
        "EC_secp384r1" => Ok(KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?),
        // ring, which signs with them, makes no RSA keys.
        _ => {
            let key = RsaPrivateKey::new(&mut OsRng, RSA_SIZE)?;
            Ok(KeyPair::from_pem(&key.to_pkcs8_pem(LineEnding::LF)?)?)
        }
    }
}

/// Valid from a day ago, for clocks that are not quite right.
fn params(common_name: &str, now: Timestamp, days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if !common_name.is_empty() {
        params.distinguished_name.push(DnType::CommonName, common_name);
    }
    let from = now - DAY;
    params.not_before = date(from);
    params.not_after = date(from + DAY * days);
    params
}

fn date(time: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(time.secs()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use pileus_core::{Clock as _, Scope, SystemClock};
    use pileus_state::{State, Tx};

    use super::*;

    #[test]
    fn what_is_issued_can_be_read_and_is_of_the_key_that_was_asked_for() {
        let now = SystemClock::new(1.0).now();
        let authority = authority("test", now).unwrap();
        for key_algorithm in ["RSA_2048", "EC_prime256v1", "EC_secp384r1"] {
            let order = Order {
                scope: Scope::new("000000000000", "us-east-1"),
                id: "id".into(),
                names: vec!["*.example.com".into(), format!("{}.example.com", "a".repeat(60))],
                key_algorithm: key_algorithm.into(),
            };
            let issued = issue(&authority, &order, now).unwrap();
            let state = State::default();
            let mut tx = Tx::new(&state, order.scope.clone());
            pileus_certificates::settle(&mut tx, &order, issued, &authority.certificate, now).unwrap();
        }
    }
}
