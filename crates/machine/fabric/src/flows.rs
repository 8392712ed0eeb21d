//! Counts the packets of flows where they come to a VPC's router, where the sender's side has let them out, and where the
//! receiver's side has let them in.
//!
//! The kernel counts, in three sets of nftables that grow by themselves; a table of their own, so that the filter may
//! change without a count being lost. Only VPCs whose flows somebody wants to know pay for it. A set holds 65,535 flows: of
//! more at a time the later ones are not counted.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use pileus_contract::fabric::{Count, Flow, FlowCounts};
use serde::Deserialize;

use crate::error::{FabricError, Result};
use crate::namespace::Namespace;
use crate::nft;

const TABLE: &str = "flows";
/// The points where packets are counted, with the priorities between which the firewall's chains stand (see `firewall`).
const POINTS: [(&str, &str); 3] =
    [("arrived", "filter - 45"), ("sent", "filter - 15"), ("received", "filter + 10")];

/// Begins or ends to count in the router's namespace. To begin again forgets what was counted.
pub(crate) fn count(namespace: &Namespace, wanted: bool) -> Result<()> {
    nft::run(namespace, &script(wanted))
}

fn script(wanted: bool) -> String {
    let clean = format!("table ip {TABLE}\ndelete table ip {TABLE}\n");
    if !wanted {
        return clean;
    }
    let points = POINTS.map(|(point, priority)| {
        format!(
            "set {point} {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service . inet_service; size 65535; \
             flags dynamic,timeout; timeout 15m; }}\n\
             chain at_{point} {{ type filter hook forward priority {priority}; policy accept;\n\
             meta l4proto {{ tcp, udp }} update @{point} \
             {{ ip saddr . ip daddr . ip protocol . th sport . th dport counter }}\n\
             meta l4proto != {{ tcp, udp }} update @{point} {{ ip saddr . ip daddr . ip protocol . 0 . 0 counter }}\n}}\n"
        )
    });
    format!("{clean}table ip {TABLE} {{\n{}}}\n", points.concat())
}

/// What was counted so far.
pub(crate) fn read(namespace: &Namespace) -> Result<Vec<FlowCounts>> {
    let mut flows = BTreeMap::new();
    // The last point first: a packet on its way between two readings then never seems to be lost.
    for (point, _) in POINTS.iter().rev() {
        let arguments = ["--json", "--numeric-protocol", "list", "set", "ip", TABLE, point];
        let listed = nft::query(namespace, &arguments)?;
        for (flow, count) in parse(&listed).map_err(|reason| FabricError::Unreadable { reason })? {
            let none = FlowCounts {
                flow,
                arrived: Count::default(),
                sent: Count::default(),
                received: Count::default(),
            };
            let counts = flows.entry(flow).or_insert(none);
            match *point {
                "arrived" => counts.arrived = count,
                "sent" => counts.sent = count,
                _ => counts.received = count,
            }
        }
    }
    Ok(flows.into_values().collect())
}

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    set: Option<Elements>,
}

#[derive(Deserialize)]
struct Elements {
    #[serde(default)]
    elem: Vec<Element>,
}

#[derive(Deserialize)]
struct Element {
    elem: Counted,
}

#[derive(Deserialize)]
struct Counted {
    val: Concatenation,
    counter: Counter,
}

#[derive(Deserialize)]
struct Concatenation {
    concat: (Ipv4Addr, Ipv4Addr, u8, u16, u16),
}

#[derive(Deserialize)]
struct Counter {
    packets: u64,
    bytes: u64,
}

fn parse(listed: &str) -> std::result::Result<Vec<(Flow, Count)>, String> {
    let listing: Listing = serde_json::from_str(listed).map_err(|error| error.to_string())?;
    let elements = listing.nftables.into_iter().filter_map(|part| part.set).flat_map(|set| set.elem);
    let counted = elements.map(|Element { elem: Counted { val, counter } }| {
        let (source, destination, protocol, source_port, destination_port) = val.concat;
        let flow = Flow { source, destination, protocol, source_port, destination_port };
        (flow, Count { packets: counter.packets, bytes: counter.bytes })
    });
    Ok(counted.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read() {
        let listed = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"set": {"name": "sent", "elem": [{"elem": {"val":
            {"concat": ["10.0.1.5", "10.0.10.5", 6, 40000, 3000]}, "expires": 899, "counter": {"packets": 2, "bytes": 120}}}]}}]}"#;
        let flow = Flow {
            source: Ipv4Addr::new(10, 0, 1, 5),
            destination: Ipv4Addr::new(10, 0, 10, 5),
            protocol: 6,
            source_port: 40000,
            destination_port: 3000,
        };
        assert_eq!(parse(listed), Ok(vec![(flow, Count { packets: 2, bytes: 120 })]));
        assert_eq!(parse(r#"{"nftables": [{"set": {"name": "sent"}}]}"#), Ok(vec![]));
        assert!(parse("[]").is_err());
    }
}
