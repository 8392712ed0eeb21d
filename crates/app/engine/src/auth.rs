//! Who makes a request, for which account and region, and whether they may.

use std::cell::LazyCell;

use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use pileus_core::{ApiError, Arn, Clock as _, Scope, SystemClock, Timestamp};
use pileus_model::Value;
use pileus_network::vpc_endpoint::VpcEndpoint;
use pileus_security::policy::{ContextKeys, Policy};
use pileus_security::{
    Access, Question, authorize_through, authorize_with, denial, is_administrator, is_issued, questions,
};
use pileus_service::{Caller, Described, Router};
use pileus_state::{State, Tx};
use pileus_wire::Call;
use pileus_wire::sigv4::{self, AuthError, Key};

use crate::server::door::{Arrival, Door};

/// A caller whose signature is right, and where the request goes.
pub(crate) struct Identity {
    pub(crate) caller: Caller,
    pub(crate) scope: Scope,
    /// The key that it signed with.
    pub(crate) access_key: String,
}

/// Verifies the signature of a request for `call`, in its header or its query string. Sessions end by the engine's clock,
/// `engine_now`. What comes from elsewhere than loopback must be signed with a key that was issued here.
///
/// # Errors
/// AWS's error for a missing, malformed, late or wrong signature.
pub(crate) fn authenticate(
    state: &State,
    call: &Call,
    parts: &Parts,
    body: &Bytes,
    engine_now: Timestamp,
) -> Result<Identity, ApiError> {
    let service = call.operation.service;
    let local = Arrival::of(parts).is_loopback();
    // Clients sign with the machine's time, whatever the engine's clock says.
    let now = SystemClock::new(1.0).now();
    let mut failure = None;
    let mut caller = None;
    let lookup = |access_key: &str| {
        let known = if local || is_issued(access_key) {
            pileus_security::authenticate(state, access_key, engine_now)
        } else {
            Err(pileus_security::AuthFailure::Unknown)
        };
        match known {
            Ok(credential) => {
                caller = Some((credential.caller, access_key.to_owned()));
                // Its end has been looked at already.
                let session = credential.session_token.map(|token| (token, Timestamp::from_millis(i64::MAX)));
                Some(Key { secret: credential.secret, session })
            }
            Err(error) => {
                failure = Some(error);
                None
            }
        }
    };
    let verified = sigv4::verify(parts, body, service.signing_name, lookup, now);
    let verified = verified.map_err(|error| match failure {
        Some(pileus_security::AuthFailure::Expired) => {
            AuthError::ExpiredToken.into_api(call.dialect.protocol)
        }
        _ => error.into_api(call.dialect.protocol),
    })?;
    let (caller, access_key) = caller.expect("a signature is verified with the key of a caller");
    let scope = Scope::new(&caller.account, &verified.scope.region);
    let scope = if service.name == "iam" { scope.global() } else { scope };
    Ok(Identity { caller, scope, access_key })
}

/// What decides whether a request is allowed.
pub(crate) struct Asked<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) call: &'a Call,
    pub(crate) input: &'a Value,
    pub(crate) parts: &'a Parts,
    pub(crate) now: Timestamp,
}

/// Checks the policies of the caller, of the resources, and of the VPC endpoint that the request came through.
///
/// # Errors
/// AWS's denial.
pub(crate) fn authorize(state: &State, router: &Router, asked: &Asked) -> Result<(), ApiError> {
    let (identity, operation) = (asked.identity, asked.call.operation);
    // AWS lets everybody ask who they are and shorten the life of their own credentials, and a role's trust policy alone
    // may let somebody assume it: that handler decides for itself.
    let free = ["GetCallerIdentity", "GetSessionToken", "AssumeRole"];
    if operation.service.name == "sts" && free.contains(&operation.name) {
        return Ok(());
    }
    let tx = Tx::new(state, identity.scope.clone());
    let arrival = Arrival::of(asked.parts);
    let endpoint = endpoint(state, &arrival);
    let policy = endpoint.as_deref().and_then(VpcEndpoint::policy);
    let global = LazyCell::new(|| global_keys(asked, &arrival, endpoint.as_deref()));
    let service = prefix(operation.access.action);
    for question in questions(operation, asked.input, &identity.scope, &identity.caller) {
        let foreign = prefix(&question.action) != service;
        check(&tx, router, &identity.caller, question, &|| &global, policy.as_ref()).map_err(|error| {
            // That a role may not be passed is said by the service that it is passed to.
            if foreign { denial(service, &error.message) } else { error }
        })?;
    }
    Ok(())
}

