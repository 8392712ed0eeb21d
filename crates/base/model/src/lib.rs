//! What a generated AWS shape is made of: a table that describes it (`schema`), the value that codecs
//! speak in (`value`), the bridge between that value and a typed struct (`structure`, `stored`), and the
//! check of a value against its table (`validate`).
//!
//! Codecs know tables and values only, handlers know typed structs only; nothing here knows a service.

mod pattern;
mod redact;
pub mod schema;
mod stored;
mod structure;
mod validate;
mod value;

pub use pattern::Pattern;
pub use redact::{Redacted, redacted};
pub use schema::{
    AccessSchema, ErrorSchema, MemberSchema, OperationSchema, Place, Protocol, ServiceSchema, Shape,
    StringShape, StructureSchema, Support, Validation,
};
pub use structure::{
    Blob, Field, Fields, Members, Operation, Problem, ShapeError, Structure, Unit, read_structure,
};
pub use validate::validate;
pub use value::Value;

#[doc(hidden)]
pub mod generated {
    //! What the expansion of `structure!` needs by path.
    pub use crate::stored::{deserialize, serialize};
    pub use serde::{Deserialize, Deserializer, Serialize, Serializer};
}
