//! `pileus doctor`: what this host has and lacks, for which feature, and the command that gives it. It looks and tries
//! in namespaces of its own; it changes nothing.

mod host;
mod parse;
mod tools;

use std::path::Path;

use owo_colors::OwoColorize as _;
use serde::Serialize;

use crate::cli::{Doctor, Output};
use crate::failure::{Exit, Failure};
use crate::format;
use crate::printer::Printer;

/// One thing that the host may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    /// Without it no app runs; else only what `purpose` names is lost.
    required: bool,
    /// What was found.
    found: String,
    /// What it is for.
    purpose: &'static str,
    /// What to do where it is missing.
    remedy: &'static str,
}

/// What was found, or what was not.
type Finding = Result<String, String>;

impl Check {
    fn new(
        required: bool,
        name: &'static str,
        finding: Finding,
        purpose: &'static str,
        remedy: &'static str,
    ) -> Self {
        let ok = finding.is_ok();
        Self { name, ok, required, found: finding.unwrap_or_else(|missing| missing), purpose, remedy }
    }

    fn required(name: &'static str, finding: Finding, purpose: &'static str, remedy: &'static str) -> Self {
        Self::new(true, name, finding, purpose, remedy)
    }

    fn optional(name: &'static str, finding: Finding, purpose: &'static str, remedy: &'static str) -> Self {
        Self::new(false, name, finding, purpose, remedy)
    }

    fn lines(&self) -> Vec<String> {
        let mark = match (self.ok, self.required) {
            (true, _) => "ok".green().to_string(),
            (false, true) => "missing".red().bold().to_string(),
            (false, false) => "missing".yellow().to_string(),
        };
        let padding = " ".repeat(if self.ok { 5 } else { 0 });
        let mut lines =
            vec![format!("  {mark}{padding}  {:<18} {}", self.name, format::printable(&self.found))];
        if !self.ok {
            lines.push(format!("           for {}", self.purpose));
            lines.push(format!("           {} {}", "hint:".cyan().bold(), self.remedy));
        }
        lines
    }
}

pub(crate) fn run(arguments: &Doctor, home: &Path, printer: &mut Printer) -> Result<Exit, Failure> {
    let checks: Vec<Check> =
        host::checks().into_iter().chain(tools::checks(home, &arguments.engine)).collect();
    let missing = checks.iter().filter(|check| !check.ok && check.required).count();
    match arguments.output {
        Output::Json => printer.json(&serde_json::json!({"ok": missing == 0, "checks": checks}))?,
        Output::Text => {
            for line in checks.iter().flat_map(Check::lines) {
                printer.data(line)?;
            }
            let optional = checks.iter().filter(|check| !check.ok && !check.required).count();
            printer.say("");
            printer.say(summary(missing, optional));
        }
    }
    Ok(if missing == 0 { Exit::Success } else { Exit::Failure })
}

fn summary(missing: usize, optional: usize) -> String {
    match (missing, optional) {
        (0, 0) => "Everything is there.".to_owned(),
        (0, optional) => format!("All that is required is there; {optional} of the rest is missing."),
        (missing, _) => format!("{missing} of what is required is missing: apps cannot run here."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_its_remedy() {
        let check = Check::required(
            "nft",
            Err("not on the PATH".into()),
            "security groups",
            "apt-get install nftables",
        );
        let text = check.lines().join("\n");
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(
            plain,
            "  missing  nft                not on the PATH\n           for security groups\n           hint: apt-get install nftables"
        );
        let fine = Check::optional("git", Ok("2.39.5".into()), "tags", "apt-get install git").lines();
        assert_eq!(
            anstream::adapter::strip_str(&fine[0]).to_string(),
            "  ok       git                2.39.5"
        );
        assert_eq!(fine.len(), 1);
    }

    #[test]
    fn optional_things_do_not_make_a_host_unfit() {
        assert_eq!(summary(0, 0), "Everything is there.");
        assert!(summary(0, 2).starts_with("All that is required"));
        assert!(summary(1, 2).contains("cannot run"));
    }
}
