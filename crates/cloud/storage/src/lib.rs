//! S3: buckets, the versions of their objects and multipart uploads, as records and rules. Bytes are not here: a
//! record names the blobs that hold them, and whoever calls has stored them before.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/Welcome.html>
//!
//! The names of buckets are global, so all records lie in one scope of their own ([`scope`]); whose a bucket is, is
//! written in it. Every function that takes a `Tx` expects one in that scope.

pub mod bucket;
pub mod checksum;
pub mod cors;
pub mod error;
pub mod lifecycle;
pub mod listing;
pub mod object;
pub mod policy;
pub mod upload;

#[cfg(test)]
mod testing;

use std::collections::BTreeSet;

use pileus_core::Scope;
use pileus_service::Router;
use pileus_state::{State, Tables};

pub use bucket::Bucket;
pub use object::{Blob, Content, Version};
pub use upload::{Part, Upload};

/// The scope of all records: no account's and no region's.
pub fn scope() -> Scope {
    Scope::new("*", Scope::DEFAULT_REGION).global()
}

/// The blobs that some object version or part of an upload is made of. Every other blob may go.
pub fn blobs(state: &State) -> BTreeSet<String> {
    let versions = state.all::<Version>().map(|(_, version)| version);
    let contents = versions.filter_map(|version| version.content.clone());
    let of_versions = contents.flat_map(|content| content.blobs).map(|blob| blob.digest);
    let of_parts = state.all::<Part>().map(|(_, part)| part.blob.digest.clone());
    of_versions.chain(of_parts).collect()
}

/// The tables of this crate.
pub fn tables(tables: &mut Tables) {
    tables.add::<Bucket>().add::<Version>().add::<Upload>().add::<Part>();
}

/// S3 speaks restXml, which the engine serves beside the router: there is nothing to register.
pub fn operations(_router: &mut Router) {}
