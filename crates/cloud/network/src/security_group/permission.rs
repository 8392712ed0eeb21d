//! `IpPermission`, the older form of rules: one protocol and port range with lists of peers.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html>

use ipnet::Ipv6Net;
use pileus_aws::ec2;
use pileus_contract::fabric::TrafficSpec;
use pileus_core::ApiError;
use pileus_state::Tx;

use super::{Peer, Rule, SecurityGroup};
use crate::cidr;
use crate::prefix_list;
use crate::resource::{find, invalid, missing};

/// What one rule says, without its id and group.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Allowance {
    pub(super) traffic: TrafficSpec,
    pub(super) peer: Peer,
    pub(super) description: Option<String>,
}

/// The single permission that the flat parameters of the ingress operations describe.
pub(super) fn flat(
    protocol: Option<String>,
    from_port: Option<i64>,
    to_port: Option<i64>,
    cidr: Option<String>,
) -> Option<ec2::IpPermission> {
    if protocol.is_none() && from_port.is_none() && to_port.is_none() && cidr.is_none() {
        return None;
    }
    let range = cidr.map(|cidr| ec2::IpRange { description: None, cidr_ip: Some(cidr) });
    Some(ec2::IpPermission {
        ip_protocol: protocol,
        from_port,
        to_port,
        ip_ranges: Some(range.into_iter().collect()),
        ..Default::default()
    })
}

/// Takes permissions apart into the rules for a group that they stand for.
pub(super) fn allowances(
    tx: &Tx,
    group: &SecurityGroup,
    permissions: &[ec2::IpPermission],
) -> Result<Vec<Allowance>, ApiError> {
    if permissions.is_empty() {
        return Err(missing("ipPermissions"));
    }
    let mut allowances = Vec::new();
    for permission in permissions {
        let protocol = permission.ip_protocol.as_deref().ok_or_else(|| missing("ipProtocol"))?;
        let traffic = traffic(protocol, permission.from_port, permission.to_port)?;
        let peers = peers(tx, group, permission)?;
        if peers.is_empty() {
            return Err(missing("cidrIp, cidrIpv6, prefixListId or groupId of a permission"));
        }
        let allow = |(peer, description)| Allowance { traffic: traffic.clone(), peer, description };
        allowances.extend(peers.into_iter().map(allow));
    }
    Ok(allowances)
}

/// The peers of a permission with their descriptions.
fn peers(
    tx: &Tx,
    group: &SecurityGroup,
    permission: &ec2::IpPermission,
) -> Result<Vec<(Peer, Option<String>)>, ApiError> {
    let mut peers = Vec::new();
    for range in permission.ip_ranges.iter().flatten() {
        let text = range.cidr_ip.as_deref().ok_or_else(|| missing("cidrIp"))?;
        let block =
            cidr::parse(text, "cidrIp").map_err(|_| invalid(format!("CIDR block {text} is malformed")))?;
        peers.push((Peer::Ipv4(block), description(&range.description)?));
    }
    for range in permission.ipv6_ranges.iter().flatten() {
        let text = range.cidr_ipv6.as_deref().ok_or_else(|| missing("cidrIpv6"))?;
        let block: Ipv6Net = text.parse().map_err(|_| invalid(format!("CIDR block {text} is malformed")))?;
        peers.push((Peer::Ipv6(block.trunc()), description(&range.description)?));
    }
    for pair in permission.user_id_group_pairs.iter().flatten() {
        let id = pair.group_id.as_deref().ok_or_else(|| missing("groupId"))?;
        let peer = find::<SecurityGroup>(tx, id)?;
        let foreign_account = pair.user_id.as_ref().is_some_and(|account| *account != tx.scope().account);
        let foreign_vpc = pair.vpc_id.as_ref().is_some_and(|vpc| *vpc != group.vpc);
        if peer.vpc != group.vpc || foreign_account || foreign_vpc {
            let message = "You have specified two resources that belong to different networks.";
            return Err(ApiError::client("InvalidGroup.NotFound", message));
        }
        peers.push((Peer::Group(peer.id.clone()), description(&pair.description)?));
    }
    for list in permission.prefix_list_ids.iter().flatten() {
        let id = list.prefix_list_id.as_deref().ok_or_else(|| missing("prefixListId"))?;
        let list_id = prefix_list::find(tx, id)?.id;
        peers.push((Peer::PrefixList(list_id), description(&list.description)?));
    }
    Ok(peers)
}

