//! The test bed: a balancer process of its own for each test, targets that do what a test tells them to, and a
//! client that sees every byte.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pileus_contract::proxy::{
    Algorithm, EdgeRule, Health, HealthCheckSpec, ListenerSpec, LoadBalancerAttributes, LoadBalancerSpec,
    NodeSpec, Proxy, ProxyEvent, ProxySpec, ProxyStats, RuleAction, RuleSpec, TargetGroupSpec, TargetSpec,
    UnhealthyReason,
};
use pileus_proxy::{BalancerClient, BalancerConfig};
use tempfile::TempDir;

use crate::messages::{Message, read_message};

/// Longer than anything here takes; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A balancer process and what it serves.
pub(crate) struct Bed {
    pub(crate) client: BalancerClient,
    pub(crate) events: Receiver<ProxyEvent>,
    pub(crate) config: BalancerConfig,
    pub(crate) spec: ProxySpec,
    edges: BTreeMap<u16, u16>,
    /// Removed last.
    _dir: TempDir,
}

impl Bed {
    pub(crate) fn new(spec: ProxySpec) -> Self {
        Self::with(spec, |_| {})
    }

    pub(crate) fn with(spec: ProxySpec, adjust: impl FnOnce(&mut BalancerConfig)) -> Self {
        let dir = tempfile::Builder::new().prefix("pileus-balancer-").tempdir().expect("a directory");
        let mut config = BalancerConfig::new(dir.path().join("run"));
        config.edge_ports = BTreeMap::from([(80, 0), (81, 0)]);
        config.workers = 2;
        config.time_scale = 100.0;
        adjust(&mut config);
        let client = start(&config);
        let events = client.events();
        let mut bed =
            Self { client, events, config, spec: ProxySpec::default(), edges: BTreeMap::new(), _dir: dir };
        bed.apply(spec);
        bed
    }

    pub(crate) fn apply(&mut self, spec: ProxySpec) {
        self.spec = spec;
        self.client.apply(&self.spec).expect("applied");
    }

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut ProxySpec)) {
        let mut spec = self.spec.clone();
        change(&mut spec);
        self.apply(spec);
    }

    /// The first event, of those that nobody waited for yet, of which `wanted` makes something. Earlier ones are
    /// forgotten.
    pub(crate) fn wait_for<T>(&mut self, what: &str, mut wanted: impl FnMut(&ProxyEvent) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    if let ProxyEvent::Edge { listener_port, bound_port } = event {
                        self.edges.insert(listener_port, bound_port);
                    }
                    if let Some(found) = wanted(&event) {
                        return found;
                    }
                    heard.push(event);
                }
                Err(error) => panic!("{what} did not come ({error}); heard {heard:?}"),
            }
        }
    }

    pub(crate) fn wait_for_health(&mut self, port: u16, expected: &Health) {
        self.wait_for(&format!("{expected:?} of {port}"), |event| match event {
            ProxyEvent::Health { port: of, health, .. } if *of == port && health == expected => Some(()),
            _ => None,
        });
    }

    /// Waits until `count` targets have become healthy.
    pub(crate) fn wait_for_healthy(&mut self, count: usize) {
        for _ in 0..count {
            self.wait_for("health", |event| {
                matches!(event, ProxyEvent::Health { health: Health::Healthy, .. }).then_some(())
            });
        }
    }

    pub(crate) fn wait_for_unhealthy(&mut self) -> UnhealthyReason {
        self.wait_for("ill health", |event| match event {
            ProxyEvent::Health { health: Health::Unhealthy(reason), .. } => Some(reason.clone()),
            _ => None,
        })
    }

    /// The edge's address for a listener port.
    pub(crate) fn edge(&mut self, port: u16) -> SocketAddr {
        let known = self.edges.get(&port).copied();
        let bound = known.unwrap_or_else(|| {
            self.wait_for("the edge", |event| match event {
                ProxyEvent::Edge { listener_port, bound_port } if *listener_port == port => Some(*bound_port),
                _ => None,
            })
        });
        SocketAddr::from((Ipv4Addr::LOCALHOST, bound))
    }

    pub(crate) fn connect(&mut self) -> Wire {
        Wire::connect(self.edge(80))
    }

    /// One request on a connection of its own.
    pub(crate) fn get(&mut self, path: &str) -> Message {
        self.connect().get(path)
    }

    /// Collects counts until `enough`.
    pub(crate) fn wait_for_stats(
        &mut self,
        mut enough: impl FnMut(&BTreeMap<String, u64>) -> bool,
    ) -> Vec<ProxyStats> {
        let (mut sums, mut rows) = (BTreeMap::new(), Vec::new());
        self.wait_for("enough counts", |event| {
            let ProxyEvent::Stats(stats) = event else { return None };
            for row in stats {
                rows.push(row.clone());
                for (name, count) in &row.counts {
                    *sums.entry(name.clone()).or_default() += count;
                }
            }
            enough(&sums).then_some(())
        });
        rows
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let ended = self.client.teardown();
        if !std::thread::panicking() {
            ended.expect("ended");
        } else {
            let log = std::fs::read_to_string(self.config.run_dir.join("balancer.log")).unwrap_or_default();
            // Best effort: the test fails anyway.
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("balancer.log: {log}\n"));
        }
    }
}

pub(crate) fn start(config: &BalancerConfig) -> BalancerClient {
    BalancerClient::start([env!("CARGO_BIN_EXE_pileus-balancer")], config.clone()).expect("a thread")
}

