//! Account settings: of the account as a whole, and of single principals.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-account-settings.html>
//!
//! `containerInsights` decides for new clusters. What the others would switch is so here whatever they say: logs never
//! block a container, nothing is retired, and there are no container instances.

use std::sync::Arc;

use pileus_aws::ecs::{
    DeleteAccountSettingRequest, DeleteAccountSettingResponse, ListAccountSettingsRequest,
    ListAccountSettingsResponse, PutAccountSettingDefaultRequest, PutAccountSettingDefaultResponse,
    PutAccountSettingRequest, PutAccountSettingResponse, Setting, ops,
};
use pileus_core::{ApiError, paginate};
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::cluster::limit;
use crate::error::{bad_token, invalid, refuse_unless};

/// One setting that differs from AWS's default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AccountSetting {
    name: String,
    /// The ARN of the user or role; `None` for the account's own default.
    principal: Option<String>,
    value: String,
}

impl AccountSetting {
    fn key_of(name: &str, principal: Option<&str>) -> String {
        format!("{name} {}", principal.unwrap_or_default())
    }
}

impl Record for AccountSetting {
    const KIND: &'static str = "ecs/account-setting";

    fn key(&self) -> String {
        Self::key_of(&self.name, self.principal.as_deref())
    }
}

struct Known {
    name: &'static str,
    default: &'static str,
    values: &'static [&'static str],
}

const SWITCH: &[&str] = &["enabled", "disabled"];

/// The settings in the order of their names.
const KNOWN: [Known; 10] = [
    Known { name: "awsvpcTrunking", default: "disabled", values: SWITCH },
    Known { name: "containerInsights", default: "disabled", values: &["enabled", "disabled", "enhanced"] },
    Known { name: "containerInstanceLongArnFormat", default: "enabled", values: SWITCH },
    Known { name: "defaultLogDriverMode", default: "non-blocking", values: &["blocking", "non-blocking"] },
    Known { name: "fargateFIPSMode", default: "disabled", values: &["enabled", "disabled", "on", "off"] },
    Known { name: "fargateTaskRetirementWaitPeriod", default: "7", values: &["0", "7", "14"] },
    Known { name: "guardDutyActivate", default: "off", values: &["on", "off"] },
    Known { name: "serviceLongArnFormat", default: "enabled", values: SWITCH },
    Known { name: "tagResourceAuthorization", default: "off", values: &["on", "off"] },
    Known { name: "taskLongArnFormat", default: "enabled", values: SWITCH },
];

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::ListAccountSettings>(list_account_settings)
        .on::<ops::PutAccountSetting>(put_account_setting)
        .on::<ops::PutAccountSettingDefault>(put_account_setting_default)
        .on::<ops::DeleteAccountSetting>(delete_account_setting);
}

fn known(name: &str) -> Result<&'static Known, ApiError> {
    KNOWN
        .iter()
        .find(|known| known.name == name)
        .ok_or_else(|| invalid(format!("Invalid setting name: {name}")))
}

/// The value in effect for a principal, or, without one, for the account.
///
/// # Errors
/// There is no such setting.
pub(crate) fn value(tx: &Tx, name: &str, principal: Option<&str>) -> Result<String, ApiError> {
    let known = known(name)?;
    let own = |principal: Option<&str>| tx.get::<AccountSetting>(&AccountSetting::key_of(name, principal));
    let found = principal.and_then(|principal| own(Some(principal))).or_else(|| own(None));
    Ok(found.map_or_else(|| known.default.to_owned(), |setting| setting.value.clone()))
}

/// Whose setting a request is about: the account's, where it is the root user's.
fn principal(cx: &Context, given: Option<String>) -> Option<String> {
    let root = root(cx);
    Some(given.unwrap_or_else(|| cx.caller.arn.clone())).filter(|arn| *arn != root)
}

fn root(cx: &Context) -> String {
    cx.scope().global().arn("iam", "root")
}

fn shape(cx: &Context, name: &str, value: String, principal: Option<&str>) -> Setting {
    Setting {
        name: Some(name.into()),
        value: Some(value),
        principal_arn: Some(principal.map_or_else(|| root(cx), str::to_owned)),
        r#type: Some(if name == "guardDutyActivate" { "aws_managed" } else { "user" }.into()),
    }
}

fn put(cx: &mut Context, name: &str, value: String, principal: Option<String>) -> Result<Setting, ApiError> {
    let known = known(name)?;
    if !known.values.contains(&value.as_str()) {
        return Err(invalid(format!("Invalid value '{value}' for the setting {name}.")));
    }
    if name == "guardDutyActivate" {
        return Err(invalid("The setting guardDutyActivate is managed by AWS and cannot be changed."));
    }
    let refused = name.ends_with("LongArnFormat") && value == "disabled"
        || name == "tagResourceAuthorization" && value == "on"
        || name == "fargateFIPSMode" && ["enabled", "on"].contains(&value.as_str());
    refuse_unless(!refused, format_args!("the setting {name} {value}"))?;
    let shape = shape(cx, name, value.clone(), principal.as_deref());
    cx.tx.put(AccountSetting { name: name.to_owned(), principal, value });
    Ok(shape)
}

