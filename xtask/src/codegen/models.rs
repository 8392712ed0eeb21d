//! Finds the API models: the pinned botocore wheel from PyPI, unpacked once below `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// The version whose models the committed code was generated from.
const BOTOCORE: &str = "1.43.11";

/// The `botocore/data` folder, downloaded with pip on first use.
pub(crate) fn fetch(target: &Path) -> anyhow::Result<PathBuf> {
    let folder = target.join(format!("models/botocore-{BOTOCORE}"));
    let data = folder.join("botocore/data");
    if data.is_dir() {
        return Ok(data);
    }
    let download = target.join("models/download");
    fs::create_dir_all(&download).with_context(|| format!("creating {}", download.display()))?;
    let package = format!("botocore=={BOTOCORE}");
    let pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", &package, "--dest"];
    python(Command::new("python3").args(pip).arg(&download))?;
    let wheel = download.join(format!("botocore-{BOTOCORE}-py3-none-any.whl"));
    let partial = folder.with_extension("partial");
    python(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&partial))?;
    fs::rename(&partial, &folder).with_context(|| format!("moving {} into place", partial.display()))?;
    Ok(data)
}

fn python(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?} (is python3 installed?)"))?;
    ensure!(status.success(), "{command:?} failed ({status}); or name a botocore/data folder with --models");
    Ok(())
}
