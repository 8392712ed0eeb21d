//! The processes that the engine starts: `pileus shim DIR` for each task, `pileus balancer CONFIG` for all load
//! balancers, `pileus resolver FILE` for the names of all VPCs. Their arguments are decided by the crates that they belong to.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use pileus_proxy::BalancerConfig;
use tracing_subscriber::EnvFilter;

use crate::env;

/// Single-threaded from here on, and without anything that this binary would set up.
pub(crate) fn shim(arguments: &[OsString]) -> ExitCode {
    match arguments {
        [directory] => pileus_containers::shim_main(Path::new(directory)),
        _ => ExitCode::from(2),
    }
}

/// Standard error is the balancer's log.
pub(crate) fn balancer(arguments: &[OsString]) -> ExitCode {
    log_to_stderr();
    let config = arguments.first().and_then(|argument| argument.to_str()).unwrap_or_default();
    match BalancerConfig::from_json(config).and_then(pileus_proxy::balancer_main) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the balancer ends");
            ExitCode::FAILURE
        }
    }
}

/// Standard error is the resolver's log.
pub(crate) fn resolver(arguments: &[OsString]) -> ExitCode {
    log_to_stderr();
    let [config] = arguments else { return ExitCode::from(2) };
    match pileus_fabric::resolver_main(Path::new(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the resolver ends");
            ExitCode::FAILURE
        }
    }
}

fn log_to_stderr() {
    let filter = std::env::var(env::LOG).ok().and_then(|filter| EnvFilter::try_new(filter).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(env::DEFAULT_LOG));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}
