//! What can go wrong with the balancer as a whole.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("the balancer's configuration is invalid: {reason}")]
    Config { reason: String },
    #[error("another balancer holds {}: {errno}; end it first, or use another directory", path.display())]
    Locked { path: PathBuf, errno: nix::errno::Errno },
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the balancer cannot {action}: {source}")]
    Start { action: &'static str, source: io::Error },
}

impl ProxyError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn start(action: &'static str, source: io::Error) -> Self {
        Self::Start { action, source }
    }
}
