//! The words of nft for the kinds of packets and the peers that rules name.

use std::fmt::Write as _;

use ipnet::Ipv4Net;
use pileus_contract::fabric::TrafficSpec;

/// What matches the traffic, with a space at its end; empty if everything does.
pub(super) fn traffic(spec: &TrafficSpec) -> String {
    match spec {
        TrafficSpec::All => String::new(),
        TrafficSpec::Tcp { from, to } => ports("tcp", *from, *to),
        TrafficSpec::Udp { from, to } => ports("udp", *from, *to),
        TrafficSpec::Icmp { kind, code } => icmp(*kind, *code),
        TrafficSpec::Protocol(number) => format!("ip protocol {number} "),
    }
}

fn ports(protocol: &str, from: u16, to: u16) -> String {
    match (from, to) {
        (0, u16::MAX) => format!("ip protocol {protocol} "),
        (from, to) if from == to => format!("{protocol} dport {from} "),
        (from, to) => format!("{protocol} dport {from}-{to} "),
    }
}

fn icmp(kind: Option<u8>, code: Option<u8>) -> String {
    let mut text = match kind {
        Some(kind) => format!("icmp type {kind} "),
        None => "ip protocol icmp ".to_owned(),
    };
    if let Some(code) = code {
        let _ = write!(text, "icmp code {code} ");
    }
    text
}

/// What matches an address in a range, with a space at its end; `side` is `saddr` or `daddr`.
pub(super) fn within(side: &str, net: Ipv4Net) -> String {
    if net.prefix_len() == 0 { String::new() } else { format!("ip {side} {} ", net.trunc()) }
}
