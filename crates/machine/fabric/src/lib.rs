//! The network data plane on Linux: VPCs as namespaces, veth pairs, routes and nftables.
//!
//! Every VPC is a namespace that acts as its router, and every interface one with an `eth0` wired to it; nothing is
//! bridged, so every packet, also between two interfaces of one subnet, crosses the router's filter. The namespaces are
//! mounted at `<run_dir>/netns/<id>`, where containers join them and the balancer opens its sockets.
//!
//! [`LinuxFabric`] compares the spec with what it knows is there and changes the difference. It keeps no store: the
//! first call asks the kernel and adopts what an earlier process left, and rewrites the filters in one transaction, which
//! open connections survive. A failed VPC is asked anew by the next call.
//!
//! | module | what it knows |
//! |---|---|
//! | `apply` | the order of steps for a whole spec |
//! | `router`, `interface`, `routing` | one VPC's router, an interface's namespace, the wanted routes |
//! | `firewall` | the router's nftables as a value, and the difference of two (pure) |
//! | `flows` | what passes and what does not, counted by the kernel for flow logs |
//! | `host`, `edge`, `forwarding`, `service` | where the VPC meets the host's network |
//! | `dns` | the VPC's resolver, its process, and the engine's side of that |
//! | `namespace`, `netlink`, `message`, `link`, `nft` | the kernel's interfaces |

mod apply;
mod check;
mod dns;
mod edge;
mod error;
mod firewall;
mod flows;
mod forwarding;
mod host;
mod interface;
mod link;
mod message;
mod namespace;
mod netlink;
mod nft;
#[cfg(test)]
mod reference;
mod router;
mod routing;
mod service;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use pileus_contract::fabric::FlowCounts;
use pileus_contract::{Fabric, FabricSpec, MachineError};

use crate::apply::Networks;
pub use crate::dns::{Resolver, ResolverClient, ResolverConfig, resolver_main};
pub use crate::error::FabricError;
use crate::host::Host;

/// Where the networks of one engine live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FabricConfig {
    /// Six lower-case letters or digits, unique per engine on the host. Names the host's links and table.
    pub instance: String,
    /// Such as `/run/pileus/a1b2c3`. It should not outlive a reboot, as the networks do not.
    pub run_dir: PathBuf,
}

impl FabricConfig {
    fn netns(&self) -> PathBuf {
        self.run_dir.join("netns")
    }
}

/// The networks of one engine on this host. Root is needed.
#[derive(Debug)]
pub struct LinuxFabric {
    directory: PathBuf,
    networks: Mutex<Networks>,
}

impl LinuxFabric {
    /// Opens the fabric in the calling thread's network namespace, which is taken for the host's. Changes nothing.
    ///
    /// # Errors
    /// A malformed instance id, or no access to the kernel's network interfaces.
    pub fn new(config: &FabricConfig) -> Result<Self, FabricError> {
        let networks = Mutex::new(networks(config)?);
        Ok(Self { directory: config.netns(), networks })
    }

    /// After a panic in an earlier call nothing that is remembered counts.
    fn networks(&self) -> MutexGuard<'_, Networks> {
        self.networks.lock().unwrap_or_else(|poisoned| {
            let mut networks = poisoned.into_inner();
            networks.forget_all();
            self.networks.clear_poison();
            networks
        })
    }
}

impl Fabric for LinuxFabric {
    fn apply(&self, spec: &FabricSpec) -> Result<(), MachineError> {
        error::report("apply the networks", &self.networks().apply(spec))
    }

    fn namespace(&self, interface: &str) -> PathBuf {
        self.directory.join(interface)
    }

    fn listen(&self, interface: &str, port: u16) -> Result<TcpListener, MachineError> {
        namespace::listen(&self.namespace(interface), port)
            .map_err(|error| MachineError::new(format!("listen on port {port} of {interface}"), error))
    }

    fn flows(&self, vpc: &str) -> Result<Vec<FlowCounts>, MachineError> {
        let counted = self.networks().flows(vpc);
        counted.map_err(|error| MachineError::new(format!("count the flows of {vpc}"), error))
    }

    fn teardown(&self) -> Result<(), MachineError> {
        error::report("remove the networks", &self.networks().clean())
    }
}

/// Ends the resolver and removes every trace of an instance's networks, with no other process of it left.
///
/// # Errors
/// What could not be removed.
pub fn clean(config: &FabricConfig) -> Result<(), MachineError> {
    let failed = |error| MachineError::new("remove the networks", error);
    let mut networks = networks(config).map_err(failed)?;
    // Its sockets would keep the namespaces alive.
    let resolver = dns::stop(config).err();
    error::report("remove the networks", &networks.clean().into_iter().chain(resolver).collect::<Vec<_>>())
}

fn networks(config: &FabricConfig) -> Result<Networks, FabricError> {
    let word = config.instance.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !word || config.instance.len() != edge::INSTANCE {
        return Err(FabricError::Instance(config.instance.clone()));
    }
    Ok(Networks::new(config.netns(), Host::open(&config.instance)?))
}
