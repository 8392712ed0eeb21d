//! Patterns for unstructured events: terms, `?` alternatives, `-` exclusions, quoted phrases, `%` regular expressions.

use regex::Regex;

use super::condition::{Result, regex};

#[derive(Debug, Default)]
pub(crate) struct Terms {
    all: Vec<Term>,
    any: Vec<Term>,
    none: Vec<Term>,
}

#[derive(Debug)]
enum Term {
    Text(String),
    Regex(Regex),
}

impl Term {
    fn is_in(&self, message: &str) -> bool {
        match self {
            Self::Text(text) => message.contains(text.as_str()),
            Self::Regex(regex) => regex.is_match(message),
        }
    }
}

impl Terms {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut pattern = Self::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let terms = match rest.as_bytes()[0] {
                b'?' => &mut pattern.any,
                b'-' => &mut pattern.none,
                _ => &mut pattern.all,
            };
            rest = rest.strip_prefix(['?', '-']).unwrap_or(rest);
            let unclosed = || "a quote is not closed".to_owned();
            let (term, after) = if let Some(quoted) = rest.strip_prefix('"') {
                let (text, after) = quoted.split_once('"').ok_or_else(unclosed)?;
                (Term::Text(text.to_owned()), after)
            } else if let Some(expression) = rest.strip_prefix('%') {
                let (text, after) = expression.split_once('%').ok_or_else(unclosed)?;
                (Term::Regex(regex(text)?), after)
            } else {
                let (text, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                (Term::Text(text.to_owned()), after)
            };
            if matches!(&term, Term::Text(text) if text.is_empty()) {
                return Err("a term is empty".into());
            }
            terms.push(term);
            rest = after.trim_start();
        }
        Ok(pattern)
    }

    pub(super) fn matches(&self, message: &str) -> bool {
        let contains = |term: &Term| term.is_in(message);
        self.all.iter().all(contains)
            && (self.any.is_empty() || self.any.iter().any(contains))
            && !self.none.iter().any(contains)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_alternatives_exclusions_phrases_and_expressions() {
        for (pattern, message, expected) in [
            ("", "anything", true),
            ("ERROR main", "main: ERROR 1", true),
            ("ERROR main", "ERROR 1", false),
            ("?ERROR ?WARN", "a WARN b", true),
            ("?ERROR ?WARN", "a INFO b", false),
            ("ERROR -Exiting", "ERROR Exiting", false),
            ("\"two words\"", "these two words", true),
            ("error", "ERROR", false),
            ("%code=5[0-9]{2}%", "code=503", true),
            ("ERROR -%code=4..%", "ERROR code=404", false),
        ] {
            assert_eq!(
                Terms::parse(pattern).expect("a valid pattern").matches(message),
                expected,
                "{pattern} on {message}"
            );
        }
    }
}
