//! The commands of a query, between bars: `fields`, `display`, `filter`, `sort`, `limit`, `stats … by …`.

use std::time::Duration;

use pileus_core::ApiError;
use regex::Regex;

use crate::logs::pattern::regex;

const MAX_DEPTH: usize = 20;
const MAX_TOKENS: usize = 2000;

type Result<T> = std::result::Result<T, ApiError>;

/// What a query does, whatever the order of its commands.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Fields with the name that they are shown by.
    pub(super) fields: Vec<(String, String)>,
    pub(super) filters: Vec<Condition>,
    pub(super) stats: Option<Stats>,
    /// A field, and whether it descends.
    pub(super) sort: Option<(String, bool)>,
    pub(super) limit: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Stats {
    pub(super) figures: Vec<(Figure, String)>,
    pub(super) by: Vec<By>,
}

#[derive(Debug)]
pub(super) enum Figure {
    /// All events, or those that have the field.
    Count(Option<String>),
    Sum(String),
    Average(String),
    Minimum(String),
    Maximum(String),
    Percentile(String, f64),
}

#[derive(Debug)]
pub(super) enum By {
    Field(String),
    /// The time of the event, cut to this period.
    Bin(Duration, String),
}

#[derive(Debug)]
pub(super) enum Condition {
    Compare(String, Operator, String),
    Matches(String, Regex),
    Contains(String, String),
    In(String, Vec<String>),
    Present(String),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
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

fn malformed(what: impl std::fmt::Display) -> ApiError {
    ApiError::client("MalformedQueryException", format!("unexpected symbol or command: {what}"))
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A field, function, number or command.
    Word(String),
    Text(String),
    Regex(String),
    Sign(&'static str),
}

impl Plan {
    /// # Errors
    /// It is no query, or has a command or function that Pileus does not implement.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let tokens = tokens(text)?;
        let mut plan = Self::default();
        for command in tokens.split(|token| *token == Token::Sign("|")) {
            let mut parser = Parser { tokens: command, at: 0, depth: 0 };
            // A bar at the beginning or end does no harm.
            if command.is_empty() && tokens.len() > 1 {
                continue;
            }
            parser.command(&mut plan)?;
            if let Some(token) = parser.peek() {
                return Err(malformed(format_args!("{token:?}")));
            }
        }
        Ok(plan)
    }
}

fn tokens(text: &str) -> Result<Vec<Token>> {
    const SIGNS: [&str; 13] = ["!=", "<=", ">=", "=", "<", ">", "|", ",", "(", ")", "[", "]", "*"];
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = if let Some(comment) = rest.strip_prefix('#') {
            rest = comment.split_once('\n').map_or("", |(_, after)| after).trim_start();
            continue;
        } else if matches!(first, '"' | '\'' | '`' | '/') {
            let (inner, after) = rest[1..].split_once(first).ok_or_else(|| malformed(first))?;
            let inner = inner.to_owned();
            let token = match first {
                '/' => Token::Regex(inner),
                '`' => Token::Word(inner),
                _ => Token::Text(inner),
            };
            (token, after)
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            (Token::Sign(sign), &rest[sign.len()..])
        } else {
            let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '@' | '.' | '-' | ':');
            let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
            if end == 0 {
                return Err(malformed(first));
            }
            (Token::Word(rest[..end].to_owned()), &rest[end..])
        };
        tokens.push(token);
        if tokens.len() > MAX_TOKENS {
            return Err(malformed("the query is too long"));
        }
        rest = after.trim_start();
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Result<Token> {
        let token = self.peek().cloned().ok_or_else(|| malformed("the end of the command"))?;
        self.at += 1;
        Ok(token)
    }

    fn take(&mut self, sign: &'static str) -> bool {
        let found = self.peek() == Some(&Token::Sign(sign));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &'static str) -> Result<()> {
        if self.take(sign) { Ok(()) } else { Err(malformed(format_args!("{sign} is missing"))) }
    }

