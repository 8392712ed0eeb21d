//! Which operation of which service a request asks for, and in which protocol: a property of the request, not
//! of the service, since SDKs of different ages speak different protocols to one service.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use pileus_core::ApiError;
use pileus_model::{OperationSchema, Protocol, ServiceSchema};

use crate::form::{self, Pairs};
use crate::inflate::inflate;
use crate::rest::{self, Message};
use crate::sigv4;

/// A protocol, with the version of awsJson.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    pub protocol: Protocol,
    /// `1.0` or `1.1`; of no meaning in the other protocols.
    pub json_version: &'static str,
}

impl Dialect {
    pub(crate) const fn new(protocol: Protocol) -> Self {
        Self { protocol, json_version: "1.1" }
    }
}

/// A request for an operation that Pileus implements.
#[derive(Clone, Debug)]
pub struct Call {
    pub operation: &'static OperationSchema,
    pub dialect: Dialect,
    pub content: Content,
}

/// A request's body, taken out of its transfer form.
#[derive(Clone)]
pub enum Content {
    Document(Bytes),
    /// The parameters of the query string and the form body.
    Form(Vec<(String, String)>),
    /// A request whose parts all say something.
    Message(Message),
}

/// It may hold secrets.
impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Document(body) => write!(f, "Document({} bytes)", body.len()),
            Self::Message(message) => write!(f, "Message({} bytes)", message.size()),
            Self::Form(pairs) => write!(f, "Form({} parameters)", pairs.len()),
        }
    }
}

/// A request that is for no operation of ours, with the dialect to say so in.
#[derive(Clone, Debug)]
pub struct Rejection {
    pub dialect: Dialect,
    pub error: ApiError,
}

/// Finds the operation that a request asks for among `services`.
///
/// # Errors
/// AWS's error for an unknown action in the request's protocol, or one that says that Pileus does not
/// implement it.
pub fn detect(services: &[&'static ServiceSchema], parts: &Parts, body: &Bytes) -> Result<Call, Rejection> {
    let dialect = dialect(parts);
    let result = match dialect.protocol {
        Protocol::Cbor => detect_cbor(services, parts, body, dialect),
        Protocol::Json => detect_json(services, parts, body, dialect),
        Protocol::RestJson | Protocol::Query | Protocol::Ec2 => {
            return match detect_rest(services, parts, body) {
                Some(detected) => detected,
                None => detect_query(services, parts, body),
            };
        }
    };
    result.map_err(|error| Rejection { dialect, error })
}

fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name).and_then(|value| value.to_str().ok())
}

fn dialect(parts: &Parts) -> Dialect {
    let content_type =
        parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if header(parts, "smithy-protocol") == Some("rpc-v2-cbor") {
        return Dialect::new(Protocol::Cbor);
    }
    if content_type.starts_with("application/x-amz-json-1.0") {
        return Dialect { protocol: Protocol::Json, json_version: "1.0" };
    }
    if header(parts, "x-amz-target").is_some() || content_type.starts_with("application/x-amz-json") {
        return Dialect::new(Protocol::Json);
    }
    Dialect::new(Protocol::Query)
}

