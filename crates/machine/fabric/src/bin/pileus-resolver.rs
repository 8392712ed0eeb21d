//! The resolver alone, for tests; users run it as `pileus resolver`. The only argument is the path of its configuration.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let config: PathBuf = std::env::args_os().next_back().unwrap_or_default().into();
    match pileus_fabric::resolver_main(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is all that this program has.
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{error}\n"));
            ExitCode::FAILURE
        }
    }
}
