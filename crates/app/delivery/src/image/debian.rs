//! Debian's packages, through `apt-get` of the host: what to fetch (verified by apt against the
//! signed index, and by us against the checksum that the index gives), and how to look inside.
//! <https://manpages.debian.org/bookworm/dpkg-dev/deb.5.en.html>

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ImageError;
use super::process::{command, run};

const REMEDY: &str = "the built-in runtime takes its libraries from the packages of Debian or Ubuntu: \
                      build there, or name a base image ([image] base in pileus.toml)";
const LIMIT: Duration = Duration::from_secs(300);
/// No package of ours unpacks to more; a larger one is a mistake or worse.
const MAX_UNPACKED: u64 = 512 << 20;

/// One package as the archive has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    /// File name, which holds version and architecture.
    pub(super) file: String,
    pub(super) url: String,
    pub(super) sha256: String,
}

/// Fetches the packages into `downloads` and returns them in the order of `names`.
///
/// The host's own package lists are used if they are there and current; else lists of our own are
/// fetched into `downloads`, which needs no privilege and changes nothing on the host.
pub(super) fn fetch(names: &[&str], downloads: &Path) -> Result<Vec<Package>, ImageError> {
    match fetch_with(names, downloads, &[]) {
        Err(ImageError::ToolFailed { .. } | ImageError::Integrity { .. }) => {
            let lists = own_lists(downloads)?;
            run(apt(downloads, &lists).arg("update"), LIMIT, REMEDY)?;
            fetch_with(names, downloads, &lists)
        }
        other => other,
    }
}

fn fetch_with(names: &[&str], downloads: &Path, options: &[String]) -> Result<Vec<Package>, ImageError> {
    // apt is silent about a package whose file is in its directory already.
    let empty =
        tempfile::tempdir_in(downloads).map_err(ImageError::io("create a directory in", downloads))?;
    let mut query = apt(empty.path(), options);
    query.args(["download", "--print-uris"]).args(names);
    let packages = parse_uris(names, &run(&mut query, LIMIT, REMEDY)?)?;
    if packages.iter().any(|package| verify(package, downloads).is_err()) {
        run(apt(downloads, options).arg("download").args(names), LIMIT, REMEDY)?;
    }
    for package in &packages {
        verify(package, downloads)?;
    }
    Ok(packages)
}

fn apt(downloads: &Path, options: &[String]) -> Command {
    let mut apt = command("apt-get", downloads);
    // Without the hash type, older releases print MD5. As root, apt would change to a user who may
    // not write here.
    for option in ["Acquire::ForceHash=SHA256", "APT::Sandbox::User=root", "Acquire::Retries=2"] {
        apt.args(["-o", option]);
    }
    apt.arg("-qq").args(options);
    apt
}

/// Options that make apt keep its lists below `downloads`.
fn own_lists(downloads: &Path) -> Result<Vec<String>, ImageError> {
    let (lists, cache) = (downloads.join("apt/lists"), downloads.join("apt/cache"));
    for dir in [lists.join("partial"), cache.join("archives/partial")] {
        fs::create_dir_all(&dir).map_err(ImageError::io("create", &dir))?;
    }
    Ok(vec![
        "-o".to_owned(),
        format!("Dir::State::Lists={}", lists.display()),
        "-o".to_owned(),
        format!("Dir::Cache={}", cache.display()),
    ])
}

/// Lines of `--print-uris`: `'URL' FILE SIZE SHA256:HEX`.
fn parse_uris(names: &[&str], output: &str) -> Result<Vec<Package>, ImageError> {
    let all: Vec<Package> = output.lines().filter_map(parse_uri).collect();
    names
        .iter()
        .map(|name| {
            let found = all.iter().find(|package| package.name == *name).cloned();
            found.ok_or_else(|| ImageError::ToolOutput {
                tool: "apt-get download --print-uris",
                detail: format!("no address with a SHA-256 for {name} in:\n{output}"),
            })
        })
        .collect()
}

fn parse_uri(line: &str) -> Option<Package> {
    let mut words = line.split_whitespace();
    let url = words.next()?.trim_matches('\'').to_owned();
    let file = words.next()?.to_owned();
    let sha256 = words.nth(1)?.strip_prefix("SHA256:")?.to_owned();
    let name = file.split('_').next()?.to_owned();
    // It becomes a path below our directory.
    let plain = !file.contains('/') && file.ends_with(".deb");
    plain.then_some(Package { name, file, url, sha256 })
}

fn verify(package: &Package, downloads: &Path) -> Result<(), ImageError> {
    let path = downloads.join(&package.file);
    let bytes = fs::read(&path).map_err(ImageError::io("read", &path))?;
    let found = hex::encode(Sha256::digest(&bytes));
    if found == package.sha256 {
        return Ok(());
    }
    Err(ImageError::Integrity { path, expected: package.sha256.clone(), found })
}

/// One file or link of a package.
pub(super) enum Content<'a> {
    File { executable: bool, reader: &'a mut dyn Read },
    Link(String),
}

