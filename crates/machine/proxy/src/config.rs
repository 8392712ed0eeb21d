//! How a balancer process is set up. What it serves comes later, over its socket.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The set-up of one balancer process. The engine passes it as JSON, the last argument of the command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BalancerConfig {
    /// Holds the socket, the lock and the last configuration. Made with mode 0700 if it does not exist.
    pub run_dir: PathBuf,
    /// Where the edge listens. Loopback unless the user wants to be reached from outside.
    pub edge_addresses: Vec<IpAddr>,
    /// The edge's port for a listener port, where it shall be another; 0 takes any free one.
    pub edge_ports: BTreeMap<u16, u16>,
    /// Event loops, each on a thread of its own: 1..=64.
    pub workers: usize,
    /// Open client connections that one worker accepts; more are closed at once (`RejectedConnectionCount`).
    pub max_connections: usize,
    /// Health checks run this many times faster than configured: 1..=1000.
    pub time_scale: f64,
}

impl BalancerConfig {
    pub fn new(run_dir: impl Into<PathBuf>) -> Self {
        Self { run_dir: run_dir.into(), ..Self::default() }
    }

    /// Reads the JSON that the engine passed.
    ///
    /// # Errors
    /// The text is not a valid configuration.
    pub fn from_json(text: &str) -> Result<Self, crate::ProxyError> {
        let invalid = |reason: String| crate::ProxyError::Config { reason };
        let config: Self = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
        if config.run_dir.as_os_str().is_empty() {
            return Err(invalid("run_dir is missing".into()));
        }
        if !(1..=64).contains(&config.workers) {
            return Err(invalid(format!("workers is {}, must be 1 to 64", config.workers)));
        }
        if !(1.0..=1000.0).contains(&config.time_scale) {
            return Err(invalid(format!("time_scale is {}, must be 1 to 1000", config.time_scale)));
        }
        Ok(config)
    }

    pub(crate) fn socket_path(&self) -> PathBuf {
        self.run_dir.join("balancer.sock")
    }

    pub(crate) fn lock_path(&self) -> PathBuf {
        self.run_dir.join("balancer.lock")
    }

    pub(crate) fn state_path(&self) -> PathBuf {
        self.run_dir.join("balancer.json")
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.run_dir.join("balancer.log")
    }
}

impl Default for BalancerConfig {
    fn default() -> Self {
        Self {
            run_dir: PathBuf::new(),
            edge_addresses: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            edge_ports: BTreeMap::new(),
            workers: std::thread::available_parallelism().map_or(1, |count| count.get().min(64)),
            max_connections: 20_000,
            time_scale: 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_json_and_refuses_nonsense() {
        let config =
            BalancerConfig { edge_ports: BTreeMap::from([(80, 0)]), ..BalancerConfig::new("/run/x") };
        let text = serde_json::to_string(&config).expect("serialises");
        assert_eq!(BalancerConfig::from_json(&text).expect("valid"), config);
        for text in
            ["{}", r#"{"run_dir":"/x","workers":0}"#, r#"{"run_dir":"/x","time_scale":0}"#, r#"{"rundir":1}"#]
        {
            assert!(BalancerConfig::from_json(text).is_err(), "{text}");
        }
    }
}
