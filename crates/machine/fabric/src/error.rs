//! What can go wrong while a network is made, with the place and the object in the text.

use std::io;
use std::path::PathBuf;

use pileus_contract::MachineError;

/// Why a network could not be made, changed or removed.
#[derive(Debug, thiserror::Error)]
pub enum FabricError {
    #[error("the spec cannot be carried out: {0}")]
    Spec(String),
    #[error("instance id {0:?} must be six lower-case letters or digits")]
    Instance(String),
    #[error("{action} {path}: {source}", path = path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot {action}: {source}")]
    Kernel { action: &'static str, source: io::Error },
    #[error("in the namespace {place}: {action}: {source}")]
    Netlink { place: String, action: String, source: io::Error },
    #[error("cannot run `nft` ({source}); install the package nftables")]
    NoNft { source: io::Error },
    #[error("nft refused a change in {place}: {stderr}")]
    Nft { place: String, stderr: String },
    #[error("what nft lists cannot be read: {reason}")]
    Unreadable { reason: String },
    #[error("there is no network {0}")]
    NotCounted(String),
    #[error("no free link-local address pair is left for the edge of {0}")]
    NoEdge(String),
    #[error("another resolver holds {path}; there is one per instance", path = path.display())]
    Locked { path: PathBuf },
    #[error("the resolver does not answer ({reason}); see {log}", log = log.display())]
    Resolver { reason: String, log: PathBuf },
    #[error("{object}: {source}")]
    In { object: String, source: Box<FabricError> },
}

pub(crate) type Result<T> = std::result::Result<T, FabricError>;

impl FabricError {
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::File { action, path: path.into(), source: source.into() }
    }

    pub(crate) fn kernel(action: &'static str, source: impl Into<io::Error>) -> Self {
        Self::Kernel { action, source: source.into() }
    }

    /// Says of which VPC or interface the error is.
    pub(crate) fn of(self, object: &str) -> Self {
        Self::In { object: object.to_owned(), source: Box::new(self) }
    }
}

/// Every failure of one call as the single error of the machine contract.
pub(crate) fn report(action: &str, failures: &[FabricError]) -> std::result::Result<(), MachineError> {
    if failures.is_empty() {
        return Ok(());
    }
    let causes: Vec<String> = failures.iter().map(ToString::to_string).collect();
    Err(MachineError::new(action, causes.join("; ")))
}
