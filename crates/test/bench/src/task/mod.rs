//! From RunTask to the first instruction in the task: a static program that prints what time it is and ends, started
//! by the engine and by bare OCI runtimes in turn.

mod image;
mod runtime;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use pileus_aws::ecs::{
    ContainerDefinition, DescribeTasksRequest, LogConfiguration, NetworkConfiguration,
    RegisterTaskDefinitionRequest, RunTaskRequest, Task, ops as ecs,
};
use pileus_aws::iam::{AttachRolePolicyRequest, CreateRoleRequest, ops as iam};
use pileus_aws::logs::{CreateLogGroupRequest, GetLogEventsRequest, ops as logs};
use pileus_delivery::client::Client;

use crate::api::{CLUSTER, Home, REGION, client, network, runtime};
use crate::process::wait_for;
use crate::report::Report;
use crate::stats::{median, percentile};

const NAME: &str = "bench";
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const EXECUTION_POLICY: &str = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy";
/// How long a task may take until its line is in the log.
const PATIENCE: Duration = Duration::from_secs(30);
/// Starts that are not counted: they fill caches, as any first start does.
const WARM_UP: usize = 2;

#[derive(Args)]
pub(crate) struct Options {
    /// Tasks started, one after the other
    #[arg(long, default_value_t = 20)]
    rounds: usize,
}

/// One task's times, in milliseconds from the call of RunTask.
struct Sample {
    first_instruction: f64,
    answered: f64,
    eni_ready: f64,
    /// When the engine knew that it runs.
    running: f64,
}

pub(crate) fn run(pileus: &Path, options: &Options) -> anyhow::Result<Report> {
    let folder = tempfile::tempdir()?;
    let program = image::program(folder.path())?;
    let home = Home::new(pileus)?;
    let _engine = home.engine()?;
    let (runtime, client) = (runtime()?, client(home.port));
    wait_for("the engine", || {
        Ok(runtime.block_on(client.call::<ecs::ListClusters>(Default::default())).ok())
    })?;
    let network = runtime.block_on(prepare(&client, &program))?;
    let mut bare = runtime::installed(folder.path(), &program)?;
    let mut samples = Vec::new();
    for round in 0..WARM_UP + options.rounds {
        let sample = runtime.block_on(run_task(&client, &network))?;
        if round >= WARM_UP {
            samples.push(sample);
        }
        for runtime in &mut bare {
            runtime.start(round, round >= WARM_UP);
        }
    }
    Ok(report(&samples, &bare))
}

/// Everything that a task needs; the network that it shall have.
async fn prepare(client: &Client, program: &Path) -> anyhow::Result<NetworkConfiguration> {
    let network = network(client).await?;
    let image = image::push(client, NAME, program).await?;
    let role = CreateRoleRequest {
        role_name: NAME.into(),
        assume_role_policy_document: TRUST.into(),
        ..Default::default()
    };
    let role =
        client.call::<iam::CreateRole>(role).await?.role.and_then(|role| role.arn).context("Role.Arn")?;
    let attach = AttachRolePolicyRequest { role_name: NAME.into(), policy_arn: EXECUTION_POLICY.into() };
    client.call::<iam::AttachRolePolicy>(attach).await?;
    let group = CreateLogGroupRequest { log_group_name: NAME.into(), ..Default::default() };
    client.call::<logs::CreateLogGroup>(group).await?;
    let options = [("awslogs-group", NAME), ("awslogs-region", REGION), ("awslogs-stream-prefix", NAME)];
    let options = options.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let container = ContainerDefinition {
        name: Some(NAME.into()),
        image: Some(image),
        log_configuration: Some(LogConfiguration {
            log_driver: "awslogs".into(),
            options: Some(options),
            ..Default::default()
        }),
        ..Default::default()
    };
    let definition = RegisterTaskDefinitionRequest {
        family: NAME.into(),
        execution_role_arn: Some(role),
        network_mode: Some("awsvpc".into()),
        requires_compatibilities: Some(vec!["FARGATE".into()]),
        cpu: Some("256".into()),
        memory: Some("512".into()),
        container_definitions: vec![container],
        ..Default::default()
    };
    client.call::<ecs::RegisterTaskDefinition>(definition).await?;
    Ok(network)
}

