//! Coming and going: adoption after a kill, repair, removal, several engines.

use std::net::Ipv4Addr;

use pileus_contract::fabric::{Fabric, FabricSpec, VpcSpec};
use pileus_fabric::LinuxFabric;

use crate::reference::{interface, vpc};
use crate::world::{Answer, HOST, ask, at, connection, hears, inside, ip, open, router, serve, spec, world};

const NODE: [u8; 4] = [10, 0, 1, 5];
const TASK: [u8; 4] = [10, 0, 10, 5];

fn topology(id: &str, third: u8) -> VpcSpec {
    let mut vpc = vpc(id);
    let mut node = interface("public-a", "10.0.1.5", "sg-alb");
    node.public_address = Some(Ipv4Addr::new(198, 18, third, 2));
    vpc.nat_gateways[0].public_address = Ipv4Addr::new(198, 18, third, 1);
    vpc.interfaces = vec![
        node,
        interface("public-b", "10.0.2.5", "sg-alb"),
        interface("private-a", "10.0.10.5", "sg-task"),
        interface("private-b", "10.0.11.5", "sg-task"),
    ];
    vpc
}

/// What the kernel holds for a VPC, without what changes by itself.
fn state(fabric: &LinuxFabric, vpc: &VpcSpec) -> String {
    let path = router(fabric, &vpc.id);
    let mut text = inside(&open(&path), || {
        let rules = std::process::Command::new("nft").args(["list", "ruleset"]).output().unwrap();
        ip("-brief link")
            + &ip("-4 route show table all")
            + &ip("rule")
            + &String::from_utf8(rules.stdout).unwrap()
    });
    for interface in &vpc.interfaces {
        text +=
            &inside(&at(fabric, &interface.id), || ip("-4 -oneline addr show dev eth0") + &ip("-4 route"));
    }
    text
}

