//! A world for one test: a namespace that plays the host, with a link to another that plays the rest of the internet.
//!
//! The real host is never touched, so tests run in parallel and beside engines.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use pileus_contract::fabric::{Fabric, FabricSpec, VpcSpec};
use pileus_fabric::{FabricConfig, LinuxFabric};

/// How long what must come may take: generous, since it ends as soon as it comes.
const COMES: Duration = Duration::from_secs(10);
/// How long a silent drop is waited for.
const SILENCE: Duration = Duration::from_millis(250);
/// The host's and the outside's addresses on the link between them.
pub const HOST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

pub struct World {
    pub directory: tempfile::TempDir,
    pub host: File,
    pub outside: File,
    instances: std::cell::RefCell<Vec<FabricConfig>>,
}

/// What a connection attempt came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The server saw this address as the client's.
    From(Ipv4Addr),
    /// Nothing came back, as when a packet is dropped.
    Silence,
    /// Somebody said no.
    Refused(ErrorKind),
}

/// Runs a test on a thread of its own, which stays in the namespace that plays the host.
pub fn world(test: impl FnOnce(&World) + Send) {
    assert!(nix::unistd::geteuid().is_root(), "these tests make network namespaces: run them as root");
    let result = std::thread::scope(|scope| scope.spawn(|| test(&World::new())).join());
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

impl World {
    fn new() -> Self {
        let outside = std::thread::spawn(fresh).join().unwrap();
        let host = fresh();
        let fd = format!("/proc/{}/fd/{}", std::process::id(), outside.as_raw_fd());
        ip("link set lo up");
        ip(&format!("link add uplink type veth peer name world netns {fd}"));
        inside(&outside, || {
            ip("link set lo up");
            ip(&format!("addr add {OUTSIDE}/24 dev world"));
            ip("link set world up");
        });
        ip(&format!("addr add {HOST}/24 dev uplink"));
        ip("link set uplink up");
        let directory = tempfile::tempdir().unwrap();
        Self { directory, host, outside, instances: std::cell::RefCell::default() }
    }

    pub fn config(&self, instance: &str) -> FabricConfig {
        let run_dir = self.directory.path().join(instance);
        FabricConfig { instance: instance.to_owned(), run_dir }
    }

    /// A fabric that is cleaned away at the end of the test.
    pub fn fabric(&self, instance: &str) -> LinuxFabric {
        let config = self.config(instance);
        let fabric = LinuxFabric::new(&config).unwrap();
        self.instances.borrow_mut().push(config);
        fabric
    }

    /// Everything of the host that a fabric changes, as text to be compared.
    pub fn traces(&self) -> String {
        let run = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let directory = self.directory.path().to_str().unwrap();
        let mounts: Vec<&str> = mounts.lines().filter(|line| line.contains(directory)).collect();
        let files = run("find", &[directory, "-mindepth", "2"]);
        let forward = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        // Names only: the state settles by itself, and the number of the other end tells nothing.
        let links: Vec<String> = run("ip", &["-brief", "link"])
            .lines()
            .map(|line| line.split(['@', ' ']).take(1).collect())
            .collect();
        let network = links.join("\n")
            + "\n"
            + &run("ip", &["-4", "route", "show", "table", "all"])
            + &run("ip", &["rule"])
            + &run("nft", &["list", "ruleset"]);
        format!("{network}mounts {mounts:?}\nfiles {files:?}\nforwarding {forward}")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for config in self.instances.borrow().iter() {
            let cleaned = pileus_fabric::clean(config);
            // While a failed test unwinds, its own panic says more.
            assert!(cleaned.is_ok() || std::thread::panicking(), "{cleaned:?}");
        }
    }
}

pub fn spec(vpc: &VpcSpec) -> FabricSpec {
    FabricSpec { vpcs: vec![vpc.clone()], ..FabricSpec::default() }
}

/// Moves the thread to a new namespace.
fn fresh() -> File {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    File::open("/proc/thread-self/ns/net").unwrap()
}

pub fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `work` in a namespace.
pub fn inside<T: Send>(namespace: &File, work: impl FnOnce() -> T + Send) -> T {
    let enter = || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    };
    std::thread::scope(|scope| scope.spawn(enter).join()).unwrap()
}

/// The namespace of an interface.
pub fn at(fabric: &LinuxFabric, interface: &str) -> File {
    open(&fabric.namespace(interface))
}

pub fn open(path: &Path) -> File {
    File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn router(fabric: &LinuxFabric, vpc: &str) -> PathBuf {
    fabric.namespace(vpc)
}

/// Serves every connection with the client's address, as the server sees it; ends with the test's process.
pub fn serve(namespace: &File, port: u16) {
    let listener = inside(namespace, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let peer = stream.peer_addr().unwrap().ip();
            std::thread::spawn(move || {
                // One answer per byte asked, so that a connection can be tried again later.
                let mut asked = [0];
                while stream.read(&mut asked).is_ok_and(|count| count > 0) {
                    if stream.write_all(format!("{peer}\n").as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
}

/// Connects and asks, expecting an answer.
pub fn ask(from: &File, address: impl Into<Ipv4Addr>, port: u16) -> Answer {
    attempt(from, address.into(), port, COMES)
}

/// Connects and asks, expecting none.
pub fn probe(from: &File, address: impl Into<Ipv4Addr>, port: u16) -> Answer {
    attempt(from, address.into(), port, SILENCE)
}

fn attempt(from: &File, address: Ipv4Addr, port: u16, patience: Duration) -> Answer {
    match inside(from, || TcpStream::connect_timeout(&SocketAddr::from((address, port)), patience)) {
        Ok(mut stream) => question(&mut stream, patience),
        Err(error) if error.kind() == ErrorKind::TimedOut => Answer::Silence,
        Err(error) => Answer::Refused(error.kind()),
    }
}

/// Asks on an open connection.
pub fn question(stream: &mut TcpStream, patience: Duration) -> Answer {
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(b"?").unwrap();
    let mut answer = [0; 64];
    match stream.read(&mut answer) {
        Ok(count) => Answer::From(first_line(&answer[..count])),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Answer::Silence,
        Err(error) => Answer::Refused(error.kind()),
    }
}

/// A question that was delayed by a cut may be answered together with the next.
fn first_line(answer: &[u8]) -> Ipv4Addr {
    String::from_utf8_lossy(answer).lines().next().unwrap().parse().unwrap()
}

/// An open connection, which must succeed.
pub fn connection(from: &File, address: Ipv4Addr, port: u16) -> TcpStream {
    inside(from, || TcpStream::connect_timeout(&SocketAddr::from((address, port)), COMES)).unwrap()
}

pub fn hears(stream: &mut TcpStream) -> Answer {
    question(stream, COMES)
}

pub fn hears_nothing(stream: &mut TcpStream) -> Answer {
    question(stream, SILENCE)
}

/// Sends a datagram from one namespace to a socket in another, and returns the source that the receiver saw.
pub fn datagram(from: &File, to: &File, address: Ipv4Addr, port: u16, comes: bool) -> Answer {
    let receiver = inside(to, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
    receiver.set_read_timeout(Some(if comes { COMES } else { SILENCE })).unwrap();
    let sender = inside(from, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
    sender.send_to(b"?", (address, port)).unwrap();
    match receiver.recv_from(&mut [0; 8]) {
        Ok((_, SocketAddr::V4(source))) => Answer::From(*source.ip()),
        Ok((_, source)) => panic!("IPv6 source {source}"),
        Err(_) => Answer::Silence,
    }
}
