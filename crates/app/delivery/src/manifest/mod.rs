//! `pileus.toml`: what an app asks of the architecture. Every field is optional, and so is the
//! file; the defaults *are* the reference architecture (DESIGN 9).

mod diagnostic;
mod sizes;
mod validate;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde::Deserialize;
use toml::de::DeTable;

pub use diagnostic::Diagnostic;

/// The name of the file in the app's directory.
pub const FILE_NAME: &str = "pileus.toml";

/// Why an app's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// Boxed, because it carries the line that it speaks of.
    #[error("{0}")]
    Invalid(Box<Diagnostic>),
}

/// The settings of one app.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Manifest {
    /// Prefix of all that is made for the app. Default: the directory's name, as far as it is allowed.
    pub name: String,
    pub region: String,
    /// What the tasks listen on, also told to them as `PORT`.
    pub port: u16,
    /// CPU units of a task; 1024 are one vCPU.
    pub cpu: u32,
    /// MiB of a task.
    pub memory: u32,
    pub tasks: Tasks,
    pub health: Health,
    /// Environment variables of every task.
    pub env: BTreeMap<String, String>,
    pub deploy: Deploy,
    pub network: Network,
    pub image: Image,
    pub logs: Logs,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            name: String::new(),
            region: "us-east-1".to_owned(),
            port: 3000,
            cpu: 256,
            memory: 512,
            tasks: Tasks::default(),
            health: Health::default(),
            env: BTreeMap::new(),
            deploy: Deploy::default(),
            network: Network::default(),
            image: Image::default(),
            logs: Logs::default(),
        }
    }
}

/// How many copies of the app run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tasks {
    pub min: u32,
    pub max: u32,
    /// How many to start with; without it `min`.
    desired: Option<u32>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self { min: 2, max: 10, desired: None }
    }
}

impl Tasks {
    pub fn desired(&self) -> u32 {
        self.desired.unwrap_or(self.min)
    }
}

/// What the load balancer asks each task; times in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    pub path: String,
    pub interval: u32,
    pub timeout: u32,
    /// Successes in a row that make a target healthy.
    pub healthy: u32,
    /// Failures in a row that make a target unhealthy.
    pub unhealthy: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self { path: "/health".to_owned(), interval: 30, timeout: 5, healthy: 2, unhealthy: 2 }
    }
}

/// How a new version replaces the old one: rolling, by halves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deploy {
    /// Of the desired count, in percent: never fewer run healthy.
    pub minimum_healthy_percent: u32,
    /// Of the desired count, in percent: never more run.
    pub maximum_percent: u32,
    /// Give up, and go back to the last version, when tasks of the new one keep failing.
    pub circuit_breaker: bool,
    /// Seconds that a task may finish its requests in after the load balancer let go of it.
    pub drain_seconds: u32,
}

impl Default for Deploy {
    fn default() -> Self {
        Self { minimum_healthy_percent: 50, maximum_percent: 150, circuit_breaker: true, drain_seconds: 5 }
    }
}

/// The app's VPC.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Its address range, from which [`Network::subnets`] takes those of the subnets.
    pub cidr: Ipv4Net,
}

impl Default for Network {
    fn default() -> Self {
        Self { cidr: Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 0, 0, 0), 16) }
    }
}

/// Address ranges, one of each kind for each of the two zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnets {
    pub public: [Ipv4Net; 2],
    pub private: [Ipv4Net; 2],
}

impl Network {
    /// The /24 networks number 1 and 2 (public), 10 and 11 (private) of the VPC's range.
    pub fn subnets(&self) -> Subnets {
        let base = u32::from(self.cidr.network());
        let subnet = |number: u32| Ipv4Net::new_assert((base + (number << 8)).into(), 24);
        Subnets { public: [subnet(1), subnet(2)], private: [subnet(10), subnet(11)] }
    }
}

/// How the app's image is built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Image {
    /// An OCI image to build on instead of the built-in runtime.
    pub base: Option<String>,
    /// A version range of Node; without it `engines.node` of `package.json` decides.
    pub node: Option<String>,
    /// Run the install scripts of npm packages, on this host, while building.
    pub install_scripts: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logs {
    /// Days after which log events go; one of the numbers that CloudWatch Logs knows.
    pub retention_days: u32,
}

impl Default for Logs {
    fn default() -> Self {
        Self { retention_days: 30 }
    }
}

impl Manifest {
    /// The settings of the app in this directory; the defaults where it has no `pileus.toml`.
    pub fn load(dir: &Path) -> Result<Self, ManifestError> {
        let path = dir.join(FILE_NAME);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(ManifestError::Read { path, source }),
        };
        // "." has no name of its own.
        let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let dir_name = dir.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        Self::parse(&text, &path.display().to_string(), &dir_name)
    }

    /// `file` is for messages; `dir_name` gives the app its name if the text does not.
    pub fn parse(text: &str, file: &str, dir_name: &str) -> Result<Self, ManifestError> {
        let source = diagnostic::Source { file, text };
        let invalid = |diagnostic| ManifestError::Invalid(Box::new(diagnostic));
        let table = DeTable::parse(text).map_err(|error| invalid(source.toml_error(&error)))?;
        let mut manifest: Self = toml::from_str(text).map_err(|error| invalid(source.toml_error(&error)))?;
        if !table.get_ref().contains_key("name") {
            manifest.name = validate::name_from(dir_name);
        }
        match validate::check(&manifest) {
            None => Ok(manifest),
            Some(problem) => Err(invalid(source.problem(table.get_ref(), &problem))),
        }
    }
}

#[cfg(test)]
mod tests;
