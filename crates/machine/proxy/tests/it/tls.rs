//! HTTPS listeners, by a client that shares only rustls with the balancer.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use pileus_contract::proxy::{CertificateSpec, ListenerSpec, ProxySpec, RuleAction, TlsSpec, TlsVersion};
use pileus_core::Secret;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::bed::{Bed, PATIENCE, Target, Wire, default_rule, load_balancer, respond, simple};
use crate::messages::{Message, read_message};

const NAME: &str = "web.us-east-1.elb.localhost";
const SUITES: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"];

fn certificate(names: &[&str]) -> CertificateSpec {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(names.clone()).expect("a certificate");
    CertificateSpec { names, chain: cert.pem(), key: Secret::new(signing_key.serialize_pem()) }
}

fn tls(certificates: &[CertificateSpec]) -> TlsSpec {
    TlsSpec {
        versions: vec![TlsVersion::Tls12, TlsVersion::Tls13],
        cipher_suites: SUITES.map(str::to_owned).to_vec(),
        certificates: certificates.to_vec(),
    }
}

/// The simple load balancer with an HTTPS listener on 81 beside the plain one.
fn secured(target: &Target, tls: TlsSpec) -> ProxySpec {
    let mut spec = simple(&[target]);
    let rules = vec![default_rule(RuleAction::Forward(vec![("targetgroup/g/1".into(), 1)]))];
    spec.load_balancers[0].listeners.push(ListenerSpec { port: 81, tls: Some(tls), rules });
    spec
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A connection that trusts `trusted` alone.
fn connect(to: SocketAddr, name: &str, trusted: &CertificateSpec, versions: &[TlsVersion]) -> Stream {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.chain.as_bytes()).expect("PEM")).expect("a certificate");
    let versions: Vec<_> = versions
        .iter()
        .map(|version| match version {
            TlsVersion::Tls12 => &rustls::version::TLS12,
            TlsVersion::Tls13 => &rustls::version::TLS13,
        })
        .collect();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let stream = TcpStream::connect(to).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    StreamOwned::new(connection, stream)
}

fn get(stream: &mut Stream, path: &str, host: &str) -> Message {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).expect("sent");
    read_message(stream, false, false).expect("a response")
}

/// Whether a handshake with the balancer succeeds.
fn agrees(to: SocketAddr, name: &str, trusted: &CertificateSpec, versions: &[TlsVersion]) -> bool {
    let mut stream = connect(to, name, trusted, versions);
    stream.conn.complete_io(&mut stream.sock).is_ok()
}

const BOTH: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];

