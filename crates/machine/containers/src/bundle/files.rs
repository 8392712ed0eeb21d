//! `/etc/resolv.conf`, `/etc/hosts` and `/etc/hostname` of a task; its containers share them.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use nix::fcntl::readlinkat;
use nix::unistd::{UnlinkatFlags, unlinkat};
use pileus_contract::TaskSpec;

use crate::error::{At, Result};
use crate::rooted::Rooted;

const NAMES: [&str; 3] = ["hostname", "hosts", "resolv.conf"];

/// Writes the three files. `address` is the task's own, where it has one.
pub(crate) fn write_etc(directory: &Path, task: &TaskSpec, address: Option<Ipv4Addr>) -> Result<()> {
    fs::create_dir_all(directory).at("create", directory)?;
    let own = address.map(|address| format!("{address} {}\n", task.hostname)).unwrap_or_default();
    let search = match task.search_domain.as_str() {
        "" => String::new(),
        domain => format!("search {domain}\n"),
    };
    let files = [
        ("hostname", format!("{}\n", task.hostname)),
        ("hosts", format!("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{own}")),
        ("resolv.conf", format!("nameserver {}\n{search}options timeout:2 attempts:3\n", task.nameserver)),
    ];
    for (name, text) in files {
        let path = directory.join(name);
        fs::write(&path, text).at("write", &path)?;
    }
    Ok(())
}

/// Removes links where the three files are to be mounted: their targets, if any, mean nothing in a container.
pub(crate) fn link_free_targets(root: &Rooted) -> nix::Result<()> {
    let etc = root.ensure_dir(Path::new("etc"))?;
    for name in NAMES {
        if readlinkat(&etc, name).is_ok() {
            unlinkat(&etc, name, UnlinkatFlags::NoRemoveDir)?;
        }
    }
    Ok(())
}
