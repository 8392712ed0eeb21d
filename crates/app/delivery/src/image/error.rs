//! What can go wrong in a build: what happened, where, and what to do next.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::dockerfile::Beyond;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// The app or its settings cannot be built as they are.
    #[error("{}: {problem}\n  hint: {hint}", path.display())]
    Input { path: PathBuf, problem: String, hint: String },
    #[error("`{tool}` is not on this host\n  hint: {remedy}")]
    ToolMissing { tool: String, remedy: &'static str },
    #[error("`{command}` failed ({status}):\n{output}")]
    ToolFailed {
        command: String,
        status: String,
        /// The last lines it printed to stderr.
        output: String,
    },
    #[error("`{command}` did not end within {} s and was stopped", limit.as_secs())]
    ToolTimeout { command: String, limit: Duration },
    #[error("{tool} printed something unexpected: {detail}")]
    ToolOutput { tool: &'static str, detail: String },
    #[error("{} is not what its registry says it is: expected {expected}, found {found}", path.display())]
    Integrity { path: PathBuf, expected: String, found: String },
    #[error("the package {} cannot be unpacked: {problem}", path.display())]
    BadPackage { path: PathBuf, problem: String },
    /// The Dockerfile says what the built-in builder does not do.
    #[error("{} line {}: {}: {}", file.display(), beyond.line, beyond.instruction, beyond.reason)]
    Beyond { file: PathBuf, beyond: Beyond },
    #[error("no version of Node on the npm registry matches \"{range}\" for {arch}")]
    NoSuchNode { range: String, arch: &'static str },
    #[error("the built-in builder makes images for x86_64 and aarch64, and this host is {arch}")]
    UnsupportedArch { arch: &'static str },
    #[error("the base image {image} cannot be used: {problem}\n  hint: {hint}")]
    Base { image: String, problem: String, hint: &'static str },
    #[error(
        "install scripts cannot run for a base image: they would run under this host's Node, not the image's\n  \
         hint: leave [image] base or install_scripts out"
    )]
    ScriptsOnBase,
}

impl ImageError {
    /// For `map_err`: an I/O error with what was tried and on which path.
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    pub(super) fn input(path: &Path, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Input { path: path.to_owned(), problem: problem.into(), hint: hint.into() }
    }
}