async fn run_task(client: &Client, network: &NetworkConfiguration) -> anyhow::Result<Sample> {
    let request = RunTaskRequest {
        cluster: Some(CLUSTER.into()),
        task_definition: NAME.into(),
        launch_type: Some("FARGATE".into()),
        network_configuration: Some(network.clone()),
        ..Default::default()
    };
    let (called, began) = (Instant::now(), since_epoch_ms(SystemTime::now())?);
    let response = client.call::<ecs::RunTask>(request).await?;
    let answered = called.elapsed().as_secs_f64() * 1e3;
    let Some(task) = response.tasks.into_iter().flatten().next() else {
        bail!("RunTask started nothing: {:?}", response.failures);
    };
    let arn = task.task_arn.context("taskArn")?;
    let printed = printed_time(client, arn.rsplit('/').next().unwrap_or_default()).await?;
    let task = stopped(client, &arn).await?;
    let at =
        |time: Option<pileus_core::Timestamp>| time.map_or(f64::NAN, |time| time.secs_f64() * 1e3 - began);
    Ok(Sample {
        first_instruction: printed - began,
        answered,
        eni_ready: at(task.connectivity_at),
        running: at(task.started_at),
    })
}

/// What the task printed: milliseconds since the epoch at its first instruction. Asked for seldom, so that asking does
/// not slow what is measured.
async fn printed_time(client: &Client, task: &str) -> anyhow::Result<f64> {
    let request = GetLogEventsRequest {
        log_group_name: Some(NAME.into()),
        log_stream_name: format!("{NAME}/{NAME}/{task}"),
        start_from_head: Some(true),
        ..Default::default()
    };
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(150)).await;
        // The stream is made with its first event.
        let Ok(response) = client.call::<logs::GetLogEvents>(request.clone()).await else { continue };
        if let Some(event) = response.events.into_iter().flatten().next() {
            return image::parse_time(event.message.as_deref().unwrap_or_default());
        }
    }
    bail!("task {task} printed nothing within {} s", PATIENCE.as_secs())
}

/// The task once it has stopped, so that the next one starts on a quiet machine.
async fn stopped(client: &Client, arn: &str) -> anyhow::Result<Task> {
    let request = DescribeTasksRequest {
        cluster: Some(CLUSTER.into()),
        tasks: vec![arn.to_owned()],
        ..Default::default()
    };
    let end = Instant::now() + PATIENCE;
    loop {
        let response = client.call::<ecs::DescribeTasks>(request.clone()).await?;
        let task = response.tasks.into_iter().flatten().next().context("the task is gone")?;
        if task.last_status.as_deref() == Some("STOPPED") {
            return Ok(task);
        }
        ensure!(Instant::now() < end, "{arn} did not stop within {} s", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn since_epoch_ms(time: SystemTime) -> anyhow::Result<f64> {
    Ok(time.duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e3)
}

fn report(samples: &[Sample], bare: &[runtime::Runtime]) -> Report {
    let mut report = Report::new(
        "From RunTask (or the runtime's start) to the first instruction in the task",
        &["median_ms", "p95_ms", "answered_ms", "eni_ready_ms", "running_ms"],
    );
    let all = |figure: fn(&Sample) -> f64| samples.iter().map(figure).collect::<Vec<_>>();
    let first = all(|sample| sample.first_instruction);
    let stages: [fn(&Sample) -> f64; 3] =
        [|sample| sample.answered, |sample| sample.eni_ready, |sample| sample.running];
    let stages = stages.map(|figure| median(&all(figure)));
    report.row("pileus", [median(&first), percentile(&first, 95.0)].into_iter().chain(stages));
    for runtime in bare {
        let ms = &runtime.first_instruction_ms;
        report.row(runtime.name, [median(ms), percentile(ms, 95.0), f64::NAN, f64::NAN, f64::NAN]);
        if let Some(problem) = &runtime.problem {
            report.note(format!("{} was LEFT OUT: {problem}", runtime.name));
        }
    }
    report.note(format!(
        "{} starts each, in turn; 0.25 vCPU and 512 MB (budget of pileus: 30 ms). pileus gives the task an ENI, an image \
         from its registry and a log stream; the runtimes get a bundle and an empty network namespace.",
        samples.len()
    ));
    report
}
