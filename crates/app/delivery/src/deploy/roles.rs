//! The roles: one that starts tasks (pulls, logs, secrets), one that the app itself has, with no permission yet.

use std::time::Instant;

use pileus_aws::iam::{AttachRolePolicyRequest, CreateRoleRequest, GetRoleRequest, Tag, ops};

use super::{APP_TAG, DeployError, Deployment, Outcome, absent, given};

/// What ECS itself needs to start a task.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html>
const EXECUTION_POLICY: &str = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy";

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

/// The ARNs of the roles.
pub(super) struct Roles {
    pub(super) execution: String,
    pub(super) task: String,
}

impl Deployment<'_> {
    pub(super) async fn roles(&mut self) -> Result<Roles, DeployError> {
        let execution_name = self.name("execution");
        let execution = self.role(&execution_name).await?;
        let attach =
            AttachRolePolicyRequest { role_name: execution_name, policy_arn: EXECUTION_POLICY.into() };
        self.client.call::<ops::AttachRolePolicy>(attach).await?;
        Ok(Roles { execution, task: self.role(&self.name("task")).await? })
    }

    async fn role(&mut self, name: &str) -> Result<String, DeployError> {
        let started = Instant::now();
        let request = GetRoleRequest { role_name: name.to_owned() };
        let found = absent(self.client.call::<ops::GetRole>(request).await, &["NoSuchEntity"])?;
        if let Some(found) = found {
            self.resource("role", name, Outcome::Unchanged, started);
            return given(found.role.and_then(|role| role.arn), name, "Arn");
        }
        let request = CreateRoleRequest {
            role_name: name.to_owned(),
            assume_role_policy_document: TRUST.into(),
            tags: Some(vec![Tag { key: APP_TAG.into(), value: self.manifest.name.clone() }]),
            ..Default::default()
        };
        let created = self.client.call::<ops::CreateRole>(request).await?.role;
        self.resource("role", name, Outcome::Created, started);
        given(created.and_then(|role| role.arn), name, "Arn")
    }
}
