//! What both pattern languages with conditions share: reading text, comparing values.

use pileus_core::filter::wildcard;
use regex::{Regex, RegexBuilder};

/// How deep parentheses may nest.
pub(super) const MAX_DEPTH: usize = 20;
/// What a regular expression may take when compiled.
const MAX_REGEX: usize = 1 << 16;

pub(super) type Result<T> = std::result::Result<T, String>;

/// Text that is read from the left.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a>(pub(super) &'a str);

impl<'a> Cursor<'a> {
    pub(super) fn skip_space(&mut self) {
        self.0 = self.0.trim_start();
    }

    /// Takes `sign`, after space, if it comes next.
    pub(super) fn take(&mut self, sign: &str) -> bool {
        self.skip_space();
        let rest = self.0.strip_prefix(sign);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// Takes `word`, whatever its case, if it comes next as a whole word.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        self.skip_space();
        let found = self.0.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        let ends = || !self.0[word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
        if found && ends() {
            self.0 = &self.0[word.len()..];
            return true;
        }
        false
    }

    /// Everything up to one of these characters.
    pub(super) fn until(&mut self, stop: impl Fn(char) -> bool) -> &'a str {
        self.skip_space();
        let end = self.0.find(stop).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    pub(super) fn quoted(&mut self, quote: char) -> Result<&'a str> {
        let (text, rest) = self.0.split_once(quote).ok_or_else(|| format!("a {quote} is not closed"))?;
        self.0 = rest;
        Ok(text)
    }

    pub(super) fn operator(&mut self) -> Option<Operator> {
        const OPERATORS: [(&str, Operator); 6] = [
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("=", Operator::Equal),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        OPERATORS.into_iter().find(|(sign, _)| self.take(sign)).map(|(_, operator)| operator)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a value is compared with.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    operator: Operator,
    literal: Literal,
}

#[derive(Clone, Debug)]
enum Literal {
    Number(f64),
    /// With `*` for any characters.
    Text(String),
    Regex(Regex),
}

impl Comparison {
    /// Reads an operator and a literal, which ends where `stop` says unless it is quoted.
    pub(super) fn parse(cursor: &mut Cursor, stop: impl Fn(char) -> bool) -> Result<Self> {
        let operator = cursor.operator().ok_or("an operator is missing")?;
        let literal = if cursor.take("\"") {
            Literal::Text(cursor.quoted('"')?.to_owned())
        } else if cursor.take("%") {
            Literal::Regex(regex(cursor.quoted('%')?)?)
        } else {
            let word = cursor.until(stop).trim_end();
            match word.parse::<f64>() {
                _ if word.is_empty() => return Err("a value is missing".into()),
                Ok(number) if number.is_finite() => Literal::Number(number),
                _ => Literal::Text(word.to_owned()),
            }
        };
        let ordered = !matches!(operator, Operator::Equal | Operator::NotEqual);
        if ordered && !matches!(literal, Literal::Number(_)) {
            return Err("only numbers can be compared by size".into());
        }
        Ok(Self { operator, literal })
    }

    pub(super) fn holds(&self, text: &str) -> bool {
        let equal = match &self.literal {
            Literal::Number(wanted) => {
                let Ok(number) = text.parse::<f64>() else { return self.operator == Operator::NotEqual };
                match self.operator {
                    Operator::Less => return number < *wanted,
                    Operator::LessOrEqual => return number <= *wanted,
                    Operator::Greater => return number > *wanted,
                    Operator::GreaterOrEqual => return number >= *wanted,
                    Operator::Equal | Operator::NotEqual => number == *wanted,
                }
            }
            // A question mark is itself here.
            Literal::Text(pattern) => match pattern.contains('?') {
                true => glob(pattern, text),
                false => wildcard(pattern, text),
            },
            Literal::Regex(regex) => regex.is_match(text),
        };
        equal == (self.operator == Operator::Equal)
    }
}

fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    pileus_core::filter::glob(&pattern, &text, |&p| p == '*', |&p, &c| p == c)
}

pub(in crate::logs) fn regex(text: &str) -> Result<Regex> {
    let regex = RegexBuilder::new(text).size_limit(MAX_REGEX).build();
    regex.map_err(|_| format!("{text} is no regular expression, or too large a one"))
}

/// Conditions joined by `&&` and `||`, of which the first binds more strongly, and parentheses.
#[derive(Clone, Debug)]
pub(super) enum Tree<T> {
    Leaf(T),
    All(Vec<Tree<T>>),
    Any(Vec<Tree<T>>),
}

impl<T> Tree<T> {
    pub(super) fn parse(
        cursor: &mut Cursor,
        depth: usize,
        leaf: &dyn Fn(&mut Cursor) -> Result<T>,
    ) -> Result<Self> {
        if depth > MAX_DEPTH {
            return Err(format!("it is nested more than {MAX_DEPTH} deep"));
        }
        let mut any = Vec::new();
        loop {
            let mut all = Vec::new();
            loop {
                if cursor.take("(") {
                    all.push(Self::parse(cursor, depth + 1, leaf)?);
                    if !cursor.take(")") {
                        return Err("a parenthesis is not closed".into());
                    }
                } else {
                    all.push(Self::Leaf(leaf(cursor)?));
                }
                if !cursor.take("&&") {
                    break;
                }
            }
            any.push(if all.len() == 1 { all.remove(0) } else { Self::All(all) });
            if !cursor.take("||") {
                break;
            }
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Self::Any(any) })
    }

    pub(super) fn holds(&self, leaf: &dyn Fn(&T) -> bool) -> bool {
        match self {
            Self::Leaf(condition) => leaf(condition),
            Self::All(parts) => parts.iter().all(|part| part.holds(leaf)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(leaf)),
        }
    }

    pub(super) fn leaves(&self) -> Vec<&T> {
        match self {
            Self::Leaf(condition) => vec![condition],
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::leaves).collect(),
        }
    }
}
