//! The balancer alone, for tests and benchmarks; users run it as `pileus balancer`. The only argument is the
//! configuration as JSON.

use std::process::ExitCode;

use pileus_proxy::{BalancerConfig, balancer_main};

fn main() -> ExitCode {
    let text = std::env::args().next_back().unwrap_or_default();
    match BalancerConfig::from_json(&text).and_then(balancer_main) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is all that this program has.
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{error}\n"));
            ExitCode::FAILURE
        }
    }
}