/// The state without the order and the numbers of links, which differ when links were made again.
fn mend(text: &str) -> String {
    let kept = |line: &&str| !line.contains("mtu") && !line.contains(" UP ");
    let name = |line: &str| line.split_once(": eth0").map_or(line, |(_, rest)| rest).to_owned();
    let mut lines: Vec<String> = text.lines().filter(kept).map(name).collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn a_second_process_adopts_what_a_killed_one_left() {
    world(|world| {
        let vpc = topology("vpc-1", 0);
        let first = world.fabric("ddddd1");
        first.apply(&spec(&vpc)).unwrap();
        serve(&at(&first, "eni-10-0-10-5"), 3000);
        serve(&world.host, 8080);
        let node = at(&first, "eni-10-0-1-5");
        let mut inner = connection(&node, TASK.into(), 3000);
        let mut outer = connection(&node, HOST, 8080);
        assert_eq!(hears(&mut inner), Answer::From(NODE.into()));
        assert_eq!(hears(&mut outer), Answer::From([198, 18, 0, 2].into()));
        let before = (state(&first, &vpc), world.traces());
        drop(first);

        let second = world.fabric("ddddd1");
        second.apply(&spec(&vpc)).unwrap();
        assert_eq!((state(&second, &vpc), world.traces()), before, "links and routes are the same ones");
        assert_eq!(hears(&mut inner), Answer::From(NODE.into()));
        assert_eq!(hears(&mut outer), Answer::From([198, 18, 0, 2].into()), "with the same translation");

        drop(second);
        let third = world.fabric("ddddd1");
        let mut smaller = vpc.clone();
        smaller.interfaces.remove(3);
        third.apply(&spec(&smaller)).unwrap();
        assert!(!third.namespace("eni-10-0-11-5").exists(), "removed while nobody was there");
        assert_eq!(ask(&node, TASK, 3000), Answer::From(NODE.into()));
    });
}

#[test]
fn what_a_crash_left_half_made_is_made_whole() {
    world(|world| {
        let vpc = topology("vpc-1", 0);
        let fabric = world.fabric("ddddd2");
        fabric.apply(&spec(&vpc)).unwrap();
        let whole = state(&fabric, &vpc);
        drop(fabric);

        // A file without a namespace, a namespace of nobody, and the traces of steps that were not finished.
        let netns = world.config("ddddd2").run_dir.join("netns");
        std::fs::write(netns.join("eni-stray"), "").unwrap();
        nix::mount::umount2(&netns.join("eni-10-0-11-5"), nix::mount::MntFlags::MNT_DETACH).unwrap();
        inside(&open(&netns.join("vpc-1")), || {
            ip("link set e0a000a05 down");
            ip("route del 10.0.1.5/32");
            ip("rule del from 10.0.1.0/24 priority 1000");
            ip("rule add from 10.9.0.0/24 lookup 999 priority 1000");
            ip("route add blackhole 10.9.0.0/24 table 999 proto static");
            ip("addr add 10.9.0.1/32 dev lo");
            ip("addr del 10.0.0.2/32 dev lo");
            std::process::Command::new("nft").args(["flush", "ruleset"]).status().unwrap();
        });
        let fabric = world.fabric("ddddd2");
        fabric.apply(&spec(&vpc)).unwrap();
        assert!(!netns.join("eni-stray").exists());
        assert_eq!(mend(&state(&fabric, &vpc)), mend(&whole));
        serve(&at(&fabric, "eni-10-0-11-5"), 3000);
        assert!(matches!(ask(&at(&fabric, "eni-10-0-1-5"), [10, 0, 11, 5], 3000), Answer::From(_)));
    });
}

#[test]
fn a_lost_edge_or_router_is_made_again() {
    world(|world| {
        let vpc = topology("vpc-1", 0);
        let fabric = world.fabric("ddddd3");
        fabric.apply(&spec(&vpc)).unwrap();
        serve(&world.host, 8080);
        let links = ip("-brief link");
        let edge = links.split_whitespace().find(|word| word.starts_with("plddddd3")).unwrap();
        ip(&format!("link del {}", edge.split('@').next().unwrap()));
        drop(fabric);
        let fabric = world.fabric("ddddd3");
        fabric.apply(&spec(&vpc)).unwrap();
        assert_eq!(ask(&at(&fabric, "eni-10-0-10-5"), HOST, 8080), Answer::From([198, 18, 0, 1].into()));

        nix::mount::umount2(&router(&fabric, "vpc-1"), nix::mount::MntFlags::MNT_DETACH).unwrap();
        drop(fabric);
        let fabric = world.fabric("ddddd3");
        fabric.apply(&spec(&vpc)).unwrap();
        assert_eq!(ask(&at(&fabric, "eni-10-0-10-5"), HOST, 8080), Answer::From([198, 18, 0, 1].into()));
    });
}

#[test]
fn a_removed_interface_frees_its_address_even_while_a_process_lives_in_it() {
    world(|world| {
        let fabric = world.fabric("ddddd4");
        let mut vpc = topology("vpc-1", 0);
        fabric.apply(&spec(&vpc)).unwrap();
        let old = at(&fabric, "eni-10-0-10-5");
        serve(&old, 3000);
        vpc.interfaces[2].id = "eni-next".into();
        fabric.apply(&spec(&vpc)).unwrap();
        assert!(!fabric.namespace("eni-10-0-10-5").exists());
        let node = at(&fabric, "eni-10-0-1-5");
        assert_eq!(
            ask(&node, TASK, 3000),
            Answer::Refused(std::io::ErrorKind::ConnectionRefused),
            "the address is the next one's"
        );
        serve(&at(&fabric, "eni-next"), 3000);
        assert_eq!(ask(&node, TASK, 3000), Answer::From(NODE.into()));
        assert_eq!(inside(&old, || ip("-brief link")).matches("eth0").count(), 0);
    });
}

#[test]
fn a_vpc_that_is_gone_leaves_nothing() {
    world(|world| {
        let fabric = world.fabric("ddddd5");
        let mut both = spec(&topology("vpc-1", 0));
        let mut other = topology("vpc-2", 1);
        other.interfaces.iter_mut().for_each(|interface| interface.id += "-2");
        fabric.apply(&both).unwrap();
        let before = world.traces();
        both.vpcs.push(other);
        fabric.apply(&both).unwrap();
        assert_ne!(world.traces(), before);
        both.vpcs.pop();
        fabric.apply(&both).unwrap();
        assert_eq!(world.traces(), before);
    });
}

#[test]
fn teardown_leaves_nothing_and_the_fabric_can_begin_anew() {
    world(|world| {
        let before = world.traces();
        let vpc = topology("vpc-1", 0);
        let fabric = world.fabric("ddddd6");
        std::fs::remove_dir_all(world.config("ddddd6").run_dir).ok();
        fabric.apply(&spec(&vpc)).unwrap();
        assert_ne!(world.traces(), before);
        fabric.teardown().unwrap();
        fabric.teardown().unwrap();
        assert_eq!(world.traces(), before);
        fabric.apply(&spec(&vpc)).unwrap();
        serve(&at(&fabric, "eni-10-0-10-5"), 3000);
        assert_eq!(ask(&at(&fabric, "eni-10-0-1-5"), TASK, 3000), Answer::From(NODE.into()));
        drop(fabric);
        // By somebody who knows nothing but the names.
        pileus_fabric::clean(&world.config("ddddd6")).unwrap();
        assert_eq!(world.traces(), before);
    });
}

#[test]
fn two_engines_live_side_by_side() {
    world(|world| {
        let before = world.traces();
        let (one, two) = (world.fabric("ddddd7"), world.fabric("ddddd8"));
        one.apply(&spec(&topology("vpc-1", 0))).unwrap();
        two.apply(&spec(&topology("vpc-1", 1))).unwrap();
        serve(&world.host, 8080);
        for (fabric, third) in [(&one, 0), (&two, 1)] {
            serve(&at(fabric, "eni-10-0-10-5"), 3000);
            serve(&at(fabric, "eni-10-0-1-5"), 80);
            let node = at(fabric, "eni-10-0-1-5");
            assert_eq!(ask(&node, TASK, 3000), Answer::From(NODE.into()));
            assert_eq!(ask(&node, HOST, 8080), Answer::From([198, 18, third, 2].into()));
            assert!(matches!(ask(&world.host, [198, 18, third, 2], 80), Answer::From(_)));
        }
        let across = ask(&at(&one, "eni-10-0-10-5"), [198, 18, 1, 2], 80);
        assert_eq!(across, Answer::From([198, 18, 0, 1].into()), "each is the other's internet");
        one.teardown().unwrap();
        assert!(world.traces().contains("forwarding 1"), "the other still needs it");
        assert_eq!(ask(&at(&two, "eni-10-0-1-5"), HOST, 8080), Answer::From([198, 18, 1, 2].into()));
        two.teardown().unwrap();
        assert_eq!(world.traces(), before);
    });
}

#[test]
fn forwarding_that_the_host_had_on_stays_on_and_is_not_guarded() {
    world(|world| {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let fabric = world.fabric("ddddd9");
        fabric.apply(&spec(&topology("vpc-1", 0))).unwrap();
        assert!(!world.traces().contains("guard"));
        fabric.teardown().unwrap();
        assert!(world.traces().contains("forwarding 1"));
    });
}

#[test]
fn a_bad_vpc_is_named_and_does_not_hinder_the_others() {
    world(|world| {
        let fabric = world.fabric("dddd10");
        let good = topology("vpc-1", 0);
        let mut bad = topology("vpc-2", 1);
        bad.interfaces.iter_mut().for_each(|interface| interface.id += "-2");
        bad.interfaces[1].security_groups = vec!["sg-missing".into()];
        let both = FabricSpec { vpcs: vec![bad.clone(), good], ..FabricSpec::default() };
        let error = fabric.apply(&both).unwrap_err().to_string();
        assert!(error.contains("vpc-2") && error.contains("sg-missing"), "{error}");
        serve(&at(&fabric, "eni-10-0-10-5"), 3000);
        assert_eq!(ask(&at(&fabric, "eni-10-0-1-5"), TASK, 3000), Answer::From(NODE.into()));
        drop(fabric);

        // One that gets into trouble keeps its traffic, also past a new process.
        let fabric = world.fabric("dddd10");
        let mut mended = both;
        mended.vpcs[0].interfaces[1].security_groups.clear();
        fabric.apply(&mended).unwrap();
        drop(fabric);
        serve(&world.host, 8080);
        let fabric = world.fabric("dddd10");
        let mut broken = mended.clone();
        broken.vpcs[1].interfaces[1].security_groups = vec!["sg-missing".into()];
        assert!(fabric.apply(&broken).unwrap_err().cause.contains("sg-missing"));
        assert_eq!(ask(&at(&fabric, "eni-10-0-1-5"), HOST, 8080), Answer::From([198, 18, 0, 2].into()));
        let mut mended = broken;
        mended.vpcs[1].interfaces[1].security_groups.clear();
        fabric.apply(&mended).unwrap();
        assert!(fabric.namespace("eni-10-0-1-5-2").exists());
    });
}

#[test]
fn an_instance_id_must_be_six_letters_or_digits() {
    for bad in ["", "a1b2c", "a1b2c3d", "A1B2C3", "a1b2c*"] {
        let config = pileus_fabric::FabricConfig { instance: bad.into(), run_dir: "/nonexistent".into() };
        assert!(LinuxFabric::new(&config).is_err(), "{bad:?}");
    }
}

const DOOMED: &str = "PILEUS_FABRIC_DOOMED";

/// The networks between which the doomed process goes to and fro.
fn to_and_fro() -> [FabricSpec; 2] {
    let full = spec(&topology("vpc-1", 0));
    let mut other = full.clone();
    other.vpcs[0].interfaces.remove(1);
    other.vpcs[0].interfaces[1].id = "eni-next".into();
    other.vpcs[0].interfaces[0].security_groups = vec!["sg-task".into()];
    other.vpcs[0].subnets.remove(3);
    other.vpcs[0].interfaces.retain(|interface| interface.subnet != "subnet-private-b");
    [full, other]
}

#[test]
#[ignore = "runs as a process of its own, which a_kill_at_any_moment_is_mended kills"]
fn doomed() {
    let directory = std::env::var_os(DOOMED).expect("started by a_kill_at_any_moment_is_mended");
    let config = pileus_fabric::FabricConfig { instance: "dddd11".into(), run_dir: directory.into() };
    let fabric = LinuxFabric::new(&config).unwrap();
    for spec in to_and_fro().iter().cycle() {
        fabric.apply(spec).unwrap();
    }
}

#[test]
fn a_kill_at_any_moment_is_mended() {
    world(|world| {
        let before = world.traces();
        let [full, _] = to_and_fro();
        let fabric = world.fabric("dddd11");
        fabric.apply(&full).unwrap();
        let (whole, traces) = (state(&fabric, &full.vpcs[0]), world.traces());
        fabric.teardown().unwrap();
        for round in 0..12 {
            let mut process = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--exact", "lifecycle::doomed"])
                .env(DOOMED, world.config("dddd11").run_dir)
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            // Moments spread over the first rounds of the process; which step they meet is left to chance.
            std::thread::sleep(std::time::Duration::from_millis(10 + 13 * round));
            process.kill().unwrap();
            process.wait().unwrap();
            let fabric = world.fabric("dddd11");
            fabric.apply(&full).unwrap();
            assert_eq!(mend(&state(&fabric, &full.vpcs[0])), mend(&whole), "round {round}");
            assert_eq!(mend(&world.traces()), mend(&traces), "round {round}");
            if round % 3 == 0 {
                fabric.teardown().unwrap();
                assert_eq!(world.traces(), before, "round {round}");
            }
        }
    });
}
