//! Identity providers of OpenID Connect, as IAM keeps them. Nobody signs in with one here: `AssumeRoleWithWebIdentity` is
//! refused by name, and federated principals of trust policies match nobody.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html>

use pileus_aws::iam::{
    AddClientIDToOpenIDConnectProviderRequest, CreateOpenIDConnectProviderRequest,
    CreateOpenIDConnectProviderResponse, DeleteOpenIDConnectProviderRequest, GetOpenIDConnectProviderRequest,
    GetOpenIDConnectProviderResponse, ListOpenIDConnectProviderTagsRequest,
    ListOpenIDConnectProviderTagsResponse, ListOpenIDConnectProvidersRequest,
    ListOpenIDConnectProvidersResponse, OpenIDConnectProviderListEntry,
    RemoveClientIDFromOpenIDConnectProviderRequest, TagOpenIDConnectProviderRequest,
    UntagOpenIDConnectProviderRequest, UpdateOpenIDConnectProviderThumbprintRequest, ops,
};
use pileus_core::{ApiError, Arn, Scope, Tags, Timestamp};
use pileus_model::Unit;
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::global::globally;
use crate::text::{
    add_tags, already_exists, invalid, limit_exceeded, no_such_entity, page, request_tags, tag_list,
};

const MAX_PROVIDERS: usize = 100;
const MAX_CLIENTS: usize = 100;
const MAX_THUMBPRINTS: usize = 5;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Provider {
    /// Without its scheme, as it stands in the ARN.
    url: String,
    clients: Vec<String>,
    thumbprints: Vec<String>,
    created: Timestamp,
    tags: Tags,
}

impl Record for Provider {
    const KIND: &'static str = "iam/oidc-provider";

    fn key(&self) -> String {
        self.url.clone()
    }
}

impl Provider {
    fn arn(&self, scope: &Scope) -> String {
        scope.global().arn("iam", format_args!("oidc-provider/{}", self.url))
    }
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::CreateOpenIDConnectProvider>(|cx, input| globally(cx, |cx| create(cx, input)))
        .on::<ops::GetOpenIDConnectProvider>(|cx, input| globally(cx, |cx| get(cx, &input)))
        .on::<ops::ListOpenIDConnectProviders>(|cx, input| globally(cx, |cx| list(cx, &input)))
        .on::<ops::DeleteOpenIDConnectProvider>(|cx, input| globally(cx, |cx| delete(cx, &input)))
        .on::<ops::UpdateOpenIDConnectProviderThumbprint>(|cx, input| {
            globally(cx, |cx| update_thumbprint(cx, input))
        })
        .on::<ops::AddClientIDToOpenIDConnectProvider>(|cx, input| globally(cx, |cx| add_client(cx, input)))
        .on::<ops::RemoveClientIDFromOpenIDConnectProvider>(|cx, input| {
            globally(cx, |cx| remove_client(cx, &input))
        })
        .on::<ops::TagOpenIDConnectProvider>(|cx, input| globally(cx, |cx| tag(cx, input)))
        .on::<ops::UntagOpenIDConnectProvider>(|cx, input| globally(cx, |cx| untag(cx, &input)))
        .on::<ops::ListOpenIDConnectProviderTags>(|cx, input| globally(cx, |cx| list_tags(cx, &input)));
}

/// The provider that `arn` names, in the (global) scope of the transaction.
fn find(tx: &Tx, arn: &str) -> Result<Provider, ApiError> {
    let missing = || no_such_entity(format!("OpenIDConnect Provider not found for arn {arn}"));
    let url =
        Arn::parse(arn).and_then(|arn| arn.resource.strip_prefix("oidc-provider/")).ok_or_else(missing)?;
    let found = tx.get::<Provider>(url).filter(|provider| provider.arn(tx.scope()) == arn);
    found.map(|provider| Provider::clone(&provider)).ok_or_else(missing)
}

fn create(
    cx: &mut Context,
    input: CreateOpenIDConnectProviderRequest,
) -> Result<CreateOpenIDConnectProviderResponse, ApiError> {
    let url = input.url.strip_prefix("https://").map(|url| url.trim_end_matches('/'));
    let url = url.filter(|url| !url.is_empty() && !url.contains(['?', '#', ' ']));
    let url = url.ok_or_else(|| invalid("Invalid Open ID Connect Provider URL"))?;
    if cx.tx.get::<Provider>(url).is_some() {
        return Err(already_exists(format!("Provider with url {} already exists.", input.url)));
    }
    if cx.tx.list::<Provider>().len() >= MAX_PROVIDERS {
        let message = format!("Cannot exceed quota for OpenIdConnectProvidersPerAccount: {MAX_PROVIDERS}");
        return Err(limit_exceeded(message));
    }
    let provider = Provider {
        url: url.to_owned(),
        clients: input.client_id_list.unwrap_or_default(),
        thumbprints: check_thumbprints(input.thumbprint_list.unwrap_or_default())?,
        created: cx.now,
        tags: request_tags(input.tags)?,
    };
    check_clients(&provider)?;
    let answer = CreateOpenIDConnectProviderResponse {
        open_id_connect_provider_arn: Some(provider.arn(cx.scope())),
        tags: Some(tag_list(&provider.tags)),
    };
    cx.tx.put(provider);
    Ok(answer)
}

