//! The versions that a parameter has had.
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameterHistory.html>

use pileus_aws::ssm::{GetParameterHistoryRequest, GetParameterHistoryResult, ParameterHistory, ops};
use pileus_core::{ApiError, paginate};
use pileus_service::{Context, Router};

use super::record::{ParameterVersion, find, not_found};
use super::{bad_token, limit};

pub(super) fn operations(router: &mut Router) {
    router.on::<ops::GetParameterHistory>(get_parameter_history);
}

fn get_parameter_history(
    cx: &mut Context,
    input: GetParameterHistoryRequest,
) -> Result<GetParameterHistoryResult, ApiError> {
    let found = find(cx.tx, &input.name);
    let parameter = found.ok_or_else(|| not_found(&input.name))?;
    let decrypt = input.with_decryption.unwrap_or(false);
    let versions: Vec<&ParameterVersion> = parameter.versions.iter().collect();
    let key = |version: &&ParameterVersion| format!("{:016x}", version.number);
    let token = input.next_token.as_deref();
    let (page, next_token) = paginate(versions, key, token, limit(input.max_results, 50), bad_token)?;
    let shape = |version: &ParameterVersion| ParameterHistory {
        name: Some(parameter.name.clone()),
        r#type: Some(version.kind.clone()),
        key_id: version.key_id.clone(),
        last_modified_date: Some(version.modified),
        last_modified_user: Some(version.user.clone()),
        description: version.description.clone(),
        value: Some(version.shown(decrypt).to_owned()),
        allowed_pattern: version.allowed_pattern.clone(),
        version: Some(version.number),
        labels: Some(version.labels.clone()),
        tier: Some(version.tier.clone()),
        policies: Some(Vec::new()),
        data_type: Some(version.data_type.clone()),
    };
    Ok(GetParameterHistoryResult { parameters: Some(page.into_iter().map(shape).collect()), next_token })
}