/// The path is `/service/<target prefix>/operation/<operation>`.
fn detect_cbor(
    services: &[&'static ServiceSchema],
    parts: &Parts,
    body: &Bytes,
    dialect: Dialect,
) -> Result<Call, ApiError> {
    let mut path = parts.uri.path().rsplit('/');
    let target = match (path.next(), path.next(), path.next(), path.next()) {
        (Some(operation), Some("operation"), Some(service), Some("service")) => Some((service, operation)),
        _ => None,
    };
    let (prefix, operation) = target.ok_or_else(|| unknown_operation(parts.uri.path()))?;
    let service = by_target(services, prefix, Protocol::Cbor).ok_or_else(|| unknown_operation(operation))?;
    let content = Content::Document(inflate(parts, body)?);
    Ok(Call { operation: operation_of(service, operation, Protocol::Cbor)?, dialect, content })
}

/// `X-Amz-Target` is `<target prefix>.<operation>`.
fn detect_json(
    services: &[&'static ServiceSchema],
    parts: &Parts,
    body: &Bytes,
    dialect: Dialect,
) -> Result<Call, ApiError> {
    let target = header(parts, "x-amz-target").unwrap_or_default();
    let (prefix, operation) = target.rsplit_once('.').ok_or_else(|| unknown_operation(target))?;
    let service = by_target(services, prefix, Protocol::Json).ok_or_else(|| unknown_operation(target))?;
    let content = Content::Document(inflate(parts, body)?);
    Ok(Call { operation: operation_of(service, operation, Protocol::Json)?, dialect, content })
}

fn by_target(
    services: &[&'static ServiceSchema],
    prefix: &str,
    protocol: Protocol,
) -> Option<&'static ServiceSchema> {
    services.iter().copied().find(|service| service.speaks(protocol) && service.target_prefix == Some(prefix))
}

/// The service is that of the signature's scope; without a signature, the one that has the path. `None` where the
/// request is for no service that speaks restJson.
fn detect_rest(
    services: &[&'static ServiceSchema],
    parts: &Parts,
    body: &Bytes,
) -> Option<Result<Call, Rejection>> {
    let scope = sigv4::Scope::of(parts);
    let meant = |service: &&ServiceSchema| {
        let named = scope.as_ref().is_none_or(|scope| scope.service == service.signing_name);
        named && service.speaks(Protocol::RestJson)
    };
    let services: Vec<_> = services.iter().copied().filter(meant).collect();
    let service = services.first()?;
    let dialect = Dialect::new(Protocol::RestJson);
    let reject = |error| Rejection { dialect, error };
    let routed = inflate(parts, body).and_then(|body| rest::route(&services, parts, body));
    match routed {
        Ok(Some((operation, message))) => {
            Some(Ok(Call { operation, dialect, content: Content::Message(message) }))
        }
        Err(error) => Some(Err(reject(error))),
        Ok(None) if scope.is_none() => None,
        Ok(None) => {
            let (method, path) = (&parts.method, shorten(parts.uri.path()));
            let what = format!("{method} {path} of {}", service.signing_name);
            Some(Err(reject(ApiError::not_implemented(what))))
        }
    }
}

/// `Action` and `Version` are parameters; the service is that of the signature's scope.
fn detect_query(services: &[&'static ServiceSchema], parts: &Parts, body: &Bytes) -> Result<Call, Rejection> {
    let reject = |error| Rejection { dialect: Dialect::new(Protocol::Query), error };
    let pairs = parameters(parts, body).map_err(reject)?;
    let parameter = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let action = parameter("Action").ok_or_else(|| {
        reject(ApiError::client("MissingAction", "The request is missing an action or a required parameter."))
    })?;
    let scope = sigv4::Scope::of(parts);
    let named = |service: &&ServiceSchema| match &scope {
        Some(scope) => scope.service == service.signing_name,
        None => service.knows(action),
    };
    let version = parameter("Version");
    let service = services
        .iter()
        .copied()
        .filter(|service| service.speaks(Protocol::Query) || service.speaks(Protocol::Ec2))
        .filter(named)
        .find(|service| version.is_none_or(|version| version == service.api_version))
        .ok_or_else(|| reject(unknown_action(action, version)))?;
    let protocol = if service.speaks(Protocol::Ec2) { Protocol::Ec2 } else { Protocol::Query };
    let dialect = Dialect::new(protocol);
    let operation = operation_of(service, action, protocol).map_err(|error| Rejection { dialect, error })?;
    Ok(Call { operation, dialect, content: Content::Form(pairs) })
}

fn parameters(parts: &Parts, body: &Bytes) -> Result<Pairs, ApiError> {
    let mut pairs = Pairs::new();
    form::parse(parts.uri.query().unwrap_or_default().as_bytes(), &mut pairs)?;
    form::parse(&inflate(parts, body)?, &mut pairs)?;
    Ok(pairs)
}

fn operation_of(
    service: &'static ServiceSchema,
    name: &str,
    protocol: Protocol,
) -> Result<&'static OperationSchema, ApiError> {
    if let Some(operation) = service.operation(name) {
        return Ok(operation);
    }
    if service.knows(name) {
        return Err(ApiError::not_implemented(format!("{}:{name}", service.signing_name)));
    }
    Err(match protocol {
        Protocol::Json | Protocol::Cbor | Protocol::RestJson => unknown_operation(name),
        Protocol::Ec2 => ApiError::client(
            "InvalidAction",
            format!("The action {} is not valid for this web service.", shorten(name)),
        ),
        Protocol::Query => unknown_action(name, Some(service.api_version)),
    })
}

fn unknown_operation(name: &str) -> ApiError {
    let message = format!("There is no operation '{}' in any service that Pileus has.", shorten(name));
    ApiError::client("UnknownOperationException", message)
}

fn unknown_action(action: &str, version: Option<&str>) -> ApiError {
    let version = version.unwrap_or("none");
    let message = format!("Could not find operation {} for version {}", shorten(action), shorten(version));
    ApiError::client("InvalidAction", message)
}

fn shorten(text: &str) -> String {
    text.chars().take(128).collect()
}
