//! Identity and access: IAM roles with their policies, STS sessions, and the decisions that follow from them.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/>
//!
//! [`authenticate`] tells whose access key it is, [`authorize`] whether that caller may do a thing, and
//! [`task_credentials`] makes a task act as its role. [`policy`] is the language of policies, on its own.
//!
//! **What is real:** roles, inline policies, the AWS managed policies that ECS roles use, trust policies, identity
//! policies with all condition operators. Users, groups, boundaries, session policies and customer managed policies
//! are refused by name.

#![expect(clippy::needless_pass_by_value, reason = "every handler takes its input by value")]

mod authenticate;
mod authorize;
mod global;
mod managed_policy;
pub mod policy;
mod role;
mod session;
mod sts;
mod task;
mod text;

#[cfg(test)]
mod tests;

pub use authenticate::{AuthFailure, Credential, authenticate};
pub use authorize::authorize;
pub use session::Mint;
pub use task::{TaskCredentials, end_task_credentials, task_credentials};

use pileus_service::Router;
use pileus_state::Tables;

/// The tables of this crate.
pub fn tables(tables: &mut Tables) {
    tables.add::<role::Role>().add::<session::Session>();
}

/// The operations of this crate.
pub fn operations(router: &mut Router) {
    role::operations(router);
    managed_policy::operations(router);
    sts::operations(router);
}
