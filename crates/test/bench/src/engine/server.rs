//! A server of the AWS APIs under measurement, and how each of the peers is started.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::ValueEnum;
use pileus_aws::sts::{GetCallerIdentityRequest, ops as sts};
use tokio::runtime::Runtime;

use super::CONNECTIONS;
use super::calls::Operation;
use crate::api::client;
use crate::process::{Process, cpu_time, free_port, installed};

/// Calls per second, p50 and p99 in microseconds, CPU microseconds per call.
pub(super) type Figures = [f64; 4];

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Peer {
    /// moto's server: pip install 'moto[server]'
    Moto,
    /// pip install ministack
    Ministack,
}

/// A peer that runs as long as this value lives.
pub(super) struct Started {
    name: &'static str,
    process: Process,
    port: u16,
    start_ms: f64,
}

pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) port: u16,
    pub(super) pid: i32,
    pub(super) start_ms: Vec<f64>,
    /// Resident when it answers, before any load.
    pub(super) idle_mib: f64,
    /// By operation and by number of connections, a figure of each round.
    pub(super) loads: [[Vec<Figures>; CONNECTIONS.len()]; Operation::ALL.len()],
}

impl Peer {
    pub(super) fn start(self, runtime: &Runtime, folder: &Path) -> anyhow::Result<Started> {
        let (name, program) = match self {
            Self::Moto => ("moto", "moto_server"),
            Self::Ministack => ("ministack", "ministack"),
        };
        ensure!(installed(program), "{program} is not on the PATH: pip install 'moto[server]' ministack");
        let (port, mut command) = (free_port()?, Command::new(program));
        match self {
            Self::Moto => command.args(["--port", &port.to_string()]),
            Self::Ministack => command.env("GATEWAY_PORT", port.to_string()).env("BIND_HOST", "127.0.0.1"),
        };
        let started = Instant::now();
        let process = Process::start(&mut command, &folder.join(format!("{name}.log")))?;
        runtime.block_on(first_answer(port))?;
        Ok(Started { name, process, port, start_ms: started.elapsed().as_secs_f64() * 1e3 })
    }
}

impl Started {
    pub(super) fn server(&self) -> Server {
        Server::new(self.name, self.port, self.process.pid(), vec![self.start_ms])
    }
}

impl Server {
    pub(super) fn new(name: &'static str, port: u16, pid: i32, start_ms: Vec<f64>) -> Self {
        Self { name, port, pid, start_ms, idle_mib: f64::NAN, loads: Default::default() }
    }

    pub(super) async fn measure(&mut self, time: Duration) -> anyhow::Result<()> {
        for (operation, by_connections) in Operation::ALL.into_iter().zip(&mut self.loads) {
            for (connections, loads) in CONNECTIONS.into_iter().zip(by_connections) {
                let before = cpu_time(self.pid)?;
                let load = operation.load(self.port, connections, time).await?;
                let used = cpu_time(self.pid)?.saturating_sub(before).as_secs_f64() * 1e6;
                loads.push([load.calls / load.seconds, load.p50_us, load.p99_us, used / load.calls]);
            }
        }
        Ok(())
    }
}

/// Asks until the API answers.
pub(super) async fn first_answer(port: u16) -> anyhow::Result<()> {
    let (client, end) = (client(port), Instant::now() + Duration::from_secs(30));
    while client.call::<sts::GetCallerIdentity>(GetCallerIdentityRequest::default()).await.is_err() {
        ensure!(Instant::now() < end, "no answer on port {port} within 30 s");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
