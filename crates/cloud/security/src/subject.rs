//! A caller with all that policies say of it: what decides what it may do.

use std::sync::Arc;

use pileus_core::{ApiError, Arn, Scope, Tags};
use pileus_service::Caller;
use pileus_state::State;

use crate::group::Group;
use crate::managed;
use crate::policy::{ContextKeys, Kind, Malformed, Policy, Principal, parse};
use crate::role::{self, Role};
use crate::session::Session;
use crate::user::{self, User};

/// Who asks, with its policies.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) arn: String,
    pub(crate) account: String,
    /// The role of a session, or the user of a federated one.
    pub(crate) issuer: Option<String>,
    pub(crate) identity: Vec<Policy>,
    pub(crate) boundary: Option<Vec<Policy>>,
    pub(crate) session: Option<Vec<Policy>>,
    /// What policies can ask about it.
    pub(crate) keys: ContextKeys,
}

/// What a role or a user brings: the same for enforcement and for simulation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    pub(crate) policies: Vec<Policy>,
    pub(crate) boundary: Option<Vec<Policy>>,
    tags: Tags,
}

impl Identity {
    fn administrator() -> Self {
        Self { policies: vec![Policy::administrator()], ..Self::default() }
    }

    pub(crate) fn of_role(state: &State, scope: &Scope, role: &Role) -> Result<Self, Malformed> {
        let policies = role.grants.policies(state, scope)?;
        Ok(Self {
            policies,
            boundary: boundary(state, scope, role.boundary.as_deref())?,
            tags: role.tags.clone(),
        })
    }

    /// A user's policies are its own and those of its groups.
    pub(crate) fn of_user(state: &State, scope: &Scope, user: &User) -> Result<Self, Malformed> {
        let mut policies = user.grants.policies(state, scope)?;
        for group in user.groups.iter().filter_map(|name| state.get::<Group>(scope, name)) {
            policies.extend(group.grants.policies(state, scope)?);
        }
        Ok(Self {
            policies,
            boundary: boundary(state, scope, user.boundary.as_deref())?,
            tags: user.tags.clone(),
        })
    }
}

/// A boundary whose policy is gone allows nothing.
fn boundary(state: &State, scope: &Scope, arn: Option<&str>) -> Result<Option<Vec<Policy>>, Malformed> {
    let read = |arn: &str| managed::policy(state, scope, arn).transpose();
    arn.map(|arn| read(arn).map(|policy| policy.into_iter().collect())).transpose()
}

impl Subject {
    /// The caller as the state has it. Somebody who is there no more has no policies.
    ///
    /// # Errors
    /// A stored policy cannot be read.
    pub(crate) fn of(state: &State, caller: &Caller) -> Result<Self, ApiError> {
        let scope = Scope::new(&caller.account, Scope::DEFAULT_REGION).global();
        let session = caller.session.as_ref().and_then(|key| state.get::<Session>(&scope, key));
        // Of a session that is forgotten nobody knows how far it was limited.
        let forgotten = caller.session.is_some() && session.is_none();
        let who = if forgotten { Who::Nobody } else { Who::of(state, &scope, caller, session.as_deref()) };
        let (identity, issuer) = match &who {
            Who::Root => (Identity::administrator(), None),
            Who::User(user) => {
                let federated = user.arn(&scope) != caller.arn;
                let issuer = federated.then(|| user.arn(&scope));
                (Identity::of_user(state, &scope, user)?, issuer)
            }
            Who::Role(role) => (Identity::of_role(state, &scope, role)?, Some(role.arn(&scope))),
            Who::Nobody => (Identity::default(), None),
        };
        let mut keys = keys(caller, &who, issuer.as_deref(), &identity.tags);
        let mut limits = None;
        if let Some(session) = session {
            keys.extend(session.keys());
            let read = |documents: &Vec<String>| {
                documents.iter().map(|document| parse(Kind::Identity, document)).collect::<Result<_, _>>()
            };
            limits = session.limits.policies.as_ref().map(read).transpose()?;
        }
        Ok(Self {
            arn: caller.arn.clone(),
            account: caller.account.clone(),
            issuer,
            identity: identity.policies,
            boundary: identity.boundary,
            session: limits,
            keys,
        })
    }

    pub(crate) fn principal(&self) -> Principal<'_> {
        Principal::Aws { account: &self.account, arn: &self.arn, issuer: self.issuer.as_deref() }
    }
}

/// The kinds of callers.
enum Who {
    Root,
    User(Arc<User>),
    Role(Arc<Role>),
    Nobody,
}

impl Who {
    fn of(state: &State, scope: &Scope, caller: &Caller, session: Option<&Session>) -> Self {
        let Some(arn) = Arn::parse(&caller.arn) else { return Self::Nobody };
        let found = match (arn.service, arn.resource.split_once('/')) {
            ("iam", None) if arn.resource == "root" => Some(Self::Root),
            ("iam", Some(("user", _))) => user::named(state, scope, arn.name()).map(Self::User),
            ("sts", Some(("assumed-role", rest))) => {
                let name = rest.split('/').next().unwrap_or_default();
                state.get::<Role>(scope, &role::key(name)).map(Self::Role)
            }
            ("sts", Some(("federated-user", _))) => {
                session.and_then(|session| match session.issuing_user() {
                    Some(name) => user::named(state, scope, name).map(Self::User),
                    None => Some(Self::Root),
                })
            }
            _ => None,
        };
        found.unwrap_or(Self::Nobody)
    }
}

/// What policies can ask about the caller.
fn keys(caller: &Caller, who: &Who, issuer: Option<&str>, tags: &Tags) -> ContextKeys {
    let kind = match who {
        Who::Root | Who::Nobody => "Account",
        Who::User(_) if issuer.is_some() => "FederatedUser",
        Who::User(_) => "User",
        Who::Role(_) => "AssumedRole",
    };
    // A role's sessions share its ARN; a federated user has one of its own.
    let principal = if matches!(who, Who::Role(_)) { issuer } else { None };
    let mut keys: ContextKeys = [
        ("aws:principalarn", principal.unwrap_or(&caller.arn)),
        ("aws:principalaccount", &caller.account),
        ("aws:principaltype", kind),
        ("aws:userid", &caller.user_id),
        ("aws:principalisawsservice", "false"),
        ("aws:viaawsservice", "false"),
    ]
    .map(|(key, value)| (key.to_owned(), vec![value.to_owned()]))
    .into();
    if let Who::User(user) = who
        && issuer.is_none()
    {
        keys.insert("aws:username".into(), vec![user.name.clone()]);
    }
    let tags = tags.iter().map(|(key, value)| (format!("aws:principaltag/{}", key.to_lowercase()), value));
    keys.extend(tags.map(|(key, value)| (key, vec![value.clone()])));
    keys
}
