//! Endpoint policies: what may be done through an endpoint.
//! <https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-endpoints-access.html>

use pileus_core::ApiError;
use pileus_security::policy::{self, Kind, Policy};

use super::{VpcEndpoint, Way};

/// The policy of an endpoint that was given none, as AWS writes it for the two types.
const INTERFACE: &str = "{\n  \"Statement\": [\n    {\n      \"Action\": \"*\", \n      \"Effect\": \"Allow\", \n      \
     \"Principal\": \"*\", \n      \"Resource\": \"*\"\n    }\n  ]\n}";
const GATEWAY: &str = "{\"Version\":\"2008-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\
     \"Action\":\"*\",\"Resource\":\"*\"}]}";

/// A policy that a client gives.
pub(super) fn check(document: Option<String>) -> Result<Option<String>, ApiError> {
    let Some(document) = document.filter(|document| !document.is_empty()) else { return Ok(None) };
    match policy::parse(Kind::Resource, &document) {
        Ok(_) => Ok(Some(document)),
        Err(problem) => Err(ApiError::client("InvalidPolicyDocument", problem.to_string())),
    }
}

impl VpcEndpoint {
    /// As the API shows it.
    pub(super) fn policy_document(&self) -> String {
        let default = match self.way {
            Way::Interface { .. } => INTERFACE,
            Way::Gateway { .. } => GATEWAY,
        };
        self.policy.clone().unwrap_or_else(|| default.to_owned())
    }

    /// What must allow whatever is asked for through this endpoint; `None` allows everything.
    pub fn policy(&self) -> Option<Policy> {
        // It was read when it was given.
        policy::parse(Kind::Resource, self.policy.as_ref()?).ok()
    }
}
