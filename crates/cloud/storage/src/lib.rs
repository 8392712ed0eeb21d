//! S3's buckets and objects: records and rules; bytes are in blobs.

use pileus_service::Router;
use pileus_state::Tables;

/// The tables of this crate.
pub fn tables(_tables: &mut Tables) {}

/// The operations of this crate.
pub fn operations(_router: &mut Router) {}
