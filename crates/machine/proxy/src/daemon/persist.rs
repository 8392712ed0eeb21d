//! The last configuration on disk, with what is known of the targets' health and the edge's ports: all that a
//! restarted balancer needs to serve at once.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::SocketAddrV4;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use pileus_contract::proxy::{Health, ProxySpec};
use serde::{Deserialize, Serialize};

use super::events::TargetKey;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Saved {
    pub(crate) spec: ProxySpec,
    pub(crate) edge_ports: BTreeMap<u16, u16>,
}

impl Saved {
    /// `None` where nothing was saved. What cannot be read is set aside: the engine sends it again anyway.
    pub(crate) fn load(path: &Path) -> Option<Self> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read the last configuration");
                return None;
            }
        };
        serde_json::from_slice(&text)
            .inspect_err(
                |error| tracing::warn!(path = %path.display(), %error, "the last configuration is damaged"),
            )
            .ok()
    }

    /// Replaces the file as a whole: a crash leaves the old one or the new one.
    pub(crate) fn store(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        drop(file);
        std::fs::rename(&new, path)
    }

    pub(crate) fn remember(&mut self, health: &BTreeMap<TargetKey, Health>) {
        for group in &mut self.spec.target_groups {
            for target in &mut group.targets {
                let address = SocketAddrV4::new(target.address, target.port);
                if let Some(known) = health.get(&(group.id.clone(), address)) {
                    target.last_known = Some(known.clone());
                }
            }
        }
    }
}
