//! The rules, as tables. Each row has its reason in ARCHITECTURE.md: app -> {machine, cloud} -> contract -> base.

/// What every crate below `crates/cloud` may use besides its neighbours, and so the helpers of their tests.
const CLOUD: &[&str] = &["core", "model", "aws", "state", "service", "contract"];
/// What every crate below `crates/machine` may use: no AWS, no state.
const MACHINE: &[&str] = &["core", "contract"];
/// What compute stands on. Whoever tests on ECS services needs it too.
const UNDER_COMPUTE: &[&str] = &["network", "balancing", "registry", "secrets", "security", "monitoring"];
/// The crates that look at the whole from outside or above.
const EVERYTHING: &[&str] = &["*"];

/// Which crates of ours a crate may depend on: a row for every one. A crate without a row is an error, so whoever
/// adds one decides its place here.
const MAY_USE: &[(&str, &[&[&str]])] = &[
    ("core", &[]),
    ("model", &[&["core"]]),
    ("wire", &[&["core", "model"]]),
    ("aws", &[&["core", "model"]]),
    ("state", &[&["core"]]),
    ("store", &[&["core", "state"]]),
    ("control", &[&["core", "store"]]),
    ("contract", &[&["core"]]),
    // Its context carries the contract's `Bulk`: the streams and blobs that handlers read.
    ("service", &[&["core", "model", "state", "contract"]]),
    ("fabric", &[MACHINE]),
    ("containers", &[MACHINE]),
    ("proxy", &[MACHINE]),
    ("bulk", &[MACHINE]),
    ("security", &[CLOUD]),
    ("monitoring", &[CLOUD, &["security"]]),
    ("registry", &[CLOUD, &["security"]]),
    ("secrets", &[CLOUD, &["security"]]),
    ("certificates", &[CLOUD]),
    ("account", &[CLOUD, &["network"]]),
    ("storage", &[CLOUD, &["security"]]),
    ("network", &[CLOUD, &["security"]]),
    ("balancing", &[CLOUD, &["network", "certificates"]]),
    ("compute", &[CLOUD, UNDER_COMPUTE]),
    ("scaling", &[CLOUD, &["compute", "monitoring", "security"], UNDER_COMPUTE]),
    // It speaks to an engine only as any client does.
    ("delivery", &[&["core", "model", "wire", "aws"]]),
    ("engine", &[EVERYTHING]),
    ("pileus", &[EVERYTHING]),
    ("kit", &[CLOUD]),
    ("sim", &[EVERYTHING]),
    ("bench", &[EVERYTHING]),
    // It makes crates/base/aws, so it must build without it.
    ("xtask", &[&["model"]]),
];

/// Tests may use these besides: helpers, and the generated shapes as examples.
const MAY_TEST_WITH: &[&str] = &["kit", "sim", "aws"];

/// Crates without I/O, clock, threads or randomness of their own. Below `crates/cloud` all are.
const PURE: &[&str] = &["core", "model", "wire", "aws", "state", "service", "contract"];
/// The one file of a pure crate that may look at the clock: it makes the `Clock` that others are given.
const CLOCK: &str = "crates/base/core/src/clock.rs";
/// What a pure crate does not write, outside its tests.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::process",
    "std::thread",
    "std::net::Tcp",
    "std::net::Udp",
    "std::os::unix::net",
    "SystemTime::now",
    "Instant::now",
    "std::env::var",
    "std::env::args",
    "std::env::current_dir",
    "std::env::temp_dir",
    "std::io::std",
    "tokio::",
];
/// Third-party crates that do I/O: a pure crate has none of them.
const IMPURE_CRATES: &[&str] =
    &["tokio", "hyper", "hyper-util", "nix", "rustix", "redb", "tempfile", "libcontainer", "netlink-sys"];

/// The crates that may allow themselves `unsafe`, each use with its reason.
const UNSAFE: &[&str] = &["fabric", "containers"];

pub(super) fn knows(name: &str) -> bool {
    MAY_USE.iter().any(|(known, _)| *known == name)
}

pub(super) fn may_use(name: &str, used: &str, in_tests: bool) -> bool {
    let row = MAY_USE.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, row)| row);
    row.iter().any(|group| group.contains(&used) || *group == EVERYTHING)
        || (in_tests && MAY_TEST_WITH.contains(&used))
}

pub(super) fn is_pure(group: &str, name: &str) -> bool {
    group == "cloud" || PURE.contains(&name)
}

pub(super) fn does_io(third_party: &str) -> bool {
    IMPURE_CRATES.contains(&third_party)
}

/// What in this line of a pure crate's file is not pure.
pub(super) fn impurity(file: &str, code: &str) -> Option<&'static str> {
    let clock = |what: &str| file == CLOCK && what.ends_with("::now");
    IMPURE.iter().copied().find(|what| code.contains(what) && !clock(what))
}

pub(super) fn may_be_unsafe(name: &str) -> bool {
    UNSAFE.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directions_are_those_of_the_design() {
        assert!(may_use("compute", "network", false));
        assert!(!may_use("network", "compute", false));
        assert!(!may_use("fabric", "state", false));
        assert!(!may_use("proxy", "aws", false));
        assert!(may_use("engine", "fabric", false));
        assert!(!may_use("compute", "kit", false));
        assert!(may_use("compute", "kit", true));
        assert!(!may_use("unheard-of", "core", false));
    }

    #[test]
    fn every_crate_that_a_row_names_has_a_row() {
        let named = MAY_USE.iter().flat_map(|(_, row)| row.iter().flat_map(|group| group.iter()));
        for name in named.chain(MAY_TEST_WITH).chain(PURE).chain(UNSAFE).filter(|name| **name != "*") {
            assert!(knows(name), "{name}");
        }
    }

    #[test]
    fn only_one_file_reads_the_clock() {
        assert_eq!(
            impurity("crates/cloud/compute/src/x.rs", "let now = Instant::now();"),
            Some("Instant::now")
        );
        assert_eq!(impurity(CLOCK, "let now = Instant::now();"), None);
        assert_eq!(impurity(CLOCK, "std::fs::read(path)"), Some("std::fs"));
    }
}
