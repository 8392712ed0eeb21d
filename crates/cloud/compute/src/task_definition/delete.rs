//! DeleteTaskDefinitions. A revision that is still in use is DELETE_IN_PROGRESS until it is not.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/delete-task-definition-v2.html>

use std::collections::BTreeSet;

use pileus_aws::ecs::{DeleteTaskDefinitionsRequest, DeleteTaskDefinitionsResponse, Failure};
use pileus_core::ApiError;
use pileus_service::Context;
use pileus_state::{Record as _, Tx};

use super::find;
use super::record::TaskDefinition;
use crate::error::invalid;
use crate::service::record::{Revision, Service, ServiceStatus};
use crate::task::record::{Task, TaskStatus};

/// At once.
const MAX: usize = 10;
const STATUS: &str = "DELETE_IN_PROGRESS";

pub(crate) fn is_being_deleted(definition: &TaskDefinition) -> bool {
    definition.shape.status.as_deref() == Some(STATUS)
}

pub(super) fn delete_task_definitions(
    cx: &mut Context,
    input: DeleteTaskDefinitionsRequest,
) -> Result<DeleteTaskDefinitionsResponse, ApiError> {
    if input.task_definitions.is_empty() || input.task_definitions.len() > MAX {
        return Err(invalid(format!("Between 1 and {MAX} task definitions can be deleted at once.")));
    }
    let (mut deleted, mut failures) = (Vec::new(), Vec::new());
    for name in input.task_definitions {
        let found =
            find(cx.tx, &name).ok().filter(|_| name.rsplit('/').next().is_some_and(|it| it.contains(':')));
        let Some(definition) = found else {
            let reason = "The specified task definition identifier is invalid. Specify a valid name or ARN and try again.";
            failures.push(Failure { arn: Some(name), reason: Some(reason.into()), detail: None });
            continue;
        };
        if definition.is_active() {
            let reason = "The specified task definition is still in ACTIVE status. Please deregister the target and \
                          try again.";
            let arn = Some(definition.arn().to_owned());
            failures.push(Failure { arn, reason: Some(reason.into()), detail: None });
            continue;
        }
        let now = cx.now;
        let changed = cx.tx.update::<TaskDefinition>(&definition.key(), |definition| {
            definition.shape.status = Some(STATUS.into());
            definition.shape.delete_requested_at = definition.shape.delete_requested_at.or(Some(now));
        });
        deleted.extend(changed.map(|definition| definition.shape));
    }
    Ok(DeleteTaskDefinitionsResponse { task_definitions: Some(deleted), failures: Some(failures) })
}

/// Forgets the revisions that are being deleted and that no task or service uses any more. Whether there were any.
pub(crate) fn purge(tx: &mut Tx) -> bool {
    let leaving: Vec<_> =
        tx.list::<TaskDefinition>().into_iter().filter(|definition| is_being_deleted(definition)).collect();
    if leaving.is_empty() {
        return false;
    }
    let tasks = tx.list::<Task>();
    let tasks = tasks.iter().filter(|task| task.status != TaskStatus::Stopped);
    let mut used: BTreeSet<String> = tasks.map(|task| task.definition.clone()).collect();
    for service in tx.list::<Service>().iter().filter(|service| service.status != ServiceStatus::Inactive) {
        let ids = service.deployments.iter().map(|deployment| &deployment.id).chain(&service.last_completed);
        for id in ids {
            let revision = tx.get::<Revision>(&Revision::key_of(&service.cluster, &service.name, id));
            used.extend(revision.map(|revision| revision.task_definition.clone()));
        }
    }
    let gone = leaving.iter().filter(|definition| !used.contains(definition.arn()));
    gone.filter(|definition| tx.delete::<TaskDefinition>(&definition.key()).is_some()).count() > 0
}

#[cfg(test)]
mod tests {
    use pileus_aws::ecs::{DeregisterTaskDefinitionRequest, ListTaskDefinitionsRequest, ops};

    use super::*;
    use crate::testing::{base, cloud, definition, service};

    fn delete(cloud: &mut pileus_kit::Cloud, name: &str) -> DeleteTaskDefinitionsResponse {
        let input = DeleteTaskDefinitionsRequest { task_definitions: vec![name.into()] };
        cloud.ok::<ops::DeleteTaskDefinitions>(input)
    }

    #[test]
    fn a_revision_in_use_stays_until_it_is_not() {
        let mut cloud = cloud();
        let place = base(&mut cloud);
        cloud.ok::<ops::CreateService>(service(&place, 0));
        let active = delete(&mut cloud, "web:1").failures.unwrap();
        assert!(active[0].reason.as_deref().unwrap().contains("still in ACTIVE"));
        assert_eq!(delete(&mut cloud, "web").failures.unwrap().len(), 1, "a family is no revision");
        let deregister = DeregisterTaskDefinitionRequest { task_definition: "web:1".into() };
        cloud.ok::<ops::DeregisterTaskDefinition>(deregister);
        let deleted = delete(&mut cloud, "web:1").task_definitions.unwrap();
        assert_eq!(deleted[0].status.as_deref(), Some(STATUS));
        assert!(deleted[0].delete_requested_at.is_some());
        cloud.write(|cx| assert!(!purge(cx.tx), "its service uses it"));
        let list = ListTaskDefinitionsRequest { status: Some(STATUS.into()), ..Default::default() };
        assert_eq!(cloud.ok::<ops::ListTaskDefinitions>(list).task_definition_arns.unwrap().len(), 1);
        let remove = pileus_aws::ecs::DeleteServiceRequest { service: "web".into(), ..Default::default() };
        cloud.ok::<ops::DeleteService>(remove);
        cloud.write(|cx| crate::reconcile(cx.tx, cx.now, cx.ids));
        let next = cloud.ok::<ops::RegisterTaskDefinition>(definition()).task_definition.unwrap();
        assert_eq!(next.revision, Some(2), "a number is never used twice");
        assert_eq!(delete(&mut cloud, "web:1").failures.unwrap().len(), 1, "it is gone");
    }
}
