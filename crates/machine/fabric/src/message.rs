//! The route-netlink messages that the fabric sends, and the parts of answers that it reads.
//!
//! Pure: values in, messages out. IPv4 only, as the specs are.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnet::Ipv4Net;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, State,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::netlink::{CREATE, PLAIN, REPLACE, Request};
use nix::errno::Errno;

/// The main routing table.
pub(crate) const MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;
/// The priority of the rules that send each subnet to its own table.
const SUBNET_RULE: u32 = 1000;
/// The group of links about to be deleted.
const DOOMED: u32 = 666;

/// What a route does with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    /// Drops it in silence.
    Blackhole,
    /// Leaves it to the next rule.
    Throw,
    /// Sends it out of the link of this index, to a neighbour if one is named.
    Link { index: u32, gateway: Option<Ipv4Addr> },
}

/// One end of a veth pair.
pub(crate) struct End<'a> {
    pub name: &'a str,
    pub mac: [u8; 6],
}

/// A veth pair: `near` here, `far` in the namespace of `fd`, both down.
pub(crate) fn create_veth(near: &End<'_>, far: &End<'_>, fd: BorrowedFd<'_>) -> Request {
    let mut peer = link_message(far.name);
    peer.attributes.push(LinkAttribute::Address(far.mac.to_vec()));
    peer.attributes.push(LinkAttribute::NetNsFd(fd.as_raw_fd()));
    let mut message = link_message(near.name);
    message.attributes.push(LinkAttribute::Address(near.mac.to_vec()));
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    Request::new(format!("create the link {}", near.name), RouteNetlinkMessage::NewLink(message), CREATE)
}

/// Deletes a link and its peer; that it is gone already is no failure.
pub(crate) fn delete_link(name: &str) -> Request {
    Request::new(format!("delete the link {name}"), RouteNetlinkMessage::DelLink(link_message(name)), PLAIN)
        .tolerate(&[Errno::ENODEV])
}

/// Deletes links and their peers at once, which takes the kernel hardly longer than one.
pub(crate) fn delete_links(indexes: impl Iterator<Item = u32>) -> Vec<Request> {
    let mut requests: Vec<Request> = indexes.map(doom).collect();
    if !requests.is_empty() {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::Group(DOOMED));
        let message = RouteNetlinkMessage::DelLink(message);
        requests.push(Request::new("delete links", message, PLAIN).tolerate(&[Errno::ENODEV]));
    }
    requests
}

/// Puts a link into the group that is deleted next.
fn doom(index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::Group(DOOMED));
    let message = RouteNetlinkMessage::SetLink(message);
    Request::new(format!("prepare link {index} for deletion"), message, PLAIN).tolerate(&[Errno::ENODEV])
}

/// Sets a link up, and names its owner where one is given.
pub(crate) fn link_up(index: u32, alias: Option<&str>) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes.extend(alias.map(|alias| LinkAttribute::IfAlias(alias.to_owned())));
    Request::new(format!("set link {index} up"), RouteNetlinkMessage::SetLink(message), PLAIN)
}

pub(crate) fn get_link(name: &str) -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(link_message(name))
}

pub(crate) fn all_links() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(LinkMessage::default())
}

fn link_message(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

/// A link as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub index: u32,
    pub name: String,
    pub alias: Option<String>,
    pub up: bool,
    /// Whether it can send: up at both ends.
    pub ready: bool,
}

pub(crate) fn as_link(message: &RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        alias: None,
        up: message.header.flags.contains(LinkFlags::Up),
        ready: false,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::OperState(state) => link.ready = *state == State::Up,
            _ => {}
        }
    }
    Some(link)
}

pub(crate) fn add_address(index: u32, address: Ipv4Net) -> Request {
    let message = RouteNetlinkMessage::NewAddress(address_message(index, address));
    Request::new(format!("add the address {address}"), message, REPLACE)
}

pub(crate) fn delete_address(index: u32, address: Ipv4Net) -> Request {
    let message = RouteNetlinkMessage::DelAddress(address_message(index, address));
    Request::new(format!("delete the address {address}"), message, PLAIN).tolerate(&[Errno::EADDRNOTAVAIL])
}

pub(crate) fn all_addresses() -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    RouteNetlinkMessage::GetAddress(message)
}

fn address_message(index: u32, address: Ipv4Net) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = address.prefix_len();
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(IpAddr::V4(address.addr())));
    message.attributes.push(AddressAttribute::Address(IpAddr::V4(address.addr())));
    message
}

/// The link and the address of an address message.
pub(crate) fn as_address(message: &RouteNetlinkMessage) -> Option<(u32, Ipv4Net)> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => {
            let net = Ipv4Net::new(*address, message.header.prefix_len).ok()?;
            Some((message.header.index, net))
        }
        _ => None,
    })
}

/// A neighbour that needs no ARP.
pub(crate) fn add_neighbour(index: u32, address: Ipv4Addr, mac: [u8; 6]) -> Request {
    let mut message = neighbour_message(index, address);
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    let action = format!("add the neighbour {address}");
    Request::new(action, RouteNetlinkMessage::NewNeighbour(message), REPLACE)
}

pub(crate) fn delete_neighbour(index: u32, address: Ipv4Addr) -> Request {
    let message = RouteNetlinkMessage::DelNeighbour(neighbour_message(index, address));
    Request::new(format!("delete the neighbour {address}"), message, PLAIN).tolerate(&[Errno::ENOENT])
}

