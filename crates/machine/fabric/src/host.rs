//! The host's side of the edges: the links, a route to each public address, and one table of nftables.
//!
//! The host is the internet: it reaches the VPCs' public addresses and nothing else of them, and sees them as sources.
//! What leaves the host for elsewhere is masqueraded. Nobody but the host may open connections into a VPC this way.
//! A firewall of the host whose own forward chain drops packets still does so: nftables asks every table.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use ipnet::Ipv4Net;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nameindex;
use pileus_contract::fabric::ApiSpec;

use crate::check::PUBLIC;
use crate::edge::Edge;
use crate::error::{FabricError, Result};
use crate::firewall::Table;
use crate::forwarding::{self, Forwarding, Guarded};
use crate::link::{await_ready, index_of};
use crate::message::{self, End, Hop, MAIN};
use crate::namespace::{Namespace, sysctl};
use crate::netlink::{Netlink, Request};
use crate::nft;
use crate::router::{EDGE, Router};
use crate::service;

#[derive(Debug)]
pub(crate) struct Host {
    instance: String,
    namespace: Namespace,
    netlink: Netlink,
    /// The edges of this instance that are in order, and the index of their host links.
    links: BTreeMap<Edge, u32>,
    routes: BTreeMap<Ipv4Addr, Hop>,
    /// The address of the host's service that a host link has, by its index.
    serving: BTreeMap<u32, Ipv4Addr>,
    firewall: Option<Table>,
    guarded: Guarded,
}

impl Host {
    pub(crate) fn open(instance: &str) -> Result<Self> {
        let namespace = Namespace::current()?;
        let netlink = Netlink::open(&namespace)?;
        Ok(Self {
            instance: instance.to_owned(),
            namespace,
            netlink,
            links: BTreeMap::new(),
            routes: BTreeMap::new(),
            serving: BTreeMap::new(),
            firewall: None,
            guarded: None,
        })
    }

    /// Sees to it that the router's edge exists and is configured at both ends.
    pub(crate) fn connect(&mut self, vpc: &str, router: &mut Router) -> Result<Edge> {
        if let Some(edge) = self.adopt(router)? {
            return Ok(edge);
        }
        router.netlink.change(&[message::delete_link(EDGE)])?;
        router.forget_edge();
        let taken = self.namespace.run(addresses)?;
        let edge =
            Edge::choose(&self.instance, vpc, &taken).ok_or_else(|| FabricError::NoEdge(vpc.to_owned()))?;
        let name = edge.link(&self.instance);
        let near = End { name: &name, mac: edge.host_mac() };
        let far = End { name: EDGE, mac: edge.router_mac() };
        self.netlink.change(&[message::create_veth(&near, &far, router.namespace.file().as_fd())])?;
        self.namespace.run(|| {
            sysctl(&format!("ipv6/conf/{name}/disable_ipv6"), "1")?;
            sysctl(&format!("ipv4/conf/{name}/forwarding"), "1")
        })?;
        let inside = index_of(&mut router.netlink, EDGE)?;
        router
            .netlink
            .change(&[message::add_address(inside, net(edge.router())), message::link_up(inside, None)])?;
        // The host's end is set up last, which says that all the rest was done.
        let index = index_of(&mut self.netlink, &name)?;
        self.netlink
            .change(&[message::add_address(index, net(edge.host())), message::link_up(index, None)])?;
        await_ready(&mut router.netlink, EDGE)?;
        router.edge = Some((inside, edge.router()));
        self.links.insert(edge, index);
        Ok(edge)
    }

    /// The edge that the router has, if both of its ends are in order.
    fn adopt(&mut self, router: &Router) -> Result<Option<Edge>> {
        let Some(edge) = router.edge.and_then(|(_, address)| Edge::of_router(address)) else {
            return Ok(None);
        };
        if self.links.contains_key(&edge) {
            return Ok(Some(edge));
        }
        let name = edge.link(&self.instance);
        let found = self.netlink.get(&format!("find the link {name}"), message::get_link(&name))?;
        let Some(link) = found.as_ref().and_then(message::as_link).filter(|link| link.up) else {
            return Ok(None);
        };
        self.observe_routes(link.index)?;
        self.links.insert(edge, link.index);
        Ok(Some(edge))
    }

    fn observe_routes(&mut self, index: u32) -> Result<()> {
        let routes = self.netlink.dump("list the routes", &message::all_routes(Some(index)))?;
        for (table, destination, hop) in routes.iter().filter_map(message::as_route) {
            let ours = matches!(hop, Hop::Link { index: found, .. } if found == index);
            if ours && table == MAIN {
                self.routes.insert(destination.addr(), hop);
            }
        }
        Ok(())
    }

