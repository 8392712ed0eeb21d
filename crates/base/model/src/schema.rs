//! The tables that `cargo xtask codegen` fills in from the published API models.
//! <https://smithy.io/2.0/aws/protocols/index.html>

use crate::pattern::Pattern;

/// The wire protocols that services of the allow-list speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// awsJson 1.0 and 1.1.
    Json,
    Query,
    Ec2,
    /// Smithy RPC v2 CBOR.
    Cbor,
    RestJson,
}

/// The wording and codes with which a family of services refuses invalid input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// EC2: a code per kind of failure, the first failure only.
    Ec2,
    /// ECR: `Invalid parameter at 'x' failed to satisfy constraint: '…'`.
    Ecr,
    /// Most services: `N validation errors detected: …` with this code.
    Common(&'static str),
}

/// A service, with every operation of its model and the schemas of those that Pileus implements.
#[derive(Debug)]
pub struct ServiceSchema {
    /// The key in the SDKs and in the allow-list: `ec2`, `elbv2`.
    pub name: &'static str,
    /// The service's name in SigV4 credential scopes and IAM actions.
    pub signing_name: &'static str,
    pub endpoint_prefix: &'static str,
    /// What stands before the operation in `X-Amz-Target` and in rpc-v2-cbor paths.
    pub target_prefix: Option<&'static str>,
    /// The version of awsJson that SDKs use: `1.0` or `1.1`.
    pub json_version: &'static str,
    /// Preferred first.
    pub protocols: &'static [Protocol],
    pub xml_namespace: &'static str,
    pub api_version: &'static str,
    /// Whether JSON and CBOR errors carry `x-amzn-query-error`.
    pub query_compatible: bool,
    pub validation: Validation,
    /// The names of all operations of the model, sorted.
    pub operations: &'static [&'static str],
    /// The operations of the allow-list, sorted by name.
    pub implemented: &'static [&'static OperationSchema],
}

impl ServiceSchema {
    /// The schema of an implemented operation.
    pub fn operation(&self, name: &str) -> Option<&'static OperationSchema> {
        let index = self.implemented.binary_search_by(|operation| operation.name.cmp(name)).ok()?;
        self.implemented.get(index).copied()
    }

    /// Whether the model has this operation, implemented or not.
    pub fn knows(&self, name: &str) -> bool {
        self.operations.binary_search(&name).is_ok()
    }

    pub fn speaks(&self, protocol: Protocol) -> bool {
        self.protocols.contains(&protocol)
    }
}

#[derive(Debug)]
pub struct OperationSchema {
    pub name: &'static str,
    pub service: &'static ServiceSchema,
    pub input: &'static StructureSchema,
    pub output: &'static StructureSchema,
    /// The element around the result in query responses; empty where the response has none.
    pub result_wrapper: &'static str,
    pub http_method: &'static str,
    pub http_uri: &'static str,
    pub errors: &'static [ErrorSchema],
    pub access: &'static AccessSchema,
}

/// What a caller must be allowed to do for an operation, as `authorization.toml` has it and explains it.
#[derive(Debug)]
pub struct AccessSchema {
    /// `service:Action`
    pub action: &'static str,
    /// Templates of ARNs, or `*`; none where nothing has been said.
    pub resources: &'static [&'static str],
    /// Condition keys with the templates of their values.
    pub keys: &'static [(&'static str, &'static str)],
    /// Services with the templates of the roles that they are passed.
    pub passes: &'static [(&'static str, &'static str)],
    /// The action that is needed too where the request brings tags.
    pub tagging: Option<&'static str>,
}

/// An error that the model declares for an operation.
#[derive(Debug)]
pub struct ErrorSchema {
    /// The shape's name: the code of the JSON and CBOR protocols.
    pub shape: &'static str,
    /// The code of the query protocols, where it differs from the shape's name, else the same.
    pub code: &'static str,
    pub status: u16,
}

#[derive(Debug)]
pub struct StructureSchema {
    pub name: &'static str,
    pub members: &'static [MemberSchema],
}

impl StructureSchema {
    pub fn member(&self, name: &str) -> Option<&'static MemberSchema> {
        self.members.iter().find(|member| member.name == name)
    }
}

