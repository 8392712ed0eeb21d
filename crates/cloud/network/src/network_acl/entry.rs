//! The rules of network ACLs.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateNetworkAclEntry.html>

use ipnet::Ipv4Net;
use pileus_aws::ec2;
use pileus_contract::fabric::TrafficSpec;
use pileus_core::ApiError;
use pileus_service::{Context, Router};
use serde::{Deserialize, Serialize};

use super::NetworkAcl;
use crate::cidr;
use crate::resource::{find, invalid, missing};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// 1..=32766.
    pub number: u16,
    pub allow: bool,
    pub traffic: TrafficSpec,
    pub peer: Ipv4Net,
}

/// The number of the rule at the end of every ACL, which denies.
const LAST: u16 = 32767;
/// AWS's default quota of rules in one direction.
const MAX_ENTRIES: usize = 20;

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::CreateNetworkAclEntry>(|cx, input| {
            let (acl, egress) = (input.network_acl_id.clone(), input.egress);
            create(cx, &acl, egress, entry(input)?)
        })
        .on::<ec2::ops::ReplaceNetworkAclEntry>(|cx, input| {
            let (acl, egress) = (input.network_acl_id.clone(), input.egress);
            replace(cx, &acl, egress, entry(as_creation(input))?)
        })
        .on::<ec2::ops::DeleteNetworkAclEntry>(delete);
}

impl NetworkAcl {
    fn entries(&mut self, egress: bool) -> &mut Vec<Entry> {
        if egress { &mut self.egress } else { &mut self.ingress }
    }
}

fn create(cx: &mut Context, acl: &str, egress: bool, entry: Entry) -> Result<pileus_model::Unit, ApiError> {
    let mut acl = NetworkAcl::clone(&*find::<NetworkAcl>(cx.tx, acl)?);
    let entries = acl.entries(egress);
    if entries.iter().any(|other| other.number == entry.number) {
        let message = format!("The network acl entry identified by {} already exists.", entry.number);
        return Err(ApiError::client("NetworkAclEntryAlreadyExists", message));
    }
    if entries.len() == MAX_ENTRIES {
        let message = "The maximum number of network acl entries has been reached.";
        return Err(ApiError::client("NetworkAclEntryLimitExceeded", message));
    }
    entries.push(entry);
    entries.sort_by_key(|entry| entry.number);
    cx.tx.put(acl);
    Ok(pileus_model::Unit {})
}

fn replace(cx: &mut Context, acl: &str, egress: bool, entry: Entry) -> Result<pileus_model::Unit, ApiError> {
    let mut acl = NetworkAcl::clone(&*find::<NetworkAcl>(cx.tx, acl)?);
    let number = entry.number;
    match acl.entries(egress).iter_mut().find(|old| old.number == number) {
        Some(old) => *old = entry,
        None => return Err(not_found(number)),
    }
    cx.tx.put(acl);
    Ok(pileus_model::Unit {})
}

fn delete(
    cx: &mut Context,
    input: ec2::DeleteNetworkAclEntryRequest,
) -> Result<pileus_model::Unit, ApiError> {
    let mut acl = NetworkAcl::clone(&*find::<NetworkAcl>(cx.tx, &input.network_acl_id)?);
    let number = number(input.rule_number)?;
    let entries = acl.entries(input.egress);
    let position = entries.iter().position(|entry| entry.number == number);
    entries.remove(position.ok_or_else(|| not_found(number))?);
    cx.tx.put(acl);
    Ok(pileus_model::Unit {})
}

fn not_found(number: u16) -> ApiError {
    let message = format!("The network acl entry identified by {number} does not exist.");
    ApiError::client("InvalidNetworkAclEntry.NotFound", message)
}

fn as_creation(input: ec2::ReplaceNetworkAclEntryRequest) -> ec2::CreateNetworkAclEntryRequest {
    ec2::CreateNetworkAclEntryRequest {
        network_acl_id: input.network_acl_id,
        rule_number: input.rule_number,
        protocol: input.protocol,
        rule_action: input.rule_action,
        egress: input.egress,
        cidr_block: input.cidr_block,
        ipv6_cidr_block: input.ipv6_cidr_block,
        icmp_type_code: input.icmp_type_code,
        port_range: input.port_range,
    }
}

fn number(number: i64) -> Result<u16, ApiError> {
    match u16::try_from(number) {
        Ok(number) if (1..LAST).contains(&number) => Ok(number),
        _ => Err(invalid(format!("Invalid value '{number}' for parameter ruleNumber. Must be in 1..32766"))),
    }
}

