//! Clusters: the namespaces of services and tasks.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Cluster.html>

use std::sync::Arc;

use pileus_aws::ecs::{
    CapacityProviderStrategyItem, Cluster as Shape, ClusterSetting, CreateClusterRequest,
    CreateClusterResponse, DeleteClusterRequest, DeleteClusterResponse, DescribeClustersRequest,
    DescribeClustersResponse, Failure, KeyValuePair, ListClustersRequest, ListClustersResponse,
    UpdateClusterRequest, UpdateClusterResponse, UpdateClusterSettingsRequest, UpdateClusterSettingsResponse,
    ops,
};
use pileus_core::{ApiError, Arn, Scope, Tags, paginate};
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::awsvpc::{self, PROVIDERS};
use crate::error::{bad_token, invalid};
use crate::service::observe;
use crate::service::record::{Service, ServiceStatus};
use crate::task::record::{Task, TaskStatus};
use crate::{account_setting, tags};

const DEFAULT: &str = "default";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cluster {
    pub name: String,
    pub settings: Vec<ClusterSetting>,
    pub capacity_providers: Vec<String>,
    pub default_capacity_provider_strategy: Vec<CapacityProviderStrategyItem>,
    pub tags: Tags,
}

impl Record for Cluster {
    const KIND: &'static str = "ecs/cluster";

    fn key(&self) -> String {
        self.name.clone()
    }
}

impl Cluster {
    pub(crate) fn arn_of(scope: &Scope, name: &str) -> String {
        scope.arn("ecs", format_args!("cluster/{name}"))
    }
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::CreateCluster>(create_cluster)
        .on::<ops::DeleteCluster>(delete_cluster)
        .on::<ops::DescribeClusters>(describe_clusters)
        .on::<ops::UpdateCluster>(update_cluster)
        .on::<ops::UpdateClusterSettings>(update_cluster_settings)
        .on::<ops::ListClusters>(list_clusters);
}

/// The name that a cluster's name or ARN stands for.
pub(crate) fn name_of(name_or_arn: Option<&str>) -> &str {
    let given = name_or_arn.filter(|given| !given.is_empty()).unwrap_or(DEFAULT);
    Arn::parse(given).and_then(|arn| arn.resource.strip_prefix("cluster/")).unwrap_or(given)
}

/// The cluster that a request names; `default` if it names none.
///
/// # Errors
/// There is no such cluster.
pub(crate) fn find(tx: &Tx, name_or_arn: Option<&str>) -> Result<Arc<Cluster>, ApiError> {
    tx.get::<Cluster>(name_of(name_or_arn))
        .ok_or_else(|| ApiError::client("ClusterNotFoundException", "Cluster not found."))
}

fn create_cluster(cx: &mut Context, input: CreateClusterRequest) -> Result<CreateClusterResponse, ApiError> {
    let name = input.cluster_name.unwrap_or_else(|| DEFAULT.into());
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 255 || !name.chars().all(allowed) {
        return Err(invalid("Invalid cluster name"));
    }
    let settings = input.settings.unwrap_or_default();
    check_settings(&settings)?;
    let capacity_providers = input.capacity_providers.unwrap_or_default();
    let mut strategy = input.default_capacity_provider_strategy.unwrap_or_default();
    check_providers(&capacity_providers, &strategy)?;
    for item in &mut strategy {
        item.base.get_or_insert(0);
        item.weight.get_or_insert(0);
    }
    if let Some(existing) = cx.tx.get::<Cluster>(&name) {
        // Creating a cluster that exists returns it.
        return Ok(CreateClusterResponse { cluster: Some(shape(cx.tx, &existing, &[])) });
    }
    let cluster = Cluster {
        name,
        settings: if settings.is_empty() { default_settings(cx)? } else { settings },
        capacity_providers,
        default_capacity_provider_strategy: strategy,
        tags: tags::read(input.tags)?,
    };
    cx.tx.put(cluster.clone());
    Ok(CreateClusterResponse { cluster: Some(shape(cx.tx, &cluster, &["SETTINGS", "TAGS"])) })
}

/// As the account's settings say.
fn default_settings(cx: &Context) -> Result<Vec<ClusterSetting>, ApiError> {
    let name = "containerInsights";
    let value = account_setting::value(cx.tx, name, Some(&cx.caller.arn))?;
    Ok(vec![ClusterSetting { name: Some(name.into()), value: Some(value) }])
}

/// `enabled` measures clusters and services, `enhanced` each task as well: see `metrics`.
fn check_settings(settings: &[ClusterSetting]) -> Result<(), ApiError> {
    for setting in settings {
        let name = setting.name.as_deref().unwrap_or_default();
        let value = setting.value.as_deref().unwrap_or_default();
        if name != "containerInsights" || !["disabled", "enabled", "enhanced"].contains(&value) {
            return Err(invalid(format!("Invalid cluster setting: {name}={value}")));
        }
    }
    Ok(())
}

