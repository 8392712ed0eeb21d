//! What changes of a network cost: medians in milliseconds, in a namespace of its own. Needs root.
//!
//! `cargo run --release -p pileus-fabric --example cost`

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement for a person to read")]

#[path = "../src/reference.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod reference;

use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use pileus_contract::Fabric;
use pileus_contract::fabric::{FabricSpec, VpcSpec};
use pileus_fabric::{FabricConfig, LinuxFabric};
use reference::{anywhere, interface, rule, vpc};

const ROUNDS: u8 = 20;

fn topology(interfaces: u16) -> VpcSpec {
    let mut vpc = vpc("vpc-1");
    for number in 0..interfaces {
        let (subnet, third) = [("private-a", 10), ("private-b", 11)][usize::from(number % 2)];
        let address = format!("10.0.{third}.{}", 10 + number / 2);
        vpc.interfaces.push(interface(subnet, &address, "sg-task"));
    }
    vpc
}

fn spec(vpc: &VpcSpec) -> FabricSpec {
    FabricSpec { vpcs: vec![vpc.clone()], ..FabricSpec::default() }
}

fn timed(fabric: &LinuxFabric, vpc: &VpcSpec) -> Duration {
    let spec = spec(vpc);
    let start = Instant::now();
    fabric.apply(&spec).unwrap();
    start.elapsed()
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let median = times[times.len() / 2];
    println!("{what:<52} {:>8.2} ms (worst {:.2})", ms(median), ms(times[times.len() - 1]));
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn measure(fabric: &LinuxFabric, interfaces: u16) {
    let base = topology(interfaces);
    let (mut first, mut again, mut adopted) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        fabric.teardown().unwrap();
        first.push(timed(fabric, &base));
        again.push(timed(fabric, &base));
    }
    report(&format!("first apply, {interfaces} interfaces"), first);
    report("the same again", again);
    let (mut added, mut removed, mut ruled) = (Vec::new(), Vec::new(), Vec::new());
    // The kernel takes removed namespaces apart in the background, under the lock that every change needs.
    std::thread::sleep(Duration::from_millis(500));
    let mut vpc = base.clone();
    for round in 0..ROUNDS {
        vpc.interfaces.push(interface("public-b", &format!("10.0.2.{}", 10 + round), "sg-alb"));
        added.push(timed(fabric, &vpc));
    }
    for round in 0..ROUNDS {
        let port = 4000 + u16::from(round);
        let traffic = pileus_contract::fabric::TrafficSpec::Tcp { from: port, to: port };
        vpc.security_groups[1].ingress.push(rule(traffic, anywhere()));
        ruled.push(timed(fabric, &vpc));
    }
    for _ in 0..ROUNDS {
        vpc.interfaces.pop();
        removed.push(timed(fabric, &vpc));
    }
    report("one interface more", added);
    report("one interface less", removed);
    report("one rule more", ruled);
    for _ in 0..5 {
        let fresh = LinuxFabric::new(&config()).unwrap();
        adopted.push(timed(&fresh, &base));
    }
    report("adoption by a new process", adopted);
}

fn config() -> FabricConfig {
    let run_dir = std::env::temp_dir().join(format!("pileus-cost-{}", std::process::id()));
    FabricConfig { instance: "cost00".into(), run_dir }
}

fn main() {
    let work = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let fabric = LinuxFabric::new(&config()).unwrap();
        for interfaces in [4, 100, 400] {
            measure(&fabric, interfaces);
        }
        fabric.teardown().unwrap();
        std::fs::remove_dir_all(config().run_dir).unwrap();
    };
    std::thread::spawn(work).join().unwrap();
}
