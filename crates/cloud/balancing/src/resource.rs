//! What the four kinds of resources have in common: an ARN made of scope and key, tags, and a way to be found.
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html>

use std::sync::Arc;

use pileus_core::{ApiError, Arn, Scope, Tags};
use pileus_state::{Record, Tx};

/// A load balancer, target group, listener or rule.
pub(crate) trait Resource: Record {
    /// What precedes the key in the ARN's resource part, such as `loadbalancer/`.
    const PREFIX: &'static str;
    /// What messages call it.
    const NOUN: &'static str;
    /// The code of the error that none was found.
    const NOT_FOUND: &'static str;

    fn tags(&self) -> &Tags;
    fn tags_mut(&mut self) -> &mut Tags;

    fn arn(&self, scope: &Scope) -> String {
        arn::<Self>(scope, &self.key())
    }
}

pub(crate) fn arn<R: Resource>(scope: &Scope, key: &str) -> String {
    scope.arn("elasticloadbalancing", format_args!("{}{key}", R::PREFIX))
}

/// The resource of this scope that `arn` names.
///
/// # Errors
/// The text is no ARN of this kind, or there is no such resource.
pub(crate) fn find<R: Resource>(tx: &Tx, arn: &str) -> Result<Arc<R>, ApiError> {
    key::<R>(tx.scope(), arn)?.and_then(|key| tx.get(key)).ok_or_else(not_found::<R>)
}

/// The key in `arn`, or none where it names another account or region.
pub(crate) fn key<'a, R: Resource>(scope: &Scope, arn: &'a str) -> Result<Option<&'a str>, ApiError> {
    let parsed = Arn::parse(arn).filter(|arn| arn.service == "elasticloadbalancing");
    let key = parsed.and_then(|arn| Some((arn, arn.resource.strip_prefix(R::PREFIX)?)));
    let Some((arn, key)) = key else {
        return Err(invalid(format!("'{arn}' is not a valid {} ARN", R::NOUN)));
    };
    Ok((arn.account == scope.account && arn.region == scope.region).then_some(key))
}

pub(crate) fn not_found<R: Resource>() -> ApiError {
    ApiError::client(R::NOT_FOUND, format!("One or more {}s not found", R::NOUN))
}

/// The service's general complaint about a parameter.
pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::client("ValidationError", message)
}

/// One page of `items`, which are ordered by `key`; at most 400, as AWS.
pub(crate) fn page<T>(
    items: Vec<T>,
    key: impl Fn(&T) -> String,
    marker: Option<&str>,
    size: Option<i64>,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(400);
    let bad = || invalid(format!("Marker '{}' is not valid", marker.unwrap_or_default()));
    pileus_core::paginate(items, key, marker, size, bad)
}

/// Checks the name of a load balancer or target group, of which `noun` tells in messages.
pub(crate) fn check_name(noun: &str, name: &str) -> Result<(), ApiError> {
    let problem = if name.is_empty() {
        "must not be empty".to_owned()
    } else if name.len() > 32 {
        "cannot be longer than '32' characters".to_owned()
    } else if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        "can only contain characters that are alphanumeric characters and hyphens(-)".to_owned()
    } else if name.starts_with('-') || name.ends_with('-') {
        "cannot begin or end with a hyphen(-)".to_owned()
    } else {
        return Ok(());
    };
    Err(invalid(format!("The {noun} name '{name}' {problem}")))
}