pub(super) fn description(text: &Option<String>) -> Result<Option<String>, ApiError> {
    match text.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => super::check_text("description", text).map(|()| Some(text.to_owned())),
    }
}

/// What packets a protocol (by name or number) with a port range, or ICMP type and code, stands for.
fn traffic(protocol: &str, from: Option<i64>, to: Option<i64>) -> Result<TrafficSpec, ApiError> {
    match protocol.to_ascii_lowercase().as_str() {
        "-1" | "all" => Ok(TrafficSpec::All),
        "tcp" | "6" => ports(from, to).map(|(from, to)| TrafficSpec::Tcp { from, to }),
        "udp" | "17" => ports(from, to).map(|(from, to)| TrafficSpec::Udp { from, to }),
        "icmp" | "1" => Ok(TrafficSpec::Icmp { kind: icmp(from)?, code: icmp(to)? }),
        "icmpv6" | "58" => Err(ApiError::not_implemented("the protocol icmpv6 in a security group (IPv6)")),
        number => match number.parse() {
            Ok(number) => Ok(TrafficSpec::Protocol(number)),
            Err(_) => Err(invalid(format!("Invalid value '{protocol}' for IP protocol. Unknown protocol."))),
        },
    }
}

fn ports(from: Option<i64>, to: Option<i64>) -> Result<(u16, u16), ApiError> {
    let (Some(from), Some(to)) = (from, to) else {
        return Err(invalid(
            "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.",
        ));
    };
    let port =
        |port: i64| u16::try_from(port).map_err(|_| invalid(format!("TCP/UDP port ({port}) out of range")));
    match (port(from)?, port(to)?) {
        (from, to) if from > to => {
            Err(invalid(format!("Invalid TCP/UDP port range ({from}:{to}): from is above to")))
        }
        ports => Ok(ports),
    }
}

/// An ICMP type or code; −1 or none stands for all.
fn icmp(part: Option<i64>) -> Result<Option<u8>, ApiError> {
    match part {
        None | Some(-1) => Ok(None),
        Some(part) => match u8::try_from(part) {
            Ok(part) => Ok(Some(part)),
            Err(_) => Err(invalid(format!("ICMP type or code ({part}) out of range"))),
        },
    }
}

/// Protocol, from and to as the API writes them.
pub(super) fn wire(traffic: &TrafficSpec) -> (String, Option<i64>, Option<i64>) {
    let any = |part: Option<u8>| Some(part.map_or(-1, i64::from));
    match *traffic {
        TrafficSpec::All => ("-1".into(), None, None),
        TrafficSpec::Tcp { from, to } => ("tcp".into(), Some(from.into()), Some(to.into())),
        TrafficSpec::Udp { from, to } => ("udp".into(), Some(from.into()), Some(to.into())),
        TrafficSpec::Icmp { kind, code } => ("icmp".into(), any(kind), any(code)),
        TrafficSpec::Protocol(number) => (number.to_string(), None, None),
    }
}

/// The permissions that rules of one direction make up: one for each protocol and port range.
pub(super) fn grouped<'a>(rules: impl Iterator<Item = &'a Rule>, account: &str) -> Vec<ec2::IpPermission> {
    let mut permissions: Vec<ec2::IpPermission> = Vec::new();
    for rule in rules {
        let single = permission(&rule.traffic, &rule.peer, rule.description.as_ref(), account);
        let same = permissions.iter_mut().find(|it| {
            (&it.ip_protocol, it.from_port, it.to_port)
                == (&single.ip_protocol, single.from_port, single.to_port)
        });
        match same {
            Some(permission) => merge(permission, single),
            None => permissions.push(single),
        }
    }
    permissions
}

