//! What a role, a user or a group is granted: its inline policies, and the managed policies attached to it.

use std::collections::{BTreeMap, BTreeSet};

use pileus_aws::iam::{AttachedPermissionsBoundary, AttachedPolicy};
use pileus_core::{ApiError, Arn, Scope};
use pileus_model::Unit;
use pileus_service::Context;
use pileus_state::{Record, State, Tx};
use serde::{Deserialize, Serialize};

use crate::managed;
use crate::policy::{Kind, Malformed, Policy, parse};
use crate::text::{characters, limit_exceeded, no_such_entity, page, path_prefix, url_encoded};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Grants {
    /// Documents by name, as they were given.
    pub(crate) inline: BTreeMap<String, String>,
    /// ARNs of managed policies.
    pub(crate) attached: BTreeSet<String>,
}

impl Grants {
    /// All of them, read. `scope` is the global one of their owner.
    pub(crate) fn policies(&self, state: &State, scope: &Scope) -> Result<Vec<Policy>, Malformed> {
        let inline = self.inline.values().map(|document| parse(Kind::Identity, document));
        let attached = self.attached.iter().filter_map(|arn| managed::policy(state, scope, arn));
        inline.chain(attached).collect()
    }
}

/// Somebody who has policies.
pub(crate) trait Grantee: Record {
    /// As messages name it: `role`, `user`, `group`.
    const NAME: &'static str;
    /// The name of the quota of attached policies.
    const QUOTA: &'static str;
    /// Characters of all inline policies together, white space not counted.
    const MAX_INLINE: usize;

    /// The one of this name in the (global) scope of the transaction.
    fn named(tx: &Tx, name: &str) -> Result<Self, ApiError>;

    fn grants(&self) -> &Grants;

    fn grants_mut(&mut self) -> &mut Grants;
}

const MAX_ATTACHED: usize = 10;

fn no_inline<G: Grantee>(policy: &str) -> ApiError {
    no_such_entity(format!("The {} policy with name {policy} cannot be found.", G::NAME))
}

pub(crate) fn put_inline<G: Grantee>(
    cx: &mut Context,
    name: &str,
    policy: String,
    document: String,
) -> Result<Unit, ApiError> {
    let mut grantee = G::named(cx.tx, name)?;
    parse(Kind::Identity, &document)?;
    let inline = &mut grantee.grants_mut().inline;
    inline.insert(policy, document);
    if inline.values().map(|document| characters(document)).sum::<usize>() > G::MAX_INLINE {
        let message =
            format!("Maximum policy size of {} bytes exceeded for {} {name}", G::MAX_INLINE, G::NAME);
        return Err(limit_exceeded(message));
    }
    cx.tx.put(grantee);
    Ok(Unit {})
}

/// The document of an inline policy, as answers carry it.
pub(crate) fn inline<G: Grantee>(cx: &Context, name: &str, policy: &str) -> Result<String, ApiError> {
    let grantee = G::named(cx.tx, name)?;
    let document = grantee.grants().inline.get(policy).ok_or_else(|| no_inline::<G>(policy))?;
    Ok(url_encoded(document))
}

pub(crate) fn delete_inline<G: Grantee>(
    cx: &mut Context,
    name: &str,
    policy: &str,
) -> Result<Unit, ApiError> {
    let mut grantee = G::named(cx.tx, name)?;
    grantee.grants_mut().inline.remove(policy).ok_or_else(|| no_inline::<G>(policy))?;
    cx.tx.put(grantee);
    Ok(Unit {})
}

/// A page of the names of inline policies.
pub(crate) fn list_inline<G: Grantee>(
    cx: &Context,
    name: &str,
    marker: Option<&str>,
    max_items: Option<i64>,
) -> Result<(Vec<String>, Option<String>), ApiError> {
    let names = G::named(cx.tx, name)?.grants().inline.keys().cloned().collect();
    page(names, String::clone, marker, max_items)
}

/// Attaching what is attached succeeds, as in AWS.
pub(crate) fn attach<G: Grantee>(cx: &mut Context, name: &str, arn: String) -> Result<Unit, ApiError> {
    let mut grantee = G::named(cx.tx, name)?;
    managed::attachable(cx.tx, &arn)?;
    let attached = &mut grantee.grants_mut().attached;
    attached.insert(arn);
    if attached.len() > MAX_ATTACHED {
        return Err(limit_exceeded(format!("Cannot exceed quota for {}: {MAX_ATTACHED}", G::QUOTA)));
    }
    cx.tx.put(grantee);
    Ok(Unit {})
}

pub(crate) fn detach<G: Grantee>(cx: &mut Context, name: &str, arn: &str) -> Result<Unit, ApiError> {
    let mut grantee = G::named(cx.tx, name)?;
    if !grantee.grants_mut().attached.remove(arn) {
        return Err(no_such_entity(format!("Policy {arn} was not found.")));
    }
    cx.tx.put(grantee);
    Ok(Unit {})
}

/// A page of the attached policies below a path.
pub(crate) fn list_attached<G: Grantee>(
    cx: &Context,
    name: &str,
    prefix: Option<&str>,
    marker: Option<&str>,
    max_items: Option<i64>,
) -> Result<(Vec<AttachedPolicy>, Option<String>), ApiError> {
    let grantee = G::named(cx.tx, name)?;
    let prefix = path_prefix(prefix)?;
    let found = |arn: &String| managed::find(cx.tx, arn).filter(|policy| policy.path.starts_with(prefix));
    let below = grantee.grants().attached.iter().filter(|arn| found(arn).is_some()).cloned().collect();
    let (arns, marker) = page(below, String::clone, marker, max_items)?;
    Ok((arns.into_iter().map(attached).collect(), marker))
}

pub(crate) fn attached(arn: String) -> AttachedPolicy {
    let name = Arn::parse(&arn).map(|arn| arn.name().to_owned());
    AttachedPolicy { policy_name: name, policy_arn: Some(arn) }
}

/// A permissions boundary, as shapes carry it.
pub(crate) fn boundary_shape(arn: Option<&str>) -> Option<AttachedPermissionsBoundary> {
    arn.map(|arn| AttachedPermissionsBoundary {
        permissions_boundary_type: Some("PermissionsBoundaryPolicy".into()),
        permissions_boundary_arn: Some(arn.to_owned()),
    })
}

/// The boundary that a request asks for: a policy that there is.
pub(crate) fn boundary(cx: &Context, arn: Option<String>) -> Result<Option<String>, ApiError> {
    if let Some(arn) = &arn
        && managed::find(cx.tx, arn).is_none()
    {
        return Err(no_such_entity(format!("Scope ARN: {arn} does not exist or is not attachable.")));
    }
    Ok(arn)
}
