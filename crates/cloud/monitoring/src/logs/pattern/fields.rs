//! Patterns for space-delimited events: `[ip, user, ..., status = 4*, bytes > 1000]`.

use std::collections::BTreeMap;

use super::condition::{Comparison, Cursor, Result, Tree};

const MAX_FIELDS: usize = 100;

#[derive(Debug)]
pub(crate) struct Fields {
    /// Before the `...`, or all.
    first: Vec<Field>,
    /// After the `...`, if there is one.
    last: Option<Vec<Field>>,
}

#[derive(Debug)]
struct Field {
    name: String,
    conditions: Option<Tree<Comparison>>,
}

impl Fields {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let inner = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .ok_or("a bracket is not closed")?;
        let mut cursor = Cursor(inner);
        let (mut first, mut last): (Vec<Field>, Option<Vec<Field>>) = (Vec::new(), None);
        loop {
            if cursor.take("...") {
                if last.replace(Vec::new()).is_some() {
                    return Err("there can be only one ...".into());
                }
            } else {
                let number = first.len() + last.as_ref().map_or(0, Vec::len) + 1;
                if number > MAX_FIELDS {
                    return Err(format!("there can be at most {MAX_FIELDS} fields"));
                }
                last.as_mut().unwrap_or(&mut first).push(field(&mut cursor, number)?);
            }
            if !cursor.take(",") {
                break;
            }
        }
        cursor.skip_space();
        if cursor.0.is_empty() { Ok(Self { first, last }) } else { Err(format!("unexpected {}", cursor.0)) }
    }

    pub(super) fn find(&self, message: &str) -> Option<BTreeMap<String, String>> {
        let words = split(message);
        let last = self.last.as_deref().unwrap_or_default();
        let named = self.first.len() + last.len();
        let fits = if self.last.is_some() { words.len() >= named } else { words.len() == named };
        if !fits {
            return None;
        }
        let tail = &words[words.len() - last.len()..];
        let pairs = self.first.iter().zip(&words).chain(last.iter().zip(tail));
        let mut fields = BTreeMap::new();
        for (field, word) in pairs {
            if field.conditions.as_ref().is_some_and(|tree| !tree.holds(&|comparison| comparison.holds(word)))
            {
                return None;
            }
            fields.insert(field.name.clone(), (*word).to_owned());
        }
        Some(fields)
    }

    pub(super) fn names(&self, name: &str) -> bool {
        self.first.iter().chain(self.last.iter().flatten()).any(|field| field.name == name)
    }
}

/// A name alone, or conditions that all repeat it; a field without a name is called by its number.
fn field(cursor: &mut Cursor, number: usize) -> Result<Field> {
    let name_ends = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let name = Cursor(cursor.0).until(name_ends).to_owned();
    let mut ahead = *cursor;
    ahead.until(name_ends);
    ahead.skip_space();
    if ahead.0.is_empty() || ahead.0.starts_with(',') {
        *cursor = ahead;
        let name = if name.is_empty() { number.to_string() } else { name };
        return Ok(Field { name, conditions: None });
    }
    if name.is_empty() && !ahead.0.starts_with('(') {
        return Err(format!("unexpected {}", ahead.0));
    }
    let names = std::cell::RefCell::new(Vec::new());
    let leaf = |cursor: &mut Cursor| {
        names.borrow_mut().push(cursor.until(name_ends).to_owned());
        Comparison::parse(cursor, |c| matches!(c, ',' | '&' | '|' | ')') || c.is_whitespace())
    };
    let conditions = Tree::parse(cursor, 0, &leaf)?;
    let mut names = names.into_inner();
    let name = names.pop().unwrap_or_default();
    if name.is_empty() || names.iter().any(|other| *other != name) {
        return Err("the conditions of a field all begin with its name".into());
    }
    Ok(Field { name, conditions: Some(conditions) })
}

/// Words between spaces; what stands in quotes or brackets is one word, without them.
fn split(message: &str) -> Vec<&str> {
    let (mut words, mut rest) = (Vec::new(), message.trim_start());
    while !rest.is_empty() {
        let enclosed = [('"', '"'), ('[', ']')]
            .into_iter()
            .find_map(|(open, close)| rest.strip_prefix(open)?.split_once(close));
        let (word, after) =
            enclosed.unwrap_or_else(|| rest.split_once(char::is_whitespace).unwrap_or((rest, "")));
        words.push(word);
        rest = after.trim_start();
    }
    words
}
