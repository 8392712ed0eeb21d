//! An elastic network interface: a namespace with `eth0`, wired to its VPC's router.
//!
//! As in AWS the interface speaks to nobody but the router: its address is a /32, its default route is on-link through
//! the subnet's first address, and both ends know each other's MAC without ARP.

use std::path::Path;

use ipnet::Ipv4Net;
use pileus_contract::fabric::{InterfaceSpec, SubnetSpec};

use crate::error::Result;
use crate::link::{await_ready, index_of};
use crate::message::{self, End, Hop, MAIN};
use crate::namespace::{self, Namespace, sysctl};
use crate::netlink::Netlink;
use crate::router::{Port, Router, port_name};
use crate::routing::gateway_of;

const NAME: &str = "eth0";
const LOOPBACK: u32 = 1;
/// The router's MAC on every link; a locally administered one. Links are point to point, so one is enough.
const ROUTER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];

/// Makes the interface in the namespace at `path`, which may be there already with processes in it.
///
/// The router's end is set up and named last: that it is up says that everything before was done.
pub(crate) fn attach(
    router: &mut Router,
    path: &Path,
    spec: &InterfaceSpec,
    subnet: &SubnetSpec,
) -> Result<()> {
    let adopted = namespace::exists(path);
    let inside = Namespace::open_or_create(path)?;
    let mut netlink = inside.run(|| {
        prepare()?;
        Netlink::open_here(&inside.name)
    })?;
    if adopted {
        // Whatever an `eth0` of before was wired to is gone.
        netlink.change(&[message::delete_link(NAME)])?;
    }
    let name = port_name(spec.address);
    let near = End { name: &name, mac: ROUTER_MAC };
    let far = End { name: NAME, mac: spec.mac };
    let fd = std::os::fd::AsFd::as_fd(inside.file());
    router.netlink.change(&[message::create_veth(&near, &far, fd)])?;
    configure(&mut netlink, spec, subnet)?;
    let index = index_of(&mut router.netlink, &name)?;
    router.netlink.change(&[
        message::add_neighbour(index, spec.address, spec.mac),
        message::link_up(index, Some(&spec.id)),
    ])?;
    await_ready(&mut netlink, NAME)?;
    router.ports.insert(spec.id.clone(), Port { index, address: spec.address, mac: spec.mac });
    Ok(())
}

fn configure(netlink: &mut Netlink, spec: &InterfaceSpec, subnet: &SubnetSpec) -> Result<()> {
    let index = index_of(netlink, NAME)?;
    let gateway = gateway_of(subnet);
    netlink.change(&[
        message::link_up(LOOPBACK, None),
        message::link_up(index, None),
        message::add_address(index, Ipv4Net::from(spec.address)),
        message::add_neighbour(index, gateway, ROUTER_MAC),
        message::set_route(MAIN, Ipv4Net::default(), &Hop::Link { index, gateway: Some(gateway) }),
    ])
}

/// A new namespace may inherit the host's settings.
fn prepare() -> Result<()> {
    sysctl("ipv4/ip_forward", "0")?;
    // Links made from now on have no IPv6; `lo` keeps ::1, which applications use.
    sysctl("ipv6/conf/default/disable_ipv6", "1")
}

/// Whether the interface that the router has is the one that the spec wants.
pub(crate) fn is_same(port: &Port, spec: &InterfaceSpec) -> bool {
    port.address == spec.address && port.mac == spec.mac
}
