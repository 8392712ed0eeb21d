//! The only way to the terminal. Standard output carries what may be piped into something else (a URL, a status, JSON);
//! all else goes to standard error. Colours and moving lines only where a terminal can show them.

use std::io::{self, IsTerminal as _, Write as _};

use anstream::AutoStream;
use owo_colors::OwoColorize as _;
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::format;

pub(crate) struct Printer {
    out: AutoStream<io::Stdout>,
    err: AutoStream<io::Stderr>,
    /// Whether a line can be drawn over.
    lively: bool,
    /// Whether there is a line to be drawn over.
    drawn: bool,
}

/// Back to the beginning of the line, and nothing on it.
const CLEAR: &[u8] = b"\r\x1b[2K";
/// Of a terminal that does not tell its size.
const COLUMNS: usize = 80;

impl Printer {
    pub(crate) fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let lively = io::stderr().is_terminal() && !dumb;
        Self { out: anstream::stdout(), err: anstream::stderr(), lively, drawn: false }
    }

    /// A line for the person who watches.
    pub(crate) fn say(&mut self, line: impl AsRef<str>) {
        self.clear();
        // Nobody is told that nobody listens.
        let _ = writeln!(self.err, "{}", line.as_ref());
    }

    /// A line that the next one replaces; nothing where lines cannot be replaced.
    pub(crate) fn draw(&mut self, line: &str) {
        if !self.lively {
            return;
        }
        self.clear();
        let columns =
            terminal_size::terminal_size_of(io::stderr()).map_or(COLUMNS, |(width, _)| width.0.into());
        let line = format::cut(line, columns.saturating_sub(1));
        let _ = write!(self.err, "{}", line.dimmed());
        let _ = self.err.flush();
        self.drawn = true;
    }

    /// Takes the replaceable line away.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            // Past the stream that strips codes where colours are unwanted.
            let _ = io::stderr().write_all(CLEAR);
        }
    }

    /// A line of what was asked for.
    ///
    /// # Errors
    /// Nobody reads it any more.
    pub(crate) fn data(&mut self, line: impl AsRef<str>) -> Result<(), Failure> {
        self.clear();
        writeln!(self.out, "{}", line.as_ref()).map_err(closed)
    }

    /// A prefix of ours, and then another's text as it is.
    ///
    /// # Errors
    /// Nobody reads it any more.
    pub(crate) fn quote(&mut self, prefix: &str, text: &str) -> Result<(), Failure> {
        self.clear();
        write!(self.out, "{prefix}").map_err(closed)?;
        let mut raw = io::stdout().lock();
        raw.write_all(text.as_bytes()).and_then(|()| raw.write_all(b"\n")).map_err(closed)
    }

    /// A document for a program, over several lines.
    ///
    /// # Errors
    /// Nobody reads it any more.
    pub(crate) fn json(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(document)?;
        self.data(text)
    }

    /// A document on a line.
    ///
    /// # Errors
    /// Nobody reads it any more.
    pub(crate) fn json_line(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(document)?;
        self.data(text)
    }

    pub(crate) fn warn(&mut self, text: &str) {
        self.say(format!("{} {text}", "warning:".yellow().bold()));
    }

    pub(crate) fn failure(&mut self, failure: &Failure) {
        let mut causes = failure.causes.iter();
        if let Some(what) = causes.next() {
            self.say(format!("{} {what}", "error:".red().bold()));
        }
        for cause in causes {
            self.say(format!("  {} {}", "cause:".red(), cause.replace('\n', "\n    ")));
        }
        if !failure.hints.is_empty() {
            self.say("");
        }
        for hint in &failure.hints {
            self.say(format!("{} {hint}", "hint:".cyan().bold()));
        }
    }

    /// Asks a question that a person answers with yes or no; no where no person is there.
    pub(crate) fn confirm(&mut self, question: &str) -> bool {
        self.clear();
        let _ = write!(self.err, "{question} [y/N] ");
        let _ = self.err.flush();
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
    }
}

/// A reader that went away had enough; that is its right, and no failure of ours.
fn closed(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure { causes: Vec::new(), hints: Vec::new(), exit: Exit::Success };
    }
    Failure::new(format!("standard output cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_leaves_ends_the_command_without_complaint() {
        let failure = closed(io::ErrorKind::BrokenPipe.into());
        assert!(failure.causes.is_empty());
        assert_eq!(failure.exit, Exit::Success);
        assert_eq!(closed(io::ErrorKind::StorageFull.into()).exit, Exit::Failure);
    }
}
