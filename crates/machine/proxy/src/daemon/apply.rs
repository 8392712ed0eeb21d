//! Puts a configuration into force: compile it, open what is new, hand it to the workers and the health checker,
//! close what is gone. One at a time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{SocketAddr, SocketAddrV4, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use pileus_contract::proxy::{Health, ProxySpec};

use super::events::{Hub, TargetKey};
use super::persist::Saved;
use super::snapshot::{Snapshot, compile};
use crate::config::BalancerConfig;
use crate::health::checker::{Checker, checks};
use crate::listen::socket::listen_all;
use crate::listen::{Home, edge};
use crate::worker::{Apply, Door, Handle};

/// A worker does nothing that takes longer.
const WORKER_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Applier {
    config: BalancerConfig,
    home: Arc<Home>,
    workers: Vec<Handle>,
    checker: Checker,
    hub: Arc<Hub>,
    snapshot: Arc<Snapshot>,
    doors: HashSet<Door>,
    saved: Saved,
    /// Draining targets that may still have requests in flight.
    draining: HashSet<TargetKey>,
}

/// Sockets by worker.
type Opened = Vec<Vec<(Door, TcpListener)>>;

impl Applier {
    pub(crate) fn new(
        config: BalancerConfig,
        home: Arc<Home>,
        workers: Vec<Handle>,
        checker: Checker,
        hub: Arc<Hub>,
    ) -> Self {
        Self {
            config,
            home,
            workers,
            checker,
            hub,
            snapshot: Arc::default(),
            doors: HashSet::new(),
            saved: Saved::default(),
            draining: HashSet::new(),
        }
    }

    /// Serves by the configuration that the last process left.
    pub(crate) fn restore(&mut self) {
        let Some(saved) = Saved::load(&self.config.state_path()) else { return };
        self.saved.edge_ports = saved.edge_ports;
        if let Err(reason) = self.apply(saved.spec) {
            tracing::error!(%reason, "cannot serve by the last configuration");
        }
    }

    pub(crate) fn apply(&mut self, spec: ProxySpec) -> Result<(), String> {
        let (snapshot, failures) = compile(&spec, &self.snapshot, &self.home, self.workers.len());
        for failure in failures {
            for port in failure.ports {
                self.hub.listen_failed(&failure.load_balancer, port, failure.reason.clone());
            }
        }
        let snapshot = Arc::new(snapshot);
        let (wanted, opened) = self.open(&snapshot);
        let close: Vec<Door> = self.doors.difference(&wanted).copied().collect();
        self.hub.targets(self.health_of(&spec, &snapshot));
        self.hand_over(&snapshot, opened, &close)?;
        let known = self.hub.known_health();
        let health = |group: &str, target: SocketAddrV4| {
            known.get(&(group.to_owned(), target)).cloned().unwrap_or(Health::Initial)
        };
        self.checker.apply(checks(&snapshot, health), Arc::clone(&snapshot.health_epoch));
        self.note_draining(&snapshot);
        self.doors = wanted;
        self.snapshot = snapshot;
        self.hub.edge(self.edge_ports());
        self.saved.edge_ports.extend(self.edge_ports());
        self.saved.spec = spec;
        self.save(&known);
        Ok(())
    }

    /// The health of each target: what this process knows of those it had, else what the engine knew.
    fn health_of(&self, spec: &ProxySpec, snapshot: &Snapshot) -> BTreeMap<TargetKey, Health> {
        let known = self.hub.known_health();
        let mut before = HashMap::new();
        for group in &self.snapshot.groups {
            before.extend(
                group.targets.iter().map(|target| ((group.id.as_str(), target.address), &target.shared)),
            );
        }
        let mut health = BTreeMap::new();
        for (group, group_spec) in snapshot.groups.iter().zip(&spec.target_groups) {
            for (target, target_spec) in group.targets.iter().zip(&group_spec.targets) {
                let key = (group.id.clone(), target.address);
                let old = before.get(&(group.id.as_str(), target.address));
                let same = old.is_some_and(|old| Arc::ptr_eq(old, &target.shared));
                let live = same.then(|| known.get(&key).cloned()).flatten();
                let health_now = live.or_else(|| target_spec.last_known.clone()).unwrap_or(Health::Initial);
                health.insert(key, health_now);
            }
        }
        health
    }

