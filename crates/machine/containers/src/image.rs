//! Images: manifests read from the blob store, layers unpacked once and kept as directories.

mod layer;
mod manifest;
mod store;

pub use layer::LayerError;
pub(crate) use manifest::{Image, ImageConfig, Layer};
pub(crate) use store::ImageStore;
