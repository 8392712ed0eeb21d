//! What can go wrong here, each with the thing it happened to and, where there is one, the remedy.

use std::io;
use std::path::{Path, PathBuf};

use pileus_contract::MachineError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("invalid {what}: {why}")]
    Invalid { what: String, why: String },
    #[error("image blob {digest}: {why}")]
    Blob { digest: String, why: String },
    #[error("layer {digest}: {source}")]
    Layer { digest: String, source: crate::image::LayerError },
    #[error("cgroups: {0}")]
    Cgroup(String),
    #[error("container {container}: {why}")]
    Container { container: String, why: String },
    #[error("the task's shim {0}")]
    Shim(String),
    /// What the shim has told about a start that failed.
    #[error("{0}")]
    Start(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn invalid(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), why: why.into() }
    }

    pub(crate) fn container(container: &str, why: impl Into<String>) -> Self {
        Self::Container { container: container.to_owned(), why: why.into() }
    }

    pub(crate) fn during(self, action: impl Into<String>) -> MachineError {
        MachineError::new(action, self)
    }
}

/// Names the path and the action of an I/O error.
pub(crate) trait At<T> {
    fn at(self, what: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, what: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|source| Error::Io { what, path: path.as_ref().to_owned(), source })
    }
}

impl<T> At<T> for nix::Result<T> {
    fn at(self, what: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(io::Error::from).at(what, path)
    }
}

/// The text of an error and of everything that caused it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
