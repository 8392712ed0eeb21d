//! Becoming a role.
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>

use std::time::Duration;

use pileus_aws::sts::{
    AssumeRoleRequest, AssumeRoleResponse, AssumedRoleUser, PolicyDescriptorType, Tag, ops,
};
use pileus_core::{ApiError, Arn, Scope, Tags, tags};
use pileus_service::{Caller, Context, Router};
use pileus_state::Tx;

use super::credentials;
use crate::authorize::{Access, allowed, denied, is_administrator, verdict};
use crate::managed;
use crate::mint::Mint;
use crate::policy::{
    Applying, ContextKeys, Kind, Policy, Principal, Relation, Request, Source, Verdict, evaluate, parse,
};
use crate::role::{self, Role};
use crate::session::{self, Holder, Limits, Session};
use crate::text::{characters, invalid};

const ACTION: &str = "sts:AssumeRole";
/// The longest session, in seconds, that a role session can start.
const MAX_CHAINED: i64 = 3600;
const MAX_POLICIES: usize = 10;
/// Characters of a session policy, and of all of them together.
const MAX_POLICY: usize = 2048;

pub(super) fn operations(router: &mut Router) {
    router.on::<ops::AssumeRole>(assume_role);
}

/// Unlike AWS, an account's root may assume roles: here it is the only administrator there is at first.
fn assume_role(cx: &mut Context, input: AssumeRoleRequest) -> Result<AssumeRoleResponse, ApiError> {
    let named = Arn::parse(&input.role_arn)
        .filter(|arn| arn.service == "iam" && arn.resource.starts_with("role/"))
        .ok_or_else(|| invalid(format!("{} is invalid", input.role_arn)))?;
    let scope = Scope::new(named.account, Scope::DEFAULT_REGION).global();
    let caller = cx.caller;
    let role = cx.tx.within(scope.clone(), |tx| role::get(tx, named.name()));
    // Whether a role exists is nobody's business who may not assume it.
    let unknown = || denied(caller, ACTION, &input.role_arn, "");
    let role = role.filter(|role| role.arn(&scope) == input.role_arn).ok_or_else(unknown)?;
    let documents = cx.tx.within(scope.clone(), |tx| {
        session_policies(tx, input.policy.as_deref(), input.policy_arns.as_deref())
    })?;
    let limits = limits(cx.tx, caller, &input, documents)?;
    check_trust(cx.tx, caller, &role, &input, &limits)?;
    let seconds = input.duration_seconds.unwrap_or(3600);
    check_duration(caller, &role, seconds)?;
    let lifetime = Duration::from_secs(seconds.unsigned_abs());
    let (now, entropy) = (cx.now, cx.entropy);
    let mut mint = Mint { ids: cx.ids, entropy };
    let source_identity = limits.source_identity.clone();
    let session_name = input.role_session_name;
    let user = AssumedRoleUser {
        assumed_role_id: Some(format!("{}:{session_name}", role.id)),
        arn: Some(scope.arn("sts", format_args!("assumed-role/{}/{session_name}", role.name))),
    };
    let session = cx.tx.within(scope, |tx| {
        let of = Holder::Role { name: role.name, id: role.id, session: session_name };
        session::start(tx, &mut mint, of, limits, lifetime, now)
    });
    Ok(AssumeRoleResponse {
        credentials: Some(credentials(session)),
        assumed_role_user: Some(user),
        packed_policy_size: None,
        source_identity,
    })
}

/// The documents of a session's own policies; `None` where it has none.
pub(super) fn session_policies(
    tx: &Tx,
    inline: Option<&str>,
    arns: Option<&[PolicyDescriptorType]>,
) -> Result<Option<Vec<String>>, ApiError> {
    let arns: Vec<&str> = arns.unwrap_or_default().iter().filter_map(|named| named.arn.as_deref()).collect();
    if arns.len() > MAX_POLICIES {
        return Err(invalid(format!("At most {MAX_POLICIES} managed policies can be passed.")));
    }
    let mut documents: Vec<String> = inline.map(str::to_owned).into_iter().collect();
    if let Some(document) = inline {
        parse(Kind::Identity, document)?;
        if characters(document) > MAX_POLICY {
            return Err(ApiError::client(
                "PackedPolicyTooLarge",
                "Packed size of session policy consumes 200% of allotted space.",
            ));
        }
    }
    for arn in arns {
        documents.push(managed::attachable(tx, arn)?.document().to_owned());
    }
    Ok(Some(documents).filter(|documents| !documents.is_empty()))
}

