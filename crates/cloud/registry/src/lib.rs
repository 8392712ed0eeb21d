//! ECR: repositories of container images.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/what-is-ecr.html>
//!
//! Layers and manifests are blobs, stored once for all repositories; that a repository has a layer is a record, so
//! that none can read another's. Images are pushed and pulled through the API, or through the OCI distribution
//! protocol that container tools speak ([`distribution`]); [`resolve`] finds what an image name stands for.

#![expect(clippy::needless_pass_by_value, reason = "every handler takes its input by value")]

mod account;
mod collect;
pub mod distribution;
mod image;
mod layer;
mod lifecycle;
mod manifest;
mod policy;
mod reference;
mod repository;
mod scan;
mod settings;
mod token;

#[cfg(test)]
mod testing;

pub use collect::{Versions, blobs_in_use, collect, versions};
pub use image::{Image, ImageTag};
pub use layer::{Layer, Upload};
pub use lifecycle::apply as apply_lifecycle_policies;
pub use policy::repository_policy;
pub use reference::is_registry_host as is_host;
pub use reference::{ResolveError, ResolvedImage, repository_of, resolve};
pub use repository::Repository;

use pileus_core::Scope;
use pileus_model::{OperationSchema, Value};
use pileus_service::Router;
use pileus_state::Tables;

/// The tables of this crate.
pub fn tables(tables: &mut Tables) {
    tables
        .add::<Repository>()
        .add::<Image>()
        .add::<ImageTag>()
        .add::<image::ImageHistory>()
        .add::<Layer>()
        .add::<Upload>()
        .add::<lifecycle::LifecyclePolicy>()
        .add::<lifecycle::LifecyclePreview>()
        .add::<policy::RepositoryPolicy>()
        .add::<account::RegistrySettings>()
        .add::<token::SigningKey>();
}

/// The operations of this crate.
pub fn operations(router: &mut Router) {
    repository::operations(router);
    settings::operations(router);
    image::operations(router);
    layer::operations(router);
    lifecycle::operations(router);
    policy::operations(router);
    scan::operations(router);
    account::operations(router);
    token::operations(router);
}

/// The scope that an operation works in: that of the registry that its input names, where that is another account's. Whether
/// the caller may is another's question, and asked before.
pub fn registry_of(operation: &OperationSchema, input: &Value, caller: Scope) -> Scope {
    let Value::Structure(members) = input else { return caller };
    let named = members.iter().find(|(name, _)| *name == "registryId").and_then(|(_, value)| value.as_str());
    match named {
        Some(account) if operation.service.name == "ecr" => Scope::new(account, &caller.region),
        _ => caller,
    }
}

/// The host name of a registry, `<account>.dkr.ecr.<region>.localhost`, with the port by which the client reached the
/// engine: every name under `localhost` is this machine (RFC 6761).
pub(crate) fn host(scope: &Scope, endpoint: &str) -> String {
    let port = endpoint.rsplit_once(':').map(|(_, port)| port);
    let port = port.filter(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}.dkr.ecr.{}.localhost{port}", scope.account, scope.region)
}
