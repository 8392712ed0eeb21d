//! One VPC's router: a namespace whose links, rules and routes are known, and changed by the difference.
//!
//! What is there is asked of the kernel once, when the router is opened; afterwards it is remembered. A router whose
//! change failed half-way is forgotten by its owner and asked again, so nothing is ever assumed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::Ipv4Net;
use pileus_contract::fabric::{SubnetSpec, VpcSpec};

use crate::error::Result;
use crate::firewall::Table;
use crate::flows;
use crate::message::{self, Hop, Link, MAIN};
use crate::namespace::{Namespace, sysctl};
use crate::netlink::{Netlink, Request};
use crate::nft;
use crate::routing::{Routing, Way};

/// The router's end of the edge.
pub(crate) const EDGE: &str = "edge";
const LOOPBACK: u32 = 1;

/// The router's side of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub index: u32,
    pub address: Ipv4Addr,
    pub mac: [u8; 6],
}

#[derive(Debug)]
pub(crate) struct Router {
    pub namespace: Namespace,
    pub netlink: Netlink,
    /// By interface id.
    pub ports: BTreeMap<String, Port>,
    /// The index and the link-local address of the router's end of the edge.
    pub edge: Option<(u32, Ipv4Addr)>,
    /// What is in force, once something was applied.
    pub applied: Option<VpcSpec>,
    firewall: Option<Table>,
    /// Whether flows are counted, once that is known.
    counts_flows: Option<bool>,
    addresses: BTreeSet<Ipv4Addr>,
    rules: BTreeMap<Ipv4Net, u32>,
    routes: BTreeMap<(u32, Ipv4Net), Hop>,
    neighbours: BTreeSet<Ipv4Addr>,
}

impl Router {
    /// Adopts the router at `path` with all that it holds, or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let namespace = Namespace::open_or_create(path)?;
        let netlink = namespace.run(|| {
            prepare()?;
            Netlink::open_here(&namespace.name)
        })?;
        let mut router = Self {
            namespace,
            netlink,
            ports: BTreeMap::new(),
            edge: None,
            applied: None,
            firewall: None,
            counts_flows: None,
            addresses: BTreeSet::new(),
            rules: BTreeMap::new(),
            routes: BTreeMap::new(),
            neighbours: BTreeSet::new(),
        };
        router.netlink.change(&[message::link_up(LOOPBACK, None)])?;
        router.observe()?;
        Ok(router)
    }

    fn observe(&mut self) -> Result<()> {
        let links = self.netlink.dump("list the links", &message::all_links())?;
        let links: Vec<Link> = links.iter().filter_map(message::as_link).collect();
        let neighbours = self.netlink.dump("list the neighbours", &message::all_neighbours())?;
        let neighbours: BTreeMap<(u32, Ipv4Addr), [u8; 6]> = neighbours
            .iter()
            .filter_map(message::as_neighbour)
            .map(|(index, address, mac)| ((index, address), mac))
            .collect();
        let edge = links.iter().find(|link| link.name == EDGE).map(|link| link.index);
        self.neighbours = neighbours
            .keys()
            .filter(|(index, _)| Some(*index) == edge)
            .map(|(_, address)| *address)
            .collect();
        self.observe_addresses(edge)?;
        self.observe_ports(&links, &neighbours)?;
        let rules = self.netlink.dump("list the rules", &message::all_rules())?;
        self.rules = rules.iter().filter_map(message::as_rule).collect();
        let routes = self.netlink.dump("list the routes", &message::all_routes(None))?;
        self.routes = routes
            .iter()
            .filter_map(message::as_route)
            .map(|(table, destination, hop)| ((table, destination), hop))
            .collect();
        Ok(())
    }

    fn observe_addresses(&mut self, edge: Option<u32>) -> Result<()> {
        let addresses = self.netlink.dump("list the addresses", &message::all_addresses())?;
        for (index, net) in addresses.iter().filter_map(message::as_address) {
            if Some(index) == edge {
                self.edge = Some((index, net.addr()));
            } else if index == LOOPBACK && !net.addr().is_loopback() {
                self.addresses.insert(net.addr());
            }
        }
        Ok(())
    }

    /// Takes over the links that were finished, which their owner's name and being up tell; deletes the others.
    fn observe_ports(
        &mut self,
        links: &[Link],
        neighbours: &BTreeMap<(u32, Ipv4Addr), [u8; 6]>,
    ) -> Result<()> {
        let mut unfinished = Vec::new();
        for link in links {
            let Some(address) = port_address(&link.name) else { continue };
            match (&link.alias, neighbours.get(&(link.index, address))) {
                (Some(owner), Some(mac)) if link.up => {
                    let port = Port { index: link.index, address, mac: *mac };
                    self.ports.insert(owner.clone(), port);
                }
                _ => unfinished.push(link.index),
            }
        }
        self.netlink.change(&message::delete_links(unfinished.into_iter()))
    }

    /// Brings the firewall to `table`: all of it in one transaction the first time, then the difference.
    pub(crate) fn load_firewall(&mut self, table: Table) -> Result<()> {
        if let Some(script) = table.script_from(self.firewall.as_ref()) {
            nft::run(&self.namespace, &script)?;
        }
        self.firewall = Some(table);
        Ok(())
    }

    /// Counts flows, or does not. What an earlier process counted is forgotten.
    pub(crate) fn count_flows(&mut self, wanted: bool) -> Result<()> {
        if self.counts_flows != Some(wanted) {
            flows::count(&self.namespace, wanted)?;
            self.counts_flows = Some(wanted);
        }
        Ok(())
    }

    /// Deletes the links of interfaces, and with them the routes that lead there.
    pub(crate) fn detach(&mut self, interfaces: &[String]) -> Result<()> {
        let gone: BTreeSet<u32> =
            interfaces.iter().filter_map(|id| self.ports.get(id)).map(|port| port.index).collect();
        self.netlink.change(&message::delete_links(gone.iter().copied()))?;
        self.ports.retain(|_, port| !gone.contains(&port.index));
        self.routes.retain(|_, hop| !matches!(hop, Hop::Link { index, .. } if gone.contains(index)));
        Ok(())
    }

    /// Brings addresses, neighbours, rules and routes to what is wanted. `host` is the MAC at the other end of the
    /// edge.
    pub(crate) fn load_routing(&mut self, wanted: &Routing, host: [u8; 6]) -> Result<()> {
        let edge = self.edge.map_or(0, |(index, _)| index);
        let ports: BTreeMap<Ipv4Addr, u32> =
            self.ports.values().map(|port| (port.address, port.index)).collect();
        let routes: BTreeMap<(u32, Ipv4Net), Hop> =
            wanted.routes.iter().filter_map(|(key, way)| Some((*key, hop(way, edge, &ports)?))).collect();
        let mut requests = Vec::new();
        for address in wanted.addresses.difference(&self.addresses) {
            requests.push(message::add_address(LOOPBACK, Ipv4Net::from(*address)));
        }
        for address in wanted.nat_hops.difference(&self.neighbours) {
            requests.push(message::add_neighbour(edge, *address, host));
        }
        requests.extend(changed_routes(&self.routes, &routes));
        requests.extend(changed_rules(&self.rules, &wanted.rules));
        for address in self.neighbours.difference(&wanted.nat_hops) {
            requests.push(message::delete_neighbour(edge, *address));
        }
        for address in self.addresses.difference(&wanted.addresses) {
            requests.push(message::delete_address(LOOPBACK, Ipv4Net::from(*address)));
        }
        self.netlink.change(&requests)?;
        self.addresses.clone_from(&wanted.addresses);
        self.neighbours.clone_from(&wanted.nat_hops);
        self.rules.clone_from(&wanted.rules);
        self.routes = routes;
        Ok(())
    }

    /// Forgets everything that the deletion of the edge's link took along.
    pub(crate) fn forget_edge(&mut self) {
        if let Some((edge, _)) = self.edge.take() {
            self.routes.retain(|_, hop| !matches!(hop, Hop::Link { index, .. } if *index == edge));
            self.neighbours.clear();
        }
    }
}