/// A load balancer on port 80 that forwards to group `g` with these targets, all healthy.
pub(crate) fn simple(targets: &[&Target]) -> ProxySpec {
    let rule = default_rule(RuleAction::Forward(vec![("targetgroup/g/1".into(), 1)]));
    ProxySpec { load_balancers: vec![load_balancer("web", rule)], target_groups: vec![group("g", targets)] }
}

pub(crate) fn default_rule(action: RuleAction) -> RuleSpec {
    RuleSpec { priority: 0, conditions: vec![], action }
}

pub(crate) fn load_balancer(name: &str, rule: RuleSpec) -> LoadBalancerSpec {
    // Each load balancer has a node address of its own, so that tests can run side by side.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let unique = std::process::id().wrapping_mul(251).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    let [_, a, b, c] = unique.to_be_bytes();
    let address = Ipv4Addr::new(127, a | 1, b, c);
    LoadBalancerSpec {
        id: format!("app/{name}/1"),
        dns_name: format!("{name}.us-east-1.elb.localhost"),
        internet_facing: true,
        nodes: vec![NodeSpec { zone: "a".into(), address, namespace: "/proc/self/ns/net".into() }],
        listeners: vec![ListenerSpec { port: 80, tls: None, rules: vec![rule] }],
        edge_ingress: vec![EdgeRule {
            source: "0.0.0.0/0".parse().expect("CIDR"),
            from_port: 0,
            to_port: 65535,
        }],
        attributes: LoadBalancerAttributes::default(),
    }
}

pub(crate) fn group(name: &str, targets: &[&Target]) -> TargetGroupSpec {
    TargetGroupSpec {
        id: format!("targetgroup/{name}/1"),
        health_check: HealthCheckSpec {
            path: "/health".into(),
            port: None,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(9),
            healthy_threshold: 2,
            unhealthy_threshold: 2,
            matcher: vec![(200, 200)],
        },
        targets: targets.iter().map(|target| target.spec()).collect(),
        algorithm: Algorithm::RoundRobin,
    }
}

/// A server for one test. Health checks are answered by themselves.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Connections that carried anything but a health check.
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) health_status: Arc<AtomicUsize>,
    /// Heads and bodies of the requests that came, health checks left out.
    pub(crate) seen: Arc<Mutex<Vec<Message>>>,
}

/// What a target does with a request: the connection, the request, how many came before on this connection. It says
/// whether the connection stays open.
pub(crate) type Handler = dyn Fn(&mut TcpStream, &Message, usize) -> bool + Send + Sync;

impl Target {
    pub(crate) fn new(
        handler: impl Fn(&mut TcpStream, &Message, usize) -> bool + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let target = Self {
            address: listener.local_addr().expect("bound"),
            connections: Arc::default(),
            health_status: Arc::new(AtomicUsize::new(200)),
            seen: Arc::default(),
        };
        let handler: Arc<Handler> = Arc::new(handler);
        let (connections, health, seen) =
            (Arc::clone(&target.connections), Arc::clone(&target.health_status), Arc::clone(&target.seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (handler, connections, health, seen) =
                    (Arc::clone(&handler), Arc::clone(&connections), Arc::clone(&health), Arc::clone(&seen));
                std::thread::spawn(move || serve(stream, &handler, &connections, &health, &seen));
            }
        });
        target
    }

    /// Answers every request with its own name.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::new(move |stream, _, _| respond(stream, 200, name.as_bytes()))
    }

    pub(crate) fn spec(&self) -> TargetSpec {
        TargetSpec {
            address: Ipv4Addr::LOCALHOST,
            port: self.address.port(),
            zone: "a".into(),
            draining: false,
            last_known: Some(Health::Healthy),
        }
    }

    /// Waits for the first request whose start line contains `part`.
    pub(crate) fn wait_for_request(&self, part: &str) {
        until("the request", || self.requests().iter().any(|request| request.start.contains(part)));
    }

    pub(crate) fn requests(&self) -> Vec<Message> {
        self.seen.lock().expect("no panic").clone()
    }
}

fn serve(
    mut stream: TcpStream,
    handler: &Arc<Handler>,
    connections: &AtomicUsize,
    health: &AtomicUsize,
    seen: &Mutex<Vec<Message>>,
) {
    let mut served = 0;
    while let Some(message) = read_message(&mut stream, false, true) {
        if message.start.contains(" /health ") {
            let status = health.load(Ordering::Relaxed) as u16;
            respond(&mut stream, status, b"");
            return;
        }
        if served == 0 {
            connections.fetch_add(1, Ordering::Relaxed);
        }
        seen.lock().expect("no panic").push(message.clone());
        if !handler(&mut stream, &message, served) {
            return;
        }
        served += 1;
    }
}

/// Sends a plain answer.
pub(crate) fn respond(stream: &mut TcpStream, status: u16, body: &[u8]) -> bool {
    let mut answer =
        format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    std::io::Write::write_all(stream, &answer).is_ok()
}

/// A client's connection.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
}

impl Wire {
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        stream.set_nodelay(true).expect("an option");
        Self { stream }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        std::io::Write::write_all(&mut self.stream, bytes.as_ref()).expect("sent");
        self
    }

    /// The next response; fails at the end of the stream.
    pub(crate) fn receive(&mut self) -> Message {
        read_message(&mut self.stream, false, false).expect("a response")
    }

    pub(crate) fn get(&mut self, path: &str) -> Message {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: web.us-east-1.elb.localhost\r\n\r\n")).receive()
    }

    /// Everything up to the end of the stream.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset ends it, too.
        let _ = std::io::Read::read_to_end(&mut self.stream, &mut rest);
        rest
    }
}