/// Whether handlers read a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    Supported,
    /// Accepted and checked, documented as having no effect: nothing reads it.
    NoEffect,
    /// Refused when present.
    Unsupported,
}

/// Where in a restJson message a member of an input or output stands; nested members are all in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A member of the document.
    Body,
    /// The whole body.
    Payload,
    /// A part of the path.
    Label,
    /// A parameter of the query string; of a map, every parameter.
    Query,
    Header,
    /// Every header that begins with the member's name.
    Headers,
    /// The status of a response.
    Status,
}

#[derive(Debug)]
pub struct MemberSchema {
    /// The model's name, which the SDKs and the stored JSON form use.
    pub name: &'static str,
    /// The name in JSON, CBOR and XML documents.
    pub wire: &'static str,
    /// The name in form-encoded requests.
    pub query: &'static str,
    pub required: bool,
    /// Whether the value must not be shown.
    pub sensitive: bool,
    pub support: Support,
    pub place: Place,
    pub shape: &'static Shape,
}

impl MemberSchema {
    /// An optional, supported member with one name on every wire.
    pub const fn new(name: &'static str, shape: &'static Shape) -> Self {
        let support = Support::Supported;
        let place = Place::Body;
        Self { name, wire: name, query: name, required: false, sensitive: false, support, place, shape }
    }

    /// A member that Pileus refuses; codecs only notice its presence.
    pub const fn unsupported(name: &'static str) -> Self {
        Self { support: Support::Unsupported, ..Self::new(name, &Shape::Opaque) }
    }

    pub const fn named(self, wire: &'static str, query: &'static str) -> Self {
        Self { wire, query, ..self }
    }

    pub const fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }

    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub const fn sensitive(self) -> Self {
        Self { sensitive: true, ..self }
    }

    pub const fn no_effect(self) -> Self {
        Self { support: Support::NoEffect, ..self }
    }
}

#[derive(Debug)]
pub enum Shape {
    Bool,
    /// 32 bits, where `min` and `max` do not narrow it further.
    Integer {
        min: i64,
        max: i64,
    },
    /// 64 bits, where `min` and `max` do not narrow it further.
    Long {
        min: i64,
        max: i64,
    },
    /// `float` and `double`.
    Double {
        min: f64,
        max: f64,
    },
    String(&'static StringShape),
    /// Lengths in bytes.
    Blob {
        min: usize,
        max: usize,
    },
    Timestamp,
    List {
        member: &'static Shape,
        /// The name of an element in XML, and in query requests unless `flattened`.
        item: &'static str,
        flattened: bool,
        min: usize,
        max: usize,
    },
    Map {
        key: &'static Shape,
        value: &'static Shape,
        key_name: &'static str,
        value_name: &'static str,
        flattened: bool,
        min: usize,
        max: usize,
    },
    Structure(&'static StructureSchema),
    /// Any JSON document, held as its text.
    Document,
    /// The shape of an unsupported member: a codec records its presence as `Value::Bool(true)` and skips
    /// what it holds. An empty list, an empty map and null ask for nothing and count as absent.
    Opaque,
}

impl Shape {
    pub const INTEGER: Self = Self::Integer { min: i32::MIN as i64, max: i32::MAX as i64 };
    pub const LONG: Self = Self::Long { min: i64::MIN, max: i64::MAX };
    pub const DOUBLE: Self = Self::Double { min: f64::NEG_INFINITY, max: f64::INFINITY };
    pub const STRING: Self = Self::String(&StringShape::ANY);
    pub const BLOB: Self = Self::Blob { min: 0, max: usize::MAX };

    /// A list without limits.
    pub const fn list(member: &'static Shape, item: &'static str) -> Self {
        Self::List { member, item, flattened: false, min: 0, max: usize::MAX }
    }
}

/// The constraints of a string. Lengths in characters.
#[derive(Debug)]
pub struct StringShape {
    pub min: usize,
    pub max: usize,
    pub pattern: Option<&'static Pattern>,
    /// The values of an enum; empty for any string.
    pub values: &'static [&'static str],
}

impl StringShape {
    pub const ANY: Self = Self { min: 0, max: usize::MAX, pattern: None, values: &[] };

    /// An enum.
    pub const fn one_of(values: &'static [&'static str]) -> Self {
        Self { values, ..Self::ANY }
    }
}
