//! What an X.509 certificate says, in ACM's words.
//! <https://docs.aws.amazon.com/acm/latest/APIReference/API_CertificateDetail.html>

use pileus_core::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, KeyUsage};
use x509_parser::parse_x509_certificate;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Name;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) serial: String,
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// The common name, and the DNS names, of which the first may be it.
    pub(crate) common_name: Option<String>,
    pub(crate) names: Vec<String>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) key_algorithm: String,
    pub(crate) signature_algorithm: String,
    pub(crate) key_usages: Vec<String>,
    /// Name and OID.
    pub(crate) extended_key_usages: Vec<(String, String)>,
}

/// The certificates of a PEM text, in their binary form.
///
/// # Errors
/// There is none, or the text is not PEM.
pub(crate) fn from_pem(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        return Err("there is no certificate in it".into());
    }
    Ok(certificates)
}

/// Reads a certificate.
///
/// # Errors
/// It is no X.509 certificate, or its key is none that ACM takes.
pub(crate) fn read(der: &CertificateDer) -> Result<Facts, String> {
    let certificate = parse(der)?;
    let alternative = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    let names =
        alternative.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_lowercase()),
            _ => None,
        });
    let key_usage = certificate.key_usage().map_err(|error| error.to_string())?;
    let extended = certificate.extended_key_usage().map_err(|error| error.to_string())?;
    let time = |time: x509_parser::time::ASN1Time| Timestamp::from_secs(time.timestamp());
    Ok(Facts {
        serial: certificate.raw_serial_as_string(),
        subject: certificate.subject().to_string(),
        issuer: issuer(certificate.issuer()),
        common_name: common_name(certificate.subject()),
        names: names.collect(),
        not_before: time(certificate.validity().not_before),
        not_after: time(certificate.validity().not_after),
        key_algorithm: key_algorithm(&certificate)?,
        signature_algorithm: signature_algorithm(&certificate),
        key_usages: key_usage.map(|usage| key_usages(usage.value)).unwrap_or_default(),
        extended_key_usages: extended.map(|usage| extended_key_usages(usage.value)).unwrap_or_default(),
    })
}

pub(crate) fn parse<'a>(der: &'a CertificateDer) -> Result<X509Certificate<'a>, String> {
    match parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err("something follows the certificate".into()),
        Err(error) => Err(error.to_string()),
    }
}

fn common_name(name: &X509Name) -> Option<String> {
    name.iter_common_name().next().and_then(|name| name.as_str().ok()).map(str::to_owned)
}

/// ACM names the organization.
fn issuer(name: &X509Name) -> String {
    let organization = name.iter_organization().next().and_then(|name| name.as_str().ok());
    organization.map(str::to_owned).or_else(|| common_name(name)).unwrap_or_else(|| name.to_string())
}

fn key_algorithm(certificate: &X509Certificate) -> Result<String, String> {
    let key = certificate.public_key();
    match key.parsed().map_err(|error| error.to_string())? {
        PublicKey::RSA(key) => match key.key_size() {
            size @ (1024 | 2048 | 3072 | 4096) => Ok(format!("RSA_{size}")),
            size => Err(format!("RSA keys of {size} bits are not supported")),
        },
        PublicKey::EC(point) => match point.key_size() {
            256 => Ok("EC_prime256v1".into()),
            384 => Ok("EC_secp384r1".into()),
            size => Err(format!("elliptic-curve keys of {size} bits are not supported")),
        },
        _ => Err(format!("keys of the algorithm {} are not supported", key.algorithm.algorithm)),
    }
}

fn signature_algorithm(certificate: &X509Certificate) -> String {
    let oid = certificate.signature_algorithm.algorithm.to_id_string();
    let known = match oid.as_str() {
        "1.2.840.113549.1.1.5" => "SHA1WITHRSA",
        "1.2.840.113549.1.1.11" => "SHA256WITHRSA",
        "1.2.840.113549.1.1.12" => "SHA384WITHRSA",
        "1.2.840.113549.1.1.13" => "SHA512WITHRSA",
        "1.2.840.10045.4.3.2" => "SHA256WITHECDSA",
        "1.2.840.10045.4.3.3" => "SHA384WITHECDSA",
        "1.2.840.10045.4.3.4" => "SHA512WITHECDSA",
        other => other,
    };
    known.to_owned()
}

fn key_usages(usage: &KeyUsage) -> Vec<String> {
    let usages = [
        (usage.digital_signature(), "DIGITAL_SIGNATURE"),
        (usage.non_repudiation(), "NON_REPUDIATION"),
        (usage.key_encipherment(), "KEY_ENCIPHERMENT"),
        (usage.data_encipherment(), "DATA_ENCIPHERMENT"),
        (usage.key_agreement(), "KEY_AGREEMENT"),
        (usage.key_cert_sign(), "CERTIFICATE_SIGNING"),
        (usage.crl_sign(), "CRL_SIGNING"),
        (usage.encipher_only(), "ENCIPHER_ONLY"),
        (usage.decipher_only(), "DECIPHER_ONLY"),
    ];
    usages.into_iter().filter(|(has, _)| *has).map(|(_, name)| name.to_owned()).collect()
}

fn extended_key_usages(usage: &ExtendedKeyUsage) -> Vec<(String, String)> {
    let usages = [
        (usage.server_auth, "TLS_WEB_SERVER_AUTHENTICATION", "1.3.6.1.5.5.7.3.1"),
        (usage.client_auth, "TLS_WEB_CLIENT_AUTHENTICATION", "1.3.6.1.5.5.7.3.2"),
        (usage.code_signing, "CODE_SIGNING", "1.3.6.1.5.5.7.3.3"),
        (usage.email_protection, "EMAIL_PROTECTION", "1.3.6.1.5.5.7.3.4"),
        (usage.time_stamping, "TIME_STAMPING", "1.3.6.1.5.5.7.3.8"),
        (usage.ocsp_signing, "OCSP_SIGNING", "1.3.6.1.5.5.7.3.9"),
        (usage.any, "ANY", "2.5.29.37.0"),
    ];
    let known = usages.into_iter().filter(|(has, ..)| *has).map(|(_, name, oid)| (name.into(), oid.into()));
    known.chain(usage.other.iter().map(|oid| ("CUSTOM".to_owned(), oid.to_id_string()))).collect()
}
