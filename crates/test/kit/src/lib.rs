//! What tests of several crates share: a cloud in one value ([`Cloud`]) and bulk stores without a machine.

mod bulk;
mod cloud;
mod image;

pub use bulk::{MemoryLogs, MemoryMetrics, TempBlobs, bulk};
pub use cloud::Cloud;
pub use image::push_image;
