//! The grammar of metric math: `IF(m1 > 5, FILL(m2, 0) / m3, SUM(METRICS()))`.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html>

/// How deep an expression may nest.
const MAX_DEPTH: usize = 32;
/// AWS's longest expression is 2048 characters.
const MAX_TOKENS: usize = 2048;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    Number(f64),
    Text(String),
    /// Another query, by its id.
    Id(String),
    /// A word that a function takes: `REPEAT`, `LINEAR`, `ASC`, the name of a function to sort by.
    Word(String),
    List(Vec<Expression>),
    Call(String, Vec<Expression>),
    Negative(Box<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
}

impl Operator {
    /// How strongly it binds.
    fn strength(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Equal | Self::NotEqual => 3,
            Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => 4,
            Self::Add | Self::Subtract => 5,
            Self::Multiply | Self::Divide => 6,
            Self::Power => 8,
        }
    }
}

/// Between the binding of a product and of a power: `-a^2` is `-(a^2)`.
const NEGATIVE: u8 = 7;

impl Expression {
    /// # Errors
    /// What is wrong, for the client.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
        let expression = parser.binary(0)?;
        match parser.peek() {
            None => Ok(expression),
            Some(token) => Err(format!("unexpected {token:?}")),
        }
    }

    /// The ids of the queries that it names.
    pub(super) fn ids(&self) -> Vec<&str> {
        match self {
            Self::Id(id) => vec![id],
            Self::List(parts) | Self::Call(_, parts) => parts.iter().flat_map(Self::ids).collect(),
            Self::Negative(part) => part.ids(),
            Self::Binary(_, left, right) => [left.ids(), right.ids()].concat(),
            Self::Number(_) | Self::Text(_) | Self::Word(_) => Vec::new(),
        }
    }

    /// The functions that it calls.
    pub(super) fn calls(&self) -> Vec<&str> {
        match self {
            Self::Call(name, parts) => {
                let inner = parts.iter().flat_map(Self::calls);
                std::iter::once(name.as_str()).chain(inner).collect()
            }
            Self::List(parts) => parts.iter().flat_map(Self::calls).collect(),
            Self::Negative(part) => part.calls(),
            Self::Binary(_, left, right) => [left.calls(), right.calls()].concat(),
            Self::Id(_) | Self::Number(_) | Self::Text(_) | Self::Word(_) => Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(f64),
    Text(String),
    Name(String),
    Operator(Operator),
    Symbol(char),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '0'..='9' | '.' => number(rest)?,
            '"' | '\'' => {
                let end = rest[1..].find(first).ok_or("a quote is not closed")?;
                (Token::Text(rest[1..=end].to_owned()), end + 2)
            }
            'a'..='z' | 'A'..='Z' => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
                let token = match &rest[..end] {
                    "AND" => Token::Operator(Operator::And),
                    "OR" => Token::Operator(Operator::Or),
                    name => Token::Name(name.to_owned()),
                };
                (token, end)
            }
            '(' | ')' | '[' | ']' | ',' => (Token::Symbol(first), 1),
            _ => operator(rest).ok_or_else(|| format!("unexpected {first:?}"))?,
        };
        tokens.push(token);
        if tokens.len() > MAX_TOKENS {
            return Err("it is too long".into());
        }
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn number(text: &str) -> Result<(Token, usize), String> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let value = text[..end].parse().map_err(|_| format!("{} is no number", &text[..end]))?;
    Ok((Token::Number(value), end))
}

fn operator(text: &str) -> Option<(Token, usize)> {
    const OPERATORS: [(&str, Operator); 14] = [
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("&&", Operator::And),
        ("||", Operator::Or),
        ("<", Operator::Less),
        (">", Operator::Greater),
        ("+", Operator::Add),
        ("-", Operator::Subtract),
        ("*", Operator::Multiply),
        ("/", Operator::Divide),
        ("^", Operator::Power),
        ("=", Operator::Equal),
    ];
    let found = OPERATORS.into_iter().find(|(sign, _)| text.starts_with(sign));
    found.map(|(sign, operator)| (Token::Operator(operator), sign.len()))
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    /// Takes the next token if it is this sign.
    fn take(&mut self, symbol: char) -> bool {
        let found = self.peek() == Some(&Token::Symbol(symbol));
        self.at += usize::from(found);
        found
    }

    /// Operators that bind at least as strongly as `least`; all but the power group from the left.
    fn binary(&mut self, least: u8) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("it is nested more than {MAX_DEPTH} deep"));
        }
        let mut left = self.unary()?;
        while let Some(Token::Operator(operator)) = self.peek().cloned() {
            let strength = operator.strength();
            if strength < least {
                break;
            }
            self.at += 1;
            let right = self.binary(if operator == Operator::Power { strength } else { strength + 1 })?;
            left = Expression::Binary(operator, Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expression, String> {
        if self.peek() == Some(&Token::Operator(Operator::Subtract)) {
            self.at += 1;
            return Ok(Expression::Negative(Box::new(self.binary(NEGATIVE)?)));
        }
        let token = self.peek().cloned().ok_or("the expression ends too early")?;
        self.at += 1;
        match token {
            Token::Number(value) => Ok(Expression::Number(value)),
            Token::Text(text) => Ok(Expression::Text(text)),
            Token::Symbol('(') => {
                let inner = self.binary(0)?;
                if self.take(')') { Ok(inner) } else { Err("a parenthesis is not closed".into()) }
            }
            Token::Symbol('[') => Ok(Expression::List(self.list(']')?)),
            Token::Name(name) if self.take('(') => Ok(Expression::Call(name, self.list(')')?)),
            Token::Name(name) if name.starts_with(|c: char| c.is_ascii_lowercase()) => {
                Ok(Expression::Id(name))
            }
            Token::Name(name) => Ok(Expression::Word(name)),
            other => Err(format!("unexpected {other:?}")),
        }
    }

    fn list(&mut self, end: char) -> Result<Vec<Expression>, String> {
        let mut parts = Vec::new();
        if self.take(end) {
            return Ok(parts);
        }
        loop {
            parts.push(self.binary(0)?);
            if self.take(end) {
                return Ok(parts);
            }
            if !self.take(',') {
                return Err(format!("a comma or {end} is missing"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn operators_bind_as_in_arithmetic() {
        for (text, same) in [
            ("a+b*c", "a+(b*c)"),
            ("a-b-c", "(a-b)-c"),
            ("2^3^2", "2^(3^2)"),
            ("-a^2", "-(a^2)"),
            ("-a*b", "(-a)*b"),
            ("a>1 AND b<2 || c", "((a>1) AND (b<2)) OR c"),
            ("a + b == c", "(a+b)==c"),
        ] {
            assert_eq!(Expression::parse(text), Expression::parse(same), "{text}");
        }
        let call = Expression::parse("FILL(m1, REPEAT)").expect("an expression");
        let arguments = vec![Expression::Id("m1".into()), Expression::Word("REPEAT".into())];
        assert_eq!(call, Expression::Call("FILL".into(), arguments));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in ["", "m1 +", "(m1", "SUM(m1", "[m1 m2]", "m1 m2", "1.2.3", "\"open", "§", ")"] {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
        for deep in ["(".repeat(1000), "-".repeat(1000), "[".repeat(1000), "ABS(".repeat(500)] {
            assert!(Expression::parse(&deep).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[a-zA-Z0-9_.,()\\[\\]+*/^<>=!&|\"' é-]{0,80}") {
            let _ = Expression::parse(&text);
        }
    }
}
