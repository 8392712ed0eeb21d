//! What is set for a whole registry.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry-settings.html>
//!
//! Replication has nowhere to go on one machine: only its absence can be configured. A registry policy would be about
//! replication and pull-through caches, which there are none of.

use pileus_aws::ecr;
use pileus_core::ApiError;
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::image;
use crate::repository::{find, invalid};

/// The settings of a registry that can be changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RegistrySettings {
    pub(crate) scanning: Vec<ecr::RegistryScanningRule>,
    /// Whether a push may take a layer from another repository.
    pub(crate) blob_mounting: bool,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self { scanning: Vec::new(), blob_mounting: true }
    }
}

impl RegistrySettings {
    const KEY: &str = "settings";

    pub(crate) fn of(tx: &Tx) -> Self {
        tx.get::<Self>(Self::KEY).map(|settings| Self::clone(&settings)).unwrap_or_default()
    }
}

impl Record for RegistrySettings {
    const KIND: &'static str = "ecr/registry-settings";

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ecr::ops::DescribeRegistry>(describe_registry)
        .on::<ecr::ops::PutReplicationConfiguration>(put_replication_configuration)
        .on::<ecr::ops::DescribeImageReplicationStatus>(describe_image_replication_status)
        .on::<ecr::ops::GetRegistryPolicy>(get_registry_policy)
        .on::<ecr::ops::DeleteRegistryPolicy>(delete_registry_policy)
        .on::<ecr::ops::GetAccountSetting>(get_account_setting)
        .on::<ecr::ops::PutAccountSetting>(put_account_setting);
}

fn describe_registry(
    cx: &mut Context,
    _: ecr::DescribeRegistryRequest,
) -> Result<ecr::DescribeRegistryResponse, ApiError> {
    Ok(ecr::DescribeRegistryResponse {
        registry_id: Some(cx.scope().account.clone()),
        replication_configuration: Some(ecr::ReplicationConfiguration { rules: Vec::new() }),
    })
}

fn put_replication_configuration(
    _: &mut Context,
    input: ecr::PutReplicationConfigurationRequest,
) -> Result<ecr::PutReplicationConfigurationResponse, ApiError> {
    if !input.replication_configuration.rules.is_empty() {
        return Err(ApiError::not_implemented(
            "the replication of images: there is one registry on one machine",
        ));
    }
    Ok(ecr::PutReplicationConfigurationResponse {
        replication_configuration: Some(input.replication_configuration),
    })
}

fn describe_image_replication_status(
    cx: &mut Context,
    input: ecr::DescribeImageReplicationStatusRequest,
) -> Result<ecr::DescribeImageReplicationStatusResponse, ApiError> {
    let repository = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?;
    image::known(cx.tx, &repository.name, &input.image_id)?;
    Ok(ecr::DescribeImageReplicationStatusResponse {
        repository_name: Some(repository.name.clone()),
        image_id: Some(input.image_id),
        replication_statuses: Some(Vec::new()),
    })
}

fn no_registry_policy(cx: &Context) -> ApiError {
    let message = format!("Registry policy does not exist in the registry with id '{}'", cx.scope().account);
    ApiError::client("RegistryPolicyNotFoundException", message)
}

fn get_registry_policy(
    cx: &mut Context,
    _: ecr::GetRegistryPolicyRequest,
) -> Result<ecr::GetRegistryPolicyResponse, ApiError> {
    Err(no_registry_policy(cx))
}

fn delete_registry_policy(
    cx: &mut Context,
    _: ecr::DeleteRegistryPolicyRequest,
) -> Result<ecr::DeleteRegistryPolicyResponse, ApiError> {
    Err(no_registry_policy(cx))
}

fn unknown_setting(name: &str) -> ApiError {
    invalid(format!(
        "Invalid parameter at 'name' failed to satisfy constraint: 'Unknown account setting {name}'"
    ))
}

