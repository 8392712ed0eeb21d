//! Which public addresses are this engine's: of the 512 networks of 198.18.0.0/15 one that no other engine on this
//! host has claimed. A claim is a file under `/run/pileus/pools`, so a reboot clears them all.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

use crate::Home;
use crate::home::create_whole;

pub(crate) const CLAIMS: &str = "/run/pileus/pools";
const POOLS: u32 = 512;

/// Claims `wanted` or, where that is `None`, the first free pool after the one that the instance's id points to.
///
/// # Errors
/// Every pool is claimed, or the one that this engine has used so far now is another's.
pub(crate) fn claim(home: &Home, wanted: Option<Ipv4Net>) -> io::Result<Ipv4Net> {
    fs::create_dir_all(CLAIMS)?;
    let first = u32::from_str_radix(home.instance(), 16).unwrap_or(0) % POOLS;
    let mut candidates = (first..first + POOLS).map(|number| pool(number % POOLS));
    let free = match wanted {
        Some(pool) => try_claim(home, pool)?.then_some(pool),
        None => {
            let mut free = None;
            for pool in candidates.by_ref() {
                if try_claim(home, pool)? {
                    free = Some(pool);
                    break;
                }
            }
            free
        }
    };
    free.ok_or_else(|| {
        io::Error::other(match wanted {
            Some(pool) => format!(
                "the public addresses {pool} of this engine are in use by another engine on this host"
            ),
            None => format!("all {POOLS} pools of public addresses are in use by other engines on this host"),
        })
    })
}

/// Gives up what the engine of this home has claimed.
///
/// # Errors
/// A claim cannot be removed.
pub(crate) fn release(home: &Home) -> io::Result<()> {
    let entries = match fs::read_dir(CLAIMS) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if holder(&path)?.as_deref() == Some(home.instance()) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn pool(number: u32) -> Ipv4Net {
    let base = u32::from(Ipv4Addr::new(198, 18, 0, 0));
    Ipv4Net::new_assert(Ipv4Addr::from(base + (number << 8)), 24)
}

/// True if the pool is this engine's now.
fn try_claim(home: &Home, pool: Ipv4Net) -> io::Result<bool> {
    let path = claim_path(pool);
    Ok(create_whole(&path, home.instance())? || holder(&path)?.as_deref() == Some(home.instance()))
}

fn claim_path(pool: Ipv4Net) -> PathBuf {
    Path::new(CLAIMS).join(pool.network().to_string())
}

fn holder(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(instance) => Ok(Some(instance)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
