//! Service-linked roles: those that AWS's services make for themselves in an account, when they are first used.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create-service-linked-role.html>

use pileus_aws::iam::{
    CreateServiceLinkedRoleRequest, CreateServiceLinkedRoleResponse, DeleteServiceLinkedRoleRequest,
    DeleteServiceLinkedRoleResponse, GetServiceLinkedRoleDeletionStatusRequest,
    GetServiceLinkedRoleDeletionStatusResponse, ops,
};
use pileus_core::{ApiError, IdGen, Tags, Timestamp};
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use super::{Role, find, get, shape};
use crate::global::globally;
use crate::grants::Grants;
use crate::text::no_such_entity;

/// How many deletions are remembered.
const MAX_DELETIONS: usize = 100;

/// A service that has such a role.
struct Service {
    principal: &'static str,
    role: &'static str,
    policy: &'static str,
    description: &'static str,
}

static SERVICES: [Service; 3] = [
    Service {
        principal: "ecs.amazonaws.com",
        role: "AWSServiceRoleForECS",
        policy: "AmazonECSServiceRolePolicy",
        description: "Role to enable Amazon ECS to manage your cluster.",
    },
    Service {
        principal: "elasticloadbalancing.amazonaws.com",
        role: "AWSServiceRoleForElasticLoadBalancing",
        policy: "AWSElasticLoadBalancingServiceRolePolicy",
        description: "Allows ELB to call AWS services on your behalf.",
    },
    Service {
        principal: "ecs.application-autoscaling.amazonaws.com",
        role: "AWSServiceRoleForApplicationAutoScaling_ECSService",
        policy: "AWSApplicationAutoscalingECSServicePolicy",
        description: "",
    },
];

/// A role that was deleted, for those who ask how that went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deletion {
    task: String,
    at: Timestamp,
}

impl Record for Deletion {
    const KIND: &'static str = "iam/service-linked-role-deletion";

    fn key(&self) -> String {
        self.task.clone()
    }
}

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::CreateServiceLinkedRole>(|cx, input| globally(cx, |cx| create(cx, &input)))
        .on::<ops::DeleteServiceLinkedRole>(|cx, input| globally(cx, |cx| delete(cx, &input)))
        .on::<ops::GetServiceLinkedRoleDeletionStatus>(|cx, input| {
            globally(cx, |cx| deletion_status(cx, &input))
        });
}

/// The ARN of the role of a service (`ecs.amazonaws.com`), made in the account of the transaction where it is not there
/// yet: for the services, when they are first used.
///
/// # Errors
/// No role of that service is known.
pub fn service_linked_role(
    tx: &mut Tx,
    ids: &mut IdGen,
    now: Timestamp,
    service: &str,
) -> Result<String, ApiError> {
    let service = known(service)?;
    tx.within(tx.scope().global(), |tx| {
        let description = Some(service.description.to_owned());
        let role = get(tx, service.role).unwrap_or_else(|| make(tx, ids, now, service, description));
        Ok(role.arn(tx.scope()))
    })
}

fn known(principal: &str) -> Result<&'static Service, ApiError> {
    let unknown = || ApiError::not_implemented(format_args!("the service-linked role of {principal}"));
    SERVICES.iter().find(|service| service.principal == principal).ok_or_else(unknown)
}

fn make(
    tx: &mut Tx,
    ids: &mut IdGen,
    now: Timestamp,
    service: &Service,
    description: Option<String>,
) -> Role {
    let trust = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"Service":["{}"]}},"Action":["sts:AssumeRole"]}}]}}"#,
        service.principal
    );
    let policy = format!("arn:aws:iam::aws:policy/aws-service-role/{}", service.policy);
    let role = Role {
        name: service.role.to_owned(),
        path: format!("/aws-service-role/{}/", service.principal),
        id: format!("AROA{}", ids.base32(17)),
        trust,
        description: description.filter(|text| !text.is_empty()),
        max_session_seconds: 3600,
        created: now,
        tags: Tags::new(),
        boundary: None,
        grants: Grants { attached: [policy].into(), ..Grants::default() },
    };
    tx.put(role.clone());
    role
}

fn create(
    cx: &mut Context,
    input: &CreateServiceLinkedRoleRequest,
) -> Result<CreateServiceLinkedRoleResponse, ApiError> {
    let service = known(&input.aws_service_name)?;
    let invalid = |message: String| ApiError::client("InvalidInput", message);
    if input.custom_suffix.is_some() {
        return Err(invalid(format!("Custom suffix is not allowed for {}", service.principal)));
    }
    if get(cx.tx, service.role).is_some() {
        return Err(invalid(format!(
            "Service role name {} has been taken in this account, please try a different suffix.",
            service.role
        )));
    }
    let role = make(cx.tx, cx.ids, cx.now, service, input.description.clone());
    Ok(CreateServiceLinkedRoleResponse { role: Some(shape(cx.scope(), &role)) })
}

/// The role is gone at once; its service makes a new one when it needs it again.
fn delete(
    cx: &mut Context,
    input: &DeleteServiceLinkedRoleRequest,
) -> Result<DeleteServiceLinkedRoleResponse, ApiError> {
    let role = find(cx.tx, &input.role_name)?;
    if !role.is_service_linked() {
        let message = format!("The role {} is not a service-linked role.", role.name);
        return Err(ApiError::client("InvalidInput", message));
    }
    cx.tx.delete::<Role>(&role.key());
    let mut old = cx.tx.list::<Deletion>();
    old.sort_by_key(|deletion| deletion.at);
    for deletion in old.iter().rev().skip(MAX_DELETIONS - 1) {
        cx.tx.delete::<Deletion>(&deletion.task);
    }
    let task = format!("task{}{}/{}", role.path, role.name, cx.ids.uuid());
    cx.tx.put(Deletion { task: task.clone(), at: cx.now });
    Ok(DeleteServiceLinkedRoleResponse { deletion_task_id: Some(task) })
}

fn deletion_status(
    cx: &mut Context,
    input: &GetServiceLinkedRoleDeletionStatusRequest,
) -> Result<GetServiceLinkedRoleDeletionStatusResponse, ApiError> {
    let task = &input.deletion_task_id;
    let missing = || no_such_entity(format!("The deletion task {task} cannot be found."));
    cx.tx.get::<Deletion>(task).ok_or_else(missing)?;
    Ok(GetServiceLinkedRoleDeletionStatusResponse { status: Some("SUCCEEDED".into()), reason: None })
}
