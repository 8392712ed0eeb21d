//! The shim as a program of its own, for the tests of this crate; in the product it is `pileus shim`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1) {
        Some(task_dir) => pileus_containers::shim_main(Path::new(&task_dir)),
        None => ExitCode::FAILURE,
    }
}
