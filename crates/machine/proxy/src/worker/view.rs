//! A worker's own view of the snapshot: what each choice needs, with the worker's cursors and counters beside it.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddrV4;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use pileus_contract::proxy::Algorithm;

use super::Door;
use crate::daemon::snapshot::{Entry, Group, LoadBalancer, Snapshot, TargetState};
use crate::stats::{Book, Row, RowKey};
use crate::tls::TlsListener;
use crate::upstream::balance::{self, Standing};
use crate::upstream::pool::PoolKey;

#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) snapshot: Arc<Snapshot>,
    balancers: Vec<BalancerView>,
    groups: Vec<GroupView>,
    reachable: HashSet<PoolKey>,
    /// For what belongs to no load balancer.
    nowhere: Option<Rc<Row>>,
}

#[derive(Debug)]
struct BalancerView {
    /// By node; one of no zone where there is no node.
    rows: Vec<Rc<Row>>,
    /// By position in the load balancer's groups, then by node.
    group_rows: Vec<Vec<Rc<Row>>>,
    /// The nodes that the edge sends requests to.
    candidates: Cached,
}

#[derive(Debug)]
struct GroupView {
    targets: Vec<Rc<TargetView>>,
    eligible: Cached,
}

/// Indexes to choose among in turn, made again when the health epoch has moved on.
#[derive(Debug)]
struct Cached {
    epoch: Cell<u64>,
    items: RefCell<Vec<u32>>,
    cursor: Cell<u32>,
}

#[derive(Debug)]
pub(crate) struct TargetView {
    pub(crate) address: SocketAddrV4,
    state: Arc<TargetState>,
    worker: usize,
}

/// A request in flight to a target, counted while this lives.
#[derive(Debug)]
pub(crate) struct InFlight(Rc<TargetView>);

impl InFlight {
    pub(crate) fn new(target: Rc<TargetView>) -> Self {
        target.state.request_began(target.worker);
        Self(target)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.state.request_ended(self.0.worker);
    }
}

impl Cached {
    fn new(cursor: u32) -> Self {
        Self { epoch: Cell::new(0), items: RefCell::default(), cursor: Cell::new(cursor) }
    }

    fn refresh(&self, epoch: u64, make: impl FnOnce(&mut Vec<u32>)) {
        if self.epoch.replace(epoch) != epoch {
            make(&mut self.items.borrow_mut());
        }
    }
}

impl View {
    pub(crate) fn new(snapshot: Arc<Snapshot>, before: &Self, book: &Book, worker: usize) -> Self {
        let old = before.snapshot.groups.iter().map(|group| group.id.as_str()).zip(&before.groups);
        let cursors: HashMap<&str, u32> = old.map(|(id, view)| (id, view.eligible.cursor.get())).collect();
        let groups = snapshot.groups.iter().map(|group| {
            let cursor = cursors.get(group.id.as_str()).copied().unwrap_or(worker as u32);
            GroupView { targets: targets(group, worker), eligible: Cached::new(cursor) }
        });
        let groups = groups.collect();
        let balancers = snapshot.load_balancers.iter().map(|lb| balancer(lb, &snapshot, book, worker));
        let balancers = balancers.collect();
        let nowhere =
            book.row(RowKey { load_balancer: String::new(), target_group: None, zone: String::new() });
        Self { balancers, groups, reachable: reachable(&snapshot), nowhere: Some(nowhere), snapshot }
    }

    /// Whether the ends of a connection are still in the configuration.
    pub(crate) fn reaches(&self, key: &PoolKey) -> bool {
        self.reachable.contains(key)
    }

    pub(crate) fn load_balancer(&self, entry: Entry) -> &LoadBalancer {
        &self.snapshot.load_balancers[entry.load_balancer]
    }

    /// Where what happens at a door is counted as long as no request has told its load balancer.
    pub(crate) fn door_row(&self, door: Door) -> Rc<Row> {
        let entry = match door {
            Door::Node { node, port } => self.snapshot.nodes.get(&(node, port)).copied(),
            Door::Edge { listener_port, .. } => {
                self.snapshot.edge.get(&listener_port).and_then(|edge| edge.find(b""))
            }
        };
        match entry {
            Some(entry) => Rc::clone(self.row(entry.load_balancer, entry.node.unwrap_or(0))),
            None => self.nowhere.clone().expect("made with every configuration; a door has one"),
        }
    }

    /// How the listener speaks TLS, if it does.
    pub(crate) fn tls(&self, entry: Entry) -> Option<&TlsListener> {
        self.load_balancer(entry).listeners[entry.listener].tls.as_deref()
    }

