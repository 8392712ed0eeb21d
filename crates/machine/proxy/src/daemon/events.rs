//! What the engine is to hear, kept until it listens: the latest word on each target and port, and sums of counts.
//!
//! Bounded by the size of the configuration, not by time: news replaces older news of the same thing, so that an
//! engine that was away for a day hears the present state and the sums, once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddrV4;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use pileus_contract::proxy::{Health, ProxyEvent, ProxyStats};
use pileus_core::Timestamp;

use crate::stats::{self, Merged, RowKey};
use crate::wire::Report;

pub(crate) type TargetKey = (String, SocketAddrV4);

/// Counts go out this often.
const STATS_PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Hub {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug)]
struct State {
    /// The connection that events go to.
    subscriber: Option<u64>,
    health: BTreeMap<TargetKey, (Health, Timestamp)>,
    edge: BTreeMap<u16, u16>,
    started: bool,
    fresh_health: BTreeSet<TargetKey>,
    fresh_edge: BTreeSet<u16>,
    drained: BTreeSet<TargetKey>,
    failures: BTreeMap<(String, u16), String>,
    counts: BTreeMap<RowKey, Merged>,
    counts_sent: Instant,
    replies: VecDeque<(u64, Report)>,
    /// Health changed since it was last asked for.
    unsaved: bool,
}

impl Hub {
    pub(crate) fn new() -> Self {
        let state = State {
            subscriber: None,
            health: BTreeMap::new(),
            edge: BTreeMap::new(),
            started: false,
            fresh_health: BTreeSet::new(),
            fresh_edge: BTreeSet::new(),
            drained: BTreeSet::new(),
            failures: BTreeMap::new(),
            counts: BTreeMap::new(),
            counts_sent: Instant::now(),
            replies: VecDeque::new(),
            unsaved: false,
        };
        Self { state: Mutex::new(state), news: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.news.notify_all();
    }

    pub(crate) fn health(&self, group: &str, target: SocketAddrV4, health: Health) {
        let key = (group.to_owned(), target);
        self.tell(|state| {
            // A last word of a check that was already called off.
            if let Some(known) = state.health.get_mut(&key) {
                *known = (health, now());
                state.fresh_health.insert(key);
                state.unsaved = true;
            }
        });
    }

    /// The targets of the configuration in force: others are forgotten, new ones have this health.
    pub(crate) fn targets(&self, targets: BTreeMap<TargetKey, Health>) {
        self.tell(|state| {
            state.health.retain(|key, _| targets.contains_key(key));
            state.fresh_health.retain(|key| targets.contains_key(key));
            for (key, health) in targets {
                if state.health.get(&key).is_none_or(|(known, _)| *known != health) {
                    state.health.insert(key.clone(), (health, now()));
                    state.fresh_health.insert(key);
                }
            }
        });
    }

    pub(crate) fn known_health(&self) -> BTreeMap<TargetKey, Health> {
        self.lock().health.iter().map(|(key, (health, _))| (key.clone(), health.clone())).collect()
    }

    /// [`Self::known_health`], if it changed since the last call.
    pub(crate) fn unsaved_health(&self) -> Option<BTreeMap<TargetKey, Health>> {
        let unsaved = std::mem::take(&mut self.lock().unsaved);
        unsaved.then(|| self.known_health())
    }

    pub(crate) fn edge(&self, ports: BTreeMap<u16, u16>) {
        self.tell(|state| {
            for (listener_port, bound_port) in &ports {
                if state.edge.get(listener_port) != Some(bound_port) {
                    state.fresh_edge.insert(*listener_port);
                }
            }
            state.edge = ports;
        });
    }

    pub(crate) fn listen_failed(&self, load_balancer: &str, port: u16, reason: String) {
        self.tell(|state| {
            state.failures.insert((load_balancer.to_owned(), port), reason);
        });
    }

    pub(crate) fn drained(&self, targets: impl IntoIterator<Item = TargetKey>) {
        self.tell(|state| state.drained.extend(targets));
    }

    pub(crate) fn stats(&self, worker: usize, rows: Vec<ProxyStats>) {
        self.tell(|state| stats::merge(&mut state.counts, worker, rows));
    }

    /// From now on events go to `connection`, beginning with the state as it is.
    pub(crate) fn subscribe(&self, connection: u64) {
        self.tell(|state| {
            state.subscriber = Some(connection);
            state.started = false;
            state.fresh_health = state.health.keys().cloned().collect();
            state.fresh_edge = state.edge.keys().copied().collect();
        });
    }

    pub(crate) fn reply(&self, connection: u64, report: Report) {
        self.tell(|state| state.replies.push_back((connection, report)));
    }

    /// `connection` is gone.
    pub(crate) fn leave(&self, connection: u64) {
        self.tell(|state| {
            state.replies.retain(|(to, _)| *to != connection);
            if state.subscriber == Some(connection) {
                state.subscriber = None;
            }
        });
    }

    /// Waits for something to tell `connection`: events first, then replies, so that whoever gets a reply has heard
    /// what led to it. Empty after `patience`.
    pub(crate) fn next(&self, connection: u64, patience: Duration) -> Vec<Report> {
        let end = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            let reports = state.take(connection);
            let now = Instant::now();
            if !reports.is_empty() || now >= end {
                return reports;
            }
            let until_stats = STATS_PERIOD.saturating_sub(now - state.counts_sent);
            let wait = (end - now).min(until_stats.max(Duration::from_millis(10)));
            (state, _) = self.news.wait_timeout(state, wait).expect("nobody panics while holding it");
        }
    }
}

