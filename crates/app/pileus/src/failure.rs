//! Why a command failed, what to do about it, and with which code it ends.

use std::error::Error;
use std::process::ExitCode;

/// How `pileus` ends. clap itself ends with 2 for a wrong command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Success,
    Failure,
    /// The app is not deployed, or no engine runs.
    Absent,
    /// By Ctrl-C, as shells count it.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Absent => 3,
            Exit::Interrupted => 130,
        })
    }
}

/// A failure as a person reads it.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What happened, then why; never empty.
    pub(crate) causes: Vec<String>,
    /// What to do next.
    pub(crate) hints: Vec<String>,
    pub(crate) exit: Exit,
}

impl Failure {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { causes: vec![what.into()], hints: Vec::new(), exit: Exit::Failure }
    }

    /// The app is not deployed, or no engine runs.
    pub(crate) fn absent(what: impl Into<String>) -> Self {
        Self { exit: Exit::Absent, ..Self::new(what) }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// Any error, with its causes; a cause that its effect has quoted is not told again.
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut failure = Self::new("");
        failure.causes.clear();
        let mut next: Option<&dyn Error> = Some(&error);
        while let Some(error) = next {
            let (text, hints) = split_hints(&error.to_string());
            failure.hints.extend(hints);
            if !failure.causes.iter().any(|told| told.contains(&text)) {
                failure.causes.push(text);
            }
            next = error.source();
        }
        failure
    }
}

/// Libraries put hints on lines of their own at the end of their messages.
fn split_hints(text: &str) -> (String, Vec<String>) {
    let (hints, rest): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.trim_start().starts_with("hint: "));
    let hint = |line: &&str| line.trim_start().trim_start_matches("hint: ").to_owned();
    (rest.join("\n"), hints.iter().map(hint).collect())
}

/// Adds to the failure of a result.
pub(crate) trait OrHint<T> {
    fn or_hint(self, hint: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> OrHint<T> for Result<T, E> {
    fn or_hint(self, hint: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| error.into().hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Outer(io::Error);

    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("cannot build\n  hint: install npm")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn causes_and_hints_are_told_apart() {
        let failure = Failure::from(Outer(io::Error::other("no disk")));
        assert_eq!(failure.causes, ["cannot build", "no disk"]);
        assert_eq!(failure.hints, ["install npm"]);
        assert_eq!(failure.exit, Exit::Failure);
    }

    #[test]
    fn a_quoted_cause_is_told_once() {
        let inner = io::Error::other("cannot build: no disk");
        assert_eq!(Failure::from(inner).causes, ["cannot build: no disk"]);
    }
}