fn get_account_setting(
    cx: &mut Context,
    input: ecr::GetAccountSettingRequest,
) -> Result<ecr::GetAccountSettingResponse, ApiError> {
    let value = match input.name.as_str() {
        "BASIC_SCAN_TYPE_VERSION" => "AWS_NATIVE",
        "REGISTRY_POLICY_SCOPE" => "V2",
        "BLOB_MOUNTING" if RegistrySettings::of(cx.tx).blob_mounting => "ENABLED",
        "BLOB_MOUNTING" => "DISABLED",
        name => return Err(unknown_setting(name)),
    };
    Ok(ecr::GetAccountSettingResponse { name: Some(input.name), value: Some(value.into()) })
}

fn put_account_setting(
    cx: &mut Context,
    input: ecr::PutAccountSettingRequest,
) -> Result<ecr::PutAccountSettingResponse, ApiError> {
    match (input.name.as_str(), input.value.as_str()) {
        ("BASIC_SCAN_TYPE_VERSION", "AWS_NATIVE") | ("REGISTRY_POLICY_SCOPE", "V2") => {}
        ("BLOB_MOUNTING", value @ ("ENABLED" | "DISABLED")) => {
            let settings = RegistrySettings::of(cx.tx);
            cx.tx.put(RegistrySettings { blob_mounting: value == "ENABLED", ..settings });
        }
        ("BASIC_SCAN_TYPE_VERSION", "CLAIR") | ("REGISTRY_POLICY_SCOPE", "V1") => {
            return Err(ApiError::not_implemented(format!("the {} {}", input.name, input.value)));
        }
        ("BASIC_SCAN_TYPE_VERSION" | "REGISTRY_POLICY_SCOPE" | "BLOB_MOUNTING", value) => {
            return Err(invalid(format!(
                "Invalid parameter at 'value' failed to satisfy constraint: '{} cannot be {value}'",
                input.name
            )));
        }
        (name, _) => return Err(unknown_setting(name)),
    }
    Ok(ecr::PutAccountSettingResponse { name: Some(input.name), value: Some(input.value) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cloud;

    #[test]
    fn there_is_no_replication() {
        let mut cloud = cloud();
        let described = cloud.ok::<ecr::ops::DescribeRegistry>(Default::default());
        assert_eq!(described.registry_id.as_deref(), Some("000000000000"));
        let put = |rules| ecr::PutReplicationConfigurationRequest {
            replication_configuration: ecr::ReplicationConfiguration { rules },
        };
        cloud.ok::<ecr::ops::PutReplicationConfiguration>(put(Vec::new()));
        let destination =
            ecr::ReplicationDestination { region: "eu-west-1".into(), registry_id: "000000000000".into() };
        let rule = ecr::ReplicationRule { destinations: vec![destination], repository_filters: None };
        let code = cloud.code::<ecr::ops::PutReplicationConfiguration>(put(vec![rule]));
        assert_eq!(code, "UnsupportedOperation");
        let code = cloud.code::<ecr::ops::GetRegistryPolicy>(Default::default());
        assert_eq!(code, "RegistryPolicyNotFoundException");
    }

    #[test]
    fn account_settings_are_what_is_done() {
        let mut cloud = cloud();
        let put = |name: &str, value: &str| ecr::PutAccountSettingRequest {
            name: name.into(),
            value: value.into(),
        };
        for (name, value, code) in [
            ("BASIC_SCAN_TYPE_VERSION", "CLAIR", "UnsupportedOperation"),
            ("BLOB_MOUNTING", "MAYBE", "InvalidParameterException"),
            ("COLOUR", "BLUE", "InvalidParameterException"),
        ] {
            assert_eq!(cloud.code::<ecr::ops::PutAccountSetting>(put(name, value)), code, "{name}");
        }
        cloud.ok::<ecr::ops::PutAccountSetting>(put("BLOB_MOUNTING", "DISABLED"));
        let get = ecr::GetAccountSettingRequest { name: "BLOB_MOUNTING".into() };
        assert_eq!(cloud.ok::<ecr::ops::GetAccountSetting>(get).value.as_deref(), Some("DISABLED"));
    }
}
