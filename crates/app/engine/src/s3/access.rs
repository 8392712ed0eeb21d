//! Who makes a request, and whether they may: by their own policies, by the bucket's, and by what blocks the public.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-policy-language-overview.html>

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::HeaderMap;
use pileus_core::{ApiError, Scope, Timestamp};
use pileus_network::vpc_endpoint::VpcEndpoint;
use pileus_security::policy::{
    Applying, ContextKeys, Kind, Policy, Principal, Relation, Request, Verdict, evaluate, parse,
};
use pileus_security::{Access, AuthFailure, authorize_through, authorize_with, is_issued};
use pileus_service::Caller;
use pileus_state::{State, Tx};
use pileus_storage::Bucket;
use pileus_storage::error::{access_denied, no_such_bucket, not_implemented};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};

use super::actions::actions;
use super::addressing::text;
use super::convert::Refused;
use crate::api::Engine;
use crate::server::door::{Arrival, Door};

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Nobody signed it.
    Anybody,
    Caller(Caller),
}

/// Who makes a request, and the circumstances that policies ask about.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) who: Who,
    keys: ContextKeys,
    /// Of the VPC endpoint that the request came through.
    endpoint_policy: Option<Policy>,
}

/// Headers whose features do not exist here, with how they are called.
const REFUSED_HEADERS: [(&str, &str); 20] = [
    ("x-amz-server-side-encryption-customer-algorithm", "encryption with the customer's key (SSE-C)"),
    ("x-amz-server-side-encryption-customer-key", "encryption with the customer's key (SSE-C)"),
    (
        "x-amz-copy-source-server-side-encryption-customer-algorithm",
        "encryption with the customer's key (SSE-C)",
    ),
    ("x-amz-server-side-encryption-context", "encryption contexts of KMS"),
    ("x-amz-object-lock-mode", "object lock"),
    ("x-amz-object-lock-retain-until-date", "object lock"),
    ("x-amz-grant-full-control", "grants in ACLs; a bucket policy can say the same"),
    ("x-amz-grant-read", "grants in ACLs; a bucket policy can say the same"),
    ("x-amz-grant-read-acp", "grants in ACLs; a bucket policy can say the same"),
    ("x-amz-grant-write", "grants in ACLs; a bucket policy can say the same"),
    ("x-amz-grant-write-acp", "grants in ACLs; a bucket policy can say the same"),
    ("x-amz-website-redirect-location", "websites"),
    ("x-amz-write-offset-bytes", "appending to objects"),
    ("x-amz-mfa", "MFA delete"),
    ("x-amz-bucket-namespace", "namespaces of buckets"),
    ("x-amz-checksum-sha512", "the checksum algorithm SHA512"),
    ("x-amz-checksum-md5", "the checksum algorithm MD5"),
    ("x-amz-checksum-xxhash64", "the checksum algorithm XXHASH64"),
    ("x-amz-checksum-xxhash3", "the checksum algorithm XXHASH3"),
    ("x-amz-checksum-xxhash128", "the checksum algorithm XXHASH128"),
];

/// Looks up secrets for `s3s`, which verifies signatures.
pub(super) struct Keys(pub(super) Arc<Engine>);

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let found = pileus_security::authenticate(&self.0.db.snapshot(), access_key, self.0.clock.now());
        match found {
            Ok(credential) => Ok(credential.secret.reveal().into()),
            Err(AuthFailure::Expired) => Err(s3_error!(ExpiredToken, "The provided token has expired.")),
            Err(_) => Err(s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            )),
        }
    }
}

/// How a request came that nobody has marked.
const OWN: Arrival = Arrival { door: Door::Loopback, peer: IpAddr::V4(Ipv4Addr::LOCALHOST) };

/// Decides before anything else of a request is looked at.
pub(super) struct Gate(pub(super) Arc<Engine>);

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let arrival = cx.extensions_mut().get::<Arrival>().cloned();
        let asker = self.admit(cx, &arrival.unwrap_or(OWN)).map_err(|refused| refused.0)?;
        cx.extensions_mut().insert(asker);
        Ok(())
    }
}

