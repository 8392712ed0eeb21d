//! Credentials for tasks: the document that 169.254.170.2 serves.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html>

use std::time::Duration;

use pileus_core::{ApiError, Arn, Scope, Secret, Timestamp};
use pileus_service::Caller;
use pileus_state::Tx;
use serde_json::json;

use crate::mint::Mint;
use crate::role::{self, Role};
use crate::session::{self, Holder, Limits, Session};
use crate::sts::trusts_service;

const SERVICE: &str = "ecs-tasks.amazonaws.com";
/// As at AWS; the engine makes new ones before these end.
const LIFETIME: Duration = Duration::from_secs(6 * 3600);

/// What a task gets to act as its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskCredentials {
    /// JSON with `RoleArn`, `AccessKeyId`, `SecretAccessKey`, `Token` and `Expiration`.
    pub document: Secret,
    pub expires: Timestamp,
}

/// Starts a session of a role of this account for a task; its name is the task's id.
///
/// # Errors
/// There is no such role, or it does not trust ECS tasks: `ClientException`, in the words of ECS.
pub fn task_credentials(
    tx: &mut Tx,
    mint: &mut Mint,
    role_arn: &str,
    task_id: &str,
    now: Timestamp,
) -> Result<TaskCredentials, ApiError> {
    let scope = tx.scope().clone();
    let role = trusting(tx, role_arn, &scope.arn("ecs", format_args!("task/{task_id}")))?;
    tx.within(scope.global(), |tx| {
        let of = Holder::Role { name: role.name, id: role.id, session: task_id.to_owned() };
        let session = session::start(tx, mint, of, Limits::default(), LIFETIME, now);
        Ok(TaskCredentials { document: document(role_arn, &session), expires: session.expires })
    })
}

/// A task's role as the caller: for what is done in the role's name without its credentials, such as to fetch images
/// and secrets, or write logs. Its policies count as they were when the transaction began.
///
/// # Errors
/// As [`task_credentials`].
pub fn task_caller(tx: &mut Tx, role_arn: &str, task_id: &str) -> Result<Caller, ApiError> {
    let source = tx.scope().arn("ecs", format_args!("task/{task_id}"));
    let role = trusting(tx, role_arn, &source)?;
    Ok(caller(tx.scope(), &role, task_id))
}

/// A role as the caller, where `service` acts in its name for the resource `source`.
///
/// # Errors
/// There is no such role, or it does not trust the service.
pub fn service_caller(tx: &mut Tx, role_arn: &str, service: &str, source: &str) -> Result<Caller, ApiError> {
    let scope = tx.scope().clone();
    let role = role_of(tx, role_arn);
    let trusted = match &role {
        Some(role) => trusts_service(role, service, role_arn, &scope.account, source)?,
        None => false,
    };
    let role = role.filter(|_| trusted).ok_or_else(|| {
        ApiError::client("AccessDenied", format!("{service} cannot assume the role {role_arn}"))
    })?;
    Ok(caller(&scope, &role, service.split('.').next().unwrap_or(service)))
}

fn caller(scope: &Scope, role: &Role, session: &str) -> Caller {
    Caller {
        arn: scope.global().arn("sts", format_args!("assumed-role/{}/{session}", role.name)),
        account: scope.account.clone(),
        user_id: format!("{}:{session}", role.id),
        session: None,
    }
}

/// The role of this account that `role_arn` names, if it trusts ECS tasks.
fn trusting(tx: &mut Tx, role_arn: &str, source: &str) -> Result<Role, ApiError> {
    let scope = tx.scope().clone();
    let role = role_of(tx, role_arn).ok_or_else(|| unable(role_arn))?;
    if !trusts_service(&role, SERVICE, role_arn, &scope.account, source)? {
        return Err(unable(role_arn));
    }
    Ok(role)
}

fn role_of(tx: &mut Tx, role_arn: &str) -> Option<Role> {
    let scope = tx.scope().clone();
    let name = Arn::parse(role_arn).map(|arn| arn.name()).unwrap_or_default();
    tx.within(scope.global(), |tx| role::get(tx, name)).filter(|role| role.arn(&scope) == role_arn)
}

/// Ends the sessions of a task that has stopped.
pub fn end_task_credentials(tx: &mut Tx, task_id: &str) {
    let global = tx.scope().global();
    tx.within(global, |tx| {
        for session in tx.list::<Session>().iter().filter(|session| session.is_of_task(task_id)) {
            tx.delete::<Session>(&session.access_key);
        }
    });
}

fn unable(role_arn: &str) -> ApiError {
    let message = format!(
        "ECS was unable to assume the role '{role_arn}' that was provided for this task. Please verify that the role \
         being passed has the proper trust relationship and permissions and that your IAM user has permissions to \
         pass this role."
    );
    ApiError::client("ClientException", message)
}

fn document(role_arn: &str, session: &Session) -> Secret {
    let json = json!({
        "RoleArn": role_arn,
        "AccessKeyId": session.access_key,
        "SecretAccessKey": session.secret.reveal(),
        "Token": session.token.reveal(),
        "Expiration": session.expires.format("%Y-%m-%dT%H:%M:%SZ"),
    });
    Secret::new(json.to_string())
}
