//! IP forwarding on the host: turned on where it was off, and off again by the last engine that leaves.
//!
//! Who turned it on is written where it is in force, in nftables: an engine that finds it off, or finds that another
//! engine turned it on, puts a set `guarded` into its own table. The set also keeps the host from becoming a router for
//! its neighbours: the links that did not forward to one another before do not now. So nothing outlives a reboot,
//! and two engines may come and go in any order.

use std::collections::BTreeSet;
use std::fs::File;

use nix::net::if_::if_nameindex;

use crate::error::{FabricError, Result};
use crate::firewall::Table;
use crate::namespace::{Namespace, sysctl};
use crate::nft;

const SETTING: &str = "/proc/sys/net/ipv4/ip_forward";
const PREFIX: &str = "pileus_";
const GUARDED: &str = "guarded";

/// The links to guard; `None` where the host forwards by itself, so that it is none of our business.
pub(crate) type Guarded = Option<BTreeSet<String>>;

pub(crate) fn table_name(instance: &str) -> String {
    format!("{PREFIX}{instance}")
}

/// Adds to the host's table what remembers the guarded links and keeps them apart.
pub(crate) fn add_guard(table: &mut Table, guarded: &Guarded) {
    let Some(links) = guarded else { return };
    table.set(GUARDED, "ifname", links.iter().map(|link| format!("\"{link}\"")));
    table.base_chain(
        "guard",
        "filter hook forward priority filter; policy accept",
        vec![format!("iifname @{GUARDED} oifname @{GUARDED} drop")],
    );
}

/// The way from finding out to turning on, which engines go one at a time.
pub(crate) struct Forwarding<'a> {
    host: &'a Namespace,
    pub guarded: Guarded,
    _lock: File,
}

impl<'a> Forwarding<'a> {
    /// Finds out what is to be guarded. The table that says so must be in force before [`Self::turn_on`].
    pub(crate) fn begin(host: &'a Namespace) -> Result<Self> {
        let lock = lock(host)?;
        let setting = host.run(|| read(SETTING))?;
        let guarded = if setting.trim() == "0" { Some(host.run(links)?) } else { guarded_by_any(host)? };
        Ok(Self { host, guarded, _lock: lock })
    }

    pub(crate) fn turn_on(self) -> Result<()> {
        if self.guarded.is_some() {
            self.host.run(|| sysctl("ipv4/ip_forward", "1"))?;
        }
        Ok(())
    }
}

/// Deletes the instance's table, and turns forwarding off if it was the last of those that needed it on.
pub(crate) fn restore(host: &Namespace, instance: &str) -> Result<()> {
    let _lock = lock(host)?;
    let name = table_name(instance);
    let ours = guarded_by(host, &name)?.is_some();
    nft::run(host, &format!("table ip {name}\ndelete table ip {name}\n"))?;
    if ours && guarded_by_any(host)?.is_none() {
        host.run(|| sysctl("ipv4/ip_forward", "0"))?;
    }
    Ok(())
}

/// What the tables of all engines on this host guard.
fn guarded_by_any(host: &Namespace) -> Result<Guarded> {
    let mut all: Guarded = None;
    for table in tables(&nft::query(host, &["list", "tables", "ip"])?) {
        if let Some(links) = guarded_by(host, table)? {
            all.get_or_insert_default().extend(links);
        }
    }
    Ok(all)
}

fn guarded_by(host: &Namespace, table: &str) -> Result<Guarded> {
    let sets = match nft::query(host, &["list", "table", "ip", table]) {
        Ok(text) => text,
        Err(FabricError::Nft { stderr, .. }) if stderr.contains("No such file") => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(guarded_in(&sets))
}

/// The names of our tables in the output of `nft list tables ip`.
fn tables(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("table ip "))
        .filter(|name| name.starts_with(PREFIX))
}

/// The links in the set `guarded` of a listed table.
fn guarded_in(text: &str) -> Guarded {
    let (_, rest) = text.split_once(&format!("set {GUARDED} {{"))?;
    let (_, elements) = rest.split_once("elements = {").unwrap_or_default();
    let (elements, _) = elements.split_once('}').unwrap_or_default();
    Some(
        elements
            .split(',')
            .map(|name| name.trim().trim_matches('"').to_owned())
            .filter(|n| !n.is_empty())
            .collect(),
    )
}

fn lock(host: &Namespace) -> Result<File> {
    // Opened inside, since every namespace has its own file there.
    let file = host.run(|| File::open(SETTING).map_err(|e| FabricError::file("open", SETTING, e)))?;
    file.lock().map_err(|e| FabricError::file("lock", SETTING, e))?;
    Ok(file)
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| FabricError::file("read", path, e))
}

/// The links that are there before ours, but for `lo`.
fn links() -> Result<BTreeSet<String>> {
    let links = if_nameindex().map_err(|e| FabricError::kernel("list the host's links", e))?;
    let names = links.iter().map(|link| link.name().to_string_lossy().into_owned());
    Ok(names.filter(|name| name != "lo" && !name.starts_with("pl")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_nft_lists() {
        let text = "table ip pileus_a1b2c3 {\n\tset guarded {\n\t\ttype ifname\n\t\telements = { \"eth0\",\n\t\t\t     \"ifb0\" }\n\t}\n}\n";
        let links = guarded_in(text).unwrap();
        assert_eq!(links.into_iter().collect::<Vec<_>>(), ["eth0", "ifb0"]);
        assert_eq!(guarded_in("set guarded {\n type ifname\n }\n}"), Some(BTreeSet::new()));
        assert_eq!(guarded_in("table ip pileus_a1b2c3 {\n}"), None);
        assert_eq!(tables("table ip nat\ntable ip pileus_a1b2c3\n").collect::<Vec<_>>(), ["pileus_a1b2c3"]);
    }
}
