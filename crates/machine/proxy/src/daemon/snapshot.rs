//! A configuration, compiled: immutable, shared by all workers, replaced as a whole.
//!
//! What outlives a configuration (a target's standing, its requests in flight, an open namespace) hangs on `Arc`s
//! that the next snapshot takes over.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use pileus_contract::proxy::{
    Algorithm, EdgeRule, Health, HealthCheckSpec, LoadBalancerAttributes, LoadBalancerSpec, ProxySpec,
    TargetGroupSpec, TlsSpec,
};

use crate::health::state::standing;
use crate::listen::netns::NamespaceId;
use crate::listen::{Home, Namespace};
use crate::route::rules::Test;
use crate::route::{Action, Rule};
use crate::tls::{TlsListener, starred};
use crate::upstream::balance::Standing;

#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) load_balancers: Vec<LoadBalancer>,
    pub(crate) groups: Vec<Group>,
    /// By listener port.
    pub(crate) edge: BTreeMap<u16, EdgePort>,
    pub(crate) nodes: HashMap<(NodeKey, u16), Entry>,
    /// Grows with every change of any target's standing.
    pub(crate) health_epoch: Arc<AtomicU64>,
}

#[derive(Debug)]
pub(crate) struct LoadBalancer {
    pub(crate) id: String,
    pub(crate) dns_name: String,
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) edge_ingress: Vec<EdgeRule>,
    pub(crate) attributes: LoadBalancerAttributes,
    /// Indexes of the groups that its rules forward to.
    pub(crate) groups: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) port: u16,
    pub(crate) tls: Option<Arc<TlsListener>>,
    pub(crate) rules: Vec<Rule>,
}

/// A node's identity: the same address in another namespace is another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NodeKey {
    pub(crate) namespace: NamespaceId,
    pub(crate) address: Ipv4Addr,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) zone: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) namespace: Arc<Namespace>,
}

impl Node {
    pub(crate) fn key(&self) -> NodeKey {
        NodeKey { namespace: self.namespace.id, address: self.address }
    }
}

/// Where a request entered: load balancer and listener by index, and the node where it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) load_balancer: usize,
    pub(crate) listener: usize,
    pub(crate) node: Option<usize>,
}

/// What the edge serves on a listener port.
#[derive(Debug, Default)]
pub(crate) struct EdgePort {
    pub(crate) by_host: HashMap<Vec<u8>, Entry>,
    /// By the names of certificates, in lower case; where two load balancers have one for a name, it is the first's.
    by_certificate: HashMap<String, Entry>,
}

impl EdgePort {
    /// By DNS name, or the name of a certificate; with one load balancer on the port, any other name means that one.
    pub(crate) fn find(&self, host: &[u8]) -> Option<Entry> {
        if self.by_host.len() == 1 {
            return self.by_host.values().next().copied();
        }
        let mut lower = [0; 256];
        let lower = lower.get_mut(..host.len())?;
        lower.copy_from_slice(host);
        lower.make_ascii_lowercase();
        let name = lower.strip_suffix(b".").unwrap_or(lower);
        self.by_host.get(name).or_else(|| self.certified(std::str::from_utf8(name).ok()?)).copied()
    }

    fn certified(&self, name: &str) -> Option<&Entry> {
        self.by_certificate.get(name).or_else(|| self.by_certificate.get(&starred(name)?))
    }
}

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) health_check: HealthCheckSpec,
    pub(crate) targets: Vec<Target>,
}

#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddrV4,
    pub(crate) zone: String,
    pub(crate) draining: bool,
    pub(crate) shared: Arc<TargetState>,
}

/// What all workers and the health checker know of a target.
#[derive(Debug)]
pub(crate) struct TargetState {
    standing: AtomicU8,
    /// One counter for each worker, written by it alone.
    in_flight: Box<[Counter]>,
}

/// On a cache line of its own, so that workers do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Counter(AtomicU32);

