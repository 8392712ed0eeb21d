//! The doors through which requests come to the APIs: loopback, the internet of the VPCs, and interface endpoints.
//!
//! Through which door a request came is in its extensions, as an [`Arrival`]. What comes from a VPC is in plain HTTP:
//! there is no authority that issues `*.amazonaws.com` to us and that SDKs trust, and the way there is within this host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use http::request::Parts;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};
use pileus_contract::fabric::ApiSpec;
use pileus_core::Scope;
use pileus_network::{public_pool, vpc_endpoint};
use pileus_state::State;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::api::Engine;

/// The ports of an endpoint's interfaces, as rules for AWS name them.
const PORTS: [u16; 2] = [80, 443];

/// How a request came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) door: Door,
    /// Who sent it: of what went through a gateway, the gateway's public address.
    pub(crate) peer: IpAddr,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Processes of this host.
    Loopback,
    /// Tasks, through an internet or a NAT gateway.
    Internet,
    /// Tasks, through the VPC endpoint of this id.
    Endpoint { scope: Scope, id: String },
}

impl Arrival {
    /// How the request came; one that nobody has marked is the engine's own.
    pub(crate) fn of(parts: &Parts) -> Self {
        let marked = parts.extensions.get::<Self>().cloned();
        marked.unwrap_or(Self { door: Door::Loopback, peer: Ipv4Addr::LOCALHOST.into() })
    }

    pub(crate) fn is_loopback(&self) -> bool {
        self.door == Door::Loopback
    }
}

impl Door {
    /// Of a connection that somebody made at this door: gateway endpoints have none of their own, and are told by
    /// their address.
    pub(crate) fn of(&self, state: &State, peer: IpAddr) -> Self {
        let IpAddr::V4(peer) = peer else { return self.clone() };
        match vpc_endpoint::of_gateway_address(state, peer) {
            Some((scope, endpoint)) if *self == Self::Internet => {
                Self::Endpoint { scope: scope.clone(), id: endpoint.id.clone() }
            }
            _ => self.clone(),
        }
    }
}

/// The open doors besides the one on loopback.
pub(crate) struct Doors {
    engine: Arc<Engine>,
    internet: Option<ApiSpec>,
    /// By interface; what accepts there.
    endpoints: BTreeMap<String, Vec<AbortHandle>>,
}

impl Doors {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, internet: None, endpoints: BTreeMap::new() }
    }

    /// Where the APIs are on the internet of the VPCs. Opened once, on a free port: the fabric leads there.
    ///
    /// # Errors
    /// No socket can be had.
    pub(crate) fn internet(&mut self, state: &State) -> Result<ApiSpec, String> {
        if let Some(spec) = &self.internet {
            return Ok(spec.clone());
        }
        let apis = public_pool::apis(state);
        let failed = |error: std::io::Error| format!("the APIs cannot listen at {}: {error}", apis.others);
        let listener = unborn(apis.others).map_err(|errno| failed(errno.into()))?;
        let port = listener.local_addr().map_err(failed)?.port();
        self.accept(listener, Door::Internet).map_err(failed)?;
        let spec = ApiSpec {
            addresses: BTreeSet::from([apis.s3, apis.others]),
            listener: SocketAddrV4::new(apis.others, port),
        };
        self.internet = Some(spec.clone());
        Ok(spec)
    }

    /// Opens the doors at the interfaces of endpoints, which the fabric has made, and closes those of others.
    ///
    /// # Errors
    /// A socket cannot be opened; the other doors are.
    pub(crate) fn at_endpoints(&mut self, state: &State) -> Result<(), String> {
        let mut wanted = BTreeMap::new();
        for (scope, endpoint) in vpc_endpoint::served(state) {
            let door = Door::Endpoint { scope: scope.clone(), id: endpoint.id.clone() };
            wanted.extend(endpoint.interfaces().map(|(_, id)| (id.clone(), door.clone())));
        }
        self.endpoints.retain(|interface, doors| {
            let keep = wanted.contains_key(interface);
            if !keep {
                doors.iter().for_each(AbortHandle::abort);
            }
            keep
        });
        let missing = wanted.into_iter().filter(|(interface, _)| !self.endpoints.contains_key(interface));
        let failures: Vec<String> = missing
            .collect::<Vec<_>>()
            .into_iter()
            .filter_map(|(interface, door)| self.open(interface, &door).err())
            .collect();
        if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
    }

    fn open(&mut self, interface: String, door: &Door) -> Result<(), String> {
        let listen =
            |port| self.engine.machine.fabric.listen(&interface, port).map_err(|error| error.to_string());
        let listeners = PORTS.into_iter().map(listen).collect::<Result<Vec<_>, _>>()?;
        let accept = |listener| self.accept(listener, door.clone()).map_err(|error| error.to_string());
        let doors = listeners.into_iter().map(accept).collect::<Result<_, _>>()?;
        self.endpoints.insert(interface, doors);
        Ok(())
    }

    fn accept(&self, listener: std::net::TcpListener, door: Door) -> std::io::Result<AbortHandle> {
        let listener = TcpListener::from_std(listener)?;
        let accepting = super::accept(listener, self.engine.clone(), door, None);
        Ok(tokio::spawn(accepting).abort_handle())
    }
}

/// A socket on a free port of an address that the host does not have yet, and will have with its first VPC.
fn unborn(address: Ipv4Addr) -> nix::Result<std::net::TcpListener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    setsockopt(&socket, sockopt::IpFreebind, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(address, 0)))?;
    listen(&socket, Backlog::MAXCONN)?;
    Ok(socket.into())
}