#[test]
fn targets_learn_how_the_client_came() {
    let target = Target::named("one");
    let certificate = certificate(&[NAME]);
    let mut spec = secured(&target, tls(std::slice::from_ref(&certificate)));
    spec.load_balancers[0].attributes.tls_headers = true;
    let mut bed = Bed::new(spec);
    let edge = bed.edge(81);
    for (version, text, suite) in [
        (TlsVersion::Tls12, "TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (TlsVersion::Tls13, "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    ] {
        let mut stream = connect(edge, NAME, &certificate, &[version]);
        assert_eq!(get(&mut stream, "/", NAME).text(), "one");
        assert_eq!(get(&mut stream, "/again", NAME).text(), "one", "the connection is kept");
        let seen = target.requests().pop().expect("a request");
        assert_eq!(seen.field("X-Forwarded-Proto"), Some("https"));
        assert_eq!(seen.field("X-Forwarded-Port"), Some("81"));
        assert_eq!(seen.field("x-amzn-tls-version"), Some(text));
        assert_eq!(seen.field("x-amzn-tls-cipher-suite"), Some(suite));
    }
}

#[test]
fn large_bodies_pass_both_ways() {
    let target = Target::new(|stream, request, _| respond(stream, 200, &request.body));
    let certificate = certificate(&[NAME]);
    let mut bed = Bed::new(secured(&target, tls(std::slice::from_ref(&certificate))));
    let mut stream = connect(bed.edge(81), NAME, &certificate, &BOTH);
    let body: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
    for _ in 0..2 {
        let head = format!("POST / HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).expect("sent");
        stream.write_all(&body).expect("sent");
        assert!(read_message(&mut stream, false, false).expect("a response").body == body);
    }
}

#[test]
fn the_name_chooses_the_certificate() {
    let target = Target::named("one");
    let (default, exact, starred) =
        (certificate(&[NAME]), certificate(&["shop.example.com"]), certificate(&["*.example.com"]));
    let mut bed = Bed::new(secured(&target, tls(&[default.clone(), starred.clone(), exact.clone()])));
    let edge = bed.edge(81);
    for (name, wanted) in [(NAME, &default), ("shop.example.com", &exact), ("WWW.example.com", &starred)] {
        assert!(agrees(edge, name, wanted, &BOTH), "{name}");
    }
    assert!(!agrees(edge, "www.example.com", &default, &BOTH));
    // No certificate has the name: the default's comes, which a client refuses.
    assert!(!agrees(edge, "else.where", &default, &BOTH));
}

#[test]
fn load_balancers_share_the_edge_by_the_names_of_their_certificates() {
    let (one, two) = (certificate(&[NAME]), certificate(&["shop.example.com"]));
    let fixed = |name: &str, certificate: &CertificateSpec| {
        let body = name.to_owned();
        let rule =
            default_rule(RuleAction::FixedResponse { status: 200, content_type: "text/plain".into(), body });
        let mut lb = load_balancer(name, rule);
        lb.listeners[0].port = 81;
        lb.listeners[0].tls = Some(tls(std::slice::from_ref(certificate)));
        lb
    };
    let spec =
        ProxySpec { load_balancers: vec![fixed("web", &one), fixed("shop", &two)], target_groups: vec![] };
    let mut bed = Bed::new(spec);
    let edge = bed.edge(81);
    for (name, certificate, text) in [(NAME, &one, "web"), ("shop.example.com", &two, "shop")] {
        assert_eq!(get(&mut connect(edge, name, certificate, &BOTH), "/", name).text(), text);
    }
}

#[test]
fn plain_requests_to_an_https_port_are_told_so() {
    let target = Target::named("one");
    let mut bed = Bed::new(secured(&target, tls(&[certificate(&[NAME])])));
    let response = Wire::connect(bed.edge(81)).get("/");
    assert_eq!(response.status(), 400);
    assert!(response.text().contains("The plain HTTP request was sent to HTTPS port"), "{}", response.text());
    assert!(target.requests().is_empty());
}

#[test]
fn the_security_policy_decides_who_may_speak() {
    let target = Target::named("one");
    let certificate = certificate(&[NAME]);
    let newest = TlsSpec { versions: vec![TlsVersion::Tls13], ..tls(std::slice::from_ref(&certificate)) };
    let mut bed = Bed::new(secured(&target, newest));
    let edge = bed.edge(81);
    assert!(agrees(edge, NAME, &certificate, &[TlsVersion::Tls13]));
    assert!(!agrees(edge, NAME, &certificate, &[TlsVersion::Tls12]));
    bed.wait_for_stats(|sums| sums.get("ClientTLSNegotiationErrorCount") == Some(&1));
}

#[test]
fn certificates_change_without_a_drop() {
    let target = Target::named("one");
    let (old, new) = (certificate(&[NAME]), certificate(&[NAME]));
    let mut bed = Bed::new(secured(&target, tls(std::slice::from_ref(&old))));
    let edge = bed.edge(81);
    let mut open = connect(edge, NAME, &old, &BOTH);
    assert_eq!(get(&mut open, "/", NAME).text(), "one");
    bed.change(|spec| spec.load_balancers[0].listeners[1].tls = Some(tls(std::slice::from_ref(&new))));
    assert_eq!(get(&mut open, "/", NAME).text(), "one");
    assert!(agrees(edge, NAME, &new, &BOTH));
    assert!(!agrees(edge, NAME, &old, &BOTH));
}

#[test]
fn a_damaged_certificate_stops_its_listener_alone() {
    let target = Target::named("one");
    let damaged = CertificateSpec { chain: "no PEM".into(), ..certificate(&[NAME]) };
    let mut bed = Bed::new(secured(&target, tls(&[damaged])));
    let stopped = bed.wait_for("the failure", |event| match event {
        pileus_contract::proxy::ProxyEvent::ListenFailed { port, reason, .. } => {
            Some((*port, reason.clone()))
        }
        _ => None,
    });
    assert_eq!(stopped.0, 81);
    assert!(stopped.1.contains(NAME), "{}", stopped.1);
    assert_eq!(bed.get("/").text(), "one");
}
