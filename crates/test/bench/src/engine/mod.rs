//! The engine: from its start to its first answer, its memory at rest, and how many API calls it answers; the same of
//! other servers of the AWS APIs.

mod calls;
mod server;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;

use self::calls::Operation;
use self::server::{Peer, Server, first_answer};
use crate::api::{Home, client, runtime};
use crate::process::{Process, resident, wait_for};
use crate::report::Report;
use crate::stats::median;

const CONNECTIONS: [usize; 2] = [1, 16];
const MIB: f64 = 1024.0 * 1024.0;

#[derive(Args)]
pub(crate) struct Options {
    /// Starts, and rounds of load
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds under load, for each operation and number of connections in each round
    #[arg(long, default_value_t = 1)]
    seconds: u64,
    /// Deploy this app before memory is measured, such as examples/mashroom
    #[arg(long, value_name = "DIR")]
    app: Option<PathBuf>,
    /// Measure this one beside it; may be given again
    #[arg(long = "peer", value_enum)]
    peers: Vec<Peer>,
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
    let folder = tempfile::tempdir()?;
    let peers = options.peers.iter().map(|peer| peer.start(&runtime, folder.path()));
    let peers = peers.collect::<anyhow::Result<Vec<_>>>()?;
    let mut servers = vec![Server::new("pileus", home.port, engine.pid(), starts)];
    servers.extend(peers.iter().map(server::Started::server));
    for server in &mut servers {
        server.idle_mib = resident(server.pid)? as f64 / MIB;
        runtime.block_on(calls::prepare(&client(server.port)))?;
    }
    for _ in 0..options.rounds {
        for server in &mut servers {
            runtime.block_on(server.measure(Duration::from_secs(options.seconds)))?;
        }
    }
    let memory = memory(&home, &engine, options.app.as_deref())?;
    Ok(report(&servers, first_ms, memory, options))
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
        "Servers of the AWS APIs: signed calls on 1 and on 16 connections",
        &[
            "calls_s_1",
            "p50_us_1",
            "p99_us_1",
            "cpu_us_1",
            "calls_s_16",
            "p50_us_16",
            "p99_us_16",
            "cpu_us_16",
        ],
    );
    for (index, operation) in Operation::ALL.into_iter().enumerate() {
        for server in servers {
            let figures = server.loads[index].iter().flat_map(|loads| {
                (0..4).map(|figure| median(&loads.iter().map(|load| load[figure]).collect::<Vec<_>>()))
            });
            report.row(format!("{} {}", operation.name(), server.name), figures);
        }
    }
    for server in servers {
        let (name, start, idle) = (server.name, median(&server.start_ms), server.idle_mib);
        report.note(format!(
            "{name}: start to first answered call {start:.1} ms, then {idle:.1} MiB resident."
        ));
    }
    let deployed = options
        .app
        .as_ref()
        .map_or("nothing deployed".to_owned(), |app| format!("{} running", app.display()));
    report.note(format!(
        "pileus: start is the median of {} on a home with state; the first, on an empty home, took {first_ms:.0} ms (budget 150 ms).",
        options.rounds
    ));
    report.note(format!(
        "pileus after the load: engine {:.1} + balancer {:.1} MiB, each counting the pages that both share, {deployed} (budget 100 MB).",
        memory.0, memory.1
    ));
    report.note("Calls are signed and checked, and pileus has every write on disk before it answers. The client has one thread and shares the machine's cores with the server. CPU is the server's, per call.");
    report
}
