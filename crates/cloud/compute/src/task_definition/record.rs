//! The record of a task definition revision.

use pileus_aws::ecs;
use pileus_core::{Arn, Scope, Tags};
use pileus_state::Record;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TaskDefinition {
    pub family: String,
    pub revision: u32,
    /// As the API shows it, with AWS's defaults filled in.
    pub shape: ecs::TaskDefinition,
    pub tags: Tags,
}

impl TaskDefinition {
    /// Revisions are padded so that they are listed in their order.
    pub(crate) fn key_of(family: &str, revision: u32) -> String {
        format!("{family}:{revision:010}")
    }

    pub(crate) fn arn_of(scope: &Scope, family: &str, revision: u32) -> String {
        scope.arn("ecs", format_args!("task-definition/{family}:{revision}"))
    }

    /// The key of the revision with this ARN.
    pub(crate) fn key_of_arn(arn: &str) -> Option<String> {
        let resource = Arn::parse(arn)?.resource.strip_prefix("task-definition/")?;
        let (family, revision) = resource.split_once(':')?;
        Some(Self::key_of(family, revision.parse().ok()?))
    }

    pub(crate) fn arn(&self) -> &str {
        self.shape.task_definition_arn.as_deref().unwrap_or_default()
    }

    pub(crate) fn is_active(&self) -> bool {
        self.shape.status.as_deref() == Some("ACTIVE")
    }

    pub(crate) fn containers(&self) -> &[ecs::ContainerDefinition] {
        self.shape.container_definitions.as_deref().unwrap_or_default()
    }
}

/// How many revisions a family has had: their numbers are not used again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TaskFamily {
    pub name: String,
    pub latest: u32,
}

impl Record for TaskFamily {
    const KIND: &'static str = "ecs/task-family";

    fn key(&self) -> String {
        self.name.clone()
    }
}

impl Record for TaskDefinition {
    const KIND: &'static str = "ecs/task-definition";

    fn key(&self) -> String {
        Self::key_of(&self.family, self.revision)
    }
}