fn update_cluster(cx: &mut Context, input: UpdateClusterRequest) -> Result<UpdateClusterResponse, ApiError> {
    let cluster = change_settings(cx, &input.cluster, input.settings.unwrap_or_default())?;
    Ok(UpdateClusterResponse { cluster: Some(cluster) })
}

fn update_cluster_settings(
    cx: &mut Context,
    input: UpdateClusterSettingsRequest,
) -> Result<UpdateClusterSettingsResponse, ApiError> {
    let cluster = change_settings(cx, &input.cluster, input.settings)?;
    Ok(UpdateClusterSettingsResponse { cluster: Some(cluster) })
}

fn change_settings(cx: &mut Context, name: &str, settings: Vec<ClusterSetting>) -> Result<Shape, ApiError> {
    let cluster = find(cx.tx, Some(name))?;
    check_settings(&settings)?;
    let mut cluster = Cluster::clone(&cluster);
    for setting in settings {
        cluster.settings.retain(|known| known.name != setting.name);
        cluster.settings.push(setting);
    }
    cx.tx.put(cluster.clone());
    Ok(shape(cx.tx, &cluster, &["SETTINGS", "TAGS"]))
}

/// # Errors
/// A provider is not Fargate's, or the strategy is not of these providers.
pub(crate) fn check_providers(
    providers: &[String],
    strategy: &[CapacityProviderStrategyItem],
) -> Result<(), ApiError> {
    if let Some(other) = providers.iter().find(|provider| !PROVIDERS.contains(&provider.as_str())) {
        return Err(invalid(format!("The specified capacity provider '{other}' was not found.")));
    }
    awsvpc::check_strategy(strategy)?;
    let outside = strategy.iter().find(|item| !providers.contains(&item.capacity_provider));
    match outside {
        Some(item) => Err(invalid(format!(
            "The specified capacity provider strategy cannot contain a capacity provider that is not \
             associated with the cluster: {}",
            item.capacity_provider
        ))),
        None => Ok(()),
    }
}

fn delete_cluster(cx: &mut Context, input: DeleteClusterRequest) -> Result<DeleteClusterResponse, ApiError> {
    let cluster = find(cx.tx, Some(&input.cluster))?;
    let services: Vec<_> =
        cx.tx.list::<Service>().into_iter().filter(|service| service.cluster == cluster.name).collect();
    if services.iter().any(|service| service.status != ServiceStatus::Inactive) {
        let message = "The Cluster cannot be deleted while Services are active.";
        return Err(ApiError::client("ClusterContainsServicesException", message));
    }
    let tasks: Vec<_> =
        cx.tx.list::<Task>().into_iter().filter(|task| task.cluster == cluster.name).collect();
    if tasks.iter().any(|task| task.status != TaskStatus::Stopped) {
        let message = "The Cluster cannot be deleted while Tasks are active.";
        return Err(ApiError::client("ClusterContainsTasksException", message));
    }
    services.iter().for_each(|service| observe::forget(cx.tx, service));
    for task in tasks {
        cx.tx.delete::<Task>(&task.id);
    }
    cx.tx.delete::<Cluster>(&cluster.name);
    let shape = Shape { status: Some("INACTIVE".into()), ..shape(cx.tx, &cluster, &[]) };
    Ok(DeleteClusterResponse { cluster: Some(shape) })
}

fn describe_clusters(
    cx: &mut Context,
    input: DescribeClustersRequest,
) -> Result<DescribeClustersResponse, ApiError> {
    let include = input.include.unwrap_or_default();
    let include: Vec<&str> = include.iter().map(String::as_str).collect();
    let names = input.clusters.unwrap_or_else(|| vec![DEFAULT.into()]);
    let (mut clusters, mut failures) = (Vec::new(), Vec::new());
    for name in &names {
        match cx.tx.get::<Cluster>(name_of(Some(name))) {
            Some(cluster) => clusters.push(shape(cx.tx, &cluster, &include)),
            None => failures.push(missing(Cluster::arn_of(cx.scope(), name_of(Some(name))))),
        }
    }
    Ok(DescribeClustersResponse { clusters: Some(clusters), failures: Some(failures) })
}

/// The entry of a resource that was asked for and is not there.
pub(crate) fn missing(arn: String) -> Failure {
    Failure { arn: Some(arn), reason: Some("MISSING".into()), detail: None }
}

