//! Sessions: temporary credentials, kept until they expire so that they outlive a restart of the engine.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp.html>

use std::time::Duration;

use pileus_core::{Scope, Secret, Tags, Timestamp};
use pileus_service::Caller;
use pileus_state::{Record, State, Tx};
use serde::{Deserialize, Serialize};

use crate::mint::{Mint, TEMPORARY};
use crate::policy::ContextKeys;
use crate::role::{self, Role};
use crate::user::{self, User};

/// How long the limits of a session are remembered after its end: what it was given, such as a token for the registry,
/// can outlive it.
const MEMORY: Duration = Duration::from_secs(12 * 3600);

/// Temporary credentials, in the global scope of their account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// `ASIA…`
    pub(crate) access_key: String,
    pub(crate) secret: Secret,
    pub(crate) token: Secret,
    pub(crate) of: Holder,
    pub(crate) issued: Timestamp,
    pub(crate) expires: Timestamp,
    #[serde(default)]
    pub(crate) limits: Limits,
}

/// Whose session it is. The ids are those of role and user as they were: a new one of the same name does not revive old
/// sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Holder {
    Role { name: String, id: String, session: String },
    User { name: String, id: String },
    Root,
    Federated { issuer: Issuer, name: String },
}

/// Who has federated somebody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Issuer {
    User { name: String, id: String },
    Root,
}

/// What the one who started a session has given it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Session policies, as documents; absent: none limit it.
    pub(crate) policies: Option<Vec<String>>,
    pub(crate) tags: Tags,
    /// The keys of the tags that sessions started from this one inherit.
    pub(crate) transitive: Vec<String>,
    pub(crate) source_identity: Option<String>,
}

impl Record for Session {
    const KIND: &'static str = "sts/session";

    fn key(&self) -> String {
        self.access_key.clone()
    }
}

impl Session {
    pub(crate) fn caller(&self, state: &State, scope: &Scope) -> Option<Caller> {
        let global = scope.global();
        let account = &scope.account;
        let session = Some(self.access_key.clone());
        let (arn, user_id) = match &self.of {
            Holder::Role { name, id, session } => {
                let role = state.get::<Role>(&global, &role::key(name)).filter(|role| role.id == *id)?;
                let resource = format_args!("assumed-role/{}/{session}", role.name);
                (global.arn("sts", resource), format!("{id}:{session}"))
            }
            Holder::User { name, id } => {
                let user = live(state, &global, name, id)?;
                (user.arn(&global), user.id.clone())
            }
            Holder::Root => (global.arn("iam", "root"), account.clone()),
            Holder::Federated { issuer, name } => {
                if let Issuer::User { name, id } = issuer {
                    live(state, &global, name, id)?;
                }
                (global.arn("sts", format_args!("federated-user/{name}")), format!("{account}:{name}"))
            }
        };
        Some(Caller { arn, account: account.clone(), user_id, session })
    }

    /// Whether it is a role session with the name of this task.
    pub(crate) fn is_of_task(&self, task: &str) -> bool {
        matches!(&self.of, Holder::Role { session, .. } if session == task)
    }

    /// The user who federated its holder, if it was one.
    pub(crate) fn issuing_user(&self) -> Option<&str> {
        match &self.of {
            Holder::Federated { issuer: Issuer::User { name, .. }, .. } => Some(name),
            _ => None,
        }
    }

    /// What policies can ask about the session.
    pub(crate) fn keys(&self) -> ContextKeys {
        let mut keys = ContextKeys::from([
            ("aws:tokenissuetime".to_owned(), vec![self.issued.format("%Y-%m-%dT%H:%M:%SZ")]),
            ("aws:multifactorauthpresent".to_owned(), vec!["false".to_owned()]),
        ]);
        for (key, value) in &self.limits.tags {
            keys.insert(format!("aws:principaltag/{}", key.to_lowercase()), vec![value.clone()]);
        }
        if let Some(source) = &self.limits.source_identity {
            keys.insert("aws:sourceidentity".to_owned(), vec![source.clone()]);
        }
        keys
    }
}

fn live(state: &State, scope: &Scope, name: &str, id: &str) -> Option<std::sync::Arc<User>> {
    user::named(state, scope, name).filter(|user| user.id == id)
}

/// Starts a session in the (global) scope of the transaction. Forgets the sessions there that are over, so that their
/// number stays bounded by what is in use.
pub(crate) fn start(
    tx: &mut Tx,
    mint: &mut Mint,
    of: Holder,
    limits: Limits,
    lifetime: Duration,
    now: Timestamp,
) -> Session {
    for old in tx.list::<Session>().iter().filter(|session| session.expires + MEMORY <= now) {
        tx.delete::<Session>(&old.access_key);
    }
    let session = Session {
        access_key: mint.access_key(TEMPORARY, &tx.scope().account),
        secret: mint.secret::<30>(),
        token: mint.secret::<96>(),
        of,
        issued: now,
        expires: now + lifetime,
        limits,
    };
    tx.put(session.clone());
    session
}