/// Shows every file and link of the package's data (paths without `./`), then its `control` file.
pub(super) fn unpack(
    path: &Path,
    mut each: impl FnMut(&str, Content) -> io::Result<()>,
) -> Result<String, ImageError> {
    let mut control = String::new();
    read_members(path, &mut control, &mut each)
        .map_err(|error| ImageError::BadPackage { path: path.to_owned(), problem: error.to_string() })?;
    Ok(control)
}

type Each<'a> = &'a mut dyn FnMut(&str, Content) -> io::Result<()>;

fn read_members(path: &Path, control: &mut String, each: Each) -> io::Result<()> {
    let mut members = ar::Archive::new(File::open(path)?);
    while let Some(member) = members.next_entry() {
        let member = member?;
        let name = String::from_utf8_lossy(member.header().identifier()).into_owned();
        if name.starts_with("control.tar") {
            read_tar(decompress(&name, member)?, &mut |path, content| match content {
                Content::File { reader, .. } if path == "control" => reader.read_to_string(control).map(drop),
                _ => Ok(()),
            })?;
        } else if name.starts_with("data.tar") {
            read_tar(decompress(&name, member)?, each)?;
        }
    }
    Ok(())
}

fn decompress<'a>(name: &str, member: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let plain: Box<dyn Read> = match Path::new(name).extension().and_then(std::ffi::OsStr::to_str) {
        Some("xz") => Box::new(liblzma::read::XzDecoder::new(member)),
        Some("zst") => Box::new(zstd::Decoder::new(member)?),
        Some("gz") => Box::new(flate2::read::GzDecoder::new(member)),
        Some("tar") => Box::new(member),
        _ => return Err(io::Error::other(format!("{name} is compressed in an unknown way"))),
    };
    Ok(Box::new(plain.take(MAX_UNPACKED)))
}

fn read_tar(tar: impl Read, each: Each) -> io::Result<()> {
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        let kind = entry.header().entry_type();
        if kind.is_file() {
            let executable = entry.header().mode()? & 0o111 != 0;
            each(&path, Content::File { executable, reader: &mut entry })?;
        } else if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name()?.unwrap_or_default().to_string_lossy().into_owned();
            // A hard link names its target from the root of the package.
            let target =
                if kind.is_hard_link() { format!("/{}", target.trim_start_matches("./")) } else { target };
            each(&path, Content::Link(target))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::path::PathBuf;

    #[test]
    fn addresses_are_read_and_missing_ones_named() {
        let output = "'http://deb.debian.org/libc6_2.36-9%2bdeb12u14_amd64.deb' libc6_2.36-9+deb12u14_amd64.deb 2759320 SHA256:ba4f\n\
                      'http://x/../y.deb' ../y.deb 1 SHA256:00\nnoise\n";
        let packages = parse_uris(&["libc6"], output).unwrap();
        assert_eq!(packages[0].file, "libc6_2.36-9+deb12u14_amd64.deb");
        assert_eq!(packages[0].sha256, "ba4f");
        assert_eq!(output.lines().filter_map(parse_uri).count(), 1);
        let error = parse_uris(&["tzdata"], output).unwrap_err().to_string();
        assert!(error.contains("no address with a SHA-256 for tzdata"), "{error}");
    }

    fn tar(path: &str, text: &str) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        tar.append_link(&mut link, "./link", "target").unwrap();
        tar.into_inner().unwrap()
    }

    fn deb(dir: &Path, data_name: &str, data: &[u8]) -> PathBuf {
        let path = dir.join("p.deb");
        let mut deb = ar::Builder::new(File::create(&path).unwrap());
        let mut control = liblzma::write::XzEncoder::new(Vec::new(), 1);
        control.write_all(&tar("./control", "Package: p\n")).unwrap();
        for (name, bytes) in [("control.tar.xz", control.finish().unwrap().as_slice()), (data_name, data)] {
            deb.append(&ar::Header::new(name.into(), bytes.len() as u64), bytes).unwrap();
        }
        path
    }

    #[test]
    fn a_package_is_read_whatever_its_compression() {
        let plain = tar("./usr/lib/libx.so", "content");
        let zst = zstd::encode_all(plain.as_slice(), 1).unwrap();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&plain).unwrap();
        let dir = tempfile::tempdir().unwrap();
        for (name, data) in
            [("data.tar", plain), ("data.tar.zst", zst), ("data.tar.gz", gz.finish().unwrap())]
        {
            let path = deb(dir.path(), name, &data);
            let mut seen = Vec::new();
            let control = unpack(&path, |path, content| {
                seen.push(match content {
                    Content::File { executable, reader } => {
                        format!("{path} {executable} {}", io::read_to_string(reader)?)
                    }
                    Content::Link(target) => format!("{path} -> {target}"),
                });
                Ok(())
            });
            assert_eq!(control.unwrap(), "Package: p\n", "{name}");
            assert_eq!(seen, ["usr/lib/libx.so true content", "link -> target"], "{name}");
        }
    }

    #[test]
    fn what_is_no_package_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = deb(dir.path(), "data.tar.lz9", b"x");
        let error = unpack(&path, |_, _| Ok(())).unwrap_err().to_string();
        assert!(error.contains("data.tar.lz9 is compressed in an unknown way"), "{error}");
        fs::write(&path, "<html>").unwrap();
        assert!(unpack(&path, |_, _| Ok(())).is_err());
    }
}
