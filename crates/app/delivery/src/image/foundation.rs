//! What an image stands on, whether the built-in runtime or an image that the user names: the
//! layers below the app, and what the configuration takes over from them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::npm::NodeRelease;
use super::{ImageError, LayerDescriptor};

/// The architectures that images are made for, each in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Arch {
    X86_64,
    Aarch64,
}

impl Arch {
    pub(super) fn of_host() -> Result<Self, ImageError> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::X86_64),
            "aarch64" => Ok(Self::Aarch64),
            arch => Err(ImageError::UnsupportedArch { arch }),
        }
    }

    pub(super) fn in_npm(self) -> &'static str {
        match self {
            Self::X86_64 => "x64",
            Self::Aarch64 => "arm64",
        }
    }

    pub(super) fn in_oci(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }
}

/// The C library, which decides what compiled packages fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Libc {
    Glibc,
    Musl,
}

impl fmt::Display for Libc {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Glibc => "glibc",
            Self::Musl => "musl",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Foundation {
    pub(super) arch: Arch,
    pub(super) libc: Libc,
    /// From the bottom up.
    pub(super) layers: Vec<LayerDescriptor>,
    /// `NAME=value`, in order.
    pub(super) env: Vec<String>,
    /// Path of the binary in the image.
    pub(super) node_path: String,
    /// `None` where the image does not tell.
    pub(super) node_version: Option<String>,
    /// `uid:gid` or a name that the image knows.
    pub(super) user: String,
    /// The release that install scripts may run under; only of the built-in runtime.
    pub(super) node: Option<NodeRelease>,
}
