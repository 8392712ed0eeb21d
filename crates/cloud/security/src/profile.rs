//! Instance profiles: a role for EC2 instances. They are kept as IAM keeps them; there are no instances to use them.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_switch-role-ec2_instance-profiles.html>

use pileus_aws::iam::{
    AddRoleToInstanceProfileRequest, CreateInstanceProfileRequest, CreateInstanceProfileResponse,
    DeleteInstanceProfileRequest, GetInstanceProfileRequest, GetInstanceProfileResponse,
    InstanceProfile as Shape, ListInstanceProfileTagsRequest, ListInstanceProfileTagsResponse,
    ListInstanceProfilesForRoleRequest, ListInstanceProfilesForRoleResponse, ListInstanceProfilesRequest,
    ListInstanceProfilesResponse, RemoveRoleFromInstanceProfileRequest, TagInstanceProfileRequest,
    UntagInstanceProfileRequest, ops,
};
use pileus_core::{ApiError, Scope, Tags, Timestamp};
use pileus_model::Unit;
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::global::globally;
use crate::role;
use crate::text::{
    add_tags, already_exists, limit_exceeded, must_first, no_such_entity, page, path_prefix, request_tags,
    tag_list,
};

const MAX_PROFILES: usize = 1000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct InstanceProfile {
    name: String,
    /// `/`, or `/…/`.
    path: String,
    /// `AIPA…`
    id: String,
    created: Timestamp,
    tags: Tags,
    /// The key of its role.
    pub(crate) role: Option<String>,
}

impl Record for InstanceProfile {
    const KIND: &'static str = "iam/instance-profile";

    /// Names that differ in case only are the same to IAM.
    fn key(&self) -> String {
        key(&self.name)
    }
}

pub(crate) fn key(name: &str) -> String {
    name.to_ascii_lowercase()
}

impl InstanceProfile {
    pub(crate) fn arn(&self, scope: &Scope) -> String {
        scope.global().arn("iam", format_args!("instance-profile{}{}", self.path, self.name))
    }

    pub(crate) fn tags(&self) -> &Tags {
        &self.tags
    }

    pub(crate) fn shape(&self, tx: &Tx) -> Shape {
        let role = self.role.as_deref().and_then(|name| role::get(tx, name));
        Shape {
            path: Some(self.path.clone()),
            instance_profile_name: Some(self.name.clone()),
            instance_profile_id: Some(self.id.clone()),
            arn: Some(self.arn(tx.scope())),
            create_date: Some(self.created),
            roles: Some(role.iter().map(|role| role::shape(tx.scope(), role)).collect()),
            tags: Some(tag_list(&self.tags)),
        }
    }
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::CreateInstanceProfile>(|cx, input| globally(cx, |cx| create(cx, input)))
        .on::<ops::GetInstanceProfile>(|cx, input| globally(cx, |cx| get(cx, &input)))
        .on::<ops::DeleteInstanceProfile>(|cx, input| globally(cx, |cx| delete(cx, &input)))
        .on::<ops::ListInstanceProfiles>(|cx, input| globally(cx, |cx| list(cx, &input)))
        .on::<ops::ListInstanceProfilesForRole>(|cx, input| globally(cx, |cx| list_for_role(cx, &input)))
        .on::<ops::AddRoleToInstanceProfile>(|cx, input| globally(cx, |cx| add_role(cx, &input)))
        .on::<ops::RemoveRoleFromInstanceProfile>(|cx, input| globally(cx, |cx| remove_role(cx, &input)))
        .on::<ops::TagInstanceProfile>(|cx, input| globally(cx, |cx| tag(cx, input)))
        .on::<ops::UntagInstanceProfile>(|cx, input| globally(cx, |cx| untag(cx, &input)))
        .on::<ops::ListInstanceProfileTags>(|cx, input| globally(cx, |cx| list_tags(cx, &input)));
}

/// The profile of this name in the (global) scope of the transaction.
pub(crate) fn find(tx: &Tx, name: &str) -> Result<InstanceProfile, ApiError> {
    let missing = || no_such_entity(format!("Instance Profile {name} cannot be found."));
    tx.get::<InstanceProfile>(&key(name)).map(|profile| InstanceProfile::clone(&profile)).ok_or_else(missing)
}

fn create(
    cx: &mut Context,
    input: CreateInstanceProfileRequest,
) -> Result<CreateInstanceProfileResponse, ApiError> {
    let name = input.instance_profile_name;
    if cx.tx.get::<InstanceProfile>(&key(&name)).is_some() {
        return Err(already_exists(format!("Instance Profile {name} already exists.")));
    }
    if cx.tx.list::<InstanceProfile>().len() >= MAX_PROFILES {
        let message = format!("Cannot exceed quota for InstanceProfilesPerAccount: {MAX_PROFILES}");
        return Err(limit_exceeded(message));
    }
    let profile = InstanceProfile {
        name,
        path: input.path.unwrap_or_else(|| "/".into()),
        id: format!("AIPA{}", cx.ids.base32(17)),
        created: cx.now,
        tags: request_tags(input.tags)?,
        role: None,
    };
    let shape = profile.shape(cx.tx);
    cx.tx.put(profile);
    Ok(CreateInstanceProfileResponse { instance_profile: Some(shape) })
}