fn merge(into: &mut ec2::IpPermission, other: ec2::IpPermission) {
    fn extend<T>(into: &mut Option<Vec<T>>, other: Option<Vec<T>>) {
        into.get_or_insert_default().extend(other.unwrap_or_default());
    }
    extend(&mut into.ip_ranges, other.ip_ranges);
    extend(&mut into.ipv6_ranges, other.ipv6_ranges);
    extend(&mut into.user_id_group_pairs, other.user_id_group_pairs);
    extend(&mut into.prefix_list_ids, other.prefix_list_ids);
}

/// The permission with just one peer.
fn permission(
    traffic: &TrafficSpec,
    peer: &Peer,
    description: Option<&String>,
    account: &str,
) -> ec2::IpPermission {
    let (ip_protocol, from_port, to_port) = wire(traffic);
    let description = description.cloned();
    let mut permission = ec2::IpPermission {
        ip_protocol: Some(ip_protocol),
        from_port,
        to_port,
        user_id_group_pairs: Some(Vec::new()),
        ip_ranges: Some(Vec::new()),
        ipv6_ranges: Some(Vec::new()),
        prefix_list_ids: Some(Vec::new()),
    };
    match peer {
        Peer::Ipv4(block) => {
            let cidr_ip = Some(block.to_string());
            permission.ip_ranges = Some(vec![ec2::IpRange { description, cidr_ip }]);
        }
        Peer::Ipv6(block) => {
            let cidr_ipv6 = Some(block.to_string());
            permission.ipv6_ranges = Some(vec![ec2::Ipv6Range { description, cidr_ipv6 }]);
        }
        Peer::PrefixList(id) => {
            let prefix_list_id = Some(id.clone());
            permission.prefix_list_ids = Some(vec![ec2::PrefixListId { description, prefix_list_id }]);
        }
        Peer::Group(id) => {
            permission.user_id_group_pairs = Some(vec![ec2::UserIdGroupPair {
                description,
                user_id: Some(account.to_owned()),
                group_id: Some(id.clone()),
                ..Default::default()
            }]);
        }
    }
    permission
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_and_ports_as_clients_write_them() {
        for (protocol, from, to, expected) in [
            ("-1", Some(0), Some(0), Ok(TrafficSpec::All)),
            ("tcp", Some(80), Some(80), Ok(TrafficSpec::Tcp { from: 80, to: 80 })),
            ("6", Some(0), Some(65535), Ok(TrafficSpec::Tcp { from: 0, to: 65535 })),
            ("UDP", Some(53), Some(53), Ok(TrafficSpec::Udp { from: 53, to: 53 })),
            ("icmp", Some(8), Some(-1), Ok(TrafficSpec::Icmp { kind: Some(8), code: None })),
            ("50", None, None, Ok(TrafficSpec::Protocol(50))),
            ("tcp", None, Some(80), Err("InvalidParameterValue")),
            ("tcp", Some(81), Some(80), Err("InvalidParameterValue")),
            ("tcp", Some(0), Some(65536), Err("InvalidParameterValue")),
            ("icmp", Some(256), Some(-1), Err("InvalidParameterValue")),
            ("icmpv6", Some(-1), Some(-1), Err("UnsupportedOperation")),
            ("256", None, None, Err("InvalidParameterValue")),
            ("http", None, None, Err("InvalidParameterValue")),
        ] {
            let found = traffic(protocol, from, to).map_err(|error| error.code);
            assert_eq!(found, expected.map_err(Into::into), "{protocol} {from:?} {to:?}");
        }
    }
}
