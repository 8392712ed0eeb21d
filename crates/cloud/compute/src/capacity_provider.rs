//! Capacity providers: the two of Fargate, and which of them a cluster has.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-capacity-providers.html>

use pileus_aws::ecs::{
    CapacityProvider, DescribeCapacityProvidersRequest, DescribeCapacityProvidersResponse,
    PutClusterCapacityProvidersRequest, PutClusterCapacityProvidersResponse, ops,
};
use pileus_core::{ApiError, Arn, paginate};
use pileus_service::{Context, Router};

use crate::awsvpc::PROVIDERS;
use crate::cluster::{self, Cluster, limit, missing};
use crate::error::bad_token;
use crate::service::record::{Revision, Service, ServiceStatus};

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::DescribeCapacityProviders>(describe_capacity_providers)
        .on::<ops::PutClusterCapacityProviders>(put_cluster_capacity_providers);
}

fn describe_capacity_providers(
    cx: &mut Context,
    input: DescribeCapacityProvidersRequest,
) -> Result<DescribeCapacityProvidersResponse, ApiError> {
    let wanted = input.capacity_providers.filter(|names| !names.is_empty());
    let wanted = wanted.unwrap_or_else(|| PROVIDERS.map(str::to_owned).into());
    let cluster = input.cluster.as_deref().map(|name| cluster::find(cx.tx, Some(name))).transpose()?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for given in wanted {
        let name = Arn::parse(&given).map_or(given.as_str(), |arn| arn.name());
        let known = PROVIDERS.iter().find(|known| **known == name);
        let in_cluster = |name: &&&str| {
            cluster.as_ref().is_none_or(|cluster| cluster.capacity_providers.iter().any(|own| own == *name))
        };
        match known.filter(in_cluster) {
            Some(name) => found.push(CapacityProvider {
                capacity_provider_arn: Some(cx.scope().arn("ecs", format_args!("capacity-provider/{name}"))),
                name: Some((*name).into()),
                status: Some("ACTIVE".into()),
                r#type: Some((*name).into()),
                tags: Some(Vec::new()),
                ..CapacityProvider::default()
            }),
            None => failures.push(missing(cx.scope().arn("ecs", format_args!("capacity-provider/{name}")))),
        }
    }
    let (page, next_token) = paginate(
        found,
        |provider| provider.name.clone().unwrap_or_default(),
        input.next_token.as_deref(),
        limit(input.max_results),
        bad_token,
    )?;
    Ok(DescribeCapacityProvidersResponse {
        capacity_providers: Some(page),
        failures: Some(failures),
        next_token,
    })
}

fn put_cluster_capacity_providers(
    cx: &mut Context,
    input: PutClusterCapacityProvidersRequest,
) -> Result<PutClusterCapacityProvidersResponse, ApiError> {
    let cluster = cluster::find(cx.tx, Some(&input.cluster))?;
    let (providers, mut strategy) = (input.capacity_providers, input.default_capacity_provider_strategy);
    cluster::check_providers(&providers, &strategy)?;
    for item in &mut strategy {
        item.base.get_or_insert(0);
        item.weight.get_or_insert(0);
    }
    if let Some(provider) = in_use(cx, &cluster).into_iter().find(|used| !providers.contains(used)) {
        return Err(ApiError::client(
            "ResourceInUseException",
            format!(
                "The specified capacity provider {provider} is in use by a service and cannot be disassociated from \
                 the cluster."
            ),
        ));
    }
    let changed = cx.tx.update::<Cluster>(&cluster.name, |cluster| {
        cluster.capacity_providers = providers;
        cluster.default_capacity_provider_strategy = strategy;
    });
    let shown = changed.map(|cluster| cluster::shape(cx.tx, &cluster, &["SETTINGS", "TAGS"]));
    Ok(PutClusterCapacityProvidersResponse { cluster: shown })
}

/// The providers that services of the cluster run on.
fn in_use(cx: &Context, cluster: &Cluster) -> Vec<String> {
    let services = cx.tx.list::<Service>();
    let own = services.iter().filter(|it| it.cluster == cluster.name && it.status == ServiceStatus::Active);
    let revisions = own.flat_map(|service| {
        let deployments = service.deployments.iter();
        deployments.filter_map(|it| {
            cx.tx.get::<Revision>(&Revision::key_of(&service.cluster, &service.name, &it.id))
        })
    });
    revisions
        .flat_map(|revision| revision.capacity_provider_strategy.clone())
        .map(|item| item.capacity_provider)
        .collect()
}

#[cfg(test)]
mod tests {
    use pileus_aws::ecs::{CapacityProviderStrategyItem, CreateServiceRequest};

    use super::*;
    use crate::testing::{base, cloud, service};

    #[test]
    fn a_cluster_is_given_providers_and_keeps_those_in_use() {
        let mut cloud = cloud();
        let place = base(&mut cloud);
        let put = |providers: &[&str]| PutClusterCapacityProvidersRequest {
            cluster: "default".into(),
            capacity_providers: providers.iter().map(|name| (*name).into()).collect(),
            default_capacity_provider_strategy: providers
                .iter()
                .map(|name| CapacityProviderStrategyItem {
                    capacity_provider: (*name).into(),
                    weight: Some(1),
                    base: None,
                })
                .collect(),
        };
        let shown =
            cloud.ok::<ops::PutClusterCapacityProviders>(put(&["FARGATE", "FARGATE_SPOT"])).cluster.unwrap();
        assert_eq!(shown.capacity_providers.unwrap().len(), 2);
        assert_eq!(shown.default_capacity_provider_strategy.unwrap()[0].base, Some(0));
        // Without a launch type the cluster's strategy holds.
        let input = CreateServiceRequest { launch_type: None, ..service(&place, 2) };
        let made = cloud.ok::<ops::CreateService>(input).service.unwrap();
        assert_eq!(made.capacity_provider_strategy.unwrap().len(), 2);
        assert_eq!(
            cloud.code::<ops::PutClusterCapacityProviders>(put(&["FARGATE"])),
            "ResourceInUseException"
        );
        assert_eq!(
            cloud.code::<ops::PutClusterCapacityProviders>(put(&["EC2"])),
            "InvalidParameterException"
        );
        cloud.write(|cx| crate::reconcile(cx.tx, cx.now, cx.ids));
        let tasks = cloud.write(|cx| cx.tx.list::<crate::Task>());
        let mut on: Vec<_> = tasks.iter().filter_map(|task| task.capacity_provider.as_deref()).collect();
        on.sort_unstable();
        assert_eq!(on, ["FARGATE", "FARGATE_SPOT"]);
        let both = cloud.ok::<ops::DescribeCapacityProviders>(Default::default());
        assert_eq!(both.capacity_providers.unwrap().len(), 2);
        let other = DescribeCapacityProvidersRequest {
            capacity_providers: Some(vec!["mine".into()]),
            ..Default::default()
        };
        let failures = cloud.ok::<ops::DescribeCapacityProviders>(other).failures.unwrap();
        assert_eq!(failures[0].reason.as_deref(), Some("MISSING"));
    }
}
