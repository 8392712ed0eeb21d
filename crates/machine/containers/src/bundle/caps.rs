//! The capabilities of a container's root: those of Docker and Fargate without `MKNOD`.
//!
//! Fargate gives Docker's default set. `MKNOD` is left out because a container here shares the host's kernel, not a
//! virtual machine of its own, and has no use for device nodes: `/dev` holds the harmless ones.

use std::collections::HashSet;

use oci_spec::OciSpecError;
use oci_spec::runtime::{Capability, LinuxCapabilities, LinuxCapabilitiesBuilder};

const DEFAULT: [Capability; 13] = [
    Capability::AuditWrite,
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// Root has them all; another user none, though a program with file capabilities may gain some of them.
pub(crate) fn capabilities(uid: u32) -> Result<LinuxCapabilities, OciSpecError> {
    let all: HashSet<Capability> = DEFAULT.into_iter().collect();
    let active = if uid == 0 { all.clone() } else { HashSet::new() };
    LinuxCapabilitiesBuilder::default()
        .bounding(all)
        .effective(active.clone())
        .permitted(active)
        .inheritable(HashSet::new())
        .ambient(HashSet::new())
        .build()
}
