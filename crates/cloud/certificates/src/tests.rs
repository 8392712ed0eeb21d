//! Certificates through their API, and from order to use.

use std::time::Duration;

use pileus_aws::acm::*;
use pileus_core::Secret;
use pileus_kit::Cloud;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::{Issued, Unusable};

const DAY: Duration = Duration::from_secs(24 * 3600);
const USER: &str = "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/web/1";

fn cloud() -> Cloud {
    Cloud::new(crate::tables, crate::operations)
}

/// An authority as the engine makes it.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::OrganizationName, "Test");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(names: &[String], authority: &CertifiedIssuer<'static, KeyPair>) -> Issued {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names.to_vec()).unwrap();
    params.distinguished_name = Default::default();
    params.distinguished_name.push(DnType::CommonName, names[0].clone());
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 6, 1);
    let certificate = params.signed_by(&key, authority).unwrap();
    Issued { certificate: certificate.pem(), key: Secret::new(key.serialize_pem()) }
}

fn requesting(domain: &str, others: &[&str]) -> RequestCertificateRequest {
    RequestCertificateRequest {
        domain_name: domain.into(),
        validation_method: Some("DNS".into()),
        subject_alternative_names: (!others.is_empty())
            .then(|| others.iter().map(|&name| name.into()).collect()),
        key_algorithm: Some("EC_prime256v1".into()),
        ..Default::default()
    }
}

fn request(cloud: &mut Cloud, domain: &str, others: &[&str]) -> String {
    cloud.ok::<ops::RequestCertificate>(requesting(domain, others)).certificate_arn.unwrap()
}

fn describe(cloud: &mut Cloud, arn: &str) -> CertificateDetail {
    let input = DescribeCertificateRequest { certificate_arn: arn.into() };
    cloud.ok::<ops::DescribeCertificate>(input).certificate.unwrap()
}

/// What the engine's loop does.
fn settle(cloud: &mut Cloud) -> usize {
    let authority = authority();
    let orders = crate::orders(&cloud.state, cloud.now);
    let now = cloud.now;
    for order in &orders {
        let issued = issue(&order.names, &authority);
        cloud.write(|cx| crate::settle(cx.tx, order, issued, &authority.pem(), now)).unwrap();
    }
    orders.len()
}

#[test]
fn a_request_becomes_a_certificate() {
    let mut cloud = cloud();
    let arn = request(&mut cloud, "Example.com", &["*.example.com", "example.com"]);
    let pending = describe(&mut cloud, &arn);
    assert_eq!(pending.status.as_deref(), Some("PENDING_VALIDATION"));
    assert_eq!(pending.subject_alternative_names.unwrap(), ["example.com", "*.example.com"]);
    let validations = pending.domain_validation_options.unwrap();
    assert_eq!(validations[0].resource_record, validations[1].resource_record);
    let get = || GetCertificateRequest { certificate_arn: arn.clone() };
    assert_eq!(cloud.code::<ops::GetCertificate>(get()), "RequestInProgressException");
    let use_by = |cloud: &mut Cloud| cloud.write(|cx| crate::use_by(cx.tx, &arn, USER, cx.now));
    assert_eq!(use_by(&mut cloud), Err(Unusable::NotIssued));
    assert_eq!((settle(&mut cloud), settle(&mut cloud)), (1, 0));
    let issued = describe(&mut cloud, &arn);
    assert_eq!(issued.status.as_deref(), Some("ISSUED"));
    assert_eq!((issued.issuer.as_deref(), issued.subject.as_deref()), (Some("Test"), Some("CN=example.com")));
    assert_eq!(issued.domain_validation_options.unwrap()[0].validation_status.as_deref(), Some("SUCCESS"));
    assert!(cloud.ok::<ops::GetCertificate>(get()).certificate.unwrap().contains("BEGIN CERTIFICATE"));
    let spec = crate::material(&cloud.state, &arn).unwrap();
    assert_eq!((spec.chain.matches("BEGIN CERTIFICATE").count(), spec.names.len()), (2, 2));
    assert!(!format!("{:?}", cloud.state.all::<crate::record::Certificate>().next()).contains("PRIVATE KEY"));
    assert_eq!(use_by(&mut cloud), Ok(()));
    let delete = || DeleteCertificateRequest { certificate_arn: arn.clone() };
    assert_eq!(cloud.code::<ops::DeleteCertificate>(delete()), "ResourceInUseException");
    assert_eq!(describe(&mut cloud, &arn).in_use_by.unwrap(), [USER]);
    cloud.write(|cx| crate::release(cx.tx, &arn, USER));
    cloud.ok::<ops::DeleteCertificate>(delete());
    assert_eq!(cloud.code::<ops::DeleteCertificate>(delete()), "ResourceNotFoundException");
}