impl Gate {
    fn admit(&self, cx: &S3AccessContext<'_>, arrival: &Arrival) -> Result<Asker, Refused> {
        let state = self.0.db.snapshot();
        let who = self.who(&state, cx, arrival.is_loopback())?;
        let asker = asker(&state, who, arrival, cx.headers(), self.0.clock.now());
        check_headers(cx.headers())?;
        let (operation, name) = (cx.s3_op().name(), cx.s3_path().get_bucket_name());
        let query = cx.uri().query().unwrap_or_default();
        check_query(query, cx.s3_path().get_object_key().is_some())?;
        // A bucket that is to be made is nobody's yet; whether the name is taken is told to everybody.
        let bucket = name
            .filter(|_| operation != "CreateBucket")
            .and_then(|name| pileus_storage::bucket::find(&state, name));
        if let Some(bucket) = &bucket {
            let expected = text(cx.headers(), "x-amz-expected-bucket-owner");
            if expected.is_some_and(|expected| expected != bucket.owner) {
                return Err(access_denied().into());
            }
        } else if asker.who == Who::Anybody && name.is_some() {
            return Err(no_such_bucket().into());
        }
        let tags = cx.headers().contains_key("x-amz-tagging");
        let resource = match (name, cx.s3_path().get_object_key()) {
            (None, _) => "*".to_owned(),
            (Some(bucket), None) => format!("arn:aws:s3:::{bucket}"),
            (Some(bucket), Some(key)) => format!("arn:aws:s3:::{bucket}/{key}"),
        };
        for action in actions(operation, parameter(query, "versionId").is_some(), tags) {
            let keys = context_keys(operation, query, cx.headers());
            permit(&state, &asker, action, &resource, bucket.as_deref(), keys)?;
        }
        Ok(asker)
    }

    fn who(&self, state: &State, cx: &S3AccessContext<'_>, local: bool) -> Result<Who, Refused> {
        let Some(credentials) = cx.credentials() else { return Ok(Who::Anybody) };
        if !local && !is_issued(&credentials.access_key) {
            return Err(s3_error!(InvalidAccessKeyId).into());
        }
        let found = pileus_security::authenticate(state, &credentials.access_key, self.0.clock.now());
        let credential = found.map_err(|_| s3_error!(InvalidAccessKeyId))?;
        if let Some(expected) = &credential.session_token {
            let query = cx.uri().query().unwrap_or_default();
            let in_query =
                parameter(query, "X-Amz-Security-Token").or_else(|| parameter(query, "x-amz-security-token"));
            let token = text(cx.headers(), "x-amz-security-token").map(str::to_owned).or(in_query);
            if token.as_deref() != Some(expected.reveal()) {
                let message = "The provided token is malformed or otherwise invalid.";
                return Err(ApiError::client("InvalidToken", message).into());
            }
        }
        Ok(Who::Caller(credential.caller))
    }
}

/// A parameter of a query string, decoded.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let (_, value) =
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?;
    let value = value.replace('+', " ");
    percent_encoding::percent_decode_str(&value).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

fn check_headers(headers: &HeaderMap) -> Result<(), ApiError> {
    if let Some((_, what)) = REFUSED_HEADERS.iter().find(|(name, _)| headers.contains_key(*name)) {
        return Err(not_implemented(what));
    }
    if text(headers, "x-amz-object-lock-legal-hold").is_some_and(|hold| hold != "OFF") {
        return Err(not_implemented("object lock"));
    }
    let key = text(headers, "x-amz-server-side-encryption-aws-kms-key-id");
    match text(headers, "x-amz-server-side-encryption") {
        Some(algorithm) => check_encryption(algorithm, key),
        None => Ok(()),
    }
}

/// What `s3s` does not know and would take for something else.
fn check_query(query: &str, of_object: bool) -> Result<(), ApiError> {
    const UNKNOWN: [&str; 5] =
        ["abac", "metadataConfiguration", "metadataInventoryTable", "metadataJournalTable", "renameObject"];
    let names = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
    let unknown = |name: &&str| UNKNOWN.contains(name) || (of_object && *name == "encryption");
    match names.into_iter().find(unknown) {
        Some(name) => Err(not_implemented(format_args!("the subresource {name}"))),
        None => Ok(()),
    }
}

/// Only S3's own keys exist.
///
/// # Errors
/// AWS's for a key of KMS that does not exist.
pub(super) fn check_encryption(algorithm: &str, key: Option<&str>) -> Result<(), ApiError> {
    match (algorithm, key) {
        ("AES256", None) => Ok(()),
        ("AES256", Some(_)) => {
            let message = "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse";
            Err(ApiError::client("InvalidArgument", message))
        }
        ("aws:kms" | "aws:kms:dsse", Some(key)) => {
            Err(ApiError::client("KMS.NotFoundException", format!("Key '{key}' does not exist")))
        }
        ("aws:kms" | "aws:kms:dsse", None) => Err(not_implemented("encryption with keys of KMS")),
        _ => Err(ApiError::client("InvalidArgument", "The encryption method specified is not supported")),
    }
}