    /// Takes this word, whatever its case.
    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(next)) if next.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn word(&mut self) -> Result<String> {
        match self.next()? {
            Token::Word(word) => Ok(word),
            other => Err(malformed(format_args!("{other:?}"))),
        }
    }

    fn command(&mut self, plan: &mut Plan) -> Result<()> {
        let name = self.word()?.to_lowercase();
        match name.as_str() {
            "fields" | "display" => loop {
                let field = self.word()?;
                if self.peek() == Some(&Token::Sign("(")) {
                    return Err(ApiError::not_implemented(format_args!(
                        "the Logs Insights function {field} in fields"
                    )));
                }
                let shown = if self.take_word("as") { self.word()? } else { field.clone() };
                plan.fields.push((field, shown));
                if !self.take(",") {
                    return Ok(());
                }
            },
            "filter" => plan.filters.push(self.any()?),
            "stats" if plan.stats.is_some() => {
                return Err(ApiError::not_implemented("a second stats command"));
            }
            "stats" => plan.stats = Some(self.stats()?),
            "sort" | "order" => {
                if name == "order" {
                    self.take_word("by");
                }
                let field = self.field()?;
                let descends = self.take_word("desc");
                if !descends {
                    self.take_word("asc");
                }
                plan.sort = Some((field, descends));
            }
            "limit" | "head" => {
                let number = self.word()?;
                let limit = number.parse().ok().filter(|limit| (1..=10_000).contains(limit));
                plan.limit = Some(limit.ok_or_else(|| malformed(number))?);
            }
            "parse" | "dedup" | "pattern" | "diff" | "unmask" | "unnest" | "anomaly" | "lookup" | "join"
            | "subqueries" | "filterindex" | "source" => {
                return Err(ApiError::not_implemented(format_args!("the Logs Insights command {name}")));
            }
            _ => return Err(malformed(name)),
        }
        Ok(())
    }

    /// A field, or a function as it was written in `stats`.
    fn field(&mut self) -> Result<String> {
        let name = self.word()?;
        if !self.take("(") {
            return Ok(name);
        }
        let mut text = format!("{name}(");
        loop {
            match self.next()? {
                Token::Sign(")") => return Ok(text + ")"),
                Token::Sign(",") => text.push_str(", "),
                Token::Sign(sign) => text.push_str(sign),
                Token::Word(word) | Token::Text(word) => text.push_str(&word),
                Token::Regex(regex) => return Err(malformed(regex)),
            }
        }
    }

    fn stats(&mut self) -> Result<Stats> {
        let (mut figures, mut by) = (Vec::new(), Vec::new());
        loop {
            let start = self.at;
            let figure = self.figure()?;
            let written = self.written(start)?;
            let shown = if self.take_word("as") { self.word()? } else { written };
            figures.push((figure, shown));
            if !self.take(",") {
                break;
            }
        }
        if self.take_word("by") {
            loop {
                by.push(self.by()?);
                if !self.take(",") {
                    break;
                }
            }
        }
        Ok(Stats { figures, by })
    }

    /// The function that begins at a token, as it was written.
    fn written(&self, start: usize) -> Result<String> {
        Parser { tokens: &self.tokens[..self.at], at: start, depth: 0 }.field()
    }

    fn figure(&mut self) -> Result<Figure> {
        let name = self.word()?;
        self.expect("(")?;
        let figure = match name.to_lowercase().as_str() {
            "count" if self.take("*") || self.peek() == Some(&Token::Sign(")")) => Figure::Count(None),
            "count" => Figure::Count(Some(self.word()?)),
            "sum" => Figure::Sum(self.word()?),
            "avg" => Figure::Average(self.word()?),
            "min" => Figure::Minimum(self.word()?),
            "max" => Figure::Maximum(self.word()?),
            "pct" => {
                let field = self.word()?;
                self.expect(",")?;
                let percent = self.word()?;
                let number = percent.parse().ok().filter(|number| (0.0..=100.0).contains(number));
                Figure::Percentile(field, number.ok_or_else(|| malformed(percent))?)
            }
            other => {
                return Err(ApiError::not_implemented(format_args!("the Logs Insights function {other}")));
            }
        };
        self.expect(")")?;
        Ok(figure)
    }

    fn by(&mut self) -> Result<By> {
        let start = self.at;
        let name = self.word()?;
        if !self.take("(") {
            return Ok(By::Field(name));
        }
        if !name.eq_ignore_ascii_case("bin") {
            return Err(ApiError::not_implemented(format_args!(
                "the Logs Insights function {name} after by"
            )));
        }
        let period = self.word()?;
        let duration = duration(&period).ok_or_else(|| malformed(&period))?;
        self.expect(")")?;
        let written = self.written(start)?;
        Ok(By::Bin(duration, if self.take_word("as") { self.word()? } else { written }))
    }

    fn any(&mut self) -> Result<Condition> {
        let mut parts = vec![self.all()?];
        while self.take_word("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::Any(parts) })
    }

    fn all(&mut self) -> Result<Condition> {
        let mut parts = vec![self.condition()?];
        while self.take_word("and") {
            parts.push(self.condition()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::All(parts) })
    }

    fn condition(&mut self) -> Result<Condition> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(malformed("it is nested too deep"));
        }
        let condition = if self.take_word("not") {
            Condition::Not(Box::new(self.condition()?))
        } else if self.take("(") {
            let inner = self.any()?;
            self.expect(")")?;
            inner
        } else if self.take_word("ispresent") {
            self.expect("(")?;
            let field = self.word()?;
            self.expect(")")?;
            Condition::Present(field)
        } else {
            let field = self.word()?;
            self.test(field)?
        };
        self.depth -= 1;
        Ok(condition)
    }

    fn test(&mut self, field: String) -> Result<Condition> {
        if self.take_word("not") {
            return Ok(Condition::Not(Box::new(self.test(field)?)));
        }
        if self.take_word("like") {
            return match self.next()? {
                Token::Regex(text) => Ok(Condition::Matches(field, regex(&text).map_err(malformed)?)),
                Token::Text(text) | Token::Word(text) => Ok(Condition::Contains(field, text)),
                Token::Sign(sign) => Err(malformed(sign)),
            };
        }
        if self.take_word("in") {
            self.expect("[")?;
            let mut values = vec![self.value()?];
            while self.take(",") {
                values.push(self.value()?);
            }
            self.expect("]")?;
            return Ok(Condition::In(field, values));
        }
        let operator = match self.next()? {
            Token::Sign("=") => Operator::Equal,
            Token::Sign("!=") => Operator::NotEqual,
            Token::Sign("<") => Operator::Less,
            Token::Sign("<=") => Operator::LessOrEqual,
            Token::Sign(">") => Operator::Greater,
            Token::Sign(">=") => Operator::GreaterOrEqual,
            other => return Err(malformed(format_args!("{other:?}"))),
        };
        Ok(Condition::Compare(field, operator, self.value()?))
    }

    fn value(&mut self) -> Result<String> {
        match self.next()? {
            Token::Word(value) | Token::Text(value) => Ok(value),
            other => Err(malformed(format_args!("{other:?}"))),
        }
    }
}

/// `30s`, `5m`, `1h`, `1d`.
fn duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..end].parse().ok().filter(|number| (1..=10_000).contains(number))?;
    let millis = match &text[end..] {
        "ms" => 1,
        "s" | "sec" => 1000,
        "m" | "min" => 60_000,
        "h" | "hr" => 3_600_000,
        "d" => 86_400_000,
        "w" => 7 * 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number * millis))
}
