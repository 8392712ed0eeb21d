//! Asking AWS what there is of an app, as any client could: ECS, ELB, and CloudWatch for what tasks use.

use std::collections::BTreeMap;
use std::time::Duration;

use pileus_aws::cloudwatch::{
    Dimension, GetMetricDataInput, Metric, MetricDataQuery, MetricStat, ops as cloudwatch,
};
use pileus_aws::ecs::{
    DescribeServicesRequest, DescribeTasksRequest, ListTasksRequest, Service, Task, ops as ecs,
};
use pileus_aws::elbv2::{
    DescribeLoadBalancersInput, DescribeTargetHealthInput, LoadBalancer, TargetHealthDescription,
    ops as elbv2,
};
use pileus_core::Timestamp;

use super::short_name;
use crate::client::{CallError, Client};
use crate::deploy::absent;

/// How far back a measurement may lie to be shown as the present one.
const RECENT: Duration = Duration::from_secs(3 * 60);
/// The most tasks that one `DescribeTasks` takes.
const TASKS: usize = 100;
/// The most metrics that one `GetMetricData` takes is 500, and a task has two.
const MEASURED: usize = 250;

/// AWS's own answers about one app.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    pub service: Service,
    pub tasks: Vec<Task>,
    pub targets: Vec<TargetHealthDescription>,
    pub balancer: Option<LoadBalancer>,
    /// By task id.
    pub usage: BTreeMap<String, Usage>,
}

/// What a task uses, in percent of its reservation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    pub cpu: Option<f64>,
    pub memory: Option<f64>,
}

impl Observed {
    /// Looks at the app called `app`; `None` where it is not deployed. `now` is the endpoint's time.
    ///
    /// # Errors
    /// What AWS refused, or why it does not answer.
    pub async fn fetch(client: &Client, app: &str, now: Timestamp) -> Result<Option<Self>, CallError> {
        let request = DescribeServicesRequest {
            cluster: Some(app.to_owned()),
            services: vec![app.to_owned()],
            ..Default::default()
        };
        let found = client.call::<ecs::DescribeServices>(request).await;
        let found = absent(found, &["ClusterNotFoundException"])?.and_then(|found| found.services);
        let mut active =
            found.into_iter().flatten().filter(|service| service.status.as_deref() != Some("INACTIVE"));
        let Some(service) = active.next() else { return Ok(None) };
        let tasks = tasks(client, app).await?;
        Ok(Some(Self {
            targets: targets(client, &service).await?,
            balancer: balancer(client, app).await?,
            usage: usage(client, app, &tasks, now).await?,
            service,
            tasks,
        }))
    }
}

/// All tasks of the service that ECS still tells of: those that run, and those that ended lately.
async fn tasks(client: &Client, app: &str) -> Result<Vec<Task>, CallError> {
    let mut arns = Vec::new();
    for status in ["RUNNING", "STOPPED"] {
        let mut next_token = None;
        loop {
            let request = ListTasksRequest {
                cluster: Some(app.to_owned()),
                service_name: Some(app.to_owned()),
                desired_status: Some(status.into()),
                next_token,
                ..Default::default()
            };
            let page = client.call::<ecs::ListTasks>(request).await?;
            arns.extend(page.task_arns.into_iter().flatten());
            next_token = page.next_token;
            if next_token.is_none() {
                break;
            }
        }
    }
    let mut tasks = Vec::new();
    for some in arns.chunks(TASKS) {
        let request = DescribeTasksRequest {
            cluster: Some(app.to_owned()),
            tasks: some.to_vec(),
            ..Default::default()
        };
        tasks.extend(client.call::<ecs::DescribeTasks>(request).await?.tasks.into_iter().flatten());
    }
    Ok(tasks)
}

async fn targets(client: &Client, service: &Service) -> Result<Vec<TargetHealthDescription>, CallError> {
    let mut targets = Vec::new();
    let groups = service.load_balancers.iter().flatten();
    for target_group_arn in groups.filter_map(|balancer| balancer.target_group_arn.clone()) {
        let request = DescribeTargetHealthInput { target_group_arn, ..Default::default() };
        let found = client.call::<elbv2::DescribeTargetHealth>(request).await;
        let found = absent(found, &["TargetGroupNotFound"])?;
        targets.extend(found.and_then(|found| found.target_health_descriptions).into_iter().flatten());
    }
    Ok(targets)
}

async fn balancer(client: &Client, app: &str) -> Result<Option<LoadBalancer>, CallError> {
    let request = DescribeLoadBalancersInput { names: Some(vec![app.to_owned()]), ..Default::default() };
    let found = client.call::<elbv2::DescribeLoadBalancers>(request).await;
    let found = absent(found, &["LoadBalancerNotFound"])?.and_then(|found| found.load_balancers);
    Ok(found.and_then(|list| list.into_iter().next()))
}

/// The latest of Container Insights' measurements of each running task.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Container-Insights-enhanced-observability-metrics-ECS.html>
async fn usage(
    client: &Client,
    app: &str,
    tasks: &[Task],
    now: Timestamp,
) -> Result<BTreeMap<String, Usage>, CallError> {
    let running = tasks.iter().filter(|task| task.last_status.as_deref() == Some("RUNNING"));
    let ids: Vec<&str> = running.filter_map(|task| task.task_arn.as_deref()).map(short_name).collect();
    let mut usage: BTreeMap<String, Usage> = BTreeMap::new();
    for ids in ids.chunks(MEASURED) {
        let queries = ids.iter().enumerate().flat_map(|(index, id)| {
            [
                query(format!("cpu{index}"), "TaskCpuUtilization", app, id),
                query(format!("memory{index}"), "TaskMemoryUtilization", app, id),
            ]
        });
        let request = GetMetricDataInput {
            metric_data_queries: queries.collect(),
            start_time: now - RECENT,
            end_time: now,
            scan_by: Some("TimestampDescending".into()),
            ..Default::default()
        };
        let results = client.call::<cloudwatch::GetMetricData>(request).await?.metric_data_results;
        for result in results.into_iter().flatten() {
            let (query, latest) =
                (result.id.unwrap_or_default(), result.values.and_then(|values| values.first().copied()));
            let index = query.trim_start_matches(|c: char| c.is_ascii_alphabetic()).parse::<usize>();
            let Some(id) = index.ok().and_then(|index| ids.get(index)) else { continue };
            let of_task = usage.entry((*id).to_owned()).or_default();
            if query.starts_with("cpu") {
                of_task.cpu = latest;
            } else {
                of_task.memory = latest;
            }
        }
    }
    Ok(usage)
}

fn query(id: String, metric: &str, app: &str, task: &str) -> MetricDataQuery {
    let dimension = |name: &str, value: &str| Dimension { name: name.into(), value: value.into() };
    let metric = Metric {
        namespace: Some("ECS/ContainerInsights".into()),
        metric_name: Some(metric.to_owned()),
        dimensions: Some(vec![
            dimension("ClusterName", app),
            dimension("ServiceName", app),
            dimension("TaskId", task),
        ]),
    };
    let stat = MetricStat { metric, period: 60, stat: "Average".into(), unit: None };
    MetricDataQuery { id, metric_stat: Some(stat), ..Default::default() }
}
