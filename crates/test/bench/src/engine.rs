//! The engine: from its start to its first answer, its memory at rest, and how many API calls it answers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use pileus_aws::ecs::{
    ContainerDefinition, CreateServiceRequest, DescribeServicesRequest, RegisterTaskDefinitionRequest,
    ops as ecs,
};
use pileus_aws::sts::{GetCallerIdentityRequest, ops as sts};
use pileus_delivery::client::Client;

use crate::api::{CLUSTER, Home, client, network, runtime};
use crate::load;
use crate::process::{Process, cpu_time, free_port, installed, resident, wait_for};
use crate::report::Report;
use crate::stats::median;

const SERVICE: &str = "bench";
const CONNECTIONS: [usize; 2] = [1, 16];
const MIB: f64 = 1024.0 * 1024.0;

#[derive(Args)]
pub(crate) struct Options {
    /// Starts, and rounds of load
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Seconds under load, for each number of connections in each round
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Deploy this app before memory is measured, such as examples/mashroom
    #[arg(long, value_name = "DIR")]
    app: Option<PathBuf>,
    /// Measure this one beside it
    #[arg(long, value_enum)]
    peer: Option<Peer>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Peer {
    /// moto's server: pip install 'moto[server]'
    Moto,
}

/// A server of the AWS APIs under measurement.
struct Server {
    name: &'static str,
    port: u16,
    pid: i32,
    start_ms: Vec<f64>,
    /// By number of connections: calls per second, p50 and p99 in microseconds, CPU microseconds per call.
    loads: [Vec<[f64; 4]>; 2],
}

pub(crate) fn run(pileus: &Path, options: &Options) -> anyhow::Result<Report> {
    let runtime = runtime()?;
    let home = Home::new(pileus)?;
    let mut starts = Vec::new();
    let mut engine = None;
    for _ in 0..=options.rounds {
        drop(engine.take());
        let started = Instant::now();
        engine = Some(home.engine()?);
        runtime.block_on(first_answer(home.port))?;
        starts.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let engine = engine.context("started above")?;
    let first_ms = starts.remove(0);
    let mut servers = vec![Server::new("pileus", home.port, engine.pid(), starts)];
    let folder = tempfile::tempdir()?;
    let moto = options.peer.map(|Peer::Moto| start_moto(&runtime, folder.path())).transpose()?;
    servers.extend(
        moto.as_ref().map(|(process, port, ms)| Server::new("moto", *port, process.pid(), vec![*ms])),
    );
    for server in &servers {
        runtime.block_on(prepare(&client(server.port)))?;
    }
    for _ in 0..options.rounds {
        for server in &mut servers {
            runtime.block_on(server.measure(Duration::from_secs(options.seconds)))?;
        }
    }
    let memory = memory(&home, &engine, options.app.as_deref())?;
    Ok(report(&servers, first_ms, memory, options))
}

impl Server {
    fn new(name: &'static str, port: u16, pid: i32, start_ms: Vec<f64>) -> Self {
        Self { name, port, pid, start_ms, loads: Default::default() }
    }

    async fn measure(&mut self, time: Duration) -> anyhow::Result<()> {
        let request = DescribeServicesRequest {
            cluster: Some(CLUSTER.into()),
            services: vec![SERVICE.into()],
            ..Default::default()
        };
        for (connections, loads) in CONNECTIONS.into_iter().zip(&mut self.loads) {
            let before = cpu_time(self.pid)?;
            let load = load::run::<ecs::DescribeServices>(self.port, &request, connections, time).await?;
            let used = cpu_time(self.pid)?.saturating_sub(before).as_secs_f64() * 1e6;
            loads.push([load.calls / load.seconds, load.p50_us, load.p99_us, used / load.calls]);
        }
        Ok(())
    }
}

/// Asks until the API answers.
async fn first_answer(port: u16) -> anyhow::Result<()> {
    let (client, end) = (client(port), Instant::now() + Duration::from_secs(30));
    while client.call::<sts::GetCallerIdentity>(GetCallerIdentityRequest::default()).await.is_err() {
        ensure!(Instant::now() < end, "no answer on port {port} within 30 s");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

fn start_moto(runtime: &tokio::runtime::Runtime, folder: &Path) -> anyhow::Result<(Process, u16, f64)> {
    ensure!(installed("moto_server"), "moto_server is not on the PATH: pip install 'moto[server]'");
    let (port, started) = (free_port()?, Instant::now());
    let command = &mut Command::new("moto_server");
    let process = Process::start(command.args(["--port", &port.to_string()]), &folder.join("moto.log"))?;
    runtime.block_on(first_answer(port))?;
    Ok((process, port, started.elapsed().as_secs_f64() * 1e3))
}

/// A service without tasks: something for DescribeServices to describe.
async fn prepare(client: &Client) -> anyhow::Result<()> {
    let network = network(client).await?;
    let container = ContainerDefinition {
        name: Some("app".into()),
        image: Some("bench:latest".into()),
        ..Default::default()
    };
    let definition = RegisterTaskDefinitionRequest {
        family: SERVICE.into(),
        network_mode: Some("awsvpc".into()),
        requires_compatibilities: Some(vec!["FARGATE".into()]),
        cpu: Some("256".into()),
        memory: Some("512".into()),
        container_definitions: vec![container],
        ..Default::default()
    };
    client.call::<ecs::RegisterTaskDefinition>(definition).await?;
    let service = CreateServiceRequest {
        cluster: Some(CLUSTER.into()),
        service_name: SERVICE.into(),
        task_definition: Some(SERVICE.into()),
        desired_count: Some(0),
        launch_type: Some("FARGATE".into()),
        network_configuration: Some(network),
        ..Default::default()
    };
    client.call::<ecs::CreateService>(service).await?;
    Ok(())
}

/// Resident bytes of engine and balancer, after the app is deployed, if one is, and all is quiet.
fn memory(home: &Home, engine: &Process, app: Option<&Path>) -> anyhow::Result<(f64, f64)> {
    if let Some(app) = app {
        home.run(&["up", app.to_str().context("the app's path is not UTF-8")?])?;
    }
    std::thread::sleep(Duration::from_secs(3));
    let balancer = wait_for("the balancer", || home.balancer())?;
    Ok((resident(engine.pid())? as f64 / MIB, resident(balancer)? as f64 / MIB))
}

fn report(servers: &[Server], first_ms: f64, memory: (f64, f64), options: &Options) -> Report {
    let mut report = Report::new(
        "The engine: start to first answered call, and DescribeServices on 1 and on 16 connections",
        &[
            "start_ms",
            "calls_s_1",
            "p50_us_1",
            "p99_us_1",
            "cpu_us_1",
            "calls_s_16",
            "p50_us_16",
            "p99_us_16",
            "cpu_us_16",
            "rss_mib",
        ],
    );
    for server in servers {
        let loads = server.loads.iter().flat_map(|loads| {
            (0..4).map(|figure| median(&loads.iter().map(|load| load[figure]).collect::<Vec<_>>()))
        });
        let resident = match server.name {
            "pileus" => memory.0 + memory.1,
            _ => resident(server.pid).map_or(f64::NAN, |bytes| bytes as f64 / MIB),
        };
        let start = median(&server.start_ms);
        report.row(server.name, std::iter::once(start).chain(loads).chain([resident]));
    }
    let deployed = options
        .app
        .as_ref()
        .map_or("nothing deployed".to_owned(), |app| format!("{} running", app.display()));
    report.note(format!(
        "Start: median of {} on a home with state; the first, on an empty home, took {first_ms:.0} ms (budget 150 ms).",
        options.rounds
    ));
    report.note(format!(
        "Memory: engine {:.1} + balancer {:.1} MiB, each counting the pages that both share, {deployed} (budget 100 MB).",
        memory.0, memory.1
    ));
    report.note("Calls are signed and checked. The client has one thread and shares the machine's cores with the server. CPU is the server's, per call.");
    report
}
