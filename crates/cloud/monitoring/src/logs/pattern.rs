//! Filter patterns for unstructured events: terms, `?` alternatives, `-` exclusions, quoted phrases.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html>

use pileus_core::ApiError;

use super::invalid;

/// A parsed pattern. The empty one matches everything.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pattern {
    all: Vec<String>,
    any: Vec<String>,
    none: Vec<String>,
}

impl Pattern {
    /// # Errors
    /// A quote without its end, and the pattern languages for JSON (`{…}`), fields (`[…]`) and regular expressions
    /// (`%…%`), which Pileus does not implement.
    pub(super) fn parse(text: &str) -> Result<Self, ApiError> {
        let text = text.trim();
        for (start, what) in [('{', "JSON"), ('[', "space-delimited"), ('%', "regular-expression")] {
            if text.starts_with(start) {
                return Err(ApiError::not_implemented(format_args!("{what} filter patterns")));
            }
        }
        let mut pattern = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let terms = match rest.as_bytes()[0] {
                b'?' => &mut pattern.any,
                b'-' => &mut pattern.none,
                _ => &mut pattern.all,
            };
            rest = rest.strip_prefix(['?', '-']).unwrap_or(rest);
            let (term, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted
                    .split_once('"')
                    .ok_or_else(|| invalid("Invalid filter pattern: a quote is not closed"))?,
                None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
            };
            if term.is_empty() {
                return Err(invalid("Invalid filter pattern: a term is empty"));
            }
            terms.push(term.to_owned());
            rest = after.trim_start();
        }
        Ok(pattern)
    }

    /// Case matters, as on AWS.
    pub(super) fn matches(&self, message: &str) -> bool {
        let contains = |term: &String| message.contains(term.as_str());
        self.all.iter().all(contains)
            && (self.any.is_empty() || self.any.iter().any(contains))
            && !self.none.iter().any(contains)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_alternatives_exclusions_and_phrases() {
        for (pattern, message, expected) in [
            ("", "anything", true),
            ("ERROR main", "main: ERROR 1", true),
            ("ERROR main", "ERROR 1", false),
            ("?ERROR ?WARN", "a WARN b", true),
            ("?ERROR ?WARN", "a INFO b", false),
            ("ERROR -Exiting", "ERROR Exiting", false),
            ("\"two words\"", "these two words", true),
            ("error", "ERROR", false),
        ] {
            assert_eq!(
                Pattern::parse(pattern).expect("a valid pattern").matches(message),
                expected,
                "{pattern} on {message}"
            );
        }
        assert_eq!(Pattern::parse("\"open").expect_err("it is not closed").code, "InvalidParameterException");
        assert_eq!(Pattern::parse("{ $.level = 1 }").expect_err("no JSON").code, "UnsupportedOperation");
    }
}
