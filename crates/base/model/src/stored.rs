//! The stored form of generated structs, through serde: members by the model's names, blobs in base64,
//! timestamps as milliseconds. Members that a later version dropped are passed over when read.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pileus_core::Timestamp;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::schema::{Shape, StructureSchema};
use crate::structure::Structure;
use crate::value::Value;

pub fn serialize<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    Stored(value).serialize(serializer)
}

pub fn deserialize<'de, T: Structure, D: Deserializer<'de>>(
    schema: &'static StructureSchema,
    deserializer: D,
) -> Result<T, D::Error> {
    let value = deserializer.deserialize_map(StructureVisitor(schema))?;
    T::from_value(value).map_err(D::Error::custom)
}

struct Stored<'a>(&'a Value);

impl Serialize for Stored<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Integer(value) => serializer.serialize_i64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::String(value) => serializer.serialize_str(value),
            Value::Blob(bytes) => serializer.serialize_str(&STANDARD.encode(bytes)),
            Value::Timestamp(value) => serializer.serialize_i64(value.millis()),
            Value::List(items) => {
                let mut out = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| out.serialize_element(&Stored(item)))?;
                out.end()
            }
            Value::Map(entries) => {
                let mut out = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, item)| out.serialize_entry(key, &Stored(item)))?;
                out.end()
            }
            Value::Structure(members) => {
                let mut out = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(key, item)| out.serialize_entry(key, &Stored(item)))?;
                out.end()
            }
        }
    }
}

struct StructureVisitor(&'static StructureSchema);

impl<'de> Visitor<'de> for StructureVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the members of {}", self.0.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            match self.0.member(&key) {
                Some(member) => members.push((member.name, map.next_value_seed(Seed(member.shape))?)),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Value::Structure(members))
    }
}

/// Reads a value of a shape.
struct Seed(&'static Shape);

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.0 {
            Shape::Bool | Shape::Opaque => bool::deserialize(deserializer).map(Value::Bool),
            Shape::Integer { .. } | Shape::Long { .. } => i64::deserialize(deserializer).map(Value::Integer),
            Shape::Double { .. } => f64::deserialize(deserializer).map(Value::Float),
            Shape::String(_) | Shape::Document => String::deserialize(deserializer).map(Value::String),
            Shape::Blob { .. } => {
                let text = String::deserialize(deserializer)?;
                STANDARD.decode(text).map(Value::Blob).map_err(D::Error::custom)
            }
            Shape::Timestamp => {
                i64::deserialize(deserializer).map(|millis| Value::Timestamp(Timestamp::from_millis(millis)))
            }
            Shape::List { member, .. } => deserializer.deserialize_seq(ListVisitor(member)),
            Shape::Map { value, .. } => deserializer.deserialize_map(MapVisitor(value)),
            Shape::Structure(schema) => deserializer.deserialize_map(StructureVisitor(schema)),
        }
    }
}

struct ListVisitor(&'static Shape);

impl<'de> Visitor<'de> for ListVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(Seed(self.0))? {
            items.push(item);
        }
        Ok(Value::List(items))
    }
}

struct MapVisitor(&'static Shape);

impl<'de> Visitor<'de> for MapVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            entries.insert(key, map.next_value_seed(Seed(self.0))?);
        }
        Ok(Value::Map(entries))
    }
}