    pub(crate) fn row(&self, load_balancer: usize, node: usize) -> &Rc<Row> {
        let rows = &self.balancers[load_balancer].rows;
        rows.get(node).unwrap_or(&rows[0])
    }

    pub(crate) fn group_row(&self, load_balancer: usize, group: usize, node: usize) -> Option<&Rc<Row>> {
        let position = self.snapshot.load_balancers[load_balancer].groups.binary_search(&group).ok()?;
        self.balancers[load_balancer].group_rows[position].get(node)
    }

    /// The node for a request from the edge: in turn, of those whose zone has targets that get traffic, as DNS
    /// would leave out the other zones. `None`: the load balancer has no node.
    pub(crate) fn choose_node(&self, load_balancer: usize) -> Option<usize> {
        let candidates = &self.balancers[load_balancer].candidates;
        let lb = &self.snapshot.load_balancers[load_balancer];
        let epoch = self.snapshot.health_epoch.load(Ordering::Acquire);
        candidates.refresh(epoch, |items| self.zones_with_targets(lb, items));
        let items = candidates.items.borrow();
        let mut cursor = candidates.cursor.get();
        let chosen =
            (!items.is_empty()).then(|| items[balance::round_robin(&mut cursor, items.len())] as usize);
        candidates.cursor.set(cursor);
        chosen
    }

    fn zones_with_targets(&self, lb: &LoadBalancer, items: &mut Vec<u32>) {
        let healthy = |zone: &str| {
            let targets = lb.groups.iter().flat_map(|group| &self.snapshot.groups[*group].targets);
            targets.into_iter().any(|target| {
                target.zone == zone && !target.draining && target.shared.standing() == Standing::Healthy
            })
        };
        items.clear();
        let indexed = lb.nodes.iter().enumerate();
        items.extend(indexed.filter(|(_, node)| healthy(&node.zone)).map(|(index, _)| index as u32));
        if items.is_empty() {
            items.extend(0..lb.nodes.len() as u32);
        }
    }

    /// The target for the next request of a group. `None`: it has none that gets traffic.
    pub(crate) fn choose_target(&self, group: usize) -> Option<Rc<TargetView>> {
        let view = &self.groups[group];
        let spec = &self.snapshot.groups[group];
        let epoch = self.snapshot.health_epoch.load(Ordering::Acquire);
        view.eligible.refresh(epoch, |items| {
            balance::select(
                spec.targets.iter().map(|target| (target.shared.standing(), target.draining)),
                items,
            );
        });
        let items = view.eligible.items.borrow();
        if items.is_empty() {
            return None;
        }
        let mut cursor = view.eligible.cursor.get();
        let target = match spec.algorithm {
            Algorithm::RoundRobin => items[balance::round_robin(&mut cursor, items.len())],
            Algorithm::LeastOutstandingRequests => {
                let load = |target: u32| view.targets[target as usize].state.in_flight();
                balance::least_outstanding(&mut cursor, &items, load)
            }
        };
        view.eligible.cursor.set(cursor);
        Some(Rc::clone(&view.targets[target as usize]))
    }
}

fn targets(group: &Group, worker: usize) -> Vec<Rc<TargetView>> {
    let targets = group.targets.iter();
    let view = |target: &crate::daemon::snapshot::Target| {
        Rc::new(TargetView { address: target.address, state: Arc::clone(&target.shared), worker })
    };
    targets.map(view).collect()
}

fn balancer(lb: &LoadBalancer, snapshot: &Snapshot, book: &Book, worker: usize) -> BalancerView {
    let zones: Vec<&str> = lb.nodes.iter().map(|node| node.zone.as_str()).collect();
    let row = |group: Option<&usize>, zone: &str| {
        book.row(RowKey {
            load_balancer: lb.id.clone(),
            target_group: group.map(|group| snapshot.groups[*group].id.clone()),
            zone: zone.to_owned(),
        })
    };
    let mut rows: Vec<Rc<Row>> = zones.iter().map(|zone| row(None, zone)).collect();
    if rows.is_empty() {
        rows.push(row(None, ""));
    }
    let group_rows = lb.groups.iter().map(|group| zones.iter().map(|zone| row(Some(group), zone)).collect());
    BalancerView { rows, group_rows: group_rows.collect(), candidates: Cached::new(worker as u32) }
}

fn reachable(snapshot: &Snapshot) -> HashSet<PoolKey> {
    let mut reachable = HashSet::new();
    for lb in &snapshot.load_balancers {
        for target in lb.groups.iter().flat_map(|group| &snapshot.groups[*group].targets) {
            if !target.draining {
                reachable
                    .extend(lb.nodes.iter().map(|node| PoolKey { node: node.key(), target: target.address }));
            }
        }
    }
    reachable
}
