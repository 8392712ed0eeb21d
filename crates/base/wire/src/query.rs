//! Requests of the query and ec2Query protocols: form-encoded, with nesting in the parameters' names.
//!
//! They differ in lists: query has `Tags.member.1.Key` and sends an empty list as `Tags=`; ec2Query has
//! `Tag.1.Key` and cannot send an empty list.

use pileus_core::ApiError;
use pileus_model::{OperationSchema, Protocol, Shape, StructureSchema, Value};

use crate::error;
use crate::form::{Node, Pairs};
use crate::scalar;

/// Parameters that belong to the protocol or to the signature, not to the input.
fn is_input(name: &str) -> bool {
    !matches!(name, "Action" | "Version") && !name.starts_with("X-Amz-")
}

pub(crate) fn decode(
    operation: &'static OperationSchema,
    protocol: Protocol,
    pairs: &[(String, String)],
) -> Result<Value, ApiError> {
    let root = Node::tree(pairs, is_input)?;
    Reader { operation, protocol }.structure(operation.input, &root, "")
}

struct Reader {
    operation: &'static OperationSchema,
    protocol: Protocol,
}

impl Reader {
    fn structure(
        &self,
        schema: &'static StructureSchema,
        node: &Node<'_>,
        path: &str,
    ) -> Result<Value, ApiError> {
        if let Some(name) =
            node.children.keys().find(|name| !schema.members.iter().any(|m| m.query == **name))
        {
            return Err(self.unknown(&join(path, name)));
        }
        let mut members = Vec::with_capacity(node.children.len());
        for member in schema.members {
            if let Some(child) = node.children.get(member.query) {
                members.push((member.name, self.value(member.shape, child, &join(path, member.query))?));
            }
        }
        Ok(Value::Structure(members))
    }

    fn value(&self, shape: &'static Shape, node: &Node<'_>, path: &str) -> Result<Value, ApiError> {
        let empty = node.children.is_empty() && node.value.is_none_or(str::is_empty);
        match shape {
            Shape::Opaque => Ok(Value::Bool(true)),
            Shape::Structure(schema) if node.value.is_none() => self.structure(schema, node, path),
            Shape::List { .. } if empty => Ok(Value::List(Vec::new())),
            Shape::List { member, item, flattened, .. } if node.value.is_none() => {
                let flat = *flattened || self.protocol == Protocol::Ec2;
                let elements =
                    if flat { node.items()? } else { self.only_child(node, item, path)?.items()? };
                let elements = elements.into_iter().map(|element| self.value(member, element, path));
                Ok(Value::List(elements.collect::<Result<_, _>>()?))
            }
            Shape::Map { .. } if empty => Ok(Value::Map(Default::default())),
            Shape::Map { key, value, key_name, value_name, flattened, .. } if node.value.is_none() => {
                let entries =
                    if *flattened { node.items()? } else { self.only_child(node, "entry", path)?.items()? };
                let entries = entries.into_iter().map(|entry| {
                    let key = self.part(key, entry, key_name, path)?;
                    let key = key.as_str().ok_or_else(|| self.unknown(path))?.to_owned();
                    Ok((key, self.part(value, entry, value_name, path)?))
                });
                Ok(Value::Map(entries.collect::<Result<_, ApiError>>()?))
            }
            _ => match node.value {
                Some(text) if node.children.is_empty() => scalar::parse(shape, text)
                    .map_err(|kind| error::bad_scalar(self.protocol, self.operation, path, text, kind)),
                _ => Err(self.unknown(&first_below(node, path))),
            },
        }
    }

    /// The key or the value of a map's entry.
    fn part(
        &self,
        shape: &'static Shape,
        entry: &Node<'_>,
        name: &str,
        path: &str,
    ) -> Result<Value, ApiError> {
        let node = entry.children.get(name).ok_or_else(|| self.unknown(&join(path, name)))?;
        self.value(shape, node, path)
    }

    /// The one child that a list or a map may have below its name.
    fn only_child<'n, 'a>(
        &self,
        node: &'n Node<'a>,
        name: &str,
        path: &str,
    ) -> Result<&'n Node<'a>, ApiError> {
        match node.children.get(name) {
            Some(child) if node.children.len() == 1 => Ok(child),
            _ => Err(self.unknown(&first_below(node, path))),
        }
    }

    fn unknown(&self, parameter: &str) -> ApiError {
        error::unknown_parameter(self.protocol, self.operation, parameter)
    }
}

fn first_below(node: &Node<'_>, path: &str) -> String {
    node.children.keys().next().map_or_else(|| path.to_owned(), |name| join(path, name))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The client's side: an input as parameters.
pub(crate) fn encode(operation: &'static OperationSchema, protocol: Protocol, input: &Value) -> Pairs {
    let mut pairs = vec![
        ("Action".to_owned(), operation.name.to_owned()),
        ("Version".to_owned(), operation.service.api_version.to_owned()),
    ];
    write_structure(protocol, operation.input, input, "", &mut pairs);
    pairs
}

fn write_structure(
    protocol: Protocol,
    schema: &'static StructureSchema,
    value: &Value,
    path: &str,
    pairs: &mut Pairs,
) {
    for member in schema.members {
        if let Some(value) = value.get(member.name) {
            write(protocol, member.shape, value, &join(path, member.query), pairs);
        }
    }
}

fn write(protocol: Protocol, shape: &'static Shape, value: &Value, path: &str, pairs: &mut Pairs) {
    match (shape, value) {
        (Shape::Structure(schema), value) => write_structure(protocol, schema, value, path, pairs),
        (Shape::List { .. }, Value::List(items)) if items.is_empty() => {
            if protocol == Protocol::Query {
                pairs.push((path.to_owned(), String::new()));
            }
        }
        (Shape::List { member, item, flattened, .. }, Value::List(items)) => {
            let flat = *flattened || protocol == Protocol::Ec2;
            let path = if flat { path.to_owned() } else { join(path, item) };
            for (index, item) in items.iter().enumerate() {
                write(protocol, member, item, &join(&path, &(index + 1).to_string()), pairs);
            }
        }
        (Shape::Map { value: shape, key_name, value_name, flattened, .. }, Value::Map(entries)) => {
            let path = if *flattened { path.to_owned() } else { join(path, "entry") };
            for (index, (key, value)) in entries.iter().enumerate() {
                let path = join(&path, &(index + 1).to_string());
                pairs.push((join(&path, key_name), key.clone()));
                write(protocol, shape, value, &join(&path, value_name), pairs);
            }
        }
        (_, value) => pairs.extend(scalar::text(value).map(|text| (path.to_owned(), text))),
    }
}