fn entry(input: ec2::CreateNetworkAclEntryRequest) -> Result<Entry, ApiError> {
    if input.ipv6_cidr_block.is_some() {
        return Err(ApiError::not_implemented("IPv6 (Ipv6CidrBlock) in a network ACL"));
    }
    let block = input.cidr_block.as_deref().ok_or_else(|| missing("cidrBlock"))?;
    let allow = match input.rule_action.as_str() {
        "allow" => true,
        "deny" => false,
        other => return Err(invalid(format!("Value ({other}) for parameter ruleAction is invalid."))),
    };
    Ok(Entry {
        number: number(input.rule_number)?,
        allow,
        traffic: traffic(&input.protocol, input.port_range, input.icmp_type_code)?,
        peer: cidr::parse(block, "cidrBlock")?,
    })
}

fn traffic(
    protocol: &str,
    range: Option<ec2::PortRange>,
    icmp: Option<ec2::IcmpTypeCode>,
) -> Result<TrafficSpec, ApiError> {
    match protocol {
        "-1" | "all" => Ok(TrafficSpec::All),
        "6" | "tcp" => ports(range).map(|(from, to)| TrafficSpec::Tcp { from, to }),
        "17" | "udp" => ports(range).map(|(from, to)| TrafficSpec::Udp { from, to }),
        "1" | "icmp" => {
            let icmp = icmp.ok_or_else(|| missing("icmpTypeCode"))?;
            Ok(TrafficSpec::Icmp { kind: part(icmp.r#type)?, code: part(icmp.code)? })
        }
        "58" | "icmpv6" => Err(ApiError::not_implemented("the protocol icmpv6 in a network ACL (IPv6)")),
        other => match other.parse() {
            Ok(number) => Ok(TrafficSpec::Protocol(number)),
            Err(_) => Err(invalid(format!("Invalid value '{other}' for IP protocol. Unknown protocol."))),
        },
    }
}

fn ports(range: Option<ec2::PortRange>) -> Result<(u16, u16), ApiError> {
    let (from, to) = range.map(|range| (range.from, range.to)).unwrap_or_default();
    let port = |port: Option<i64>| {
        let port = port.ok_or_else(|| missing("portRange"))?;
        u16::try_from(port).map_err(|_| invalid(format!("TCP/UDP port ({port}) out of range")))
    };
    match (port(from)?, port(to)?) {
        (from, to) if from > to => {
            Err(invalid(format!("Invalid TCP/UDP port range ({from}:{to}): from is above to")))
        }
        ports => Ok(ports),
    }
}

/// An ICMP type or code; −1 or none stands for all.
fn part(part: Option<i64>) -> Result<Option<u8>, ApiError> {
    match part {
        None | Some(-1) => Ok(None),
        Some(part) => {
            let wrong = |_| invalid(format!("ICMP type or code ({part}) out of range"));
            u8::try_from(part).map(Some).map_err(wrong)
        }
    }
}

/// The entries of one direction, with the one at the end that denies.
pub(super) fn shapes(entries: &[Entry], egress: bool) -> Vec<ec2::NetworkAclEntry> {
    let last = Entry { number: LAST, allow: false, traffic: TrafficSpec::All, peer: Ipv4Net::default() };
    entries.iter().chain([&last]).map(|entry| shape(entry, egress)).collect()
}

fn shape(entry: &Entry, egress: bool) -> ec2::NetworkAclEntry {
    let ports = |from: u16, to: u16| Some(ec2::PortRange { from: Some(from.into()), to: Some(to.into()) });
    let any = |part: Option<u8>| Some(part.map_or(-1, i64::from));
    let (protocol, port_range, icmp_type_code) = match entry.traffic {
        TrafficSpec::All => ("-1".to_owned(), None, None),
        TrafficSpec::Tcp { from, to } => ("6".to_owned(), ports(from, to), None),
        TrafficSpec::Udp { from, to } => ("17".to_owned(), ports(from, to), None),
        TrafficSpec::Icmp { kind, code } => {
            ("1".to_owned(), None, Some(ec2::IcmpTypeCode { code: any(code), r#type: any(kind) }))
        }
        TrafficSpec::Protocol(number) => (number.to_string(), None, None),
    };
    ec2::NetworkAclEntry {
        cidr_block: Some(entry.peer.to_string()),
        egress: Some(egress),
        icmp_type_code,
        ipv6_cidr_block: None,
        port_range,
        protocol: Some(protocol),
        rule_action: Some(if entry.allow { "allow" } else { "deny" }.into()),
        rule_number: Some(entry.number.into()),
    }
}