impl TargetState {
    fn new(health: &Health, workers: usize) -> Self {
        let in_flight = (0..workers).map(|_| Counter::default()).collect();
        Self { standing: AtomicU8::new(standing(health) as u8), in_flight }
    }

    pub(crate) fn standing(&self) -> Standing {
        Standing::from(self.standing.load(Ordering::Relaxed))
    }

    pub(crate) fn set_standing(&self, standing: Standing) {
        self.standing.store(standing as u8, Ordering::Relaxed);
    }

    /// Requests in flight in all workers.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.iter().map(|counter| counter.0.load(Ordering::Relaxed)).sum()
    }

    /// Only `worker` itself may call this.
    pub(crate) fn request_began(&self, worker: usize) {
        let counter = &self.in_flight[worker].0;
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Only `worker` itself may call this.
    pub(crate) fn request_ended(&self, worker: usize) {
        let counter = &self.in_flight[worker].0;
        counter.store(counter.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }
}

/// What of a load balancer cannot serve: a node whose namespace cannot be opened, a listener without certificate.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) load_balancer: String,
    pub(crate) ports: Vec<u16>,
    pub(crate) reason: String,
}

/// Compiles `spec`, taking over from `previous` what is the same.
pub(crate) fn compile(
    spec: &ProxySpec,
    previous: &Snapshot,
    home: &Arc<Home>,
    workers: usize,
) -> (Snapshot, Vec<Failure>) {
    let mut failures = Vec::new();
    let groups = compile_groups(&spec.target_groups, previous, workers);
    let by_id: HashMap<&str, usize> =
        groups.iter().enumerate().map(|(index, group)| (group.id.as_str(), index)).collect();
    let load_balancers: Vec<LoadBalancer> = spec
        .load_balancers
        .iter()
        .map(|lb| {
            let nodes = compile_nodes(lb, previous, home, &mut failures);
            let listeners = compile_listeners(lb, previous, &by_id, &mut failures);
            compile_load_balancer(lb, nodes, listeners)
        })
        .collect();
    let (edge, nodes) = index(spec, &load_balancers);
    let health_epoch = Arc::clone(&previous.health_epoch);
    health_epoch.fetch_add(1, Ordering::Release);
    (Snapshot { load_balancers, groups, edge, nodes, health_epoch }, failures)
}

fn compile_groups(specs: &[TargetGroupSpec], previous: &Snapshot, workers: usize) -> Vec<Group> {
    let mut known = HashMap::new();
    for group in &previous.groups {
        known.extend(group.targets.iter().map(|target| ((group.id.as_str(), target.address), target)));
    }
    let compile = |group: &TargetGroupSpec| {
        let targets = group.targets.iter().map(|target| {
            let address = SocketAddrV4::new(target.address, target.port);
            // A target that comes back from draining was registered anew.
            let before =
                known.get(&(group.id.as_str(), address)).filter(|old| target.draining || !old.draining);
            let fresh = || {
                let health = target.last_known.as_ref().unwrap_or(&Health::Initial);
                Arc::new(TargetState::new(health, workers))
            };
            let shared = before.map_or_else(fresh, |old| Arc::clone(&old.shared));
            Target { address, zone: target.zone.clone(), draining: target.draining, shared }
        });
        Group {
            id: group.id.clone(),
            algorithm: group.algorithm,
            health_check: group.health_check.clone(),
            targets: targets.collect(),
        }
    };
    specs.iter().map(compile).collect()
}

fn compile_nodes(
    lb: &LoadBalancerSpec,
    previous: &Snapshot,
    home: &Arc<Home>,
    failures: &mut Vec<Failure>,
) -> Vec<Arc<Node>> {
    let before = previous.load_balancers.iter().find(|old| old.id == lb.id);
    let mut nodes = Vec::new();
    for node in &lb.nodes {
        match Namespace::open(&node.namespace, home) {
            Ok(namespace) => {
                let new =
                    Node { zone: node.zone.clone(), address: node.address, namespace: Arc::new(namespace) };
                let same = |old: &&Arc<Node>| old.key() == new.key() && old.zone == new.zone;
                let old = before.and_then(|old| old.nodes.iter().find(same)).cloned();
                nodes.push(old.unwrap_or_else(|| Arc::new(new)));
            }
            Err(error) => failures.push(Failure {
                load_balancer: lb.id.clone(),
                ports: lb.listeners.iter().map(|listener| listener.port).collect(),
                reason: format!("cannot open the namespace {}: {error}", node.namespace.display()),
            }),
        }
    }
    nodes
}

