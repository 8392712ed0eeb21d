//! What is asked about one link after it was made.

use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;

use crate::error::{FabricError, Result};
use crate::message::{self, Link};
use crate::netlink::Netlink;

/// How often, and how far apart, a link is asked whether it is ready; two seconds in all.
const ATTEMPTS: u32 = 2000;
const PAUSE: Duration = Duration::from_millis(1);

/// The index of a link in the namespace of `netlink`.
pub(crate) fn index_of(netlink: &mut Netlink, name: &str) -> Result<u32> {
    find(netlink, name).map(|link| link.index)
}

/// Waits until a link can send. The end of a pair that was set up before the other begins to send only when the
/// kernel's link watch has run; packets before that are lost. Newer kernels (6.8) run it when they are asked.
pub(crate) fn await_ready(netlink: &mut Netlink, name: &str) -> Result<()> {
    for _ in 0..ATTEMPTS {
        if find(netlink, name)?.ready {
            return Ok(());
        }
        sleep(PAUSE);
    }
    Err(FabricError::kernel("see a link come up within two seconds", Errno::ETIMEDOUT))
}

fn find(netlink: &mut Netlink, name: &str) -> Result<Link> {
    let action = format!("find the link {name}");
    let link = netlink.get(&action, message::get_link(name))?.as_ref().and_then(message::as_link);
    link.ok_or_else(|| FabricError::kernel("find a link just made", Errno::ENODEV))
}
