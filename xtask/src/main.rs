//! `cargo xtask`: the chores of the repository that need more than a shell line.

mod bench;
mod codegen;
mod tidy;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Chores of the Pileus repository")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Generate crates/base/aws from the published API models and operations.toml.
    Codegen {
        /// Change nothing; fail when the generated files are not current.
        #[arg(long)]
        check: bool,
        /// The `botocore/data` directory to read, instead of the pinned version from PyPI.
        #[arg(long)]
        models: Option<PathBuf>,
    },
    /// Check what no compiler checks: directions between crates, purity, sizes and leftovers.
    Tidy,
    /// Measure the release build beside its peers; `cargo xtask bench --help` tells what.
    #[command(disable_help_flag = true)]
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().chore {
        Chore::Codegen { check, models } => codegen::run(repository(), models, check),
        Chore::Tidy => tidy::run(repository()),
        Chore::Bench { arguments } => bench::run(repository(), &arguments),
    }
}

/// The root of the repository: the parent of this package.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}
