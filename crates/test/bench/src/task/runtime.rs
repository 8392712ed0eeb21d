//! Bare OCI runtimes, with the same program, namespaces and limits, but without network, image, logs and shim.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::ensure;
use serde_json::json;

use super::image::{ENTRY_POINT, parse_time};
use super::since_epoch_ms;
use crate::process;

const NAMES: [&str; 2] = ["runc", "crun"];

pub(super) struct Runtime {
    pub(super) name: &'static str,
    pub(super) first_instruction_ms: Vec<f64>,
    /// Why it could not be measured; it is not tried again then.
    pub(super) problem: Option<String>,
    bundle: PathBuf,
}

/// Every runtime, with a bundle for them; one that is not installed has that as its problem.
pub(super) fn installed(folder: &Path, program: &Path) -> anyhow::Result<Vec<Runtime>> {
    let bundle = folder.join("bundle");
    fs::create_dir_all(bundle.join("rootfs/proc"))?;
    fs::copy(program, bundle.join("rootfs").join(ENTRY_POINT.trim_start_matches('/')))?;
    let namespaces = ["pid", "network", "ipc", "uts", "mount"].map(|kind| json!({ "type": kind }));
    let configuration = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 65534, "gid": 65534 },
            "args": [ENTRY_POINT],
            "cwd": "/",
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": {
            "namespaces": namespaces,
            "resources": { "cpu": { "quota": 25000, "period": 100_000 }, "memory": { "limit": 512 << 20 } },
        },
    });
    fs::write(bundle.join("config.json"), configuration.to_string())?;
    let runtime = |name| Runtime {
        name,
        first_instruction_ms: Vec::new(),
        problem: (!process::installed(name)).then(|| format!("it is not installed (apt-get install {name})")),
        bundle: bundle.clone(),
    };
    Ok(NAMES.map(runtime).into())
}

impl Runtime {
    /// Starts one container and waits for its end.
    pub(super) fn start(&mut self, round: usize, counts: bool) {
        if self.problem.is_some() {
            return;
        }
        match self.measure(round) {
            Ok(ms) if counts => self.first_instruction_ms.push(ms),
            Ok(_) => {}
            Err(error) => self.problem = Some(error.to_string()),
        }
    }

    fn measure(&self, round: usize) -> anyhow::Result<f64> {
        let id = format!("pileus-bench-{}-{round}", std::process::id());
        let began = since_epoch_ms(SystemTime::now())?;
        // Debian has them where only root's PATH looks.
        let path = format!("{}:/usr/sbin", std::env::var("PATH")?);
        let mut command = Command::new(self.name);
        let output =
            command.env("PATH", path).args(["run", "--bundle"]).arg(&self.bundle).arg(&id).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "it ended with {}: {}", output.status, errors.trim());
        Ok(parse_time(&String::from_utf8_lossy(&output.stdout))? - began)
    }
}