fn get(cx: &mut Context, input: &GetInstanceProfileRequest) -> Result<GetInstanceProfileResponse, ApiError> {
    let profile = find(cx.tx, &input.instance_profile_name)?;
    Ok(GetInstanceProfileResponse { instance_profile: Some(profile.shape(cx.tx)) })
}

fn delete(cx: &mut Context, input: &DeleteInstanceProfileRequest) -> Result<Unit, ApiError> {
    let profile = find(cx.tx, &input.instance_profile_name)?;
    if profile.role.is_some() {
        return Err(must_first("remove roles from instance profile"));
    }
    cx.tx.delete::<InstanceProfile>(&profile.key());
    Ok(Unit {})
}

fn list(
    cx: &mut Context,
    input: &ListInstanceProfilesRequest,
) -> Result<ListInstanceProfilesResponse, ApiError> {
    let prefix = path_prefix(input.path_prefix.as_deref())?;
    let profiles = cx.tx.list::<InstanceProfile>().into_iter();
    let profiles = profiles.filter(|profile| profile.path.starts_with(prefix)).collect();
    let (profiles, marker) =
        page(profiles, |profile| profile.key(), input.marker.as_deref(), input.max_items)?;
    Ok(ListInstanceProfilesResponse {
        instance_profiles: Some(profiles.iter().map(|profile| profile.shape(cx.tx)).collect()),
        is_truncated: Some(marker.is_some()),
        marker,
    })
}

fn list_for_role(
    cx: &mut Context,
    input: &ListInstanceProfilesForRoleRequest,
) -> Result<ListInstanceProfilesForRoleResponse, ApiError> {
    let role = role::find(cx.tx, &input.role_name)?.key();
    let profiles = cx.tx.list::<InstanceProfile>().into_iter();
    let profiles = profiles.filter(|profile| profile.role.as_ref() == Some(&role)).collect();
    let (profiles, marker) =
        page(profiles, |profile| profile.key(), input.marker.as_deref(), input.max_items)?;
    Ok(ListInstanceProfilesForRoleResponse {
        instance_profiles: Some(profiles.iter().map(|profile| profile.shape(cx.tx)).collect()),
        is_truncated: Some(marker.is_some()),
        marker,
    })
}

fn add_role(cx: &mut Context, input: &AddRoleToInstanceProfileRequest) -> Result<Unit, ApiError> {
    let mut profile = find(cx.tx, &input.instance_profile_name)?;
    let role = role::find(cx.tx, &input.role_name)?;
    if profile.role.is_some() {
        return Err(limit_exceeded("Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1"));
    }
    profile.role = Some(role.key());
    cx.tx.put(profile);
    Ok(Unit {})
}

fn remove_role(cx: &mut Context, input: &RemoveRoleFromInstanceProfileRequest) -> Result<Unit, ApiError> {
    let mut profile = find(cx.tx, &input.instance_profile_name)?;
    let role = role::find(cx.tx, &input.role_name)?;
    if profile.role != Some(role.key()) {
        let message = format!("The role with name {} cannot be found.", input.role_name);
        return Err(no_such_entity(message));
    }
    profile.role = None;
    cx.tx.put(profile);
    Ok(Unit {})
}

fn tag(cx: &mut Context, input: TagInstanceProfileRequest) -> Result<Unit, ApiError> {
    let mut profile = find(cx.tx, &input.instance_profile_name)?;
    add_tags(&mut profile.tags, input.tags)?;
    cx.tx.put(profile);
    Ok(Unit {})
}

fn untag(cx: &mut Context, input: &UntagInstanceProfileRequest) -> Result<Unit, ApiError> {
    let mut profile = find(cx.tx, &input.instance_profile_name)?;
    profile.tags.retain(|key, _| !input.tag_keys.contains(key));
    cx.tx.put(profile);
    Ok(Unit {})
}

fn list_tags(
    cx: &mut Context,
    input: &ListInstanceProfileTagsRequest,
) -> Result<ListInstanceProfileTagsResponse, ApiError> {
    let tags = tag_list(&find(cx.tx, &input.instance_profile_name)?.tags);
    let (tags, marker) = page(tags, |tag| tag.key.clone(), input.marker.as_deref(), input.max_items)?;
    Ok(ListInstanceProfileTagsResponse { tags: Some(tags), is_truncated: Some(marker.is_some()), marker })
}
