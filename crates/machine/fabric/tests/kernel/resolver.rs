//! The resolver's process: what it serves, what it outlives, and what brings it back.

use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pileus_contract::Fabric;
use pileus_contract::fabric::{FabricSpec, NameSpec, VpcSpec};
use pileus_fabric::{FabricConfig, ResolverClient};

use crate::dns::{RESOLVER, by_udp};
use crate::reference::{interface, vpc};
use crate::world::{World, at, spec, world};

const COMMAND: [&str; 1] = [env!("CARGO_BIN_EXE_pileus-resolver")];
const NAME: &str = "ip-10-0-10-5.ec2.internal";

fn named(id: &str, last: u8) -> VpcSpec {
    let mut vpc = vpc(id);
    vpc.interfaces = vec![interface("private-a", "10.0.10.5", "sg-task")];
    vpc.names = vec![NameSpec { name: NAME.into(), addresses: vec![Ipv4Addr::new(10, 0, 10, last)] }];
    vpc
}

fn client(world: &World, instance: &str) -> (ResolverClient, FabricConfig) {
    let config = world.config(instance);
    (ResolverClient::start(COMMAND, &config).unwrap(), config)
}

/// The processes that have the instance's run directory in their arguments.
fn processes(config: &FabricConfig) -> Vec<Pid> {
    let directory = config.run_dir.to_str().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: i32 = entry.unwrap().file_name().to_str()?.parse().ok()?;
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        String::from_utf8_lossy(&arguments).contains(directory).then_some(Pid::from_raw(pid))
    });
    entries.collect()
}

fn the_process(config: &FabricConfig) -> Pid {
    let found = processes(config);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

/// Waits for what comes by itself.
fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn one_process_serves_all_vpcs_and_takes_changes_as_it_runs() {
    world(|world| {
        let fabric = world.fabric("eeeee2");
        let (client, config) = client(world, "eeeee2");
        let mut other = named("vpc-2", 9);
        other.nat_gateways.clear();
        other.interfaces[0].id = "eni-other".into();
        let mut both = FabricSpec { vpcs: vec![named("vpc-1", 5), other], ..FabricSpec::default() };
        fabric.apply(&both).unwrap();
        client.apply(&both).unwrap();
        let process = the_process(&config);
        let (task, task_of_other) = (at(&fabric, "eni-10-0-10-5"), at(&fabric, "eni-other"));
        assert_eq!(by_udp(&task, RESOLVER, NAME), "10.0.10.5");
        assert_eq!(by_udp(&task_of_other, RESOLVER, NAME), "10.0.10.9", "the same name in another VPC");
        both.vpcs[0] = named("vpc-1", 6);
        client.apply(&both).unwrap();
        assert_eq!(by_udp(&task, RESOLVER, NAME), "10.0.10.6");
        assert_eq!(by_udp(&task_of_other, RESOLVER, NAME), "10.0.10.9");
        assert_eq!(the_process(&config), process, "the same process");
        let mode = |name| config.run_dir.join(name).metadata().unwrap().mode() & 0o777;
        assert_eq!([mode("resolver.sock"), mode("resolver.json")], [0o600; 2]);
    });
}

#[test]
fn a_vpc_that_is_gone_is_told_and_disturbs_no_other() {
    world(|world| {
        let fabric = world.fabric("eeeee3");
        let (client, config) = client(world, "eeeee3");
        let vpc = named("vpc-1", 5);
        fabric.apply(&spec(&vpc)).unwrap();
        let both = FabricSpec { vpcs: vec![named("vpc-0", 9), vpc.clone()], ..FabricSpec::default() };
        let error = client.apply(&both).unwrap_err().to_string();
        assert!(error.contains("vpc-0") && !error.contains("vpc-1"), "{error}");
        let process = the_process(&config);
        let ask = || by_udp(&at(&fabric, "eni-10-0-10-5"), RESOLVER, NAME);
        assert_eq!(ask(), "10.0.10.5");
        // Its router is removed under the resolver, and made anew at the same path.
        fabric.apply(&FabricSpec::default()).unwrap();
        fabric.apply(&spec(&vpc)).unwrap();
        client.apply(&spec(&vpc)).unwrap();
        assert_eq!(ask(), "10.0.10.5");
        assert_eq!(the_process(&config), process, "the same process");
        std::fs::write(config.run_dir.join("resolver.json"), "rubbish").unwrap();
        drop(client);
        let client = ResolverClient::start(COMMAND, &config).unwrap();
        assert_eq!(ask(), "10.0.10.5", "what runs goes on");
        client.apply(&FabricSpec::default()).unwrap();
        fabric.apply(&FabricSpec::default()).unwrap();
    });
}

#[test]
fn it_outlives_its_client_and_a_kill() {
    world(|world| {
        let fabric = world.fabric("eeeee4");
        let (client, config) = client(world, "eeeee4");
        let vpc = named("vpc-1", 5);
        fabric.apply(&spec(&vpc)).unwrap();
        client.apply(&spec(&vpc)).unwrap();
        let process = the_process(&config);
        let ask = || by_udp(&at(&fabric, "eni-10-0-10-5"), RESOLVER, NAME);
        drop(client);
        assert_eq!(ask(), "10.0.10.5", "without a client");
        let second = ResolverClient::start(COMMAND, &config).unwrap();
        second.apply(&spec(&vpc)).unwrap();
        assert_eq!(the_process(&config), process, "adopted");

        kill(process, Signal::SIGKILL).unwrap();
        until("another process", || processes(&config).iter().any(|pid| *pid != process));
        until("its socket", || {
            std::os::unix::net::UnixStream::connect(config.run_dir.join("resolver.sock")).is_ok()
        });
        assert_eq!(ask(), "10.0.10.5", "by what was last applied");
        let again = the_process(&config);
        kill(again, Signal::SIGKILL).unwrap();
        until("a third process", || processes(&config).iter().any(|pid| *pid != again));
        second.apply(&spec(&named("vpc-1", 7))).unwrap();
        assert_eq!(ask(), "10.0.10.7");
        assert_eq!(processes(&config).len(), 1);
    });
}

#[test]
fn cleaning_ends_it_and_leaves_nothing() {
    world(|world| {
        let before = world.traces();
        let fabric = world.fabric("eeeee5");
        let (client, config) = client(world, "eeeee5");
        let vpc = named("vpc-1", 5);
        fabric.apply(&spec(&vpc)).unwrap();
        client.apply(&spec(&vpc)).unwrap();
        drop((client, fabric));
        pileus_fabric::clean(&config).unwrap();
        assert_eq!(processes(&config), []);
        assert_eq!(world.traces(), before);
        pileus_fabric::clean(&config).unwrap();

        let command = ["/nonexistent/pileus", "resolver"];
        let broken = ResolverClient::start(command, &config).unwrap();
        let error = broken.apply(&spec(&vpc)).unwrap_err().to_string();
        assert!(error.contains("start the resolver"), "{error}");
    });
}
