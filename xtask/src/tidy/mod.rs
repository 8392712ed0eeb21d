//! What no compiler checks: who may depend on whom, where I/O, clocks and `unsafe` may live, and how files look.
//!
//! `packages` judges the manifests, `sources` the files, `rules` says what is allowed. Runs as `cargo xtask tidy` and
//! as a test of this package, so that no change passes by it.

mod packages;
mod rules;
mod sources;

use std::fmt;
use std::io::Write as _;
use std::path::Path;

use anyhow::ensure;

/// Something that must change, and where. A line of 0 stands for the whole file.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    file: String,
    line: usize,
    what: String,
}

impl Problem {
    fn new(file: impl Into<String>, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.into(), line, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.file, self.what),
            line => write!(formatter, "{}:{line}: {}", self.file, self.what),
        }
    }
}

/// Everything found: what fails, and what is only worth a look.
#[derive(Debug, Default)]
struct Findings {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// Prints what was found.
///
/// # Errors
/// There are problems, or the repository could not be read.
pub(crate) fn run(repository: &Path) -> anyhow::Result<()> {
    let findings = check(repository)?;
    let mut out = std::io::stderr().lock();
    for warning in &findings.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    for problem in &findings.problems {
        writeln!(out, "error: {problem}")?;
    }
    ensure!(findings.problems.is_empty(), "{} problems (the rules: xtask/src/tidy)", findings.problems.len());
    Ok(())
}

fn check(repository: &Path) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    packages::check(repository, &mut findings)?;
    sources::check(repository, &mut findings)?;
    findings.problems.sort();
    findings.warnings.sort();
    Ok(findings)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_repository_is_tidy() {
        let problems = super::check(crate::repository()).expect("the repository can be read").problems;
        let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(list.is_empty(), "{} problems:\n{}", list.len(), list.join("\n"));
    }
}
