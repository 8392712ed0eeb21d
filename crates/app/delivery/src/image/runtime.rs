//! The runtime layer: Node, the C and C++ libraries it is linked with, CA certificates, time zones,
//! and the few files that make a file system a system. No shell, no package manager.
//!
//! What it was made from is pinned in a record (versions and checksums), by which later builds
//! find the layer without asking a registry, until a refresh is wanted.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::debian::{self, Content, Package};
use super::foundation::{Arch, Foundation, Libc};
use super::layer::{LayerTree, Source};
use super::npm::{self, NodeRelease};
use super::{ImageBuilder, ImageError, LayerDescriptor, OnProgress, Progress, Stage, records};

/// Part of every key: to be changed when the same input shall give another layer.
const FORMAT: &[u8] = b"runtime/1";
/// `libatomic1`: Node is linked with it from version 25 on.
const PACKAGES: [&str; 6] = ["libc6", "libstdc++6", "libgcc-s1", "libatomic1", "ca-certificates", "tzdata"];
/// The user that apps run as.
const USER: u32 = 1000;
/// Where Node is in the image.
const NODE: &str = "/usr/local/bin/node";

/// What a runtime layer was made from, and the layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RuntimeLock {
    arch: Arch,
    os: OsRelease,
    node: NodeRelease,
    packages: Vec<Package>,
    layer: LayerDescriptor,
}

impl RuntimeLock {
    fn foundation(self) -> Foundation {
        Foundation {
            arch: self.arch,
            libc: Libc::Glibc,
            layers: vec![self.layer],
            env: vec![
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
                format!("NODE_VERSION={}", self.node.version),
            ],
            node_path: NODE.to_owned(),
            node_version: Some(self.node.version.clone()),
            user: format!("{USER}:{USER}"),
            node: Some(self.node),
        }
    }
}

/// The distribution whose packages these are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OsRelease {
    id: String,
    version: String,
}

impl OsRelease {
    fn read(path: &Path) -> Result<Self, ImageError> {
        let text = fs::read_to_string(path).map_err(ImageError::io("read", path))?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_default().trim_matches('"').to_owned()
        };
        Self { id: field("ID"), version: field("VERSION_ID") }
    }
}

pub(super) fn foundation(
    builder: &ImageBuilder,
    range: Option<&str>,
    refresh: bool,
    progress: OnProgress,
) -> Result<Foundation, ImageError> {
    progress(Progress::Started(Stage::Runtime));
    let arch = Arch::of_host()?;
    let os = OsRelease::read(Path::new("/etc/os-release"))?;
    let range_key = range.unwrap_or_default();
    let parts = [arch.in_oci(), &os.id, &os.version, range_key].map(str::as_bytes);
    let key = records::key(&[&[FORMAT], parts.as_slice()].concat());
    let known: Option<RuntimeLock> = builder.records.get("runtime", &key);
    let known = known.filter(|lock| !refresh && builder.has_layer(&lock.layer));
    let cached = known.is_some();
    let lock = match known {
        Some(lock) => lock,
        None => {
            let lock = fetch(builder, arch, os, range, progress)?.lock(builder, progress)?;
            builder.records.put("runtime", &key, &lock)?;
            lock
        }
    };
    progress(Progress::Finished { stage: Stage::Runtime, cached, size: lock.layer.size });
    Ok(lock.foundation())
}

/// Everything fetched and verified.
struct Inputs {
    arch: Arch,
    os: OsRelease,
    node: NodeRelease,
    packages: Vec<Package>,
    downloads: PathBuf,
}

fn fetch(
    builder: &ImageBuilder,
    arch: Arch,
    os: OsRelease,
    range: Option<&str>,
    progress: OnProgress,
) -> Result<Inputs, ImageError> {
    let downloads = builder.downloads()?;
    let mut doing = |what: String| progress(Progress::Doing(Stage::Runtime, what));
    let node = npm::resolve_node(arch, range)?;
    doing(format!("fetching Node {} from npm", node.version));
    npm::fetch_node(&node, &downloads)?;
    doing(format!("fetching {} packages of {} {}", PACKAGES.len(), os.id, os.version));
    let packages = debian::fetch(&PACKAGES, &downloads)?;
    Ok(Inputs { arch, os, node, packages, downloads })
}

