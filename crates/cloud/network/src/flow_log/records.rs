//! From counts of packets to records.
//!
//! A flow between two interfaces is recorded at both: at the sender's as accepted or rejected by its own side, at the
//! receiver's by the receiver's side.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;

use pileus_contract::fabric::{Count, Flow, FlowCounts};
use pileus_core::{Scope, Timestamp};
use pileus_state::State;

use super::format::{self, Field};
use super::{FlowLog, Traffic};
use crate::{Interface, Subnet, interface, zone};

/// Of a minute's aggregation.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub start: Timestamp,
    pub end: Timestamp,
}

/// Records that are to be written to a log stream in the name of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The flow log.
    pub log: String,
    pub group: String,
    pub stream: String,
    pub role: String,
    pub records: Vec<String>,
}

/// What was counted between two readings. A count that is smaller than before began again in between.
pub fn since(before: &[FlowCounts], now: &[FlowCounts]) -> Vec<FlowCounts> {
    let before: BTreeMap<Flow, &FlowCounts> = before.iter().map(|counts| (counts.flow, counts)).collect();
    let minus = |now: Count, before: Count| match now.packets.checked_sub(before.packets) {
        Some(packets) => Count { packets, bytes: now.bytes.saturating_sub(before.bytes) },
        None => now,
    };
    let grown = now.iter().map(|counts| match before.get(&counts.flow) {
        None => counts.clone(),
        Some(old) => FlowCounts {
            flow: counts.flow,
            arrived: minus(counts.arrived, old.arrived),
            sent: minus(counts.sent, old.sent),
            received: minus(counts.received, old.received),
        },
    });
    grown.filter(|counts| counts.arrived.packets > 0 || counts.received.packets > 0).collect()
}

/// The records of all flow logs of a VPC for what was counted in `window`.
pub fn deliveries(
    state: &State,
    scope: &Scope,
    vpc: &str,
    window: Window,
    counts: &[FlowCounts],
) -> Vec<Delivery> {
    let interfaces: BTreeMap<Ipv4Addr, Arc<Interface>> = state
        .list::<Interface>(scope)
        .filter(|it| it.vpc == vpc && it.interface_type != interface::NAT_GATEWAY)
        .map(|it| (it.address, it))
        .collect();
    let mut deliveries = Vec::new();
    for log in state.list::<FlowLog>(scope) {
        let concerned =
            interfaces.values().filter(|it| [&it.vpc, &it.subnet, &it.id].contains(&&log.resource));
        let Ok(fields) = format::parse(log.format.as_deref().unwrap_or(format::DEFAULT)) else { continue };
        for interface in concerned {
            let site = Site { state, scope, interface, window, fields: &fields };
            deliveries.push(Delivery {
                log: log.id.clone(),
                group: log.group.clone(),
                stream: format!("{}-{}", interface.id, log.traffic.name().to_ascii_lowercase()),
                role: log.role.clone(),
                records: site.records(log.traffic, &interfaces, counts),
            });
        }
    }
    deliveries
}

/// One interface in one minute.
struct Site<'a> {
    state: &'a State,
    scope: &'a Scope,
    interface: &'a Interface,
    window: Window,
    fields: &'a [Field],
}

impl Site<'_> {
    fn records(
        &self,
        traffic: Traffic,
        interfaces: &BTreeMap<Ipv4Addr, Arc<Interface>>,
        counts: &[FlowCounts],
    ) -> Vec<String> {
        let own = self.interface.address;
        let mut records = Vec::new();
        for counts in counts {
            let within = |address| interfaces.contains_key(&address);
            let (asked, passed, direction) = if counts.flow.source == own {
                // Out of the VPC there is no receiver's side that could refuse.
                let passed = if within(counts.flow.destination) { counts.sent } else { counts.received };
                (counts.arrived, passed, "egress")
            } else if counts.flow.destination == own {
                let asked = if within(counts.flow.source) { counts.sent } else { counts.arrived };
                (asked, counts.received, "ingress")
            } else {
                continue;
            };
            let refused = Count {
                packets: asked.packets.saturating_sub(passed.packets),
                bytes: asked.bytes.saturating_sub(passed.bytes),
            };
            for (count, action, of) in
                [(passed, "ACCEPT", Traffic::Accept), (refused, "REJECT", Traffic::Reject)]
            {
                if count.packets > 0 && (traffic == Traffic::All || traffic == of) {
                    records.push(self.record(Some((counts.flow, count, action, direction))));
                }
            }
        }
        if records.is_empty() {
            records.push(self.record(None));
        }
        records
    }

    /// Of a flow, or that there was none.
    fn record(&self, seen: Option<(Flow, Count, &str, &str)>) -> String {
        let mut record = String::new();
        for (index, field) in self.fields.iter().enumerate() {
            if index > 0 {
                record.push(' ');
            }
            let text = self.common(*field).unwrap_or_else(|| match seen {
                Some(seen) => of_flow(*field, seen),
                None if *field == Field::LogStatus => "NODATA".into(),
                None => "-".into(),
            });
            record.push_str(&text);
        }
        record
    }

    /// What is there without a flow, too.
    fn common(&self, field: Field) -> Option<String> {
        let interface = self.interface;
        Some(match field {
            Field::Version => format::version(self.fields).to_string(),
            Field::AccountId => self.scope.account.clone(),
            Field::InterfaceId => interface.id.clone(),
            Field::Start => self.window.start.secs().to_string(),
            Field::End => self.window.end.secs().to_string(),
            Field::VpcId => interface.vpc.clone(),
            Field::SubnetId => interface.subnet.clone(),
            Field::Region => self.scope.region.clone(),
            Field::ZoneId => {
                let subnet = self.state.get::<Subnet>(self.scope, &interface.subnet)?;
                zone::id_of(&self.scope.region, &subnet.zone)?
            }
            Field::InstanceId => "-".into(),
            _ => return None,
        })
    }
}

fn of_flow(field: Field, (flow, count, action, direction): (Flow, Count, &str, &str)) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = match field {
        Field::SourceAddress | Field::PacketSource => write!(text, "{}", flow.source),
        Field::DestinationAddress | Field::PacketDestination => write!(text, "{}", flow.destination),
        Field::SourcePort => write!(text, "{}", flow.source_port),
        Field::DestinationPort => write!(text, "{}", flow.destination_port),
        Field::Protocol => write!(text, "{}", flow.protocol),
        Field::Packets => write!(text, "{}", count.packets),
        Field::Bytes => write!(text, "{}", count.bytes),
        Field::Action => write!(text, "{action}"),
        Field::LogStatus => write!(text, "OK"),
        Field::Type => write!(text, "IPv4"),
        Field::FlowDirection => write!(text, "{direction}"),
        _ => write!(text, "-"),
    };
    text
}
