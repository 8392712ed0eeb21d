//! IAM's resources as policies see them: requests name them without their path.

use pileus_core::{Arn, Scope, Tags};
use pileus_service::Described;
use pileus_state::Tx;

use crate::group::{self, Group};
use crate::managed::{self, ManagedPolicy};
use crate::profile::{self, InstanceProfile};
use crate::role::{self, Role};
use crate::user::{self, User};

/// The resource of IAM that an ARN without its path names.
pub(crate) fn describe(tx: &Tx, arn: &str) -> Option<Described> {
    let parsed = Arn::parse(arn)?;
    let scope = Scope::new(parsed.account, Scope::DEFAULT_REGION).global();
    let state = tx.base();
    let name = parsed.name();
    let found = |arn: String, tags: &Tags| Some(Described { arn, tags: tags.clone(), policy: None });
    match parsed.resource.split('/').next()? {
        "user" => {
            let user = state.get::<User>(&scope, &user::key(name))?;
            found(user.arn(&scope), &user.tags)
        }
        "role" => {
            let role = state.get::<Role>(&scope, &role::key(name))?;
            found(role.arn(&scope), &role.tags)
        }
        "policy" => {
            let policy = state.get::<ManagedPolicy>(&scope, &managed::key(name))?;
            found(policy.arn(&scope), &policy.tags)
        }
        "instance-profile" => {
            let profile = state.get::<InstanceProfile>(&scope, &profile::key(name))?;
            found(profile.arn(&scope), profile.tags())
        }
        "group" => {
            let group = state.get::<Group>(&scope, &group::key(name))?;
            found(group.arn(&scope), &Tags::new())
        }
        _ => None,
    }
}
