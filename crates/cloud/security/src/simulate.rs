//! What would be decided: the same evaluation as of real requests.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html>

use std::collections::BTreeSet;

use pileus_aws::iam::{
    ContextEntry, EvaluationResult, GetContextKeysForCustomPolicyRequest, GetContextKeysForPolicyResponse,
    GetContextKeysForPrincipalPolicyRequest, PermissionsBoundaryDecisionDetail, SimulateCustomPolicyRequest,
    SimulatePolicyResponse, SimulatePrincipalPolicyRequest, ops,
};
use pileus_core::{ApiError, Arn};
use pileus_service::{Caller, Context, Router};

use crate::authorize::is_foreign;
use crate::global::globally;
use crate::grants::Grantee as _;
use crate::group::Group;
use crate::policy::{Applying, ContextKeys, Kind, Policy, Relation, Request, Verdict, evaluate, parse};
use crate::role;
use crate::subject::Subject;
use crate::text::{invalid, no_such_entity, page};
use crate::user::User;

/// Decisions of one request.
const MAX_DECISIONS: usize = 10_000;

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::SimulateCustomPolicy>(|cx, input| globally(cx, |cx| simulate_custom(cx, input)))
        .on::<ops::SimulatePrincipalPolicy>(|cx, input| globally(cx, |cx| simulate_principal(cx, input)))
        .on::<ops::GetContextKeysForCustomPolicy>(|_, input| keys_of_custom(&input))
        .on::<ops::GetContextKeysForPrincipalPolicy>(|cx, input| {
            globally(cx, |cx| keys_of_principal(cx, &input))
        });
}

/// What is asked in both forms.
struct Question {
    actions: Vec<String>,
    resources: Vec<String>,
    resource_policy: Option<Policy>,
    resource_owner: Option<String>,
    entries: Vec<ContextEntry>,
    marker: Option<String>,
    max_items: Option<i64>,
}

fn documents(list: &[String]) -> Result<Vec<Policy>, ApiError> {
    list.iter().map(|document| Ok(parse(Kind::Identity, document)?)).collect()
}

fn simulate_custom(
    cx: &mut Context,
    input: SimulateCustomPolicyRequest,
) -> Result<SimulatePolicyResponse, ApiError> {
    let account = &cx.scope().account;
    let arn = input.caller_arn.unwrap_or_else(|| format!("arn:aws:iam::{account}:user/simulated"));
    let boundary = input.permissions_boundary_policy_input_list.as_deref().map(documents).transpose()?;
    let subject = Subject {
        account: Arn::parse(&arn).map_or(account.as_str(), |arn| arn.account).to_owned(),
        arn,
        issuer: None,
        identity: documents(&input.policy_input_list)?,
        boundary,
        session: None,
        keys: ContextKeys::new(),
    };
    let question = Question {
        actions: input.action_names,
        resources: input.resource_arns.unwrap_or_default(),
        resource_policy: input.resource_policy.map(|text| parse(Kind::Resource, &text)).transpose()?,
        resource_owner: input.resource_owner,
        entries: input.context_entries.unwrap_or_default(),
        marker: input.marker,
        max_items: input.max_items,
    };
    answer(&subject, question)
}

fn simulate_principal(
    cx: &mut Context,
    input: SimulatePrincipalPolicyRequest,
) -> Result<SimulatePolicyResponse, ApiError> {
    let mut subject = subject(cx, &input.policy_source_arn)?;
    if let Some(arn) = input.caller_arn {
        subject.arn = arn;
    }
    subject.identity.extend(documents(input.policy_input_list.as_deref().unwrap_or_default())?);
    if let Some(boundary) = input.permissions_boundary_policy_input_list {
        subject.boundary = Some(documents(&boundary)?);
    }
    let question = Question {
        actions: input.action_names,
        resources: input.resource_arns.unwrap_or_default(),
        resource_policy: input.resource_policy.map(|text| parse(Kind::Resource, &text)).transpose()?,
        resource_owner: input.resource_owner,
        entries: input.context_entries.unwrap_or_default(),
        marker: input.marker,
        max_items: input.max_items,
    };
    answer(&subject, question)
}

/// A user, group or role as enforcement sees it: a role as one of its sessions.
fn subject(cx: &Context, source: &str) -> Result<Subject, ApiError> {
    let scope = cx.scope().clone();
    let arn = Arn::parse(source).filter(|arn| arn.service == "iam" && arn.account == scope.account);
    let arn = arn.ok_or_else(|| {
        invalid(format!("Invalid Entity Arn: {source} does not clearly define entity type and name."))
    })?;
    let kind = arn.resource.split('/').next().unwrap_or_default();
    let missing = || no_such_entity(format!("The {kind} with name {} cannot be found.", arn.name()));
    match kind {
        "user" => {
            let user = User::named(cx.tx, arn.name())?;
            let caller = user.caller(&scope, None);
            if caller.arn != source {
                return Err(missing());
            }
            Subject::of(cx.tx.base(), &caller)
        }
        "role" => {
            let role = role::find(cx.tx, arn.name())?;
            if role.arn(&scope) != source {
                return Err(missing());
            }
            let caller = Caller {
                arn: scope.arn("sts", format_args!("assumed-role/{}/simulated", role.name)),
                account: scope.account.clone(),
                user_id: format!("{}:simulated", role.id),
                session: None,
            };
            Subject::of(cx.tx.base(), &caller)
        }
        "group" => {
            let group = Group::named(cx.tx, arn.name())?;
            Ok(Subject {
                arn: source.to_owned(),
                account: scope.account.clone(),
                issuer: None,
                identity: group.grants.policies(cx.tx.base(), &scope)?,
                boundary: None,
                session: None,
                keys: ContextKeys::new(),
            })
        }
        _ => Err(invalid(format!(
            "Invalid Entity Arn: {source} does not clearly define entity type and name."
        ))),
    }
}

