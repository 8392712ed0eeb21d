//! Secrets Manager's secrets and Systems Manager's parameters.
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/>
//! <https://docs.aws.amazon.com/systems-manager/latest/userguide/systems-manager-parameter-store.html>
//!
//! [`resolve`] is what ECS injects into containers, read as the execution role.
//!
//! **What is not there:** rotation (it needs a Lambda function), replicas in other Regions, keys other than the
//! services' own (there is no KMS here), parameter policies. They are refused by name.

#![expect(clippy::needless_pass_by_value, reason = "every handler takes its input by value")]

mod access;
mod parameter;
mod resolve;
mod secret;

pub use resolve::{ResolveError, resolve};
pub use secret::purge;

use pileus_service::Router;
use pileus_state::Tables;

/// The tables of this crate.
pub fn tables(tables: &mut Tables) {
    secret::tables(tables);
    parameter::tables(tables);
}

/// The operations of this crate.
pub fn operations(router: &mut Router) {
    secret::operations(router);
    parameter::operations(router);
}
