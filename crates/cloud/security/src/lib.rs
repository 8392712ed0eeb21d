//! Identity and access: IAM roles with their policies, STS sessions, and the decisions that follow from them.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/>
//!
//! [`authenticate`] tells whose access key it is, [`authorize`] whether that caller may do a thing, and
//! [`task_credentials`] makes a task act as its role. [`policy`] is the language of policies, on its own.
//!
//! **What is real:** users, groups, roles, their policies and boundaries, trust and session policies, access keys, in
//! AWS's order of evaluation. Instance profiles are kept and nothing uses them: there are no instances. Passwords, MFA
//! and federated sign-in are refused by name.

#![expect(clippy::needless_pass_by_value, reason = "every handler takes its input by value")]

mod account;
mod authenticate;
mod authorize;
mod global;
mod grants;
mod group;
mod managed;
mod mint;
mod mode;
mod oidc;
pub mod policy;
mod profile;
mod questions;
mod resource;
mod role;
mod session;
mod simulate;
mod sts;
mod subject;
mod task;
mod template;
mod text;
mod user;

#[cfg(test)]
mod tests;

pub use authenticate::{AuthFailure, Credential, authenticate, is_issued};
pub use authorize::{Access, authorize, authorize_through, authorize_with, denial, is_administrator};
pub use mint::Mint;
pub use mode::{is_strict, set_strict};
pub use questions::{Question, questions};
pub use role::service_linked::service_linked_role;
pub use task::{TaskCredentials, end_task_credentials, service_caller, task_caller, task_credentials};
pub use user::key::{note_use, root_key, use_is_news};

use pileus_service::Router;
use pileus_state::Tables;

/// The tables of this crate.
pub fn tables(tables: &mut Tables) {
    tables.add::<role::Role>().add::<session::Session>().add::<mode::Mode>();
    tables.add::<user::User>().add::<user::key::AccessKey>().add::<group::Group>();
    tables.add::<managed::ManagedPolicy>().add::<profile::InstanceProfile>().add::<account::Account>();
    tables.add::<role::service_linked::Deletion>().add::<oidc::Provider>();
}

/// The operations of this crate.
pub fn operations(router: &mut Router) {
    account::operations(router);
    group::operations(router);
    managed::operations(router);
    oidc::operations(router);
    profile::operations(router);
    role::operations(router);
    simulate::operations(router);
    sts::operations(router);
    user::operations(router);
    router.resources("iam", resource::describe);
}