pub(crate) fn all_neighbours() -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    RouteNetlinkMessage::GetNeighbour(message)
}

fn neighbour_message(index: u32, address: Ipv4Addr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(address)));
    message
}

/// The link, address and MAC of a permanent neighbour.
pub(crate) fn as_neighbour(message: &RouteNetlinkMessage) -> Option<(u32, Ipv4Addr, [u8; 6])> {
    let RouteNetlinkMessage::NewNeighbour(message) = message else { return None };
    if message.header.state != NeighbourState::Permanent {
        return None;
    }
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => address = Some(*found),
            NeighbourAttribute::LinkLayerAddress(found) => mac = found.as_slice().try_into().ok(),
            _ => {}
        }
    }
    Some((message.header.ifindex, address?, mac?))
}

/// Sends what comes from `subnet` to a routing table of its own.
pub(crate) fn add_rule(subnet: Ipv4Net, table: u32) -> Request {
    let message = RouteNetlinkMessage::NewRule(rule_message(subnet, table));
    Request::new(format!("add the rule for {subnet}"), message, CREATE).tolerate(&[Errno::EEXIST])
}

pub(crate) fn delete_rule(subnet: Ipv4Net, table: u32) -> Request {
    let message = RouteNetlinkMessage::DelRule(rule_message(subnet, table));
    Request::new(format!("delete the rule for {subnet}"), message, PLAIN).tolerate(&[Errno::ENOENT])
}

pub(crate) fn all_rules() -> RouteNetlinkMessage {
    let mut message = RuleMessage::default();
    message.header.family = AddressFamily::Inet;
    RouteNetlinkMessage::GetRule(message)
}

fn rule_message(subnet: Ipv4Net, table: u32) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.src_len = subnet.prefix_len();
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Source(IpAddr::V4(subnet.network())),
        RuleAttribute::Priority(SUBNET_RULE),
        RuleAttribute::Table(table),
    ];
    message
}

/// The subnet and the table of one of our rules.
pub(crate) fn as_rule(message: &RouteNetlinkMessage) -> Option<(Ipv4Net, u32)> {
    let RouteNetlinkMessage::NewRule(message) = message else { return None };
    let (mut source, mut table, mut ours) = (None, u32::from(message.header.table), false);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Source(IpAddr::V4(address)) => {
                source = Ipv4Net::new(*address, message.header.src_len).ok();
            }
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::Priority(priority) => ours = *priority == SUBNET_RULE,
            _ => {}
        }
    }
    source.filter(|_| ours).map(|source| (source, table))
}

/// Puts a route into a table, in place of the one to the same destination.
pub(crate) fn set_route(table: u32, destination: Ipv4Net, hop: &Hop) -> Request {
    let mut message = route_message(table, destination);
    message.header.protocol = RouteProtocol::Static;
    match hop {
        Hop::Blackhole => message.header.kind = RouteType::BlackHole,
        Hop::Throw => message.header.kind = RouteType::Throw,
        Hop::Link { index, gateway } => {
            message.header.kind = RouteType::Unicast;
            message.header.scope = if gateway.is_some() { RouteScope::Universe } else { RouteScope::Link };
            message.attributes.push(RouteAttribute::Oif(*index));
            if let Some(gateway) = gateway {
                message.header.flags = RouteFlags::Onlink;
                message.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(*gateway)));
            }
        }
    }
    let action = format!("route {destination} in table {table}");
    Request::new(action, RouteNetlinkMessage::NewRoute(message), REPLACE)
}

pub(crate) fn delete_route(table: u32, destination: Ipv4Net) -> Request {
    let mut message = route_message(table, destination);
    message.header.scope = RouteScope::NoWhere;
    let action = format!("delete the route {destination} in table {table}");
    Request::new(action, RouteNetlinkMessage::DelRoute(message), PLAIN).tolerate(&[Errno::ESRCH])
}

/// Asks for the routes of every table, or of one link.
pub(crate) fn all_routes(link: Option<u32>) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.attributes.extend(link.map(RouteAttribute::Oif));
    RouteNetlinkMessage::GetRoute(message)
}

fn route_message(table: u32, destination: Ipv4Net) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.destination_prefix_length = destination.prefix_len();
    message.attributes = vec![
        RouteAttribute::Destination(RouteAddress::Inet(destination.network())),
        RouteAttribute::Table(table),
    ];
    message
}

/// The table, destination and hop of one of our routes: those that the kernel made itself are not `Static`.
pub(crate) fn as_route(message: &RouteNetlinkMessage) -> Option<(u32, Ipv4Net, Hop)> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return None };
    if message.header.protocol != RouteProtocol::Static {
        return None;
    }
    let mut table = u32::from(message.header.table);
    let mut destination = Ipv4Addr::UNSPECIFIED;
    let (mut link, mut gateway) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Destination(RouteAddress::Inet(address)) => destination = *address,
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => gateway = Some(*address),
            _ => {}
        }
    }
    let hop = match message.header.kind {
        RouteType::BlackHole => Hop::Blackhole,
        RouteType::Throw => Hop::Throw,
        _ => Hop::Link { index: link?, gateway },
    };
    Some((table, Ipv4Net::new(destination, message.header.destination_prefix_length).ok()?, hop))
}
