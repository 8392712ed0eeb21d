//! What would keep a task from starting on AWS though nothing does here: its images, secrets and log streams come from
//! services that its subnet may have no way to. Here the engine fetches them.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/resource-initialization-error.html>

use std::collections::BTreeSet;

use pileus_state::Tx;

use super::record::Task;
use super::spec::StartFailure;
use crate::neighbours;
use crate::task_definition::record::TaskDefinition;

/// A service that a task needs before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    RegistryAuth,
    Registry,
    Layers,
    Secrets,
    Parameters,
    Logs,
}

impl Need {
    /// Its name as a VPC endpoint service.
    fn service(self) -> &'static str {
        match self {
            Self::RegistryAuth => "ecr.api",
            Self::Registry => "ecr.dkr",
            Self::Layers => "s3",
            Self::Secrets => "secretsmanager",
            Self::Parameters => "ssm",
            Self::Logs => "logs",
        }
    }

    /// AWS's words for a task that cannot reach it.
    fn failure(self, image: &str, problem: &str) -> StartFailure {
        let pull = "unable to pull secrets or registry auth:";
        let connection = |to: &str| {
            format!(
                "There is a connection issue between the task and {to}. Check your task network configuration. {problem}"
            )
        };
        match self {
            Self::RegistryAuth => StartFailure::Resource(format!(
                "{pull} The task cannot pull registry auth from Amazon ECR: {}",
                connection("Amazon ECR")
            )),
            Self::Registry | Self::Layers => StartFailure::Image(format!(
                "The task cannot pull {image} from the registry. {}",
                connection("the registry")
            )),
            Self::Secrets => StartFailure::Resource(format!(
                "{pull} unable to retrieve secret from asm: {}",
                connection("AWS Secrets Manager")
            )),
            Self::Parameters => StartFailure::Resource(format!(
                "{pull} unable to retrieve secrets from ssm: {}",
                connection("AWS Systems Manager Parameter Store")
            )),
            Self::Logs => StartFailure::Resource(format!(
                "failed to validate logger args: The task cannot find the Amazon CloudWatch log group defined in the \
                 task definition. {}",
                connection("Amazon CloudWatch")
            )),
        }
    }
}

/// Why the task would not start on AWS, in the order in which it would find out.
pub(super) fn unreachable(tx: &Tx, task: &Task, definition: &TaskDefinition) -> Option<StartFailure> {
    let mut needs = BTreeSet::new();
    for container in definition.containers() {
        if container.image.as_deref().is_some_and(|image| neighbours::repository_of(image).is_some()) {
            needs.extend([Need::RegistryAuth, Need::Registry, Need::Layers]);
        }
        for secret in container.secrets.iter().flatten() {
            let managed =
                secret.value_from.starts_with("arn:") && secret.value_from.contains(":secretsmanager:");
            needs.insert(if managed { Need::Secrets } else { Need::Parameters });
        }
        if container.log_configuration.is_some() {
            needs.insert(Need::Logs);
        }
    }
    let image = task.containers.first().map(|container| container.image.as_str()).unwrap_or_default();
    needs.into_iter().find_map(|need| {
        let problem = neighbours::cannot_reach(tx, &task.network, need.service())?;
        Some(need.failure(image, &problem))
    })
}
