//! `cargo xtask bench`: builds and runs `crates/test/bench` with optimisation. That is a package of its own, because
//! it uses half of the workspace, and this one must build without `crates/base/aws`, which it generates.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

pub(crate) fn run(repository: &Path, arguments: &[OsString]) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = ["run", "--quiet", "--release", "--package", "pileus-bench", "--"];
    let status = Command::new(cargo)
        .args(build)
        .args(arguments)
        .current_dir(repository)
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "the benchmark ended with {status}");
    Ok(())
}