fn check_clients(provider: &Provider) -> Result<(), ApiError> {
    if provider.clients.len() > MAX_CLIENTS {
        let message = format!("Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: {MAX_CLIENTS}");
        return Err(limit_exceeded(message));
    }
    Ok(())
}

fn check_thumbprints(list: Vec<String>) -> Result<Vec<String>, ApiError> {
    if list.len() > MAX_THUMBPRINTS {
        return Err(invalid("Thumbprint list must contain fewer than 5 entries."));
    }
    if list.iter().any(|text| text.len() != 40 || !text.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Err(invalid("A thumbprint must be 40 hexadecimal digits."));
    }
    Ok(list)
}

fn get(
    cx: &mut Context,
    input: &GetOpenIDConnectProviderRequest,
) -> Result<GetOpenIDConnectProviderResponse, ApiError> {
    let provider = find(cx.tx, &input.open_id_connect_provider_arn)?;
    Ok(GetOpenIDConnectProviderResponse {
        url: Some(provider.url),
        client_id_list: Some(provider.clients),
        thumbprint_list: Some(provider.thumbprints),
        create_date: Some(provider.created),
        tags: Some(tag_list(&provider.tags)),
    })
}

fn list(
    cx: &mut Context,
    _: &ListOpenIDConnectProvidersRequest,
) -> Result<ListOpenIDConnectProvidersResponse, ApiError> {
    let entry = |arn| OpenIDConnectProviderListEntry { arn: Some(arn) };
    let entries = cx.tx.list::<Provider>().into_iter().map(|provider| entry(provider.arn(cx.scope())));
    Ok(ListOpenIDConnectProvidersResponse { open_id_connect_provider_list: Some(entries.collect()) })
}

fn delete(cx: &mut Context, input: &DeleteOpenIDConnectProviderRequest) -> Result<Unit, ApiError> {
    let provider = find(cx.tx, &input.open_id_connect_provider_arn)?;
    cx.tx.delete::<Provider>(&provider.url);
    Ok(Unit {})
}

fn update_thumbprint(
    cx: &mut Context,
    input: UpdateOpenIDConnectProviderThumbprintRequest,
) -> Result<Unit, ApiError> {
    let mut provider = find(cx.tx, &input.open_id_connect_provider_arn)?;
    provider.thumbprints = check_thumbprints(input.thumbprint_list)?;
    cx.tx.put(provider);
    Ok(Unit {})
}

/// Adding one that it has succeeds, as in AWS.
fn add_client(cx: &mut Context, input: AddClientIDToOpenIDConnectProviderRequest) -> Result<Unit, ApiError> {
    let mut provider = find(cx.tx, &input.open_id_connect_provider_arn)?;
    if !provider.clients.contains(&input.client_id) {
        provider.clients.push(input.client_id);
    }
    check_clients(&provider)?;
    cx.tx.put(provider);
    Ok(Unit {})
}

/// Removing one that it does not have succeeds, as in AWS.
fn remove_client(
    cx: &mut Context,
    input: &RemoveClientIDFromOpenIDConnectProviderRequest,
) -> Result<Unit, ApiError> {
    let mut provider = find(cx.tx, &input.open_id_connect_provider_arn)?;
    provider.clients.retain(|client| *client != input.client_id);
    cx.tx.put(provider);
    Ok(Unit {})
}

fn tag(cx: &mut Context, input: TagOpenIDConnectProviderRequest) -> Result<Unit, ApiError> {
    let mut provider = find(cx.tx, &input.open_id_connect_provider_arn)?;
    add_tags(&mut provider.tags, input.tags)?;
    cx.tx.put(provider);
    Ok(Unit {})
}

fn untag(cx: &mut Context, input: &UntagOpenIDConnectProviderRequest) -> Result<Unit, ApiError> {
    let mut provider = find(cx.tx, &input.open_id_connect_provider_arn)?;
    provider.tags.retain(|key, _| !input.tag_keys.contains(key));
    cx.tx.put(provider);
    Ok(Unit {})
}

fn list_tags(
    cx: &mut Context,
    input: &ListOpenIDConnectProviderTagsRequest,
) -> Result<ListOpenIDConnectProviderTagsResponse, ApiError> {
    let tags = tag_list(&find(cx.tx, &input.open_id_connect_provider_arn)?.tags);
    let (tags, marker) = page(tags, |tag| tag.key.clone(), input.marker.as_deref(), input.max_items)?;
    Ok(ListOpenIDConnectProviderTagsResponse {
        tags: Some(tags),
        is_truncated: Some(marker.is_some()),
        marker,
    })
}
