//! Patterns of policies: `*`, `?` and variables such as `${aws:username}`. What a variable stands for is matched
//! literally, whatever it contains.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>

use pileus_core::filter::glob;

use super::Request;

/// One element of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// Any characters.
    Any,
    /// One character.
    One,
    Literal(char),
}

/// A pattern with its variables filled in.
pub(super) struct Pattern(Vec<Token>);

impl Pattern {
    /// `None` where a variable has no value, so that nothing can match. Without a request variables are plain text, as
    /// in policies of version 2008-10-17.
    pub(super) fn new(text: &str, request: Option<&Request>) -> Option<Self> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if let (Some(request), Some((name, after))) = (request, variable(rest)) {
                tokens.extend(resolve(name, request)?.chars().map(Token::Literal));
                rest = after;
                continue;
            }
            tokens.push(match c {
                '*' => Token::Any,
                '?' => Token::One,
                c => Token::Literal(c),
            });
            rest = &rest[c.len_utf8()..];
        }
        Some(Self(tokens))
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        matches(&self.0, &text.chars().collect::<Vec<_>>())
    }

    /// Matches an ARN, in which `*` and `?` stay between two colons up to the resource. `*` alone is anything.
    pub(super) fn matches_arn(&self, arn: &str) -> bool {
        if self.0 == [Token::Any] {
            return true;
        }
        let patterns: Vec<&[Token]> = self.0.splitn(6, |token| *token == Token::Literal(':')).collect();
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        patterns.len() == parts.len()
            && patterns
                .iter()
                .zip(parts)
                .all(|(pattern, part)| matches(pattern, &part.chars().collect::<Vec<_>>()))
    }

    /// The same with letters of either case alike.
    pub(super) fn matches_ignoring_case(&self, text: &str) -> bool {
        let lower = |token: &Token| match token {
            Token::Literal(c) => Token::Literal(c.to_ascii_lowercase()),
            other => *other,
        };
        let text: Vec<char> = text.chars().map(|c| c.to_ascii_lowercase()).collect();
        matches(&self.0.iter().map(lower).collect::<Vec<_>>(), &text)
    }
}

/// The text with its variables filled in, and nothing else special in it.
pub(super) fn plain(text: &str, request: Option<&Request>) -> Option<String> {
    let Some(request) = request else { return Some(text.to_owned()) };
    let mut filled = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some((name, after)) = variable(rest) {
            filled += &resolve(name, request)?;
            rest = after;
        } else {
            filled.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    Some(filled)
}

/// The keys whose values a text takes in.
pub(super) fn variables(text: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some((name, after)) = variable(&rest[start..]) else { break };
        let key = name.split(',').next().unwrap_or_default().trim();
        if !matches!(key, "*" | "?" | "$") {
            keys.push(key.to_owned());
        }
        rest = after;
    }
    keys
}

/// What stands in the braces of a variable at the start of `text`, and what follows it.
fn variable(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix("${")?.split_once('}')
}

/// The value of `key`, or of `key, 'default'`. A key with several values has none here.
fn resolve(name: &str, request: &Request) -> Option<String> {
    if matches!(name, "*" | "?" | "$") {
        return Some(name.to_owned());
    }
    let (key, default) = name.split_once(',').map_or((name, None), |(key, default)| (key, Some(default)));
    match request.values(key.trim()) {
        Some([value]) => Some(value.clone()),
        Some(_) => None,
        None => Some(default?.trim().strip_prefix('\'')?.strip_suffix('\'')?.to_owned()),
    }
}

fn matches(pattern: &[Token], text: &[char]) -> bool {
    glob(
        pattern,
        text,
        |token| *token == Token::Any,
        |token, c| *token == Token::One || *token == Token::Literal(*c),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ContextKeys;

    #[test]
    fn variables_are_literal_and_must_be_known() {
        let keys: ContextKeys = [("aws:username".to_owned(), vec!["a*b".to_owned()])].into();
        let request = Request { action: "s3:GetObject", resource: "*", keys: &keys };
        for (pattern, text, expected) in [
            ("home/${aws:username}/*", "home/a*b/x", Some(true)),
            ("home/${aws:username}/*", "home/aXb/x", Some(false)),
            ("${aws:UserName}", "a*b", Some(true)),
            ("${aws:PrincipalTag/team, 'none'}", "none", Some(true)),
            ("${*}", "*", Some(true)),
            ("${*}", "x", Some(false)),
            ("${aws:userid}", "x", None),
            ("${unclosed", "${unclosed", Some(true)),
        ] {
            let pattern_of = Pattern::new(pattern, Some(&request));
            assert_eq!(pattern_of.map(|pattern| pattern.matches(text)), expected, "{pattern} on {text}");
        }
        let old = Pattern::new("${aws:username}", None).map(|pattern| pattern.matches("${aws:username}"));
        assert_eq!(old, Some(true), "before 2012-10-17 there were no variables");
    }

    #[test]
    fn wildcards_do_not_cross_the_colons_of_an_arn() {
        for (pattern, arn, expected) in [
            ("*", "arn:aws:s3:::bucket", true),
            ("*", "*", true),
            ("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket/a/b", true),
            ("arn:aws:logs:*:*:log-group:web:*", "arn:aws:logs:us-east-1:1:log-group:web:log-stream:x", true),
            ("arn:aws:*:us-east-1:1:x", "arn:aws:a:b:us-east-1:1:x", false),
            ("arn:aws:s3:::*", "*", false),
        ] {
            let pattern_of = Pattern::new(pattern, None).expect("no variables");
            assert_eq!(pattern_of.matches_arn(arn), expected, "{pattern} on {arn}");
        }
    }
}
