//! Patterns for JSON events: `{ $.status >= 500 && $.user.type != "Root" }`.

use std::fmt;

use serde_json::Value;

use super::condition::{Comparison, Cursor, Result, Tree};

#[derive(Debug)]
pub(crate) struct Json(Tree<Condition>);

#[derive(Clone, Debug)]
struct Condition {
    selector: Selector,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Compare(Comparison),
    Is(Value),
    NotExists,
}

/// A place in a document: `$.users[0]["first name"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selector(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    Index(usize),
    /// Any element of an array.
    Any,
}

impl Json {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let inner =
            text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).ok_or("a brace is not closed")?;
        let mut cursor = Cursor(inner);
        let tree = Tree::parse(&mut cursor, 0, &condition)?;
        cursor.skip_space();
        if cursor.0.is_empty() { Ok(Self(tree)) } else { Err(format!("unexpected {}", cursor.0)) }
    }

    pub(super) fn find(&self, message: &str) -> Option<Value> {
        let document: Value = serde_json::from_str(message).ok()?;
        self.0.holds(&|condition| condition.holds(&document)).then_some(document)
    }

    pub(super) fn selectors(&self) -> Vec<&Selector> {
        self.0.leaves().into_iter().map(|condition| &condition.selector).collect()
    }
}

fn condition(cursor: &mut Cursor) -> Result<Condition> {
    let selector = Selector::read(cursor)?;
    let test = if cursor.take_word("NOT") {
        if !cursor.take_word("EXISTS") {
            return Err("NOT goes with EXISTS".into());
        }
        Test::NotExists
    } else if cursor.take_word("IS") {
        let values = [("NULL", Value::Null), ("TRUE", Value::Bool(true)), ("FALSE", Value::Bool(false))];
        let value = values.into_iter().find(|(word, _)| cursor.take_word(word));
        Test::Is(value.ok_or("IS goes with NULL, TRUE or FALSE")?.1)
    } else {
        Test::Compare(Comparison::parse(cursor, |c| c.is_whitespace() || matches!(c, ')' | '&' | '|'))?)
    };
    Ok(Condition { selector, test })
}

impl Condition {
    fn holds(&self, document: &Value) -> bool {
        let found = self.selector.find(document);
        match &self.test {
            Test::NotExists => found.is_empty(),
            Test::Is(value) => found.contains(&value),
            Test::Compare(comparison) => {
                found.iter().filter_map(|value| text(value)).any(|text| comparison.holds(&text))
            }
        }
    }
}

/// What a scalar is compared by. Arrays, objects and null are not.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl Selector {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut cursor = Cursor(text);
        let selector = Self::read(&mut cursor)?;
        if cursor.0.is_empty() { Ok(selector) } else { Err(format!("unexpected {}", cursor.0)) }
    }

    fn read(cursor: &mut Cursor) -> Result<Self> {
        if !cursor.take("$") {
            return Err("a property selector begins with $.".into());
        }
        let mut steps = Vec::new();
        loop {
            if let Some(rest) = cursor.0.strip_prefix('[') {
                cursor.0 = rest;
                steps.push(bracket(cursor)?);
            } else if let Some(rest) = cursor.0.strip_prefix('.') {
                cursor.0 = rest;
                if cursor.0.starts_with('[') {
                    continue;
                }
                let named = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | ':' | '/');
                let end = cursor.0.find(|c| !named(c)).unwrap_or(cursor.0.len());
                let (name, rest) = cursor.0.split_at(end);
                if name.is_empty() {
                    return Err("a property has no name".into());
                }
                cursor.0 = rest;
                steps.push(Step::Member(name.to_owned()));
            } else {
                break;
            }
        }
        if steps.is_empty() { Err("a property selector names a property".into()) } else { Ok(Self(steps)) }
    }

    /// Every value at this place; several where it names any element of an array.
    fn find<'a>(&self, document: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![document];
        for step in &self.0 {
            found = found
                .into_iter()
                .flat_map(|value| match step {
                    Step::Member(name) => value.get(name).into_iter().collect(),
                    Step::Index(index) => value.get(*index).into_iter().collect(),
                    Step::Any => value.as_array().into_iter().flatten().collect::<Vec<_>>(),
                })
                .collect();
        }
        found
    }

    pub(super) fn text(&self, document: &Value) -> Option<String> {
        self.find(document).into_iter().find_map(text)
    }
}

/// After `[`: an index, `*`, or a quoted name.
fn bracket(cursor: &mut Cursor) -> Result<Step> {
    let step = if cursor.take("\"") {
        Step::Member(cursor.quoted('"')?.to_owned())
    } else if cursor.take("'") {
        Step::Member(cursor.quoted('\'')?.to_owned())
    } else if cursor.take("*") {
        Step::Any
    } else {
        let digits = cursor.until(|c| !c.is_ascii_digit());
        Step::Index(digits.parse().map_err(|_| "an index is a number")?)
    };
    if cursor.take("]") { Ok(step) } else { Err("a bracket is not closed".into()) }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        for step in &self.0 {
            match step {
                Step::Member(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Any => f.write_str("[*]")?,
            }
        }
        Ok(())
    }
}
