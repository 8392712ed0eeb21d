//! `pileus engine`: the engine itself, in the foreground, logging to standard error.

use std::io::IsTerminal as _;
use std::path::Path;

use pileus_engine::{EngineConfig, Home, MachineConfig};
use tracing_subscriber::EnvFilter;

use crate::cli::{Engine, Output};
use crate::failure::{Exit, Failure, OrHint as _};

pub(crate) fn run(arguments: &Engine, home: &Path) -> Result<Exit, Failure> {
    log(arguments)?;
    if arguments.detach {
        // Before there is anything to lose; a session leader already needs none of it.
        nix::unistd::setsid()?;
    }
    let options = &arguments.options;
    let config = EngineConfig {
        home: Home::open(home)?,
        port: options.port(),
        machine: MachineConfig { edge_port: options.edge_port },
        time_scale: options.time_scale.unwrap_or(1.0),
        strict: options.strict,
    };
    pileus_engine::run(&config)?;
    Ok(Exit::Success)
}

fn log(arguments: &Engine) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&arguments.log)
        .or_hint(format!("--log and {} take a level, such as debug", crate::env::LOG))?
        // It calls every refusal an error, and shows signatures when asked for more.
        .add_directive("s3s=off".parse().expect("a directive"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match arguments.log_format {
        Output::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        Output::Json => log.json().init(),
    }
    Ok(())
}
