//! From a directory of source code to what runs: the settings of an app (`pileus.toml`), the image
//! builder, the deployment by AWS calls, and how the app is then. See DESIGN 9.

pub mod client;
pub mod deploy;
pub mod image;
pub mod manifest;
pub mod push;
pub mod status;
