//! `.dockerignore`, with Docker's semantics, which are not those of `.gitignore`: a pattern is
//! anchored at the root, `*` does not cross a slash, `**` does, a match of a directory takes all
//! below it, and the last matching pattern wins (`!` takes back).
//! <https://docs.docker.com/build/concepts/context/#dockerignore-files>

use regex::Regex;

#[derive(Debug)]
struct Pattern {
    regex: Regex,
    /// `!pattern`: what matches is kept after all.
    keep: bool,
}

/// A pattern that cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadPattern {
    pub(super) line: usize,
    pub(super) pattern: String,
}

#[derive(Debug, Default)]
pub(super) struct DockerIgnore {
    patterns: Vec<Pattern>,
}

impl DockerIgnore {
    pub(super) fn parse(text: &str) -> Result<Self, BadPattern> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let bad = || BadPattern { line: at + 1, pattern: line.trim().to_owned() };
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let line = line.trim();
            let (keep, line) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            let cleaned = clean(line).ok_or_else(bad)?;
            let regex = to_regex(&cleaned).and_then(|regex| Regex::new(&regex).ok()).ok_or_else(bad)?;
            patterns.push(Pattern { regex, keep });
        }
        Ok(Self { patterns })
    }

    /// Is this path (relative, with slashes) left out?
    pub(super) fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for pattern in &self.patterns {
            if pattern.keep == excluded && pattern.matches(path) {
                excluded = !pattern.keep;
            }
        }
        excluded
    }

    /// May something below an excluded directory be kept?
    pub(super) fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.keep)
    }
}

impl Pattern {
    /// The path itself or a directory that it is in.
    fn matches(&self, path: &str) -> bool {
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        parents.chain([path]).any(|part| self.regex.is_match(part))
    }
}

/// As Go's `filepath.Clean`, then without a leading slash. `None` for a pattern that leaves the
/// context or says nothing.
fn clean(pattern: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    // "." and "/" mean the whole context.
    Some(if parts.is_empty() { "**".to_owned() } else { parts.join("/") })
}

fn to_regex(pattern: &str) -> Option<String> {
    let mut regex = String::from("^");
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                // "**/" is the same as "**": any number of directories, also none.
                let _ = chars.next_if_eq(&'/');
                regex.push_str(if chars.peek().is_none() { ".*" } else { "(?:.*/)?" });
            }
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '[' => regex.push_str(&class(&mut chars)?),
            '\\' => regex.push_str(&regex::escape(&chars.next()?.to_string())),
            c => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    regex.push('$');
    Some(regex)
}

/// `[a-z]` and `[^a-z]`, up to the closing bracket.
fn class(chars: &mut std::iter::Peekable<std::str::Chars>) -> Option<String> {
    let mut class = String::from("[");
    if chars.next_if_eq(&'^').is_some() {
        class.push('^');
    }
    loop {
        match chars.next()? {
            ']' if class.trim_end_matches('^') == "[" => return None,
            ']' => {
                class.push(']');
                return Some(class);
            }
            '\\' => class.push_str(&escape_in_class(chars.next()?)),
            '-' => class.push('-'),
            c => class.push_str(&escape_in_class(c)),
        }
    }
}

fn escape_in_class(c: char) -> String {
    if c.is_alphanumeric() { c.to_string() } else { format!(r"\x{{{:x}}}", u32::from(c)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excludes(patterns: &str, path: &str) -> bool {
        DockerIgnore::parse(patterns).unwrap().excludes(path)
    }

    #[test]
    fn a_pattern_is_anchored_at_the_root() {
        assert!(excludes("node_modules", "node_modules"));
        assert!(excludes("node_modules", "node_modules/a/b.js"));
        assert!(!excludes("node_modules", "sub/node_modules"));
        assert!(excludes("/docs", "docs/a"));
        assert!(excludes("./docs/", "docs/a"));
        assert!(!excludes("doc", "docs"));
    }

    #[test]
    fn stars_and_question_marks_stay_within_a_name() {
        assert!(excludes("*.md", "README.md"));
        assert!(!excludes("*.md", "docs/README.md"));
        assert!(excludes("*/temp*", "a/temporary"));
        assert!(excludes("*/temp*", "a/temporary/file"));
        assert!(!excludes("*/temp*", "a/b/temporary"));
        assert!(excludes("temp?", "tempa"));
        assert!(!excludes("temp?", "temp"));
        assert!(!excludes("a?b", "a/b"));
    }

    #[test]
    fn two_stars_cross_directories() {
        for path in ["x.log", "a/x.log", "a/b/x.log"] {
            assert!(excludes("**/*.log", path), "{path}");
        }
        assert!(excludes("**", "anything/at/all"));
        assert!(excludes("a/**", "a/b/c"));
        assert!(!excludes("a/**", "a"));
        assert!(excludes("a/**/c", "a/c"));
        assert!(excludes("a/**/c", "a/b/b/c"));
        assert!(!excludes("a/**/c", "a/bc"));
        assert!(excludes("**/b", "b/inside"));
    }

    #[test]
    fn the_last_match_wins() {
        assert!(!excludes("*.md\n!README.md", "README.md"));
        assert!(excludes("*.md\n!README*.md\nREADME-secret.md", "README-secret.md"));
        assert!(excludes("!README.md\n*.md", "README.md"));
        assert!(!excludes("docs\n!docs/keep", "docs/keep/file"));
        assert!(excludes("docs\n!docs/keep", "docs/other"));
        assert!(!excludes("**\n!src", "src/a.js"));
        assert!(excludes("**\n!src", "test/a.js"));
    }

    #[test]
    fn comments_blank_lines_spaces_and_a_byte_order_mark_do_not_count() {
        let text = "\u{feff}# comment\n\n   \n  a  \r\n! b\n";
        assert!(excludes(text, "a"));
        assert!(!excludes(text, "# comment"));
        assert!(DockerIgnore::parse(text).unwrap().has_exceptions());
        assert!(!excludes("", "a"));
    }

    #[test]
    fn classes_and_escapes() {
        assert!(excludes("[a-c].js", "b.js"));
        assert!(!excludes("[a-c].js", "d.js"));
        assert!(excludes("[^a].js", "b.js"));
        assert!(!excludes("[^a].js", "a.js"));
        assert!(excludes(r"a\*b", "a*b"));
        assert!(!excludes(r"a\*b", "axb"));
        assert!(excludes("a.b+c(d)$", "a.b+c(d)$"));
        assert!(!excludes("a.b", "axb"));
        assert!(excludes("[&&].js", "&.js"));
    }

    #[test]
    fn what_cannot_be_understood_is_named_with_its_line() {
        for bad in ["[a", "[]", "../outside", r"a\"] {
            let error = DockerIgnore::parse(&format!("ok\n{bad}")).unwrap_err();
            assert_eq!(error, BadPattern { line: 2, pattern: bad.to_owned() });
        }
    }
}
