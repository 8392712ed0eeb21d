//! The decision over all policies that bear on a request, in AWS's order.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html>

use super::{Effect, Policy, Principal, Reach, Request};

/// The policies that bear on a request.
#[derive(Clone, Copy, Debug)]
pub struct Applying<'a> {
    /// Those of the user and its groups, or of the role.
    pub identity: &'a [Policy],
    pub boundary: Option<&'a [Policy]>,
    /// Those with which the session was started.
    pub session: Option<&'a [Policy]>,
    /// That of the resource.
    pub resource: Option<&'a Policy>,
    pub relation: Relation,
}

/// What the policy of the resource counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Resource and caller are of one account: either side may allow.
    SameAccount,
    /// The same, but the policy of the resource must allow: a role's trust policy.
    Trust,
    /// Both sides must allow.
    OtherAccount,
}

/// Where a decision comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Identity,
    Resource,
    Boundary,
    Session,
    Endpoint,
}

impl Source {
    /// As AWS's denials name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity-based policy",
            Self::Resource => "resource-based policy",
            Self::Boundary => "permissions boundary",
            Self::Session => "session policy",
            Self::Endpoint => "VPC endpoint policy",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    /// A statement there denies: final.
    ExplicitDeny(Source),
    /// No statement there allows.
    ImplicitDeny(Source),
}

/// Decides. An explicit deny anywhere comes first; then each kind of policy that there is must allow, except that
/// within an account the policy of the resource can stand in for the others.
pub fn evaluate(policies: &Applying, principal: &Principal, request: &Request) -> Verdict {
    if let Some(source) = explicit_deny(policies, principal, request) {
        return Verdict::ExplicitDeny(source);
    }
    let reach = policies.resource.and_then(|policy| allowed_reach(policy, principal, request));
    if policies.relation != Relation::SameAccount && reach.is_none() {
        return Verdict::ImplicitDeny(Source::Resource);
    }
    let reach = reach.filter(|_| policies.relation != Relation::OtherAccount);
    if reach == Some(Reach::Itself) {
        return Verdict::Allow;
    }
    let identity = if reach == Some(Reach::Issuer) { None } else { Some(policies.identity) };
    let needed = [
        (Source::Identity, identity),
        (Source::Boundary, policies.boundary),
        (Source::Session, policies.session),
    ];
    let missing = needed.iter().find(|(_, policies)| policies.is_some_and(|some| !allows(some, request)));
    missing.map_or(Verdict::Allow, |(source, _)| Verdict::ImplicitDeny(*source))
}

fn explicit_deny(policies: &Applying, principal: &Principal, request: &Request) -> Option<Source> {
    let denies = |policies: Option<&[Policy]>| {
        policies.is_some_and(|some| {
            some.iter().any(|policy| policy.applying(Effect::Deny, request).next().is_some())
        })
    };
    let resource_denies =
        || policies.resource.is_some_and(|policy| denies_principal(policy, principal, request));
    if denies(Some(policies.identity)) {
        Some(Source::Identity)
    } else if resource_denies() {
        Some(Source::Resource)
    } else if denies(policies.boundary) {
        Some(Source::Boundary)
    } else {
        denies(policies.session).then_some(Source::Session)
    }
}

/// What the policy of the VPC endpoint that a request comes through says: it lets pass, and grants nothing.
pub fn through_endpoint(policy: &Policy, principal: &Principal, request: &Request) -> Verdict {
    if denies_principal(policy, principal, request) {
        Verdict::ExplicitDeny(Source::Endpoint)
    } else if allowed_reach(policy, principal, request).is_none() {
        Verdict::ImplicitDeny(Source::Endpoint)
    } else {
        Verdict::Allow
    }
}

fn denies_principal(policy: &Policy, principal: &Principal, request: &Request) -> bool {
    policy.applying(Effect::Deny, request).any(|it| it.principals.reach(principal).is_some())
}

fn allows(policies: &[Policy], request: &Request) -> bool {
    policies.iter().any(|policy| policy.applying(Effect::Allow, request).next().is_some())
}

fn allowed_reach(policy: &Policy, principal: &Principal, request: &Request) -> Option<Reach> {
    policy.applying(Effect::Allow, request).filter_map(|it| it.principals.reach(principal)).max()
}