#[test]
fn a_certificate_in_use_is_renewed_and_another_expires() {
    let mut cloud = cloud();
    let (used, idle) = (request(&mut cloud, "a.example.com", &[]), request(&mut cloud, "b.example.com", &[]));
    settle(&mut cloud);
    cloud.write(|cx| crate::use_by(cx.tx, &used, USER, cx.now)).unwrap();
    let end = describe(&mut cloud, &used).not_after.unwrap();
    assert_eq!(crate::next_renewal(&cloud.state), Some(end - 45 * DAY));
    cloud.now = end - 45 * DAY;
    assert_eq!(crate::orders(&cloud.state, cloud.now).len(), 1);
    cloud.now = end;
    assert_eq!(describe(&mut cloud, &idle).status.as_deref(), Some("EXPIRED"));
}

#[test]
fn the_same_token_means_the_same_certificate_for_an_hour() {
    let mut cloud = cloud();
    let input =
        RequestCertificateRequest { idempotency_token: Some("t".into()), ..requesting("a.example.com", &[]) };
    let first = cloud.ok::<ops::RequestCertificate>(input.clone());
    assert_eq!(cloud.ok::<ops::RequestCertificate>(input.clone()), first);
    cloud.advance(DAY);
    assert_ne!(cloud.ok::<ops::RequestCertificate>(input), first);
}

#[test]
fn what_cannot_be_done_is_refused() {
    let mut cloud = cloud();
    let by = |method: Option<&str>| RequestCertificateRequest {
        validation_method: method.map(Into::into),
        ..requesting("a.example.com", &[])
    };
    for method in [None, Some("EMAIL"), Some("HTTP")] {
        assert_eq!(cloud.code::<ops::RequestCertificate>(by(method)), "UnsupportedOperation");
    }
    let key = RequestCertificateRequest { key_algorithm: Some("RSA_1024".into()), ..by(Some("DNS")) };
    assert_eq!(cloud.code::<ops::RequestCertificate>(key), "ValidationException");
    assert_eq!(cloud.code::<ops::RequestCertificate>(requesting("localhost", &[])), "ValidationException");
    let arn = request(&mut cloud, "a.example.com", &[]);
    let export = ExportCertificateRequest { certificate_arn: arn, passphrase: b"word".to_vec() };
    assert_eq!(cloud.code::<ops::ExportCertificate>(export), "ValidationException");
    let other = DescribeCertificateRequest { certificate_arn: "arn:aws:iam::000000000000:role/x".into() };
    assert_eq!(cloud.code::<ops::DescribeCertificate>(other), "ValidationException");
}

