//! Runs `nft -f -`: one script is one transaction of the kernel.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{FabricError, Result};
use crate::namespace::Namespace;

/// Where Debian puts it, which the PATH of an ordinary user lacks.
const FALLBACK: &str = "/usr/sbin/nft";

/// Carries out `script` in the namespace, all of it or nothing.
pub(crate) fn run(namespace: &Namespace, script: &str) -> Result<()> {
    call(namespace, &["-f", "-"], script).map(drop)
}

/// The output of an `nft` command in the namespace.
pub(crate) fn query(namespace: &Namespace, arguments: &[&str]) -> Result<String> {
    call(namespace, arguments, "")
}

fn call(namespace: &Namespace, arguments: &[&str], script: &str) -> Result<String> {
    let output = namespace.run(|| {
        let mut child = spawn(arguments).map_err(|source| FabricError::NoNft { source })?;
        if let Some(mut stdin) = child.stdin.take() {
            // When nft stops reading, its own message says why better than a broken pipe would.
            match stdin.write_all(script.as_bytes()) {
                Err(e) if e.kind() != ErrorKind::BrokenPipe => {
                    return Err(FabricError::kernel("write to nft", e));
                }
                _ => {}
            }
        }
        child.wait_with_output().map_err(|e| FabricError::kernel("wait for nft", e))
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(FabricError::Nft { place: namespace.name.clone(), stderr })
}

fn spawn(arguments: &[&str]) -> std::io::Result<std::process::Child> {
    let start = |program: &Path| {
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    };
    match start(Path::new("nft")) {
        Err(e) if e.kind() == ErrorKind::NotFound => start(Path::new(FALLBACK)),
        child => child,
    }
}
