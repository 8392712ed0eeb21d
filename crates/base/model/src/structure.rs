//! The bridge between `Value` and the generated structs, and the traits that these implement.

use std::collections::BTreeMap;
use std::fmt::Debug;

use pileus_core::{ApiError, Timestamp};

use crate::schema::{OperationSchema, StructureSchema};
use crate::value::Value;

/// Defines structs, bound to their schemas, with the traits that all of them have.
///
/// ```text
/// structure! { Tag = schema::TAG { key: Option<String> = "Key", value: Option<String> = "Value" } }
/// ```
#[macro_export]
macro_rules! structure {
    ($($name:ident = $schema:path { $($field:ident: $ty:ty = $member:literal),* $(,)? })*) => { $(
        #[derive(Clone, Default, PartialEq)]
        pub struct $name { $(pub $field: $ty),* }

        impl $crate::Structure for $name {
            const SCHEMA: &'static $crate::StructureSchema = &$schema;

            fn read(fields: &mut $crate::Fields) -> Result<Self, $crate::ShapeError> {
                let _ = &fields;
                Ok(Self { $($field: fields.take($member)?),* })
            }

            fn write(&self, members: &mut $crate::Members) {
                let _ = &members;
                $(members.put($member, &self.$field);)*
            }
        }

        impl $crate::Field for $name {
            fn read(value: Option<$crate::Value>) -> Result<Self, $crate::Problem> {
                $crate::read_structure(value)
            }

            fn write(&self) -> Option<$crate::Value> {
                Some($crate::Structure::to_value(self))
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                $crate::redacted(&$schema, &$crate::Structure::to_value(self)).fmt(f)
            }
        }

        impl $crate::generated::Serialize for $name {
            fn serialize<S: $crate::generated::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::generated::serialize(&$crate::Structure::to_value(self), serializer)
            }
        }

        impl<'de> $crate::generated::Deserialize<'de> for $name {
            fn deserialize<D: $crate::generated::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::generated::deserialize(&$schema, deserializer)
            }
        }
    )* };
}

/// A generated struct.
pub trait Structure: Default + Clone + Debug + PartialEq + Send + Sync + 'static {
    const SCHEMA: &'static StructureSchema;

    #[doc(hidden)]
    fn read(fields: &mut Fields) -> Result<Self, ShapeError>;

    #[doc(hidden)]
    fn write(&self, members: &mut Members);

    /// Members that the struct does not have (accepted without effect, or the router's) are left out.
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        Self::read(&mut Fields::of(Self::SCHEMA, value)?)
    }

    fn to_value(&self) -> Value {
        let mut members = Members(Vec::with_capacity(Self::SCHEMA.members.len()));
        self.write(&mut members);
        Value::Structure(members.0)
    }
}

/// The marker type of an operation.
pub trait Operation: Send + Sync + 'static {
    type Input: Structure;
    type Output: Structure;
    const SCHEMA: &'static OperationSchema;
}

/// A value that does not have the shape of the type that it is read into.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{structure}.{member} is {problem}")]
pub struct ShapeError {
    pub structure: &'static str,
    pub member: &'static str,
    pub problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("missing")]
    Missing,
    #[error("a {found}, not a {expected}")]
    Kind { expected: &'static str, found: &'static str },
    #[error("wrong inside: {0}")]
    Inner(Box<ShapeError>),
}

/// A validated input has its shape, so this is a fault of ours.
impl From<ShapeError> for ApiError {
    fn from(error: ShapeError) -> Self {
        Self::internal(error.to_string())
    }
}

/// The members of a structure value, taken out one by one.
pub struct Fields {
    structure: &'static str,
    members: Vec<(&'static str, Value)>,
}

impl Fields {
    fn of(schema: &'static StructureSchema, value: Value) -> Result<Self, ShapeError> {
        match value {
            Value::Structure(members) => Ok(Self { structure: schema.name, members }),
            other => {
                let problem = Problem::Kind { expected: "structure", found: other.kind() };
                Err(ShapeError { structure: schema.name, member: "", problem })
            }
        }
    }

