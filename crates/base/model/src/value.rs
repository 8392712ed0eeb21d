//! The value between the wire and a typed struct: what a codec decodes to and encodes from.

use std::collections::BTreeMap;

use pileus_core::Timestamp;

/// A value of some shape. Structures keep their members in the order of the model; an absent member is
/// not in the list (there is no null).
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Integer(i64),
    Float(f64),
    String(String),
    Blob(Vec<u8>),
    Timestamp(Timestamp),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
    Structure(Vec<(&'static str, Value)>),
}

impl Value {
    /// The member `name` of a structure, by the model's name; `None` where it is absent or `self` is no structure.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Structure(members) => members.iter().find(|(key, _)| *key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether this is the boolean `true`.
    pub fn is_true(&self) -> bool {
        matches!(self, Self::Bool(true))
    }

    /// The name of the kind of value, for error messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "boolean",
            Self::Integer(_) => "integer",
            Self::Float(_) => "float",
            Self::String(_) => "string",
            Self::Blob(_) => "blob",
            Self::Timestamp(_) => "timestamp",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Structure(_) => "structure",
        }
    }
}
