//! Whose resources: every record belongs to one partition, account and region.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `(partition, account, region)`. Global services (IAM) use the region `"aws-global"`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope {
    pub partition: String,
    pub account: String,
    pub region: String,
}

impl Scope {
    /// The account that the credentials `test`/`test` stand for.
    pub const DEFAULT_ACCOUNT: &str = "000000000000";
    pub const DEFAULT_REGION: &str = "us-east-1";
    const GLOBAL_REGION: &str = "aws-global";

    pub fn new(account: &str, region: &str) -> Self {
        Self { partition: "aws".into(), account: account.into(), region: region.into() }
    }

    /// The scope of the same account's global resources.
    pub fn global(&self) -> Self {
        Self { region: Self::GLOBAL_REGION.into(), ..self.clone() }
    }

    /// An ARN of a resource in this scope; `resource` is all that follows the account.
    pub fn arn(&self, service: &str, resource: impl fmt::Display) -> String {
        let region = if self.region == Self::GLOBAL_REGION { "" } else { &self.region };
        format!("arn:{}:{service}:{region}:{}:{resource}", self.partition, self.account)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.partition, self.account, self.region)
    }
}
