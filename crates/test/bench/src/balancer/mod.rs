//! The balancer beside HAProxy and nginx: the same two upstreams, the same clients, one core each, one after the other
//! and again. The other core drives them: it serves the upstreams and generates the load.

mod peers;
mod pileus;
mod upstream;
mod wrk;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::ensure;
use clap::{Args, ValueEnum};

use crate::process::{self, cpu_time};
use crate::report::Report;
use crate::stats::median;

pub(crate) use upstream::serve as upstream;

/// The core of what is measured, and the core of all else.
const MEASURED_CORE: &str = "0";
const LOAD_CORE: &str = "1";

#[derive(Args)]
pub(crate) struct Options {
    #[arg(long, value_enum, default_value_t)]
    scenario: Scenario,
    /// Rounds; each measures every balancer once
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds under load, for each balancer in each round
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Client connections, all busy all the time
    #[arg(long, default_value_t = 32)]
    connections: usize,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Scenario {
    /// GET of 1 KiB, keep-alive on both sides
    #[default]
    SmallGet,
}

/// Something that answers HTTP, and whose CPU time counts.
trait Contender {
    fn name(&self) -> &'static str;
    fn address(&self) -> SocketAddr;
    fn pid(&self) -> i32;
}

/// One balancer's figures of one round.
struct Sample {
    cpu_us_per_request: f64,
    rps: f64,
    p50_us: f64,
    p99_us: f64,
}

pub(crate) fn run(pileus: &Path, options: &Options) -> anyhow::Result<Report> {
    ensure!(
        process::installed("wrk"),
        "wrk, which makes the load, is missing: apt-get install wrk haproxy nginx"
    );
    let Scenario::SmallGet = options.scenario;
    let folder = tempfile::tempdir()?;
    let upstreams = upstream::start(folder.path())?;
    let targets = upstreams.addresses;
    let mut contenders: Vec<Box<dyn Contender>> =
        vec![Box::new(pileus::Balancer::start(pileus, folder.path(), &targets)?)];
    let mut report = Report::new(
        "GET of 1 KiB over keep-alive, two upstreams; one core for the balancer, one for all else",
        &["cpu_us_per_request", "rps", "p50_us", "p99_us"],
    );
    for (name, peer) in [("haproxy", peers::haproxy as peers::Start), ("nginx", peers::nginx)] {
        match peer(folder.path(), &targets)? {
            Some(peer) => contenders.push(Box::new(peer)),
            None => report.note(format!("{name} is not installed and was LEFT OUT (apt-get install {name})")),
        }
    }
    contenders.push(Box::new(upstream::Direct { address: targets[0], pid: upstreams.process.pid() }));
    let samples = measure(&contenders, options)?;
    for (contender, samples) in contenders.iter().zip(samples) {
        let of = |figure: fn(&Sample) -> f64| median(&samples.iter().map(figure).collect::<Vec<_>>());
        report.row(
            contender.name(),
            [of(|s| s.cpu_us_per_request), of(|s| s.rps), of(|s| s.p50_us), of(|s| s.p99_us)],
        );
    }
    report.note(format!(
        "Medians of {} rounds of {} s, {} connections; clients and upstreams share core {LOAD_CORE}, which may be what \
         limits requests per second. `direct` is an upstream without a balancer.",
        options.rounds, options.seconds, options.connections
    ));
    Ok(report)
}

/// Samples by contender. Every round begins with another one, so that no place in the order is an advantage.
fn measure(contenders: &[Box<dyn Contender>], options: &Options) -> anyhow::Result<Vec<Vec<Sample>>> {
    let mut samples: Vec<Vec<Sample>> = contenders.iter().map(|_| Vec::new()).collect();
    for round in 0..options.rounds {
        for turn in 0..contenders.len() {
            let index = (round + turn) % contenders.len();
            let contender = contenders[index].as_ref();
            wrk::run(contender.address(), options.connections, 1)?;
            let before = cpu_time(contender.pid())?;
            let load = wrk::run(contender.address(), options.connections, options.seconds)?;
            let used = cpu_time(contender.pid())?.saturating_sub(before);
            samples[index].push(Sample {
                cpu_us_per_request: used.as_secs_f64() * 1e6 / load.requests,
                rps: load.requests / load.seconds,
                p50_us: load.p50_us,
                p99_us: load.p99_us,
            });
        }
    }
    Ok(samples)
}
