//! What the resolver's process and the engine share: where its files are, and what is in them.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use pileus_contract::fabric::{FabricSpec, NameSpec};
use serde::{Deserialize, Serialize};

use super::ResolverConfig;
use crate::FabricConfig;
use crate::error::{FabricError, Result};

/// The resolver of one VPC, as it shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    /// The VPC's id.
    pub vpc: String,
    pub config: ResolverConfig,
    pub names: Vec<NameSpec>,
}

impl Wanted {
    /// The resolvers of all VPCs, whose routers' namespaces are in `netns`.
    pub(super) fn of(spec: &FabricSpec, netns: &Path) -> Vec<Self> {
        let wanted = spec.vpcs.iter().map(|vpc| Self {
            vpc: vpc.id.clone(),
            config: ResolverConfig::of(vpc, netns.join(&vpc.id)),
            names: vpc.names.clone(),
        });
        wanted.collect()
    }
}

/// The files of one resolver process, beside the one that it is started with.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// All [`Wanted`] as JSON.
    config: PathBuf,
}

impl Files {
    pub(super) fn new(config: &Path) -> Self {
        Self { config: config.to_owned() }
    }

    pub(super) fn of(fabric: &FabricConfig) -> Self {
        Self { config: fabric.run_dir.join("resolver.json") }
    }

    pub(super) fn config(&self) -> &Path {
        &self.config
    }

    /// Whoever connects makes the process read the configuration again, and hears what came of it.
    pub(super) fn socket(&self) -> PathBuf {
        self.config.with_extension("sock")
    }

    /// Held by the living process.
    pub(super) fn lock(&self) -> PathBuf {
        self.config.with_extension("lock")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.config.with_extension("log")
    }

    fn new_config(&self) -> PathBuf {
        self.config.with_extension("new")
    }

    /// Nothing where nothing was stored yet.
    pub(super) fn load(&self) -> Result<Vec<Wanted>> {
        let read = || match std::fs::read(&self.config) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            bytes => Ok(serde_json::from_slice(&bytes?)?),
        };
        read().map_err(|e: io::Error| FabricError::file("read", &self.config, e))
    }

    /// Replaces the file as a whole: a crash leaves the old one or the new one.
    pub(super) fn store(&self, wanted: &[Wanted]) -> Result<()> {
        let write = || {
            let new = self.new_config();
            let mut file =
                OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec(wanted)?)?;
            std::fs::rename(new, &self.config)
        };
        write().map_err(|e| FabricError::file("write", &self.config, e))
    }

    /// Removes everything that an ended process leaves.
    pub(super) fn remove(&self) -> Result<()> {
        for path in [self.config.clone(), self.new_config(), self.socket(), self.lock(), self.log()] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(FabricError::file("remove", path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