fn compile_listeners(
    lb: &LoadBalancerSpec,
    previous: &Snapshot,
    by_id: &HashMap<&str, usize>,
    failures: &mut Vec<Failure>,
) -> Vec<Listener> {
    let before = previous.load_balancers.iter().find(|old| old.id == lb.id);
    let mut listeners = Vec::new();
    for listener in &lb.listeners {
        let old = before.and_then(|old| old.listeners.iter().find(|old| old.port == listener.port));
        let tls = listener.tls.as_ref().map(|tls| compile_tls(tls, old)).transpose();
        match tls {
            Ok(tls) => {
                let rules = listener.rules.iter().map(|rule| Rule {
                    conditions: rule.conditions.iter().map(Test::from).collect(),
                    action: Action::new(&rule.action, |id| by_id.get(id).copied()),
                });
                listeners.push(Listener { port: listener.port, tls, rules: rules.collect() });
            }
            Err(reason) => {
                failures.push(Failure { load_balancer: lb.id.clone(), ports: vec![listener.port], reason });
            }
        }
    }
    listeners
}

/// The one before where it is the same: clients resume their sessions with it.
fn compile_tls(spec: &TlsSpec, old: Option<&Listener>) -> Result<Arc<TlsListener>, String> {
    match old.and_then(|old| old.tls.as_ref()) {
        Some(old) if old.is_by(spec) => Ok(Arc::clone(old)),
        _ => TlsListener::new(spec).map(Arc::new),
    }
}

fn compile_load_balancer(
    lb: &LoadBalancerSpec,
    nodes: Vec<Arc<Node>>,
    listeners: Vec<Listener>,
) -> LoadBalancer {
    let mut groups = HashSet::new();
    for rule in listeners.iter().flat_map(|listener| &listener.rules) {
        if let Action::Forward(forward) = &rule.action {
            groups.extend(forward.groups());
        }
    }
    let mut groups: Vec<usize> = groups.into_iter().collect();
    groups.sort_unstable();
    LoadBalancer {
        id: lb.id.clone(),
        dns_name: lb.dns_name.to_ascii_lowercase(),
        nodes,
        listeners,
        edge_ingress: lb.edge_ingress.clone(),
        attributes: lb.attributes.clone(),
        groups,
    }
}

type Index = (BTreeMap<u16, EdgePort>, HashMap<(NodeKey, u16), Entry>);

fn index(spec: &ProxySpec, load_balancers: &[LoadBalancer]) -> Index {
    let (mut edge, mut nodes) = (BTreeMap::<u16, EdgePort>::new(), HashMap::new());
    for (load_balancer, (lb, lb_spec)) in load_balancers.iter().zip(&spec.load_balancers).enumerate() {
        for (listener, Listener { port, tls, .. }) in lb.listeners.iter().enumerate() {
            if lb_spec.internet_facing {
                let entry = Entry { load_balancer, listener, node: None };
                let edge = edge.entry(*port).or_default();
                edge.by_host.insert(lb.dns_name.clone().into_bytes(), entry);
                for name in tls.iter().flat_map(|tls| tls.names()) {
                    edge.by_certificate.entry(name.to_owned()).or_insert(entry);
                }
            }
            for (node, at) in lb.nodes.iter().enumerate() {
                nodes.insert((at.key(), *port), Entry { load_balancer, listener, node: Some(node) });
            }
        }
    }
    (edge, nodes)
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