fn answer(subject: &Subject, question: Question) -> Result<SimulatePolicyResponse, ApiError> {
    let mut keys = subject.keys.clone();
    for entry in question.entries {
        let name = entry.context_key_name.unwrap_or_default().to_ascii_lowercase();
        keys.insert(name, entry.context_key_values.unwrap_or_default());
    }
    let any = ["*".to_owned()];
    let resources = if question.resources.is_empty() { &any[..] } else { &question.resources[..] };
    let count = question.actions.len().saturating_mul(resources.len());
    if count > MAX_DECISIONS {
        return Err(invalid(format!("{count} decisions are asked for; at most {MAX_DECISIONS} are given.")));
    }
    let asked = question.actions.iter().flat_map(|action| resources.iter().map(move |arn| (action, arn)));
    let asked = asked.enumerate().collect();
    let order = |(index, _): &(usize, _)| format!("{index:08}");
    let (asked, marker) = page(asked, order, question.marker.as_deref(), question.max_items)?;
    let owner = question
        .resource_owner
        .as_deref()
        .map(|owner| Arn::parse(owner).map_or_else(|| owner.to_owned(), |arn| arn.account.to_owned()));
    let results = asked.into_iter().map(|(_, (action, resource))| {
        let request = Request { action, resource, keys: &keys };
        decide(subject, question.resource_policy.as_ref(), owner.as_deref(), &request)
    });
    Ok(SimulatePolicyResponse {
        evaluation_results: Some(results.collect()),
        is_truncated: Some(marker.is_some()),
        marker,
    })
}

fn decide(
    subject: &Subject,
    policy: Option<&Policy>,
    owner: Option<&str>,
    request: &Request,
) -> EvaluationResult {
    let foreign = is_foreign(owner, request.resource, &subject.account);
    let applying = Applying {
        identity: &subject.identity,
        boundary: subject.boundary.as_deref(),
        session: subject.session.as_deref(),
        resource: policy,
        relation: if foreign { Relation::OtherAccount } else { Relation::SameAccount },
    };
    let decision = match evaluate(&applying, &subject.principal(), request) {
        Verdict::Allow => "allowed",
        Verdict::ExplicitDeny(_) => "explicitDeny",
        Verdict::ImplicitDeny(_) => "implicitDeny",
    };
    let bounded = subject.boundary.as_deref().map(|boundary| {
        let alone = Applying {
            identity: boundary,
            boundary: None,
            resource: None,
            relation: Relation::SameAccount,
            ..applying
        };
        evaluate(&alone, &subject.principal(), request) == Verdict::Allow
    });
    EvaluationResult {
        eval_action_name: Some(request.action.to_owned()),
        eval_resource_name: Some(request.resource.to_owned()),
        eval_decision: Some(decision.to_owned()),
        matched_statements: Some(Vec::new()),
        missing_context_values: Some(missing_keys(subject, policy, request.keys)),
        permissions_boundary_decision_detail: bounded.map(|allowed| PermissionsBoundaryDecisionDetail {
            allowed_by_permissions_boundary: Some(allowed),
        }),
        ..Default::default()
    }
}

/// The condition keys that policies ask for and the request does not give.
fn missing_keys(subject: &Subject, policy: Option<&Policy>, given: &ContextKeys) -> Vec<String> {
    let boundary = subject.boundary.iter().flatten();
    let asked: BTreeSet<String> =
        subject.identity.iter().chain(boundary).chain(policy).flat_map(Policy::context_keys).collect();
    asked.into_iter().filter(|key| !given.contains_key(&key.to_ascii_lowercase())).collect()
}

fn named_keys<'a>(policies: impl IntoIterator<Item = &'a Policy>) -> GetContextKeysForPolicyResponse {
    let keys: BTreeSet<String> = policies.into_iter().flat_map(Policy::context_keys).collect();
    GetContextKeysForPolicyResponse { context_key_names: Some(keys.into_iter().collect()) }
}

fn keys_of_custom(
    input: &GetContextKeysForCustomPolicyRequest,
) -> Result<GetContextKeysForPolicyResponse, ApiError> {
    Ok(named_keys(&documents(&input.policy_input_list)?))
}

fn keys_of_principal(
    cx: &mut Context,
    input: &GetContextKeysForPrincipalPolicyRequest,
) -> Result<GetContextKeysForPolicyResponse, ApiError> {
    let subject = subject(cx, &input.policy_source_arn)?;
    let given = documents(input.policy_input_list.as_deref().unwrap_or_default())?;
    Ok(named_keys(subject.identity.iter().chain(&given)))
}