    /// The doors of `snapshot`, and the sockets of those that are not open yet.
    fn open(&self, snapshot: &Snapshot) -> (HashSet<Door>, Opened) {
        let mut wanted = HashSet::new();
        let mut opened: Opened = self.workers.iter().map(|_| Vec::new()).collect();
        for (&listener_port, edge_port) in &snapshot.edge {
            let bound = |door: &&Door| matches!(door, Door::Edge { listener_port: port, .. } if *port == listener_port);
            if let Some(door) = self.doors.iter().find(bound) {
                wanted.insert(*door);
                continue;
            }
            let before = self.saved.edge_ports.get(&listener_port).copied();
            match edge::open(&self.config, listener_port, before) {
                Ok((bound_port, sockets)) => {
                    let door = Door::Edge { listener_port, bound_port };
                    wanted.insert(door);
                    for (worker, sockets) in opened.iter_mut().zip(sockets) {
                        worker.extend(sockets.into_iter().map(|socket| (door, socket)));
                    }
                }
                Err(error) => {
                    for entry in edge_port.by_host.values() {
                        let lb = &snapshot.load_balancers[entry.load_balancer].id;
                        self.hub.listen_failed(lb, listener_port, format!("the edge: {error}"));
                    }
                }
            }
        }
        self.open_nodes(snapshot, &mut wanted, &mut opened);
        (wanted, opened)
    }

    fn open_nodes(&self, snapshot: &Snapshot, wanted: &mut HashSet<Door>, opened: &mut Opened) {
        for lb in &snapshot.load_balancers {
            for node in &lb.nodes {
                for listener in &lb.listeners {
                    let door = Door::Node { node: node.key(), port: listener.port };
                    if self.doors.contains(&door) {
                        wanted.insert(door);
                        continue;
                    }
                    let address = SocketAddr::from((node.address, listener.port));
                    match node.namespace.enter(|| listen_all(address, self.workers.len())) {
                        Ok(sockets) => {
                            wanted.insert(door);
                            for (worker, socket) in opened.iter_mut().zip(sockets) {
                                worker.push((door, socket));
                            }
                        }
                        Err(error) => {
                            self.hub.listen_failed(&lb.id, listener.port, format!("{address}: {error}"));
                        }
                    }
                }
            }
        }
    }

    /// Gives every worker its part and waits until all serve by it.
    fn hand_over(&self, snapshot: &Arc<Snapshot>, opened: Opened, close: &[Door]) -> Result<(), String> {
        let (done, all_done) = channel();
        for (worker, open) in self.workers.iter().zip(opened) {
            let order =
                Apply { snapshot: Arc::clone(snapshot), open, close: close.to_vec(), done: done.clone() };
            if !worker.apply(order) {
                return Err("a worker has ended; restart the balancer".into());
            }
        }
        for _ in &self.workers {
            let late = |error| format!("a worker does not answer: {error}; restart the balancer");
            all_done.recv_timeout(WORKER_PATIENCE).map_err(late)?;
        }
        Ok(())
    }

    fn edge_ports(&self) -> BTreeMap<u16, u16> {
        let ports = self.doors.iter().filter_map(|door| match door {
            Door::Edge { listener_port, bound_port } => Some((*listener_port, *bound_port)),
            Door::Node { .. } => None,
        });
        ports.collect()
    }

    fn note_draining(&mut self, snapshot: &Snapshot) {
        let was_draining: HashSet<TargetKey> = draining(&self.snapshot).collect();
        let is_draining: HashSet<TargetKey> = draining(snapshot).collect();
        self.draining.retain(|key| is_draining.contains(key));
        self.draining.extend(is_draining.difference(&was_draining).cloned());
    }

    /// Tells of targets that are drained, and saves what is unsaved.
    pub(crate) fn keep_house(&mut self) {
        if !self.draining.is_empty() {
            let snapshot = &self.snapshot;
            let idle = |key: &TargetKey| {
                let group = snapshot.groups.iter().find(|group| group.id == key.0);
                let target =
                    group.and_then(|group| group.targets.iter().find(|target| target.address == key.1));
                target.is_none_or(|target| target.shared.in_flight() == 0)
            };
            let drained: Vec<TargetKey> = self.draining.extract_if(|key| idle(key)).collect();
            if !drained.is_empty() {
                self.hub.drained(drained);
            }
        }
        if let Some(health) = self.hub.unsaved_health() {
            self.save(&health);
        }
    }

    fn save(&mut self, health: &BTreeMap<TargetKey, Health>) {
        self.saved.remember(health);
        let path = self.config.state_path();
        if let Err(error) = self.saved.store(&path) {
            tracing::error!(path = %path.display(), %error, "cannot save the configuration: a restart would not serve");
        }
    }
}

fn draining(snapshot: &Snapshot) -> impl Iterator<Item = TargetKey> {
    let targets = |group: &super::snapshot::Group| {
        let draining = group.targets.iter().filter(|target| target.draining);
        draining.map(|target| (group.id.clone(), target.address)).collect::<Vec<_>>()
    };
    snapshot.groups.iter().flat_map(targets)
}
