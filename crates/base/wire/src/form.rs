//! Form-encoded parameters: as pairs, and as the tree that their dotted names describe.

use std::collections::BTreeMap;

use pileus_core::ApiError;

use crate::percent;

/// A request with more parameters than this is refused.
const MAX_PAIRS: usize = 50_000;
/// No parameter of any model nests as deep as this.
const MAX_DEPTH: usize = 32;

pub(crate) type Pairs = Vec<(String, String)>;

/// Takes a query string or a form body apart.
pub(crate) fn parse(bytes: &[u8], pairs: &mut Pairs) -> Result<(), ApiError> {
    for pair in bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        if pairs.len() == MAX_PAIRS {
            return Err(malformed(format!("The request has more than {MAX_PAIRS} parameters.")));
        }
        let mut halves = pair.splitn(2, |byte| *byte == b'=').map(percent::decode_form);
        match (halves.next().flatten(), halves.next().unwrap_or_else(|| Some(String::new()))) {
            (Some(name), Some(value)) => pairs.push((name, value)),
            _ => return Err(malformed("A parameter is not valid UTF-8.".to_owned())),
        }
    }
    Ok(())
}

/// Joins pairs to a form body.
pub(crate) fn join(pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", percent::encode(name), percent::encode(value)))
        .collect();
    pairs.join("&")
}

pub(crate) fn malformed(message: String) -> ApiError {
    ApiError::client("MalformedQueryString", message)
}

/// A parameter and those whose names continue its own after a dot.
#[derive(Default)]
pub(crate) struct Node<'a> {
    pub(crate) value: Option<&'a str>,
    pub(crate) children: BTreeMap<&'a str, Node<'a>>,
}

impl<'a> Node<'a> {
    /// The tree of all pairs whose names `wanted` lets through.
    pub(crate) fn tree(
        pairs: &'a [(String, String)],
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Self, ApiError> {
        let mut root = Self::default();
        for (name, value) in pairs.iter().filter(|(name, _)| wanted(name)) {
            let mut node = &mut root;
            for (depth, part) in name.split('.').enumerate() {
                if depth == MAX_DEPTH {
                    return Err(malformed("A parameter's name has too many parts.".to_owned()));
                }
                node = node.children.entry(part).or_default();
            }
            if node.value.replace(value).is_some() {
                return Err(malformed(format!("The parameter {name} is given twice.")));
            }
        }
        Ok(root)
    }

    /// The elements of a list, in the order of their numbers. Gaps in the numbers cost nothing.
    pub(crate) fn items(&self) -> Result<Vec<&Node<'a>>, ApiError> {
        let mut items = Vec::with_capacity(self.children.len());
        for (name, node) in &self.children {
            match name.parse::<u32>() {
                Ok(index) if index > 0 => items.push((index, node)),
                _ => return Err(malformed(format!("'{name}' is not the number of a list element."))),
            }
        }
        items.sort_by_key(|(index, _)| *index);
        Ok(items.into_iter().map(|(_, node)| node).collect())
    }
}
