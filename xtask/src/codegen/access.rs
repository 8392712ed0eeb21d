//! What callers must be allowed to do, `authorization.toml`: an entry for each operation. Its own head explains the
//! format. Entries of operations that are not implemented are ignored.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

pub(crate) type Access = BTreeMap<String, ServiceAccess>;

#[derive(Default, Deserialize)]
pub(crate) struct ServiceAccess {
    #[serde(default)]
    service: ServiceDefaults,
    #[serde(flatten)]
    operations: BTreeMap<String, OperationAccess>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceDefaults {
    /// The prefix of its actions, where it is not the signing name.
    prefix: Option<String>,
    /// What its ARNs begin with.
    #[serde(default)]
    arn: String,
    /// The action that is needed to create something with tags.
    tagging: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(untagged)]
enum OperationAccess {
    #[default]
    Nothing,
    Resources(Vec<String>),
    Full(FullAccess),
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FullAccess {
    action: Option<String>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    keys: BTreeMap<String, String>,
    #[serde(default)]
    passes: BTreeMap<String, Vec<String>>,
    tagging: Option<String>,
}

pub(crate) fn read(path: &Path) -> anyhow::Result<Access> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("reading {}", path.display()))
}

impl ServiceAccess {
    /// The `AccessSchema` of an operation, as Rust.
    pub(crate) fn emit(&self, operation: &str, signing_name: &str) -> String {
        let access = match self.operations.get(operation).cloned().unwrap_or_default() {
            OperationAccess::Nothing => FullAccess::default(),
            OperationAccess::Resources(resources) => FullAccess { resources, ..FullAccess::default() },
            OperationAccess::Full(access) => access,
        };
        let prefix = self.service.prefix.as_deref().unwrap_or(signing_name);
        let action = access.action.unwrap_or_else(|| format!("{prefix}:{operation}"));
        let resources: Vec<String> = access.resources.iter().map(|template| self.expand(template)).collect();
        let mut keys = String::new();
        for (key, template) in &access.keys {
            let _ = write!(keys, "({:?}, {:?}),", key.to_lowercase(), self.expand(template));
        }
        let mut passes = String::new();
        for (service, templates) in &access.passes {
            for template in templates {
                let _ = write!(passes, "({service:?}, {template:?}),");
            }
        }
        let tagging =
            access.tagging.or_else(|| self.service.tagging.clone()).filter(|tagging| *tagging != action);
        format!(
            "&AccessSchema {{ action: {action:?}, resources: &{resources:?}, keys: &[{keys}], passes: &[{passes}], \
             tagging: {tagging:?} }}"
        )
    }

    /// A template that begins with `:` is the rest of an ARN of the service.
    fn expand(&self, template: &str) -> String {
        match template.strip_prefix(':') {
            Some(rest) => format!("{}{rest}", self.service.arn),
            None => template.to_owned(),
        }
    }
}