impl Inputs {
    /// Finds the layer that an earlier build made of exactly these packages, or makes it.
    fn lock(self, builder: &ImageBuilder, progress: OnProgress) -> Result<RuntimeLock, ImageError> {
        let pinned = (self.arch, &self.os, &self.node, &self.packages);
        let pinned = serde_json::to_vec(&pinned).expect("plain data serialises");
        let key = records::key(&[FORMAT, &pinned]);
        let layer = match builder.known_layer("pinned", &key) {
            Some(layer) => layer,
            None => {
                progress(Progress::Doing(Stage::Runtime, "packing".to_owned()));
                let temp = builder.temp_dir()?;
                let layer = self.tree(temp.path())?.store(&builder.blobs)?;
                builder.records.put("pinned", &key, &layer)?;
                layer
            }
        };
        Ok(RuntimeLock { arch: self.arch, os: self.os, node: self.node, packages: self.packages, layer })
    }

    fn tree(&self, temp: &Path) -> Result<LayerTree, ImageError> {
        let mut tree = LayerTree::default();
        add_system_files(&mut tree, &self.os);
        let mut certificates = Vec::new();
        for package in &self.packages {
            self.add_package(package, &mut tree, &mut certificates)?;
        }
        tree.file("etc/ssl/certs/ca-certificates.crt", 0o644, Source::Bytes(bundle(certificates)));
        self.add_node(&mut tree, temp)?;
        Ok(tree)
    }

    /// The binary goes by way of `temp`: it is too large to be kept in memory.
    fn add_node(&self, tree: &mut LayerTree, temp: &Path) -> Result<(), ImageError> {
        let package = npm::fetch_node(&self.node, &self.downloads)?;
        let binary = temp.join("node");
        npm::extract_node(&package, &binary)?;
        let size = fs::metadata(&binary).map_err(ImageError::io("read", &binary))?.len();
        tree.file(NODE.trim_start_matches('/'), 0o755, Source::File(binary, size));
        npm::unpack(&package, |path, content| {
            if path == "package/LICENSE" {
                tree.file("usr/share/doc/nodejs/LICENSE", 0o644, Source::Bytes(read_all(content)?));
            }
            Ok(())
        })
    }

    fn add_package(
        &self,
        package: &Package,
        tree: &mut LayerTree,
        certificates: &mut Vec<(String, Vec<u8>)>,
    ) -> Result<(), ImageError> {
        let control = debian::unpack(&self.downloads.join(&package.file), |path, content| {
            match (place(&package.name, path), content) {
                (Place::Certificate, Content::File { reader, .. }) => {
                    certificates.push((path.to_owned(), read_all(reader)?));
                }
                (Place::At(target), Content::File { executable, reader }) => {
                    let mode = if executable { 0o755 } else { 0o644 };
                    tree.file(&target, mode, Source::Bytes(read_all(reader)?));
                }
                (Place::At(target), Content::Link(to)) => tree.symlink(&target, &to),
                _ => {}
            }
            Ok(())
        })?;
        // What dpkg would know, in the form that scanners of images read.
        let status = format!("var/lib/dpkg/status.d/{}", package.name);
        tree.file(&status, 0o644, Source::Bytes(control.into_bytes()));
        Ok(())
    }
}

fn read_all(reader: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Where a file of a package goes.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    At(String),
    Certificate,
    Nowhere,
}

fn place(package: &str, path: &str) -> Place {
    // `/lib` is a link to `/usr/lib` in the image, as in every current release.
    let path = match path.split_once('/') {
        Some(("lib" | "lib64", _)) => format!("usr/{path}"),
        _ => path.to_owned(),
    };
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["usr", "share", "ca-certificates", ..] if path.ends_with(".crt") => Place::Certificate,
        ["usr", "share", "zoneinfo", "posix" | "right", ..] => Place::Nowhere,
        ["usr", "share", "doc", _, "copyright"] | ["usr", "share", "zoneinfo", _, ..] => Place::At(path),
        // Libraries themselves, not what lies in directories beside them (character set tables).
        ["usr", "lib", _, file] | ["usr", "lib64" | "lib", file]
            if file.contains(".so") && package.starts_with("lib") =>
        {
            Place::At(path)
        }
        _ => Place::Nowhere,
    }
}

