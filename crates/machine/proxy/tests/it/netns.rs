//! Two nodes and two targets in network namespaces of their own, joined by a router, as a VPC is. Needs root.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use nix::sched::{CloneFlags, setns};
use pileus_contract::proxy::{Health, NodeSpec, TargetSpec, UnhealthyReason};

use crate::bed::{Bed, Wire, simple};
use crate::messages::read_message;

/// Runs `program` with these arguments, separated by spaces.
fn run(program: &str, arguments: &str) {
    let output = Command::new(program).args(arguments.split(' ')).output().expect("installed");
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A namespace with one interface at `address`, routed through the bed's router. Removed when dropped.
struct Namespace {
    name: String,
    address: Ipv4Addr,
}

impl Namespace {
    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Runs `make` on a thread inside the namespace.
    fn enter<T: Send>(&self, make: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let namespace = std::fs::File::open(self.path()).expect("it exists");
                setns(namespace, CloneFlags::CLONE_NEWNET).expect("root");
                make()
            });
            inside.join().expect("no panic")
        })
    }

    /// Serves the caller's address at every request, also to health checks.
    fn serve(&self) {
        let listener = self.enter(|| TcpListener::bind((self.address, 3000)).expect("a free port"));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let peer = stream.peer_addr().expect("connected").ip().to_string();
                    while read_message(&mut stream, false, true).is_some() {
                        crate::bed::respond(&mut stream, 200, peer.as_bytes());
                    }
                });
            }
        });
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        run("ip", &format!("netns delete {}", self.name));
    }
}

/// A router namespace and, behind it, one namespace for each address.
fn network(addresses: &[Ipv4Addr]) -> (Namespace, Vec<Namespace>) {
    assert!(nix::unistd::geteuid().is_root(), "this test makes network namespaces: run it as root");
    let id = std::process::id();
    let router = Namespace { name: format!("plt{id}r"), address: Ipv4Addr::new(10, 99, 0, 1) };
    run("ip", &format!("netns add {}", router.name));
    run("ip", &format!("-n {} link set lo up", router.name));
    run("ip", &format!("netns exec {} sysctl -qw net.ipv4.ip_forward=1", router.name));
    let hosts = addresses.iter().enumerate().map(|(index, address)| {
        let host = Namespace { name: format!("plt{id}h{index}"), address: *address };
        run("ip", &format!("netns add {}", host.name));
        let (inner, outer) = (&host.name, &router.name);
        run("ip", &format!("-n {inner} link add eth0 type veth peer name v{index} netns {outer}"));
        run("ip", &format!("-n {outer} link set v{index} up"));
        run("ip", &format!("-n {outer} addr add {} peer {address} dev v{index}", router.address));
        for command in [
            "link set lo up".to_owned(),
            "link set eth0 up".to_owned(),
            format!("addr add {address}/32 dev eth0"),
            format!("route add {} dev eth0 scope link", router.address),
            format!("route add default via {} dev eth0 src {address}", router.address),
        ] {
            run("ip", &format!("-n {inner} {command}"));
        }
        host
    });
    let hosts = hosts.collect();
    (router, hosts)
}

#[test]
fn nodes_listen_and_reach_targets_from_their_own_namespace() {
    let address = |last| Ipv4Addr::new(10, 99, 0, last);
    let (_router, hosts) = network(&[address(10), address(11), address(20), address(21), address(30)]);
    let [node_a, node_b, target_a, target_b, client] = &hosts[..] else { panic!("five hosts") };
    target_a.serve();
    target_b.serve();
    let mut spec = simple(&[]);
    let node = |zone: &str, host: &Namespace| NodeSpec {
        zone: zone.into(),
        address: host.address,
        namespace: host.path(),
    };
    spec.load_balancers[0].nodes = vec![node("a", node_a), node("b", node_b)];
    let target = |zone: &str, host: &Namespace| TargetSpec {
        address: host.address,
        port: 3000,
        zone: zone.into(),
        draining: false,
        last_known: None,
    };
    spec.target_groups[0].targets = vec![target("a", target_a), target("b", target_b)];
    let mut bed = Bed::with(spec, |config| config.workers = 1);
    bed.wait_for_healthy(2);

    // From the edge: each connection goes through the next node, and the target sees that node's address.
    let mut through = [0; 2];
    for _ in 0..8 {
        through[usize::from(bed.get("/").text() == node_b.address.to_string())] += 1;
    }
    assert_eq!(through, [4, 4]);

    // From inside: at the node's own address, and from there.
    let mut inside =
        Wire { stream: client.enter(|| TcpStream::connect((node_a.address, 80)).expect("listening")) };
    assert_eq!(inside.get("/").text(), node_a.address.to_string());

    // A zone is cut off: its target falls, its node is not used by the edge any more.
    run("ip", &format!("-n {} link set eth0 down", target_b.name));
    let lost = bed.wait_for_unhealthy();
    assert!(matches!(lost, UnhealthyReason::Timeout | UnhealthyReason::FailedHealthChecks));
    assert!((0..6).all(|_| bed.get("/").text() == node_a.address.to_string()));
}

#[test]
fn a_black_hole_is_504() {
    let address = Ipv4Addr::new(10, 98, 0, 1);
    let name = format!("plt{}b", std::process::id());
    run("ip", &format!("netns add {name}"));
    let namespace = Namespace { name, address };
    for command in ["link set lo up", "addr add 10.98.0.1/32 dev lo", "addr add 10.98.0.2/32 dev lo"] {
        run("ip", &format!("-n {} {command}", namespace.name));
    }
    // What a security group does to packets it does not allow.
    let exec = format!("netns exec {} nft", namespace.name);
    run("ip", &format!("{exec} add table inet t"));
    run("ip", &format!("{exec} add chain inet t c {{ type filter hook input priority 0 ; }}"));
    run("ip", &format!("{exec} add rule inet t c ip daddr 10.98.0.2 drop"));
    let mut spec = simple(&[]);
    spec.load_balancers[0].nodes[0] = NodeSpec { zone: "a".into(), address, namespace: namespace.path() };
    spec.target_groups[0].targets = vec![TargetSpec {
        address: Ipv4Addr::new(10, 98, 0, 2),
        port: 3000,
        zone: "a".into(),
        draining: false,
        last_known: Some(Health::Healthy),
    }];
    let mut bed = Bed::new(spec);
    let response = bed.get("/");
    assert_eq!(response.start, "HTTP/1.1 504 Gateway Time-out", "after the connect timeout of 10 s");
}