    pub fn take<T: Field>(&mut self, name: &'static str) -> Result<T, ShapeError> {
        let index = self.members.iter().position(|(key, _)| *key == name);
        let value = index.map(|index| self.members.swap_remove(index).1);
        T::read(value).map_err(|problem| ShapeError { structure: self.structure, member: name, problem })
    }
}

/// The members of a structure value, as they are put in.
pub struct Members(Vec<(&'static str, Value)>);

impl Members {
    pub fn put(&mut self, name: &'static str, field: &impl Field) {
        if let Some(value) = field.write() {
            self.0.push((name, value));
        }
    }
}

/// The type of a struct's field. Absence is `None` on both sides.
pub trait Field: Sized {
    fn read(value: Option<Value>) -> Result<Self, Problem>;
    fn write(&self) -> Option<Value>;
}

macro_rules! plain_fields {
    ($($ty:ty, $variant:ident, $kind:literal;)*) => { $(
        impl Field for $ty {
            fn read(value: Option<Value>) -> Result<Self, Problem> {
                match value {
                    Some(Value::$variant(value)) => Ok(value),
                    Some(other) => Err(Problem::Kind { expected: $kind, found: other.kind() }),
                    None => Err(Problem::Missing),
                }
            }

            fn write(&self) -> Option<Value> {
                Some(Value::$variant(self.clone()))
            }
        }
    )* };
}

plain_fields! {
    bool, Bool, "boolean";
    i64, Integer, "integer";
    f64, Float, "float";
    String, String, "string";
    Timestamp, Timestamp, "timestamp";
    Blob, Blob, "blob";
}

/// Bytes: kept apart from lists of numbers.
pub type Blob = Vec<u8>;

impl<T: Field> Field for Option<T> {
    fn read(value: Option<Value>) -> Result<Self, Problem> {
        value.map(|value| T::read(Some(value))).transpose()
    }

    fn write(&self) -> Option<Value> {
        self.as_ref().and_then(Field::write)
    }
}

impl<T: Field> Field for Box<T> {
    fn read(value: Option<Value>) -> Result<Self, Problem> {
        T::read(value).map(Box::new)
    }

    fn write(&self) -> Option<Value> {
        T::write(self)
    }
}

impl<T: Field> Field for Vec<T> {
    fn read(value: Option<Value>) -> Result<Self, Problem> {
        match value {
            Some(Value::List(items)) => items.into_iter().map(|item| T::read(Some(item))).collect(),
            Some(other) => Err(Problem::Kind { expected: "list", found: other.kind() }),
            None => Err(Problem::Missing),
        }
    }

    fn write(&self) -> Option<Value> {
        Some(Value::List(self.iter().filter_map(Field::write).collect()))
    }
}

impl<T: Field> Field for BTreeMap<String, T> {
    fn read(value: Option<Value>) -> Result<Self, Problem> {
        match value {
            Some(Value::Map(entries)) => {
                entries.into_iter().map(|(key, value)| Ok((key, T::read(Some(value))?))).collect()
            }
            Some(other) => Err(Problem::Kind { expected: "map", found: other.kind() }),
            None => Err(Problem::Missing),
        }
    }

    fn write(&self) -> Option<Value> {
        let entries = self.iter().filter_map(|(key, value)| Some((key.clone(), value.write()?)));
        Some(Value::Map(entries.collect()))
    }
}

/// Reads a generated struct where a field may hold one.
#[doc(hidden)]
pub fn read_structure<T: Structure>(value: Option<Value>) -> Result<T, Problem> {
    T::from_value(value.ok_or(Problem::Missing)?).map_err(|error| Problem::Inner(Box::new(error)))
}

static UNIT: StructureSchema = StructureSchema { name: "Unit", members: &[] };

// The input or output of an operation that has none.
crate::structure! { Unit = UNIT {} }
