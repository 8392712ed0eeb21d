//! Pileus's balancer, alone: configured over its socket as the engine does it, in the host's own network namespace.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use pileus_contract::proxy::{
    Algorithm, Health, HealthCheckSpec, ListenerSpec, LoadBalancerAttributes, LoadBalancerSpec, NodeSpec,
    Proxy as _, ProxyEvent, ProxySpec, RuleAction, RuleSpec, TargetGroupSpec, TargetSpec,
};
use pileus_proxy::{BalancerClient, BalancerConfig};

use super::{Contender, MEASURED_CORE};
use crate::process::free_port;

const GROUP: &str = "targetgroup/bench/1";

pub(super) struct Balancer {
    client: BalancerClient,
    address: SocketAddr,
    pid: i32,
}

impl Balancer {
    pub(super) fn start(pileus: &Path, folder: &Path, targets: &[SocketAddr]) -> anyhow::Result<Self> {
        let pileus =
            pileus.canonicalize().with_context(|| format!("{}: build it first", pileus.display()))?;
        let mut config = BalancerConfig::new(folder.join("balancer"));
        config.workers = 1;
        let command: [OsString; 5] =
            ["taskset".into(), "-c".into(), MEASURED_CORE.into(), pileus.into(), "balancer".into()];
        let client = BalancerClient::start(command, config)?;
        let events = client.events();
        let port = free_port()?;
        client.apply(&spec(port, targets))?;
        let pid = loop {
            match events
                .recv_timeout(Duration::from_secs(10))
                .context("the balancer does not report its start")?
            {
                ProxyEvent::Started { pid } => break pid.cast_signed(),
                ProxyEvent::ListenFailed { reason, .. } => bail!("the balancer cannot listen: {reason}"),
                _ => {}
            }
        };
        Ok(Self { client, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), pid })
    }
}

impl Contender for Balancer {
    fn name(&self) -> &'static str {
        "pileus"
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn pid(&self) -> i32 {
        self.pid
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // Its directory goes with it; it ends by itself then.
        let _ = self.client.teardown();
    }
}

/// One load balancer, internal, with a listener that forwards to the targets: as the reference architecture has it.
fn spec(port: u16, targets: &[SocketAddr]) -> ProxySpec {
    let rule =
        RuleSpec { priority: 0, conditions: vec![], action: RuleAction::Forward(vec![(GROUP.into(), 1)]) };
    let load_balancer = LoadBalancerSpec {
        id: "app/bench/1".into(),
        dns_name: "bench.us-east-1.elb.localhost".into(),
        internet_facing: false,
        nodes: vec![NodeSpec {
            zone: "a".into(),
            address: Ipv4Addr::LOCALHOST,
            namespace: "/proc/self/ns/net".into(),
        }],
        listeners: vec![ListenerSpec { port, tls: None, rules: vec![rule] }],
        edge_ingress: vec![],
        attributes: LoadBalancerAttributes::default(),
    };
    let target = |address: &SocketAddr| TargetSpec {
        address: Ipv4Addr::LOCALHOST,
        port: address.port(),
        zone: "a".into(),
        draining: false,
        last_known: Some(Health::Healthy),
    };
    let group = TargetGroupSpec {
        id: GROUP.into(),
        health_check: HealthCheckSpec {
            path: "/health".into(),
            port: None,
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            healthy_threshold: 2,
            unhealthy_threshold: 2,
            matcher: vec![(200, 200)],
        },
        targets: targets.iter().map(target).collect(),
        algorithm: Algorithm::RoundRobin,
    };
    ProxySpec { load_balancers: vec![load_balancer], target_groups: vec![group] }
}