/// The service of an action.
fn prefix(action: &str) -> &str {
    action.split(':').next().unwrap_or_default()
}

fn check<'a>(
    tx: &Tx,
    router: &Router,
    caller: &Caller,
    question: Question,
    global: &dyn Fn() -> &'a ContextKeys,
    endpoint_policy: Option<&Policy>,
) -> Result<(), ApiError> {
    let Question { action, resource, mut keys } = question;
    let known = router.describe(tx, &resource);
    let known = known.unwrap_or_else(|| Described { arn: resource, ..Described::default() });
    // Nobody asks for more of an administrator: most requests of most clients end here.
    if is_administrator(caller) && known.policy.is_none() && endpoint_policy.is_none() {
        return authorize_with(
            tx,
            caller,
            Access { action: &action, resource: &known.arn, ..Access::default() },
        );
    }
    keys.extend(global().iter().map(|(key, values)| (key.clone(), values.clone())));
    let service = prefix(&action);
    for (key, value) in &known.tags {
        let key = key.to_lowercase();
        keys.insert(format!("{service}:resourcetag/{key}"), vec![value.clone()]);
        keys.insert(format!("aws:resourcetag/{key}"), vec![value.clone()]);
    }
    if let Some(owner) = Arn::parse(&known.arn).map(|arn| arn.account).filter(|owner| !owner.is_empty()) {
        keys.insert("aws:resourceaccount".into(), vec![owner.to_owned()]);
    }
    let access = Access {
        action: &action,
        resource: &known.arn,
        owner: None,
        resource_policy: known.policy.as_deref(),
        keys,
    };
    if let Some(policy) = endpoint_policy {
        authorize_through(tx, caller, policy, &access)?;
    }
    authorize_with(tx, caller, access)
}

/// The VPC endpoint that a request came through.
fn endpoint(state: &State, arrival: &Arrival) -> Option<std::sync::Arc<VpcEndpoint>> {
    match &arrival.door {
        Door::Endpoint { scope, id } => state.get::<VpcEndpoint>(scope, id),
        Door::Loopback | Door::Internet => None,
    }
}

/// The condition keys that every request has.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>
fn global_keys(asked: &Asked, arrival: &Arrival, endpoint: Option<&VpcEndpoint>) -> ContextKeys {
    let header = |headers: &HeaderMap, name| headers.get(name)?.to_str().ok().map(str::to_owned);
    let headers = &asked.parts.headers;
    let region = &asked.identity.scope.region;
    let region = if asked.identity.scope == asked.identity.scope.global() { "us-east-1" } else { region };
    let mut keys: ContextKeys = [
        ("aws:requestedregion", region.to_owned()),
        ("aws:currenttime", asked.now.format("%Y-%m-%dT%H:%M:%SZ")),
        ("aws:epochtime", (asked.now.millis() / 1000).to_string()),
        // No request leaves this host, which is what policies want of TLS.
        ("aws:securetransport", "true".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), vec![value]))
    .into();
    let optional = [
        ("aws:useragent", header(headers, "user-agent")),
        ("aws:referer", header(headers, "referer")),
        // As at AWS: an address is public, or it is one of a VPC.
        ("aws:sourceip", endpoint.is_none().then(|| arrival.peer.to_string())),
        ("aws:vpcsourceip", endpoint.map(|_| arrival.peer.to_string())),
        ("aws:sourcevpce", endpoint.map(|endpoint| endpoint.id.clone())),
        ("aws:sourcevpc", endpoint.map(|endpoint| endpoint.vpc.clone())),
    ];
    keys.extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), vec![value?]))));
    keys
}