fn list_clusters(cx: &mut Context, input: ListClustersRequest) -> Result<ListClustersResponse, ApiError> {
    let names: Vec<String> = cx.tx.list::<Cluster>().iter().map(|cluster| cluster.name.clone()).collect();
    let (page, next_token) =
        paginate(names, String::clone, input.next_token.as_deref(), limit(input.max_results), bad_token)?;
    let cluster_arns = page.iter().map(|name| Cluster::arn_of(cx.scope(), name)).collect();
    Ok(ListClustersResponse { cluster_arns: Some(cluster_arns), next_token })
}

/// The size of a page: 100 unless the request asks for less.
pub(crate) fn limit(max_results: Option<i64>) -> usize {
    max_results.and_then(|max| usize::try_from(max).ok()).unwrap_or(100).clamp(1, 100)
}

pub(crate) fn shape(tx: &Tx, cluster: &Cluster, include: &[&str]) -> Shape {
    let own = |task: &&Arc<Task>| task.cluster == cluster.name;
    let tasks = tx.list::<Task>();
    let running = tasks.iter().filter(own).filter(|task| task.status == TaskStatus::Running).count();
    let pending = tasks.iter().filter(own).filter(|task| task.status < TaskStatus::Running).count();
    let active =
        |service: &Arc<Service>| service.cluster == cluster.name && service.status == ServiceStatus::Active;
    let services = tx.list::<Service>().into_iter().filter(active).count();
    let with = |what: &str| include.contains(&what);
    Shape {
        cluster_arn: Some(Cluster::arn_of(tx.scope(), &cluster.name)),
        cluster_name: Some(cluster.name.clone()),
        status: Some("ACTIVE".into()),
        registered_container_instances_count: Some(0),
        running_tasks_count: Some(running as i64),
        pending_tasks_count: Some(pending as i64),
        active_services_count: Some(services as i64),
        statistics: Some(if with("STATISTICS") {
            statistics(running, pending, services)
        } else {
            Vec::new()
        }),
        tags: Some(if with("TAGS") { tags::write(&cluster.tags) } else { Vec::new() }),
        settings: Some(if with("SETTINGS") { cluster.settings.clone() } else { Vec::new() }),
        capacity_providers: Some(cluster.capacity_providers.clone()),
        default_capacity_provider_strategy: Some(cluster.default_capacity_provider_strategy.clone()),
        ..Shape::default()
    }
}

/// All tasks here are Fargate's.
fn statistics(running: usize, pending: usize, services: usize) -> Vec<KeyValuePair> {
    let figures = [
        ("runningEC2TasksCount", 0),
        ("runningFargateTasksCount", running),
        ("pendingEC2TasksCount", 0),
        ("pendingFargateTasksCount", pending),
        ("activeEC2ServiceCount", 0),
        ("activeFargateServiceCount", services),
        ("drainingEC2ServiceCount", 0),
        ("drainingFargateServiceCount", 0),
    ];
    let pair = |(name, value): (&str, usize)| KeyValuePair {
        name: Some(name.into()),
        value: Some(value.to_string()),
    };
    figures.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cloud;

    #[test]
    fn creating_twice_returns_the_same_and_deleting_forgets() {
        let mut cloud = cloud();
        let input = CreateClusterRequest { cluster_name: Some("web".into()), ..Default::default() };
        let first = cloud.ok::<ops::CreateCluster>(input.clone()).cluster.unwrap();
        assert_eq!(first.cluster_arn.as_deref(), Some("arn:aws:ecs:us-east-1:000000000000:cluster/web"));
        cloud.ok::<ops::CreateCluster>(input);
        assert_eq!(cloud.ok::<ops::ListClusters>(Default::default()).cluster_arns.unwrap().len(), 1);
        cloud.ok::<ops::DeleteCluster>(DeleteClusterRequest { cluster: first.cluster_arn.unwrap() });
        let gone = cloud.ok::<ops::DescribeClusters>(DescribeClustersRequest {
            clusters: Some(vec!["web".into()]),
            ..Default::default()
        });
        assert_eq!(gone.failures.unwrap()[0].reason.as_deref(), Some("MISSING"));
        let again = DeleteClusterRequest { cluster: "web".into() };
        assert_eq!(cloud.code::<ops::DeleteCluster>(again), "ClusterNotFoundException");
    }

    #[test]
    fn what_there_is_not_is_refused() {
        let mut cloud = cloud();
        let insights = ClusterSetting { name: Some("containerInsights".into()), value: Some("loud".into()) };
        let input = CreateClusterRequest { settings: Some(vec![insights]), ..Default::default() };
        assert_eq!(cloud.code::<ops::CreateCluster>(input), "InvalidParameterException");
        let input =
            CreateClusterRequest { capacity_providers: Some(vec!["EC2".into()]), ..Default::default() };
        assert_eq!(cloud.code::<ops::CreateCluster>(input), "InvalidParameterException");
    }
}
