//! Checks a decoded input against its schema and words the failures as the service's family does.
//! <https://smithy.io/2.0/spec/constraint-traits.html>

use pileus_core::ApiError;

use crate::schema::{OperationSchema, Shape, StringShape, StructureSchema, Support, Validation};
use crate::value::Value;

/// AWS reports no more than this many characters of a bad value; neither do we echo more.
const SHOWN: usize = 512;
/// More failures than this are counted but not described.
const DESCRIBED: usize = 16;

/// Checks that required members are there, that no unsupported one is, and all ranges, lengths, patterns
/// and enums. The error describes all failures in the wording of the operation's service.
pub fn validate(operation: &OperationSchema, input: &Value) -> Result<(), ApiError> {
    let mut check = Check { failures: Vec::new(), total: 0, unsupported: None };
    check.structure(operation.input, input, &Path::Root, false);
    if let Some(parameter) = check.unsupported {
        return Err(unsupported(operation, &parameter));
    }
    match check.failures.first() {
        None => Ok(()),
        Some(first) => Err(match operation.service.validation {
            Validation::Ec2 => ec2_error(first),
            Validation::Ecr => ecr_error(first),
            Validation::Common(code) => common_error(code, check.total, &check.failures),
        }),
    }
}

fn unsupported(operation: &OperationSchema, parameter: &str) -> ApiError {
    let (service, name) = (operation.service.signing_name, operation.name);
    ApiError::not_implemented(format!("the parameter {parameter} of {service}:{name}"))
}

fn ec2_error(failure: &Failure) -> ApiError {
    let name = &failure.parameter;
    match &failure.constraint {
        Constraint::Required => {
            ApiError::client("MissingParameter", format!("The request must contain the parameter {name}"))
        }
        Constraint::Min(min) => invalid_ec2(failure, &format!(" Expecting a value of at least {min}.")),
        Constraint::Max(max) => invalid_ec2(failure, &format!(" Expecting a value of at most {max}.")),
        _ => invalid_ec2(failure, ""),
    }
}

fn invalid_ec2(failure: &Failure, hint: &str) -> ApiError {
    let value = failure.value.as_deref().unwrap_or_default();
    let message = format!("Value ({value}) for parameter {} is invalid.{hint}", failure.parameter);
    ApiError::client("InvalidParameterValue", message)
}

fn ecr_error(failure: &Failure) -> ApiError {
    let constraint = match &failure.constraint {
        Constraint::Pattern(source) => format!("must satisfy regular expression '{source}'"),
        other => other.to_string().trim_start_matches("Member ").to_owned(),
    };
    let path = &failure.path;
    let message = format!("Invalid parameter at '{path}' failed to satisfy constraint: '{constraint}'");
    ApiError::client("InvalidParameterException", message)
}

fn common_error(code: &'static str, total: usize, failures: &[Failure]) -> ApiError {
    let plural = if total == 1 { "" } else { "s" };
    let described: Vec<String> = failures.iter().map(Failure::describe).collect();
    let message = format!("{total} validation error{plural} detected: {}", described.join("; "));
    ApiError::client(code, message)
}

/// One constraint that one value does not meet.
struct Failure {
    /// As in `tags.1.member.key`: member names with a small first letter.
    path: String,
    /// The member's own name, as EC2 calls it.
    parameter: String,
    /// The value as text; `None` where it is absent.
    value: Option<String>,
    constraint: Constraint,
}

impl Failure {
    fn describe(&self) -> String {
        let value = self.value.as_ref().map_or_else(|| "null".to_owned(), |value| format!("'{value}'"));
        format!("Value {value} at '{}' failed to satisfy constraint: {}", self.path, self.constraint)
    }
}

#[derive(Clone, Debug)]
enum Constraint {
    Required,
    MinLength(usize),
    MaxLength(usize),
    Pattern(&'static str),
    Enum(&'static [&'static str]),
    Min(String),
    Max(String),
}

impl std::fmt::Display for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Required => f.write_str("Member must not be null"),
            Self::MinLength(min) => write!(f, "Member must have length greater than or equal to {min}"),
            Self::MaxLength(max) => write!(f, "Member must have length less than or equal to {max}"),
            Self::Pattern(source) => write!(f, "Member must satisfy regular expression pattern: {source}"),
            Self::Enum(values) => write!(f, "Member must satisfy enum value set: [{}]", values.join(", ")),
            Self::Min(min) => write!(f, "Member must have value greater than or equal to {min}"),
            Self::Max(max) => write!(f, "Member must have value less than or equal to {max}"),
        }
    }
}

/// Where a value stands, as a chain up to the input; turned into text only for a failure.
enum Path<'a> {
    Root,
    Member(&'a Path<'a>, &'static str),
    Item(&'a Path<'a>, usize),
    Entry(&'a Path<'a>, &'a str),
}

impl Path<'_> {
    fn text(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Member(Path::Root, name) => lower_first(name),
            Self::Member(parent, name) => format!("{}.{}", parent.text(), lower_first(name)),
            Self::Item(parent, index) => format!("{}.{}.member", parent.text(), index + 1),
            Self::Entry(parent, key) => format!("{}.{}.member", parent.text(), shorten(key)),
        }
    }

    /// The names as the API documentation spells them: `IpPermissions.PrefixListIds`.
    fn parameter(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Member(parent, name) => {
                let parent = parent.parameter();
                if parent.is_empty() { (*name).to_owned() } else { format!("{parent}.{name}") }
            }
            Self::Item(parent, _) | Self::Entry(parent, _) => parent.parameter(),
        }
    }

    fn member_name(&self) -> &'static str {
        match self {
            Self::Root => "",
            Self::Member(_, name) => name,
            Self::Item(parent, _) | Self::Entry(parent, _) => parent.member_name(),
        }
    }
}

fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

struct Check {
    failures: Vec<Failure>,
    total: usize,
    /// The first unsupported parameter that is present.
    unsupported: Option<String>,
}

impl Check {
    fn fail(&mut self, path: &Path<'_>, value: Option<String>, constraint: Constraint) {
        self.total += 1;
        if self.failures.len() < DESCRIBED {
            let parameter = path.member_name().to_owned();
            self.failures.push(Failure { path: path.text(), parameter, value, constraint });
        }
    }

    fn structure(&mut self, schema: &'static StructureSchema, value: &Value, path: &Path<'_>, hidden: bool) {
        for member in schema.members {
            let path = Path::Member(path, member.name);
            match (value.get(member.name), member.support) {
                (Some(_), Support::Unsupported) => {
                    self.unsupported.get_or_insert_with(|| path.parameter());
                }
                (Some(value), _) => self.value(member.shape, value, &path, hidden || member.sensitive),
                (None, _) if member.required => self.fail(&path, None, Constraint::Required),
                (None, _) => {}
            }
        }
    }

    fn value(&mut self, shape: &'static Shape, value: &Value, path: &Path<'_>, hidden: bool) {
        match (shape, value) {
            (Shape::Structure(schema), value) => self.structure(schema, value, path, hidden),
            (Shape::List { member, min, max, .. }, Value::List(items)) => {
                self.length(items.len(), *min, *max, path, || text(value, hidden));
                for (index, item) in items.iter().enumerate() {
                    self.value(member, item, &Path::Item(path, index), hidden);
                }
            }
            (Shape::Map { key, value: item, min, max, .. }, Value::Map(entries)) => {
                self.length(entries.len(), *min, *max, path, || text(value, hidden));
                for (name, entry) in entries {
                    let path = Path::Entry(path, name);
                    if let Shape::String(shape) = key {
                        self.string(shape, name, &path, hidden);
                    }
                    self.value(item, entry, &path, hidden);
                }
            }
            (Shape::String(shape), Value::String(text)) => self.string(shape, text, path, hidden),
            (Shape::Blob { min, max }, Value::Blob(bytes)) => {
                self.length(bytes.len(), *min, *max, path, || text(value, hidden));
            }
            (Shape::Integer { min, max } | Shape::Long { min, max }, Value::Integer(number)) => {
                self.range(number, min, max, path, hidden);
            }
            (Shape::Double { min, max }, Value::Float(number)) => self.range(number, min, max, path, hidden),
            _ => {}
        }
    }

    fn string(&mut self, shape: &'static StringShape, text: &str, path: &Path<'_>, hidden: bool) {
        let shown = || if hidden { "***".to_owned() } else { shorten(text) };
        // An enum's own values say all; constraints beside it would only repeat the failure.
        if !shape.values.is_empty() {
            if !shape.values.contains(&text) {
                self.fail(path, Some(shown()), Constraint::Enum(shape.values));
            }
            return;
        }
        self.length(text.chars().count(), shape.min, shape.max, path, shown);
        if let Some(pattern) = shape.pattern.filter(|pattern| !pattern.matches(text)) {
            self.fail(path, Some(shown()), Constraint::Pattern(pattern.source()));
        }
    }

    fn length(&mut self, length: usize, min: usize, max: usize, path: &Path<'_>, shown: impl Fn() -> String) {
        if length < min {
            self.fail(path, Some(shown()), Constraint::MinLength(min));
        }
        if length > max {
            self.fail(path, Some(shown()), Constraint::MaxLength(max));
        }
    }

    fn range<T: PartialOrd + ToString>(
        &mut self,
        number: &T,
        min: &T,
        max: &T,
        path: &Path<'_>,
        hidden: bool,
    ) {
        let shown = || Some(if hidden { "***".to_owned() } else { number.to_string() });
        if number < min {
            self.fail(path, shown(), Constraint::Min(min.to_string()));
        }
        if number > max {
            self.fail(path, shown(), Constraint::Max(max.to_string()));
        }
    }
}

/// A value as AWS prints it in messages: `[a, b]` for lists.
fn text(value: &Value, hidden: bool) -> String {
    if hidden {
        return "***".to_owned();
    }
    match value {
        Value::List(items) if items.iter().all(|item| item.as_str().is_some()) => {
            let items: Vec<&str> = items.iter().take(DESCRIBED).filter_map(Value::as_str).collect();
            shorten(&format!("[{}]", items.join(", ")))
        }
        Value::Map(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Blob(bytes) => format!("{} bytes", bytes.len()),
        // Nested values may hold what must not be shown.
        other => format!("<{}>", other.kind()),
    }
}
