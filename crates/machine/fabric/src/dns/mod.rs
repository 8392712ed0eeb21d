//! The VPC's resolver: at base + 2 and at 169.254.169.253 of the router's namespace.
//!
//! It answers the private names itself and asks the host's resolvers for the rest, with sockets in the host's
//! namespace. All of an engine's resolvers live in one process that outlives it: `process`, and the engine's side of it,
//! `client`. What both know is in `files`.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-dns.html>

mod answer;
mod client;
mod files;
mod forward;
mod process;
mod server;

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;

use pileus_contract::fabric::{NameSpec, VpcSpec};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::error::{FabricError, Result};
use crate::namespace::{Identity, Namespace};
use crate::routing;
pub use client::ResolverClient;
pub(crate) use client::stop;
pub use process::resolver_main;

use answer::Names;
use forward::Upstreams;
use server::Server;

const PORT: u16 = 53;

/// Where a resolver listens and whom it asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolverConfig {
    /// The router's namespace: `Fabric::namespace` of the VPC's id.
    pub namespace: PathBuf,
    /// The router's addresses to listen on.
    pub addresses: Vec<Ipv4Addr>,
    /// The file that names the host's resolvers, read again for every forwarded query.
    pub resolv_conf: PathBuf,
}

impl ResolverConfig {
    /// The resolver of `vpc`, whose router is the namespace at `namespace`.
    #[must_use]
    pub fn of(vpc: &VpcSpec, namespace: PathBuf) -> Self {
        let addresses = routing::resolvers(vpc).to_vec();
        Self { namespace, addresses, resolv_conf: PathBuf::from("/etc/resolv.conf") }
    }
}

/// A running resolver; dropping it stops it, and frees its addresses.
#[derive(Debug)]
pub struct Resolver {
    config: ResolverConfig,
    namespace: Identity,
    names: Arc<RwLock<Arc<Names>>>,
    /// The thread ends when the sender is dropped.
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Resolver {
    /// Starts a resolver on a thread of its own, in the calling thread's namespace.
    ///
    /// # Errors
    /// The router is not there, or something else listens at its addresses.
    pub fn start(config: &ResolverConfig) -> Result<Self> {
        let namespace = Namespace::open(&config.namespace)?;
        let sockets = namespace.run(|| config.addresses.iter().map(|address| listen(*address)).collect())?;
        let names = Arc::new(RwLock::new(Arc::new(Names::default())));
        let server = Server::new(Arc::clone(&names), Upstreams::new(config.resolv_conf.clone()));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| FabricError::kernel("start the resolver", e))?;
        let thread = std::thread::Builder::new()
            .name("resolver".to_owned())
            .spawn(move || runtime.block_on(server.run(sockets, stopped)))
            .map_err(|e| FabricError::kernel("start the resolver", e))?;
        Ok(Self {
            config: config.clone(),
            namespace: namespace.identity()?,
            names,
            running: Some((stop, thread)),
        })
    }

    /// Whether this is the resolver of `config`: a namespace at the same path may be a new one.
    fn is_of(&self, config: &ResolverConfig) -> bool {
        self.config == *config && Identity::at(&config.namespace) == Some(self.namespace)
    }

    /// Replaces all private names.
    pub fn update(&self, names: &[NameSpec]) {
        let names = Arc::new(Names::new(names));
        *self.names.write().unwrap_or_else(std::sync::PoisonError::into_inner) = names;
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let Some((stop, thread)) = self.running.take() else { return };
        drop(stop);
        if thread.join().is_err() {
            tracing::error!(namespace = %self.config.namespace.display(), "a resolver panicked");
        }
    }
}

/// The two sockets of one address, ready for an event loop.
fn listen(address: Ipv4Addr) -> Result<(UdpSocket, TcpListener)> {
    let open = || {
        let udp = UdpSocket::bind((address, PORT))?;
        let tcp = TcpListener::bind((address, PORT))?;
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        std::io::Result::Ok((udp, tcp))
    };
    open().map_err(|e| FabricError::kernel("listen at a resolver's address", e))
}
