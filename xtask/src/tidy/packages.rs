//! Judges the manifests: directions between our crates, purity, and what every package inherits from the workspace.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::{Findings, Problem, rules};

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or nothing for an ordinary one.
    kind: Option<String>,
    /// Given for those of this repository.
    path: Option<String>,
}

pub(super) fn check(repository: &Path, findings: &mut Findings) -> anyhow::Result<()> {
    let map = std::fs::read_to_string(repository.join("ARCHITECTURE.md")).ok();
    if map.is_none() {
        findings.warnings.push(Problem::new("ARCHITECTURE.md", 0, "is missing: it is the map of all crates"));
    }
    for package in metadata(repository)?.packages {
        let path = Path::new(&package.manifest_path);
        let file = path.strip_prefix(repository).unwrap_or(path).to_string_lossy().into_owned();
        let mut problem = |what: String| findings.problems.push(Problem::new(&file, 0, what));
        dependencies(&package, group(&file), &mut problem);
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {file}"))?;
        manifest(&text.parse().with_context(|| format!("reading {file}"))?, &mut problem);
        let folder = file.trim_end_matches("/Cargo.toml").trim_start_matches("crates/");
        if map.as_ref().is_some_and(|map| !map.contains(folder) && !map.contains(&package.name)) {
            problem(format!("ARCHITECTURE.md does not mention `{folder}`"));
        }
    }
    Ok(())
}

fn metadata(repository: &Path) -> anyhow::Result<Metadata> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(repository)
        .output()
        .context("starting cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// `cloud` of `crates/cloud/network/Cargo.toml`.
fn group(file: &str) -> &str {
    file.strip_prefix("crates/").and_then(|rest| rest.split('/').next()).unwrap_or_default()
}

fn short(name: &str) -> &str {
    name.strip_prefix("pileus-").unwrap_or(name)
}

fn dependencies(package: &Package, group: &str, problem: &mut impl FnMut(String)) {
    let name = short(&package.name);
    if !rules::knows(name) {
        problem(format!("`{name}` has no row in xtask/src/tidy/rules.rs: say there which crates it may use"));
        return;
    }
    let pure = rules::is_pure(group, name);
    for dependency in &package.dependencies {
        let (used, in_tests) = (short(&dependency.name), dependency.kind.as_deref() == Some("dev"));
        if dependency.path.is_some() {
            if !rules::may_use(name, used, in_tests) {
                problem(format!("`{name}` must not depend on `{used}` (xtask/src/tidy/rules.rs)"));
            }
        } else if pure && !in_tests && rules::does_io(used) {
            problem(format!("`{name}` is pure and must not depend on {used}, which does I/O"));
        }
    }
}

fn manifest(manifest: &toml::Table, problem: &mut impl FnMut(String)) {
    let inherits = |value: Option<&toml::Value>| {
        value.and_then(|value| value.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
    };
    if !inherits(manifest.get("lints")) {
        problem("does not inherit the workspace's lints: add `[lints] workspace = true`".into());
    }
    for key in ["version", "edition", "license", "publish"] {
        if !inherits(manifest.get("package").and_then(|package| package.get(key))) {
            problem(format!("does not inherit `{key}` from the workspace"));
        }
    }
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let dependencies = manifest.get(section).and_then(toml::Value::as_table);
        for (name, value) in dependencies.into_iter().flatten() {
            if !inherits(Some(value)) {
                problem(format!("declares {name} itself: use `{name}.workspace = true`"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(name: &str, manifest_path: &str, dependency: &str, path: Option<&str>) -> Vec<String> {
        let dependency = Dependency { name: dependency.into(), kind: None, path: path.map(Into::into) };
        let package = Package {
            name: name.into(),
            manifest_path: manifest_path.into(),
            dependencies: vec![dependency],
        };
        let mut problems = Vec::new();
        dependencies(&package, group(manifest_path), &mut |what| problems.push(what));
        problems
    }

    #[test]
    fn a_wrong_direction_is_told() {
        let manifest = "crates/machine/fabric/Cargo.toml";
        assert!(problems_of("pileus-fabric", manifest, "pileus-contract", Some("/x")).is_empty());
        assert_eq!(problems_of("pileus-fabric", manifest, "pileus-network", Some("/x")).len(), 1);
        assert_eq!(problems_of("pileus-new", "crates/cloud/new/Cargo.toml", "serde", None).len(), 1);
        assert_eq!(problems_of("pileus-compute", "crates/cloud/compute/Cargo.toml", "tokio", None).len(), 1);
    }

    #[test]
    fn a_manifest_inherits() {
        let text = "[package]\nversion.workspace = true\nedition.workspace = true\nlicense.workspace = true\n\
                    publish.workspace = true\n[lints]\nworkspace = true\n[dependencies]\nserde = \"1\"\n";
        let mut problems = Vec::new();
        manifest(&text.parse().expect("valid TOML"), &mut |what| problems.push(what));
        assert_eq!(problems, ["declares serde itself: use `serde.workspace = true`"]);
    }
}