fn hop(way: &Way, edge: u32, ports: &BTreeMap<Ipv4Addr, u32>) -> Option<Hop> {
    Some(match way {
        Way::Blackhole => Hop::Blackhole,
        Way::Local => Hop::Throw,
        Way::Edge(gateway) => Hop::Link { index: edge, gateway: Some(*gateway) },
        Way::Interface(address) => Hop::Link { index: *ports.get(address)?, gateway: None },
    })
}

/// The router-side name of an interface's link: short, and unique in the VPC as the address is.
pub(crate) fn port_name(address: Ipv4Addr) -> String {
    format!("e{:08x}", u32::from(address))
}

fn port_address(name: &str) -> Option<Ipv4Addr> {
    let digits = name.strip_prefix('e').filter(|digits| digits.len() == 8)?;
    u32::from_str_radix(digits, 16).ok().map(Ipv4Addr::from)
}

pub(crate) fn subnet_of<'a>(vpc: &'a VpcSpec, id: &str) -> Option<&'a SubnetSpec> {
    vpc.subnets.iter().find(|subnet| subnet.id == id)
}

/// New routes come before the rules that lead to them; a replaced route is never missing in between.
fn changed_routes(old: &BTreeMap<(u32, Ipv4Net), Hop>, new: &BTreeMap<(u32, Ipv4Net), Hop>) -> Vec<Request> {
    // The main table goes first: subnet tables lean on its host routes.
    let mut set: Vec<_> = new.iter().filter(|(key, hop)| old.get(key) != Some(hop)).collect();
    set.sort_by_key(|((table, _), _)| *table != MAIN);
    let set = set.into_iter().map(|((table, net), hop)| message::set_route(*table, *net, hop));
    let gone = old.keys().filter(|key| !new.contains_key(key));
    set.chain(gone.map(|(table, net)| message::delete_route(*table, *net))).collect()
}

fn changed_rules(old: &BTreeMap<Ipv4Net, u32>, new: &BTreeMap<Ipv4Net, u32>) -> Vec<Request> {
    let gone = old.iter().filter(|(net, table)| new.get(net) != Some(table));
    let added = new.iter().filter(|(net, table)| old.get(net) != Some(table));
    gone.map(|(net, table)| message::delete_rule(*net, *table))
        .chain(added.map(|(net, table)| message::add_rule(*net, *table)))
        .collect()
}

/// The settings of a router. New links inherit the defaults, so none needs settings of its own.
fn prepare() -> Result<()> {
    // This one first: it resets others.
    sysctl("ipv4/ip_forward", "1")?;
    for scope in ["all", "default"] {
        // The firewall checks sources, also for routes that depend on the source.
        sysctl(&format!("ipv4/conf/{scope}/rp_filter"), "0")?;
        sysctl(&format!("ipv4/conf/{scope}/send_redirects"), "0")?;
        // Nothing filters IPv6 here, so there is none.
        sysctl(&format!("ipv6/conf/{scope}/disable_ipv6"), "1")?;
    }
    Ok(())
}