/// One file with all certificates, in the order of their names.
fn bundle(mut certificates: Vec<(String, Vec<u8>)>) -> Vec<u8> {
    certificates.sort();
    let mut bundle = Vec::new();
    for (_, certificate) in certificates {
        bundle.extend_from_slice(certificate.trim_ascii_end());
        bundle.push(b'\n');
    }
    bundle
}

fn add_system_files(tree: &mut LayerTree, os: &OsRelease) {
    for dir in ["dev", "proc", "sys", "run", "usr/lib64"] {
        tree.dir(dir, 0o755);
    }
    tree.dir("root", 0o700);
    tree.dir("tmp", 0o1777);
    tree.dir("var/tmp", 0o1777);
    tree.owned_dir("home/node", 0o755, u64::from(USER));
    tree.symlink("lib", "usr/lib");
    tree.symlink("lib64", "usr/lib64");
    let OsRelease { id, version } = os;
    for (path, text) in [
        (
            "etc/passwd",
            format!(
                "root:x:0:0:root:/root:/usr/sbin/nologin\n\
                 node:x:{USER}:{USER}:node:/home/node:/usr/sbin/nologin\n\
                 nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
            ),
        ),
        ("etc/group", format!("root:x:0:\nnode:x:{USER}:\nnogroup:x:65534:\n")),
        (
            "etc/nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n".to_owned(),
        ),
        ("etc/os-release", format!("ID={id}\nVERSION_ID=\"{version}\"\nPRETTY_NAME=\"{id} {version}\"\n")),
    ] {
        tree.file(path, 0o644, Source::Bytes(text.into_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_is_taken_from_a_package() {
        let at = |path: &str| Place::At(path.to_owned());
        for (package, path, expected) in [
            ("libc6", "lib/x86_64-linux-gnu/libc.so.6", at("usr/lib/x86_64-linux-gnu/libc.so.6")),
            ("libc6", "usr/lib/x86_64-linux-gnu/libc.so.6", at("usr/lib/x86_64-linux-gnu/libc.so.6")),
            ("libc6", "lib64/ld-linux-x86-64.so.2", at("usr/lib64/ld-linux-x86-64.so.2")),
            ("libc6", "lib/ld-linux-aarch64.so.1", at("usr/lib/ld-linux-aarch64.so.1")),
            ("libc6", "usr/lib/x86_64-linux-gnu/gconv/ARMSCII-8.so", Place::Nowhere),
            ("libc6", "usr/share/doc/libc6/copyright", at("usr/share/doc/libc6/copyright")),
            ("libc6", "usr/share/doc/libc6/NEWS.gz", Place::Nowhere),
            ("libstdc++6", "usr/share/gcc/python/libstdcxx/v6/printers.py", Place::Nowhere),
            ("ca-certificates", "usr/share/ca-certificates/mozilla/A.crt", Place::Certificate),
            ("ca-certificates", "usr/sbin/update-ca-certificates", Place::Nowhere),
            ("tzdata", "usr/share/zoneinfo/Europe/Berlin", at("usr/share/zoneinfo/Europe/Berlin")),
            ("tzdata", "usr/share/zoneinfo/right/UTC", Place::Nowhere),
        ] {
            assert_eq!(place(package, path), expected, "{path}");
        }
    }

    #[test]
    fn the_bundle_is_sorted_and_every_certificate_ends_its_line() {
        let certificates = vec![("b".to_owned(), b"B\n\n".to_vec()), ("a".to_owned(), b"A".to_vec())];
        assert_eq!(bundle(certificates), b"A\nB\n");
    }

    #[test]
    fn the_release_is_read_with_and_without_quotes() {
        let os = OsRelease::parse("PRETTY_NAME=\"Debian\"\nVERSION_ID=\"12\"\nID=debian\n");
        assert_eq!((os.id.as_str(), os.version.as_str()), ("debian", "12"));
        assert_eq!(OsRelease::parse("").id, "");
    }
}
