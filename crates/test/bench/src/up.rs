//! `pileus up` after a change of one line: what a developer waits for, stage by stage, until all traffic is on the new
//! version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::Value;

use crate::api::Home;
use crate::report::Report;
use crate::stats::median;

#[derive(Args)]
pub(crate) struct Options {
    /// The app; a copy of it is changed
    #[arg(long, default_value = "examples/mashroom", value_name = "DIR")]
    app: PathBuf,
    /// The file of it that gets another line each time
    #[arg(long, default_value = "src/server.js", value_name = "FILE")]
    file: PathBuf,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

pub(crate) fn run(pileus: &Path, options: &Options) -> anyhow::Result<Report> {
    let folder = tempfile::tempdir()?;
    let app = folder.path().join("app");
    let status =
        Command::new("cp").arg("-r").arg(&options.app).arg(&app).status().context("copying the app")?;
    ensure!(status.success(), "{} could not be copied", options.app.display());
    let home = Home::new(pileus)?;
    let (first_ms, _) = up(&home, &app)?;
    let (nothing_ms, _) = up(&home, &app)?;
    let (mut totals, mut stages) = (Vec::new(), Vec::<(String, Vec<f64>)>::new());
    for round in 0..options.rounds {
        let file = app.join(&options.file);
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        fs::write(&file, format!("{text}\n// change {round}\n"))?;
        let (total, document) = up(&home, &app)?;
        ensure!(document["rolled_out"] == true, "the change was not rolled out: {document}");
        totals.push(total);
        for (name, ms) in stages_of(&document) {
            match stages.iter_mut().find(|(known, _)| *known == name) {
                Some((_, all)) => all.push(ms),
                None => stages.push((name, vec![ms])),
            }
        }
    }
    let mut report = Report::new("`pileus up` after a change of one line", &["ms"]);
    for (name, all) in &stages {
        report.row(name, [median(all)]);
    }
    report.row("all, as seen from outside", [median(&totals)]);
    report.row("first time", [first_ms]);
    report.row("with nothing changed", [nothing_ms]);
    report.note(format!(
        "Medians of {} changes of {}, both tasks replaced each time.",
        options.rounds,
        options.app.display()
    ));
    Ok(report)
}

/// Milliseconds, and what the command said of itself.
fn up(home: &Home, app: &Path) -> anyhow::Result<(f64, Value)> {
    let started = Instant::now();
    let text = home.run(&["up", app.to_str().context("a path in UTF-8")?, "--output", "json"])?;
    let took = started.elapsed().as_secs_f64() * 1e3;
    Ok((took, serde_json::from_str(&text).context("the output of pileus up")?))
}

/// `{"stages_ms": {"build": 1500, ...}}`
fn stages_of(document: &Value) -> Vec<(String, f64)> {
    let stages = document["stages_ms"].as_object().into_iter().flatten();
    stages.filter_map(|(name, ms)| Some((name.clone(), ms.as_f64()?))).collect()
}
