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

/// Root has them all but those of `drop` (`ALL`: none), and `SYS_PTRACE` where that is asked for; another user none,
/// though a program with file capabilities may gain some of them.
pub(crate) fn capabilities(
    uid: u32,
    drop: &[String],
    ptrace: bool,
) -> Result<LinuxCapabilities, OciSpecError> {
    let kept = |capability: &Capability| {
        !drop.iter().any(|name| name == "ALL" || *name == capability.to_string().trim_start_matches("CAP_"))
    };
    let mut all: HashSet<Capability> = DEFAULT.into_iter().filter(kept).collect();
    if ptrace {
        all.insert(Capability::SysPtrace);
    }
    let active = if uid == 0 { all.clone() } else { HashSet::new() };
    LinuxCapabilitiesBuilder::default()
        .bounding(all)
        .effective(active.clone())
        .permitted(active)
        .inheritable(HashSet::new())
        .ambient(HashSet::new())
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_in_no_set() {
        let bounding = |drop: &[&str], ptrace| {
            let drop: Vec<String> = drop.iter().map(|name| (*name).to_owned()).collect();
            capabilities(0, &drop, ptrace).unwrap().bounding().clone().unwrap()
        };
        assert_eq!(bounding(&[], false).len(), DEFAULT.len());
        assert!(!bounding(&["NET_RAW"], false).contains(&Capability::NetRaw));
        assert_eq!(bounding(&["ALL"], true), HashSet::from([Capability::SysPtrace]));
    }
}