    /// Brings the routes to the public addresses of each edge, and the firewall to all of `public` and
    /// to the host's service. Deletes the links of all other edges, where `complete` says that `edges` are all that there should be.
    pub(crate) fn publish(
        &mut self,
        edges: &BTreeMap<Edge, BTreeSet<Ipv4Addr>>,
        public: &BTreeSet<Ipv4Addr>,
        complete: bool,
        api: Option<&ApiSpec>,
    ) -> Result<()> {
        if complete {
            self.drop_other_links(edges)?;
        }
        self.load_firewall(public.iter().map(ToString::to_string), api)?;
        let serving: BTreeMap<u32, Ipv4Addr> = api
            .iter()
            .flat_map(|api| self.links.values().map(|index| (*index, *api.listener.ip())))
            .collect();
        self.netlink.change(&service::addresses(&self.serving, &serving))?;
        self.serving = serving;
        let wanted: BTreeMap<Ipv4Addr, Hop> = edges
            .iter()
            .filter_map(|(edge, addresses)| Some((edge, *self.links.get(edge)?, addresses)))
            .flat_map(|(edge, index, addresses)| {
                let hop = Hop::Link { index, gateway: Some(edge.router()) };
                addresses.iter().map(move |address| (*address, hop.clone()))
            })
            .collect();
        let changed = wanted.iter().filter(|(address, hop)| self.routes.get(address) != Some(hop));
        let mut requests: Vec<Request> =
            changed.map(|(address, hop)| message::set_route(MAIN, Ipv4Net::from(*address), hop)).collect();
        let gone = self.routes.keys().filter(|address| !wanted.contains_key(address));
        requests.extend(gone.map(|address| message::delete_route(MAIN, Ipv4Net::from(*address))));
        self.netlink.change(&requests)?;
        self.routes = wanted;
        Ok(())
    }

    fn drop_other_links(&mut self, edges: &BTreeMap<Edge, BTreeSet<Ipv4Addr>>) -> Result<()> {
        // Only the first time can there be links that are not remembered.
        let mut gone: Vec<String> = match self.firewall {
            None => self.namespace.run(|| links_of(&self.instance))?,
            Some(_) => self.links.keys().map(|edge| edge.link(&self.instance)).collect(),
        };
        let kept: BTreeSet<String> = edges.keys().map(|edge| edge.link(&self.instance)).collect();
        gone.retain(|name| !kept.contains(name));
        let requests: Vec<Request> = gone.iter().map(|name| message::delete_link(name)).collect();
        self.netlink.change(&requests)?;
        self.links.retain(|edge, _| edges.contains_key(edge));
        let alive: BTreeSet<u32> = self.links.values().copied().collect();
        self.routes.retain(|_, hop| matches!(hop, Hop::Link { index, .. } if alive.contains(index)));
        self.serving.retain(|index, _| alive.contains(index));
        Ok(())
    }

    fn load_firewall(&mut self, public: impl Iterator<Item = String>, api: Option<&ApiSpec>) -> Result<()> {
        let first = match self.firewall {
            None => Some(Forwarding::begin(&self.namespace)?),
            Some(_) => None,
        };
        if let Some(forwarding) = &first {
            self.guarded.clone_from(&forwarding.guarded);
        }
        let table = table(&self.instance, public, api, &self.guarded);
        if let Some(script) = table.script_from(self.firewall.as_ref()) {
            nft::run(&self.namespace, &script)?;
        }
        first.map_or(Ok(()), Forwarding::turn_on)?;
        self.firewall = Some(table);
        Ok(())
    }

    /// Forgets what is known of an edge, so that it is looked at again.
    pub(crate) fn forget(&mut self, edge: Edge) {
        if let Some(index) = self.links.remove(&edge) {
            self.serving.remove(&index);
        }
    }

    pub(crate) fn forget_all(&mut self) {
        self.links.clear();
        self.routes.clear();
        self.serving.clear();
        self.firewall = None;
    }

    /// Deletes every link and the table of an instance, and gives forwarding back.
    pub(crate) fn clean(&mut self) -> Result<()> {
        let names = self.namespace.run(|| links_of(&self.instance))?;
        let requests: Vec<Request> = names.iter().map(|name| message::delete_link(name)).collect();
        self.netlink.change(&requests)?;
        self.forget_all();
        forwarding::restore(&self.namespace, &self.instance)
    }
}

/// The host's table.
fn table(
    instance: &str,
    public: impl Iterator<Item = String>,
    api: Option<&ApiSpec>,
    guarded: &Guarded,
) -> Table {
    let mut table = Table::new(forwarding::table_name(instance));
    table.set("public", "ipv4_addr", public);
    table.base_chain(
        "forward",
        "filter hook forward priority filter; policy accept",
        vec![
            format!(
                "oifname \"pl{instance}*\" iifname != \"pl*\" ct state != {{ established, related }} drop"
            ),
            format!("iifname \"pl{instance}*\" ip saddr != @public drop"),
            // A public address that nobody has is nowhere else either.
            format!("iifname \"pl{instance}*\" oifname != \"pl*\" ip daddr {PUBLIC} drop"),
        ],
    );
    table.base_chain(
        "translate_out",
        "nat hook postrouting priority srcnat; policy accept",
        vec!["ip saddr @public oifname != \"pl*\" masquerade".to_owned()],
    );
    service::add(&mut table, instance, api);
    forwarding::add_guard(&mut table, guarded);
    table
}

fn net(address: Ipv4Addr) -> Ipv4Net {
    Ipv4Net::new_assert(address, 30)
}

fn addresses() -> Result<BTreeSet<Ipv4Addr>> {
    let all = getifaddrs().map_err(|e| FabricError::kernel("list the host's addresses", e))?;
    Ok(all.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip())).collect())
}

fn links_of(instance: &str) -> Result<Vec<String>> {
    let links = if_nameindex().map_err(|e| FabricError::kernel("list the host's links", e))?;
    let names = links.iter().map(|link| link.name().to_string_lossy().into_owned());
    Ok(names.filter(|name| Edge::is_link_of(instance, name)).collect())
}
