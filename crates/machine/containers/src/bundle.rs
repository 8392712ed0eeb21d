//! From a container's spec and its image to what the OCI runtime is told: `config.json` and the files beside it.

mod caps;
mod files;
mod process;
mod seccomp;
mod spec;
mod user;

pub(crate) use files::{link_free_targets, write_etc};
pub(crate) use process::{Process, stop_signal};
pub(crate) use seccomp::profile as seccomp_profile;
pub(crate) use spec::{Surroundings, runtime_spec};
pub(crate) use user::resolve as resolve_user;
