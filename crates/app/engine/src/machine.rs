//! The machine: the four implementations of the contract, opened for one engine.

use std::path::PathBuf;
use std::sync::Arc;

use pileus_bulk::open as open_bulk;
use pileus_containers::{ContainersConfig, LinuxContainers};
use pileus_contract::{Bulk, Containers, Fabric, MachineError, Proxy};
use pileus_fabric::{FabricConfig, LinuxFabric};
use pileus_proxy::{BalancerClient, BalancerConfig};

use crate::{EngineError, Home};

/// The hidden subcommands by which this binary starts its other processes.
pub const SHIM_COMMAND: &str = "shim";
pub const BALANCER_COMMAND: &str = "balancer";

/// What of the machine can be chosen.
#[derive(Clone, Debug, Default)]
pub struct MachineConfig {
    /// The loopback port for listeners on port 80; `None`: 80, else 8080, else any. 0: any.
    pub edge_port: Option<u16>,
}

pub(crate) struct Machine {
    pub(crate) fabric: Arc<dyn Fabric>,
    pub(crate) containers: Arc<dyn Containers>,
    pub(crate) proxy: Arc<dyn Proxy>,
    pub(crate) bulk: Bulk,
}

impl Machine {
    pub(crate) fn open(home: &Home, config: &MachineConfig, time_scale: f64) -> Result<Self, EngineError> {
        std::fs::create_dir_all(home.run())?;
        Ok(Self {
            fabric: Arc::new(LinuxFabric::new(fabric_config(home))?),
            containers: Arc::new(LinuxContainers::new(containers_config(home)?)?),
            proxy: Arc::new(BalancerClient::new(balancer_config(home, config, time_scale)?)?),
            bulk: open_bulk(&home.bulk())?,
        })
    }
}