/// What policies can ask about a request.
fn context_keys(operation: &str, query: &str, headers: &HeaderMap) -> ContextKeys {
    let mut keys = ContextKeys::new();
    let mut add = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            keys.insert(key.to_owned(), vec![value]);
        }
    };
    if operation.starts_with("List") {
        for (key, name) in
            [("s3:prefix", "prefix"), ("s3:delimiter", "delimiter"), ("s3:max-keys", "max-keys")]
        {
            add(key, parameter(query, name));
        }
    }
    add("s3:versionid", parameter(query, "versionId"));
    for (key, header) in [
        ("s3:x-amz-acl", "x-amz-acl"),
        ("s3:x-amz-copy-source", "x-amz-copy-source"),
        ("s3:x-amz-server-side-encryption", "x-amz-server-side-encryption"),
        ("s3:x-amz-storage-class", "x-amz-storage-class"),
        ("s3:x-amz-metadata-directive", "x-amz-metadata-directive"),
        ("s3:x-amz-content-sha256", "x-amz-content-sha256"),
    ] {
        add(key, text(headers, header).map(str::to_owned));
    }
    keys
}

fn asker(state: &State, who: Who, arrival: &Arrival, headers: &HeaderMap, now: Timestamp) -> Asker {
    let endpoint = match &arrival.door {
        Door::Endpoint { scope, id } => state.get::<VpcEndpoint>(scope, id),
        Door::Loopback | Door::Internet => None,
    };
    let endpoint = endpoint.as_deref();
    let header = |name| text(headers, name).map(str::to_owned);
    let keys = [
        ("aws:currenttime", Some(now.format("%Y-%m-%dT%H:%M:%SZ"))),
        ("aws:epochtime", Some(now.secs().to_string())),
        // No request leaves this host, which is what policies want of TLS.
        ("aws:securetransport", Some("true".to_owned())),
        ("aws:useragent", header("user-agent")),
        ("aws:referer", header("referer")),
        // As at AWS: an address is public, or it is one of a VPC.
        ("aws:sourceip", endpoint.is_none().then(|| arrival.peer.to_string())),
        ("aws:vpcsourceip", endpoint.map(|_| arrival.peer.to_string())),
        ("aws:sourcevpce", endpoint.map(|endpoint| endpoint.id.clone())),
        ("aws:sourcevpc", endpoint.map(|endpoint| endpoint.vpc.clone())),
    ];
    let keys = keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), vec![value?])));
    Asker { who, keys: keys.collect(), endpoint_policy: endpoint.and_then(VpcEndpoint::policy) }
}

/// Whether somebody may do a thing with a bucket or an object.
///
/// # Errors
/// AWS's denial.
pub(super) fn permit(
    state: &State,
    asker: &Asker,
    action: &str,
    resource: &str,
    bucket: Option<&Bucket>,
    mut keys: ContextKeys,
) -> Result<(), ApiError> {
    keys.extend(asker.keys.iter().map(|(key, values)| (key.clone(), values.clone())));
    if let Some(bucket) = bucket {
        keys.insert("aws:resourceaccount".to_owned(), vec![bucket.owner.clone()]);
    }
    let through = asker.endpoint_policy.as_ref();
    let policy = bucket.and_then(|bucket| bucket.policy.as_deref());
    let restricted = bucket.is_some_and(Bucket::restricts_public);
    let caller = match &asker.who {
        Who::Caller(caller) => caller,
        Who::Anybody if restricted => return Err(access_denied()),
        Who::Anybody => {
            let policy = policy.map(|document| parse(Kind::Resource, document)).transpose()?;
            let policies = [Some(policy.as_ref().ok_or_else(access_denied)?), through];
            let request = Request { action, resource, keys: &keys };
            return policies.into_iter().flatten().try_for_each(|policy| permit_anybody(policy, &request));
        }
    };
    let owner = bucket.map_or(caller.account.as_str(), |bucket| bucket.owner.as_str());
    if restricted && caller.account != owner {
        return Err(access_denied());
    }
    // Who locked themselves out by a policy can still replace it, as an account's root can on AWS.
    let root = caller.arn.ends_with(":root") && caller.account == owner;
    let repairs = ["s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"].contains(&action);
    let resource_policy = policy.filter(|_| !(root && repairs));
    let tx = Tx::new(state, Scope::new(&caller.account, Scope::DEFAULT_REGION));
    let access = Access { action, resource, owner: Some(owner), resource_policy, keys };
    if let Some(policy) = through {
        authorize_through(&tx, caller, policy, &access)?;
    }
    authorize_with(&tx, caller, access)
}

/// Whether a policy lets everybody do a thing.
fn permit_anybody(policy: &Policy, request: &Request) -> Result<(), ApiError> {
    let applying = Applying {
        identity: &[],
        boundary: None,
        session: None,
        resource: Some(policy),
        relation: Relation::SameAccount,
    };
    let anybody = Principal::Aws { account: "", arn: "", issuer: None };
    match evaluate(&applying, &anybody, request) {
        Verdict::Allow => Ok(()),
        _ => Err(access_denied()),
    }
}
