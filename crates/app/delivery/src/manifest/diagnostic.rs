//! Tells a person where in `pileus.toml` something is wrong, what, and what to do.

use std::fmt;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::validate::Problem;

/// One thing that is wrong, at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub message: String,
    pub hint: Option<String>,
    /// The line itself.
    pub source_line: String,
    /// Characters that the message speaks of, from the column on.
    pub width: usize,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        // Tabs stay tabs, so that the marker stands where the eye expects it.
        let indent: String =
            self.source_line.chars().take(self.column - 1).map(|c| if c == '\t' { c } else { ' ' }).collect();
        writeln!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {}", self.source_line)?;
        write!(f, "{margin} | {indent}{}", "^".repeat(self.width))?;
        if let Some(hint) = &self.hint {
            write!(f, "\n{margin} = hint: {hint}")?;
        }
        Ok(())
    }
}

/// A file's name and text.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    pub(super) fn toml_error(self, error: &toml::de::Error) -> Diagnostic {
        let span = error.span().unwrap_or(0..0);
        let (message, hint) = in_plain_words(error.message());
        self.at(span, message, hint)
    }

    pub(super) fn problem(self, table: &DeTable, problem: &Problem) -> Diagnostic {
        let span = problem.keys.iter().find_map(|key| span_of(table, key));
        self.at(span.unwrap_or(0..0), problem.message.clone(), Some(problem.hint.clone()))
    }

    fn at(self, span: Range<usize>, message: String, hint: Option<String>) -> Diagnostic {
        let start = floor(self.text, span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let end = floor(self.text, span.end).clamp(start, line_end);
        Diagnostic {
            file: self.file.to_owned(),
            line: self.text[..start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            message,
            hint,
            source_line: self.text[line_start..line_end].trim_end_matches('\r').to_owned(),
            width: self.text[start..end].chars().count().max(1),
        }
    }
}

fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Where the value of a key such as `tasks.min` stands, if the text has it.
fn span_of(table: &DeTable, key: &str) -> Option<Range<usize>> {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let value = table.get(first)?;
    match (rest, value.get_ref()) {
        (None, _) => Some(value.span()),
        (Some(rest), DeValue::Table(table)) => span_of(table, rest),
        _ => None,
    }
}

/// The parser's message in words of this file instead of those of its types, and a hint.
fn in_plain_words(message: &str) -> (String, Option<String>) {
    let message = message.trim().replace('\n', "; ");
    if let Some((problem, expected)) =
        message.split_once(", expected one of ").or(message.split_once(", expected `"))
        && let Some(name) = problem.strip_prefix("unknown field `").and_then(|rest| rest.strip_suffix('`'))
    {
        let known: Vec<&str> = expected.split(['`', ',', ' ']).filter(|word| !word.is_empty()).collect();
        return (format!("there is no setting `{name}` here"), Some(did_you_mean(name, &known)));
    }
    if message.starts_with("string values must be quoted") {
        return ("a text must be in quotes".to_owned(), None);
    }
    if message == "invalid IP address syntax" {
        let hint = "such as \"10.0.0.0/16\"".to_owned();
        return ("this is not a range of addresses".to_owned(), Some(hint));
    }
    let Some((problem, expected)) = message.split_once(", expected ") else {
        return (message, None);
    };
    let expected = match expected {
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number",
        expected if expected.starts_with("struct ") => "a table",
        other => other,
    };
    let hint = (expected == "a string").then(|| "put the value in quotes".to_owned());
    (format!("{problem}, expected {expected}"), hint)
}

fn did_you_mean(name: &str, known: &[&str]) -> String {
    let closeness = |known: &str| strsim::jaro_winkler(name, known);
    let best = known.iter().copied().max_by(|a, b| closeness(a).total_cmp(&closeness(b)));
    match best {
        Some(best) if closeness(best) > 0.75 => format!("did you mean `{best}`?"),
        _ => format!("the settings here are: {}", known.join(", ")),
    }
}