/// What the caller gives the session. Transitive tags of the caller's own session, and who it was at first, go on.
fn limits(
    tx: &Tx,
    caller: &Caller,
    input: &AssumeRoleRequest,
    policies: Option<Vec<String>>,
) -> Result<Limits, ApiError> {
    let mut tags = request_tags(input.tags.as_deref().unwrap_or_default())?;
    let mut transitive = input.transitive_tag_keys.clone().unwrap_or_default();
    if let Some(key) = transitive.iter().find(|key| !tags.contains_key(*key)) {
        return Err(invalid(format!("The transitive tag key {key} is not among the session tags.")));
    }
    let own = Scope::new(&caller.account, Scope::DEFAULT_REGION).global();
    let own = caller.session.as_ref().and_then(|key| tx.base().get::<Session>(&own, key));
    let mut source_identity = input.source_identity.clone();
    if let Some(own) = own {
        for (key, value) in &own.limits.tags {
            if own.limits.transitive.contains(key) {
                if tags.insert(key.clone(), value.clone()).is_some_and(|given| given != *value) {
                    return Err(invalid(format!(
                        "The session tag {key} is inherited and cannot be changed."
                    )));
                }
                transitive.push(key.clone());
            }
        }
        source_identity = own.limits.source_identity.clone().or(source_identity);
    }
    Ok(Limits { policies, tags, transitive, source_identity })
}

pub(super) fn request_tags(list: &[Tag]) -> Result<Tags, ApiError> {
    let mut all = Tags::new();
    for tag in list {
        if all.keys().any(|key| key.eq_ignore_ascii_case(&tag.key)) {
            return Err(invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive."));
        }
        all.insert(tag.key.clone(), tag.value.clone());
    }
    tags::check(&all, "ValidationError")?;
    Ok(all)
}

/// The trust policy must allow the caller. If it names the caller's account only, or the role is in another account,
/// the caller's own policies must allow it too. Tags and a source identity need permissions of their own.
fn check_trust(
    tx: &Tx,
    caller: &Caller,
    role: &Role,
    input: &AssumeRoleRequest,
    limits: &Limits,
) -> Result<(), ApiError> {
    let mut keys = ContextKeys::from([("sts:rolesessionname".into(), vec![input.role_session_name.clone()])]);
    keys.extend(input.external_id.iter().map(|id| ("sts:externalid".to_owned(), vec![id.clone()])));
    keys.extend(limits.source_identity.iter().map(|it| ("sts:sourceidentity".to_owned(), vec![it.clone()])));
    for (key, value) in &limits.tags {
        keys.insert(format!("aws:requesttag/{}", key.to_lowercase()), vec![value.clone()]);
    }
    let tag_keys: Vec<String> = limits.tags.keys().cloned().collect();
    keys.extend((!tag_keys.is_empty()).then(|| ("aws:tagkeys".to_owned(), tag_keys)));
    keys.extend(
        limits.transitive.first().map(|_| ("sts:transitivetagkeys".to_owned(), limits.transitive.clone())),
    );
    let trust = role.trust()?;
    let named = Arn::parse(&input.role_arn).map(|arn| arn.account);
    let foreign = named != Some(caller.account.as_str());
    let relation = if foreign { Relation::OtherAccount } else { Relation::Trust };
    let tagged = input.tags.as_ref().is_some_and(|tags| !tags.is_empty());
    let wanted = [
        (ACTION, true),
        ("sts:TagSession", tagged),
        ("sts:SetSourceIdentity", input.source_identity.is_some()),
    ];
    for (action, _) in wanted.into_iter().filter(|(_, asked)| *asked) {
        let access = Access { action, resource: &input.role_arn, keys: keys.clone(), ..Access::default() };
        match verdict(tx, caller, &access, Some(&trust), relation)? {
            // Nothing is told of somebody else's trust policy.
            Verdict::ImplicitDeny(Source::Resource) => {
                return Err(denied(caller, action, &input.role_arn, ""));
            }
            verdict => allowed(caller, action, &input.role_arn, verdict)?,
        }
    }
    Ok(())
}

fn check_duration(caller: &Caller, role: &Role, seconds: i64) -> Result<(), ApiError> {
    if seconds > role.max_session_seconds {
        return Err(invalid(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ));
    }
    let chained = caller.arn.contains(":assumed-role/");
    if seconds > MAX_CHAINED && chained && !is_administrator(caller) {
        return Err(invalid(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
        ));
    }
    Ok(())
}

/// Whether the role lets a service have it, on behalf of a resource of this account.
pub(crate) fn trusts_service(
    role: &Role,
    service: &str,
    role_arn: &str,
    account: &str,
    source_arn: &str,
) -> Result<bool, ApiError> {
    let keys = ContextKeys::from([
        ("aws:sourceaccount".to_owned(), vec![account.to_owned()]),
        ("aws:sourcearn".to_owned(), vec![source_arn.to_owned()]),
    ]);
    let request = Request { action: ACTION, resource: role_arn, keys: &keys };
    let trust: Policy = role.trust()?;
    let applying = Applying {
        identity: &[],
        boundary: None,
        session: None,
        resource: Some(&trust),
        relation: Relation::Trust,
    };
    Ok(evaluate(&applying, &Principal::Service(service), &request) == Verdict::Allow)
}
