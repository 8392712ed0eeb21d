//! A model's regular expression, compiled when first needed.
//!
//! The models are written for Java: a pattern matches the whole value, and `\w`, `\d` and `\s` are ASCII.

use std::sync::OnceLock;

use regex::{Regex, RegexBuilder};

/// A pattern of the model. Code generation drops those that do not compile here and lists them.
#[derive(Debug)]
pub struct Pattern {
    source: &'static str,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub const fn new(source: &'static str) -> Self {
        Self { source, compiled: OnceLock::new() }
    }

    /// The model's own text, for error messages.
    pub fn source(&self) -> &'static str {
        self.source
    }

    pub fn matches(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| Self::compile(self.source).ok());
        compiled.as_ref().is_none_or(|regex| regex.is_match(text))
    }

    /// Whether Rust's regular expressions can express the pattern; the error says why not.
    pub fn check(source: &str) -> Result<(), String> {
        Self::compile(source).map(|_| ()).map_err(|error| error.to_string())
    }

    fn compile(source: &str) -> Result<Regex, regex::Error> {
        RegexBuilder::new(&format!(r"\A(?:{})\z", translate(source))).size_limit(4 << 20).build()
    }
}

/// Writes Java's ASCII classes out and gives five-digit `\u` escapes their braces.
fn translate(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut chars = source.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('w') => out.push_str("[0-9A-Za-z_]"),
            Some('W') => out.push_str("[^0-9A-Za-z_]"),
            Some('d') => out.push_str("[0-9]"),
            Some('s') => out.push_str(r"[\t\n\x0B\f\r ]"),
            Some('S') => out.push_str(r"[^\t\n\x0B\f\r ]"),
            Some('u') => unicode_escape(&mut chars, &mut out),
            Some(escaped) => out.extend(['\\', escaped]),
            None => out.push('\\'),
        }
    }
    out
}

/// The models write `\u10000` and `\u10FFFF` for code points beyond the basic plane.
fn unicode_escape(chars: &mut std::str::Chars<'_>, out: &mut String) {
    let digits: String = chars.as_str().chars().take_while(char::is_ascii_hexdigit).take(6).collect();
    let length = if digits.starts_with("10") { digits.len() } else { digits.len().min(4) };
    let Some(digits) = digits.get(..length) else { return };
    out.push_str(&format!(r"\x{{{digits}}}"));
    chars.by_ref().take(length).for_each(drop);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_whole_value_with_ascii_classes() {
        let name = Pattern::new(r"[\w+=,.@-]+");
        assert!(name.matches("ecs-task_Role+1"));
        assert!(!name.matches("a role"));
        assert!(!name.matches("rôle"));
        assert!(Pattern::new(r"[\w-_]*").matches("a-b_c"));
    }

    #[test]
    fn reads_code_points_beyond_the_basic_plane() {
        let policy = Pattern::new(r"[\u0009\u000A\u000D\u0020-\u007E\uE000-\uFFFD\u10000-\u10FFFF]+");
        assert!(policy.matches("{\n}\u{1F344}"));
        assert!(!policy.matches("\u{0}"));
        assert!(Pattern::new(r"\u002F[\u0021-\u007F]*").matches("/path/"));
    }

    #[test]
    fn says_why_a_pattern_cannot_be_used() {
        assert!(Pattern::check(r"(?!aws:).*").is_err());
        assert!(Pattern::check(r"[a-z]+").is_ok());
    }
}