fn put_account_setting(
    cx: &mut Context,
    input: PutAccountSettingRequest,
) -> Result<PutAccountSettingResponse, ApiError> {
    let principal = principal(cx, input.principal_arn);
    let setting = put(cx, &input.name, input.value, principal)?;
    Ok(PutAccountSettingResponse { setting: Some(setting) })
}

fn put_account_setting_default(
    cx: &mut Context,
    input: PutAccountSettingDefaultRequest,
) -> Result<PutAccountSettingDefaultResponse, ApiError> {
    let setting = put(cx, &input.name, input.value, None)?;
    Ok(PutAccountSettingDefaultResponse { setting: Some(setting) })
}

fn delete_account_setting(
    cx: &mut Context,
    input: DeleteAccountSettingRequest,
) -> Result<DeleteAccountSettingResponse, ApiError> {
    let principal = principal(cx, input.principal_arn);
    known(&input.name)?;
    cx.tx.delete::<AccountSetting>(&AccountSetting::key_of(&input.name, principal.as_deref()));
    let left = value(cx.tx, &input.name, principal.as_deref())?;
    let setting = shape(cx, &input.name, left, principal.as_deref());
    Ok(DeleteAccountSettingResponse { setting: Some(setting) })
}

fn list_account_settings(
    cx: &mut Context,
    input: ListAccountSettingsRequest,
) -> Result<ListAccountSettingsResponse, ApiError> {
    if let Some(name) = &input.name {
        known(name)?;
    }
    let principal = principal(cx, input.principal_arn);
    let mut settings = Vec::new();
    if input.effective_settings.unwrap_or(false) {
        for known in &KNOWN {
            let value = value(cx.tx, known.name, principal.as_deref())?;
            settings.push(shape(cx, known.name, value, principal.as_deref()));
        }
    } else {
        let own = |setting: &Arc<AccountSetting>| setting.principal == principal;
        for setting in cx.tx.list::<AccountSetting>().into_iter().filter(own) {
            settings.push(shape(cx, &setting.name, setting.value.clone(), setting.principal.as_deref()));
        }
    }
    settings.retain(|setting| {
        input.name.as_ref().is_none_or(|name| setting.name.as_ref() == Some(name))
            && input.value.as_ref().is_none_or(|value| setting.value.as_ref() == Some(value))
    });
    let (settings, next_token) = paginate(
        settings,
        |setting| setting.name.clone().unwrap_or_default(),
        input.next_token.as_deref(),
        limit(input.max_results),
        bad_token,
    )?;
    Ok(ListAccountSettingsResponse { settings: Some(settings), next_token })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cloud;

    #[test]
    fn a_default_is_in_effect_until_it_is_taken_back() {
        let mut cloud = cloud();
        let effective = |cloud: &mut pileus_kit::Cloud| {
            let input = ListAccountSettingsRequest {
                name: Some("containerInsights".into()),
                effective_settings: Some(true),
                ..Default::default()
            };
            cloud.ok::<ops::ListAccountSettings>(input).settings.unwrap()[0].value.clone().unwrap()
        };
        assert_eq!(effective(&mut cloud), "disabled");
        let put = |name: &str, value: &str| PutAccountSettingDefaultRequest {
            name: name.into(),
            value: value.into(),
        };
        cloud.ok::<ops::PutAccountSettingDefault>(put("containerInsights", "enhanced"));
        assert_eq!(effective(&mut cloud), "enhanced");
        let all = cloud.ok::<ops::ListAccountSettings>(Default::default()).settings.unwrap();
        assert_eq!(all.len(), 1, "only what differs is listed");
        let made = cloud.ok::<ops::CreateCluster>(Default::default()).cluster.unwrap();
        assert_eq!(made.settings.unwrap()[0].value.as_deref(), Some("enhanced"));
        let delete = DeleteAccountSettingRequest { name: "containerInsights".into(), principal_arn: None };
        cloud.ok::<ops::DeleteAccountSetting>(delete);
        assert_eq!(effective(&mut cloud), "disabled");
        for (name, value, code) in [
            ("nonsense", "on", "InvalidParameterException"),
            ("containerInsights", "maybe", "InvalidParameterException"),
            ("serviceLongArnFormat", "disabled", "UnsupportedOperation"),
        ] {
            assert_eq!(cloud.code::<ops::PutAccountSettingDefault>(put(name, value)), code, "{name}");
        }
    }
}
