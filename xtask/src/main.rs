//! `cargo xtask`: the chores of the repository that need more than a shell line.

mod codegen;

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
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().chore {
        Chore::Codegen { check, models } => codegen::run(repository(), models, check),
    }
}

/// The root of the repository: the parent of this package.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}
