//! From a directory of source code to what runs: the settings of an app (`pileus.toml`) and the
//! image builder. See DESIGN 9.

pub mod client;
pub mod deploy;
pub mod image;
pub mod manifest;
