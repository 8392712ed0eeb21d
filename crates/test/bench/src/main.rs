//! `cargo xtask bench`: what Pileus costs, beside what its peers cost in the same run. Everything is on this machine
//! and short; figures are medians; nothing is tuned for the occasion.

mod api;
mod balancer;
mod engine;
mod load;
mod process;
mod report;
mod stats;
mod task;
mod up;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

#[derive(Parser)]
#[command(name = "xtask bench", about = "Measures Pileus beside its peers, in the same run")]
struct Arguments {
    /// The program under test
    #[arg(long, global = true, default_value = "target/release/pileus", value_name = "PATH")]
    pileus: PathBuf,
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
}

#[derive(Subcommand)]
enum Bench {
    /// Start, memory at rest, and API calls per second
    Engine(engine::Options),
    /// RunTask to the first instruction in the task, beside bare OCI runtimes
    Task(task::Options),
    /// CPU per request of the balancer, beside HAProxy and nginx, each alone on one core
    Balancer(balancer::Options),
    /// `pileus up` after a change of one line, stage by stage
    Up(up::Options),
    /// The server behind the balancers: serves 1 KiB for ever
    #[command(hide = true)]
    Upstream,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let pileus = &arguments.pileus;
    let report = match arguments.bench {
        Bench::Engine(options) => engine::run(pileus, &options)?,
        Bench::Task(options) => task::run(pileus, &options)?,
        Bench::Balancer(options) => balancer::run(pileus, &options)?,
        Bench::Up(options) => up::run(pileus, &options)?,
        Bench::Upstream => return balancer::upstream(),
    };
    report.print(matches!(arguments.output, Output::Json))
}