impl State {
    fn take(&mut self, connection: u64) -> Vec<Report> {
        let mut reports = Vec::new();
        if self.subscriber == Some(connection) {
            reports.extend(self.take_events().into_iter().map(Report::Event));
        }
        let (mine, others) =
            std::mem::take(&mut self.replies).into_iter().partition(|(to, _)| *to == connection);
        self.replies = others;
        let mine: VecDeque<(u64, Report)> = mine;
        reports.extend(mine.into_iter().map(|(_, report)| report));
        reports
    }

    fn take_events(&mut self) -> Vec<ProxyEvent> {
        let mut events = Vec::new();
        if !self.started {
            self.started = true;
            events.push(ProxyEvent::Started { pid: std::process::id() });
        }
        for listener_port in std::mem::take(&mut self.fresh_edge) {
            if let Some(bound_port) = self.edge.get(&listener_port) {
                events.push(ProxyEvent::Edge { listener_port, bound_port: *bound_port });
            }
        }
        for ((load_balancer, port), reason) in std::mem::take(&mut self.failures) {
            events.push(ProxyEvent::ListenFailed { load_balancer, port, reason });
        }
        for (target_group, target) in std::mem::take(&mut self.fresh_health) {
            let key = (target_group, target);
            let Some((health, at)) = self.health.get(&key).cloned() else { continue };
            let (address, port) = (*target.ip(), target.port());
            events.push(ProxyEvent::Health { target_group: key.0, address, port, health, at });
        }
        for (target_group, target) in std::mem::take(&mut self.drained) {
            events.push(ProxyEvent::Drained { target_group, address: *target.ip(), port: target.port() });
        }
        if self.counts_sent.elapsed() >= STATS_PERIOD {
            self.counts_sent = Instant::now();
            let stats = stats::report(std::mem::take(&mut self.counts));
            if !stats.is_empty() {
                events.push(ProxyEvent::Stats(stats));
            }
        }
        events
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn target(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
    }

    fn hear(hub: &Hub, connection: u64) -> Vec<String> {
        let reports = hub.next(connection, Duration::ZERO);
        let name = |report| match report {
            Report::Event(ProxyEvent::Started { .. }) => "started".to_owned(),
            Report::Event(ProxyEvent::Health { port, health, .. }) => format!("{port} {health:?}"),
            Report::Event(ProxyEvent::Edge { listener_port, bound_port }) => {
                format!("{listener_port}>{bound_port}")
            }
            Report::Event(event) => format!("{event:?}"),
            Report::Applied { generation, .. } => format!("applied {generation}"),
        };
        reports.into_iter().map(name).collect()
    }

    #[test]
    fn a_subscriber_hears_the_state_then_changes_then_replies() {
        let hub = Hub::new();
        hub.targets(BTreeMap::from([(("g".into(), target(1)), Health::Initial)]));
        hub.health("g", target(1), Health::Healthy);
        hub.edge(BTreeMap::from([(80, 8080)]));
        assert!(hear(&hub, 7).is_empty(), "not subscribed");
        hub.subscribe(7);
        assert_eq!(hear(&hub, 7), ["started", "80>8080", "1 Healthy"]);
        assert!(hear(&hub, 7).is_empty());
        hub.reply(7, Report::Applied { generation: 3, failure: None });
        hub.health("g", target(1), Health::Initial);
        hub.health("g", target(2), Health::Healthy);
        assert_eq!(hear(&hub, 7), ["1 Initial", "applied 3"], "an unknown target is no news");
        hub.subscribe(8);
        assert!(hear(&hub, 7).is_empty(), "superseded");
        assert_eq!(hear(&hub, 8), ["started", "80>8080", "1 Initial"]);
    }
}
