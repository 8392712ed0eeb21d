//! The resolver, asked by an interface through the router.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::str::FromStr;
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use pileus_contract::Fabric;
use pileus_contract::fabric::NameSpec;
use pileus_fabric::{Resolver, ResolverConfig};

use crate::reference::{interface, vpc};
use crate::world::{World, at, inside, router, spec, world};

pub(crate) const RESOLVER: [u8; 4] = [10, 0, 0, 2];
const LINK_LOCAL: [u8; 4] = [169, 254, 169, 253];

fn query(name: &str) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_str(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

fn outcome(bytes: &[u8]) -> String {
    let message = Message::from_vec(bytes).unwrap();
    match message.metadata.response_code {
        ResponseCode::NoError => message.answers.iter().map(|record| record.data.to_string()).collect(),
        code => format!("{code:?}"),
    }
}

pub(crate) fn by_udp(from: &File, resolver: [u8; 4], name: &str) -> String {
    let socket = inside(from, || UdpSocket::bind("0.0.0.0:0").unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.connect((Ipv4Addr::from(resolver), 53)).unwrap();
    socket.send(&query(name)).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    outcome(&buffer[..length])
}

fn by_tcp(from: &File, name: &str) -> String {
    let address = SocketAddr::from((RESOLVER, 53));
    let mut stream = inside(from, || TcpStream::connect_timeout(&address, Duration::from_secs(10)).unwrap());
    let bytes = query(name);
    stream.write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&bytes).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    outcome(&answer)
}

/// A name server of the host, that knows one address for every name.
fn host_resolver(world: &World) -> std::path::PathBuf {
    let socket = inside(&world.host, || UdpSocket::bind("127.0.0.1:53").unwrap());
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).unwrap();
            let mut message = Message::from_vec(&buffer[..length]).unwrap().into_response();
            let name = message.queries[0].name().clone();
            message.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 99))));
            socket.send_to(&message.to_vec().unwrap(), client).unwrap();
        }
    });
    let path = world.directory.path().join("resolv.conf");
    std::fs::write(&path, "nameserver 127.0.0.1\n").unwrap();
    path
}

#[test]
fn an_interface_resolves_private_names_and_the_internets() {
    world(|world| {
        let fabric = world.fabric("eeeee1");
        let mut vpc = vpc("vpc-1");
        // Neither groups nor ACLs filter the resolver.
        vpc.security_groups[1].egress.clear();
        vpc.subnets[2].acl_egress.clear();
        vpc.interfaces = vec![interface("private-a", "10.0.10.5", "sg-task")];
        fabric.apply(&spec(&vpc)).unwrap();
        let mut config = ResolverConfig::of(&vpc, router(&fabric, "vpc-1"));
        config.resolv_conf = host_resolver(world);
        let resolver = Resolver::start(&config).unwrap();
        assert!(Resolver::start(&config).is_err(), "the addresses are taken");
        let name = "ip-10-0-10-5.ec2.internal";
        let names = [NameSpec { name: name.into(), addresses: vec![[10, 0, 10, 5].into()] }];
        let task = at(&fabric, "eni-10-0-10-5");
        assert_eq!(by_udp(&task, RESOLVER, name), "NXDomain");
        resolver.update(&names);
        assert_eq!(by_udp(&task, RESOLVER, name), "10.0.10.5");
        assert_eq!(by_udp(&task, LINK_LOCAL, name), "10.0.10.5");
        assert_eq!(by_tcp(&task, name), "10.0.10.5");
        assert_eq!(by_udp(&task, RESOLVER, "example.com"), "192.0.2.99");
        std::fs::write(&config.resolv_conf, "").unwrap();
        assert_eq!(by_udp(&task, RESOLVER, "example.com"), "ServFail", "the host has no resolver now");
        drop(resolver);
        assert!(Resolver::start(&config).is_ok(), "a dropped resolver frees its addresses");
    });
}