#[test]
fn an_import_is_checked() {
    let mut cloud = cloud();
    let (issuer, stranger) = (authority(), authority());
    let own = issue(&["shop.example.com".into()], &issuer);
    let other = issue(&["shop.example.com".into()], &issuer);
    let import = |certificate: &str, key: &Secret, chain: Option<String>| ImportCertificateRequest {
        certificate: certificate.as_bytes().to_vec(),
        private_key: key.reveal().as_bytes().to_vec(),
        certificate_chain: chain.map(String::into_bytes),
        ..Default::default()
    };
    let good = import(&own.certificate, &own.key, Some(issuer.pem()));
    let two = format!("{}{}", own.certificate, other.certificate);
    for bad in [
        import("nonsense", &own.key, None),
        import(&two, &own.key, None),
        import(&own.certificate, &other.key, None),
        import(&own.certificate, &Secret::new("nonsense"), None),
        import(&own.certificate, &own.key, Some(stranger.pem())),
    ] {
        assert_eq!(cloud.code::<ops::ImportCertificate>(bad), "ValidationException");
    }
    let arn = cloud.ok::<ops::ImportCertificate>(good).certificate_arn.unwrap();
    let detail = describe(&mut cloud, &arn);
    assert_eq!(detail.r#type.as_deref(), Some("IMPORTED"));
    assert_eq!(detail.domain_name.as_deref(), Some("shop.example.com"));
    assert_eq!(crate::orders(&cloud.state, cloud.now).len(), 0);
    let again = ImportCertificateRequest {
        certificate_arn: Some(arn.clone()),
        ..import(&other.certificate, &other.key, None)
    };
    assert_eq!(cloud.ok::<ops::ImportCertificate>(again).certificate_arn, Some(arn.clone()));
    assert_ne!(describe(&mut cloud, &arn).serial, detail.serial);
    cloud.now = rcgen_end();
    assert_eq!(
        cloud.code::<ops::ImportCertificate>(import(&own.certificate, &own.key, None)),
        "ValidationException"
    );
}

/// After the end of every certificate here.
fn rcgen_end() -> pileus_core::Timestamp {
    pileus_core::Timestamp::parse("2027-06-02T00:00:00Z").unwrap()
}

#[test]
fn lists_have_keys_of_rsa_unless_others_are_asked_for() {
    let mut cloud = cloud();
    request(&mut cloud, "a.example.com", &[]);
    cloud.advance(DAY);
    request(&mut cloud, "b.example.com", &[]);
    assert!(
        cloud.ok::<ops::ListCertificates>(Default::default()).certificate_summary_list.unwrap().is_empty()
    );
    let mut input = ListCertificatesRequest {
        includes: Some(Filters { key_types: Some(vec!["EC_prime256v1".into()]), ..Default::default() }),
        max_items: Some(1),
        sort_by: Some("CREATED_AT".into()),
        sort_order: Some("DESCENDING".into()),
        ..Default::default()
    };
    let first = cloud.ok::<ops::ListCertificates>(input.clone());
    assert_eq!(first.certificate_summary_list.unwrap()[0].domain_name.as_deref(), Some("b.example.com"));
    input.next_token = first.next_token;
    let second = cloud.ok::<ops::ListCertificates>(input.clone());
    assert_eq!((second.certificate_summary_list.unwrap().len(), second.next_token), (1, None));
    let issued = ListCertificatesRequest {
        certificate_statuses: Some(vec!["ISSUED".into()]),
        next_token: None,
        ..input.clone()
    };
    assert!(cloud.ok::<ops::ListCertificates>(issued).certificate_summary_list.unwrap().is_empty());
    let lone = ListCertificatesRequest { sort_by: None, next_token: None, ..input };
    assert_eq!(cloud.code::<ops::ListCertificates>(lone), "InvalidArgsException");
}

#[test]
fn tags_and_settings() {
    let mut cloud = cloud();
    let arn = request(&mut cloud, "a.example.com", &[]);
    let tag = |key: &str, value: Option<&str>| Tag { key: key.into(), value: value.map(Into::into) };
    cloud.ok::<ops::AddTagsToCertificate>(AddTagsToCertificateRequest {
        certificate_arn: arn.clone(),
        tags: vec![tag("a", Some("1")), tag("b", None)],
    });
    cloud.ok::<ops::RemoveTagsFromCertificate>(RemoveTagsFromCertificateRequest {
        certificate_arn: arn.clone(),
        tags: vec![tag("a", Some("other")), tag("b", None)],
    });
    let list = ListTagsForCertificateRequest { certificate_arn: arn };
    assert_eq!(cloud.ok::<ops::ListTagsForCertificate>(list).tags.unwrap(), [tag("a", Some("1"))]);
    let put = |days| PutAccountConfigurationRequest {
        expiry_events: Some(ExpiryEventsConfiguration { days_before_expiry: Some(days) }),
        idempotency_token: "t".into(),
    };
    assert_eq!(cloud.code::<ops::PutAccountConfiguration>(put(46)), "ValidationException");
    cloud.ok::<ops::PutAccountConfiguration>(put(10));
    let own = cloud.ok::<ops::GetAccountConfiguration>(Default::default()).expiry_events.unwrap();
    assert_eq!(own.days_before_expiry, Some(10));
}
