//! Labels of versions: each is on one version of a parameter at most.
//! <https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-labels.html>

use pileus_aws::ssm::{
    LabelParameterVersionRequest, LabelParameterVersionResult, UnlabelParameterVersionRequest,
    UnlabelParameterVersionResult, ops,
};
use pileus_core::ApiError;
use pileus_service::{Context, Router};

use super::record::{Parameter, find, no_version, not_found};

const MAX_LABELS: usize = 10;
const MAX_LENGTH: usize = 100;

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::LabelParameterVersion>(label_parameter_version)
        .on::<ops::UnlabelParameterVersion>(unlabel_parameter_version);
}

fn is_valid(label: &str) -> bool {
    let lower = label.to_ascii_lowercase();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    !label.is_empty()
        && label.len() <= MAX_LENGTH
        && label.chars().all(allowed)
        && !label.starts_with(|c: char| c.is_ascii_digit())
        && !lower.starts_with("aws")
        && !lower.starts_with("ssm")
}

/// A parameter to be changed, with the number of one of its versions.
fn existing(cx: &Context, name: &str, number: Option<i64>) -> Result<(Parameter, i64), ApiError> {
    let found = find(cx.tx, name);
    let parameter = found.ok_or_else(|| not_found(name))?;
    let number = number.unwrap_or(parameter.current().number);
    parameter.version(number).ok_or_else(|| no_version(&parameter.name, number))?;
    Ok((Parameter::clone(&parameter), number))
}

fn label_parameter_version(
    cx: &mut Context,
    input: LabelParameterVersionRequest,
) -> Result<LabelParameterVersionResult, ApiError> {
    let (mut parameter, number) = existing(cx, &input.name, input.parameter_version)?;
    let (valid, invalid): (Vec<_>, Vec<_>) = input.labels.into_iter().partition(|label| is_valid(label));
    for version in &mut parameter.versions {
        version.labels.retain(|own| version.number == number || !valid.contains(own));
        if version.number == number {
            let new: Vec<_> = valid.iter().filter(|label| !version.labels.contains(label)).cloned().collect();
            version.labels.extend(new);
        }
        if version.labels.len() > MAX_LABELS {
            let message = "A parameter version can have maximum 10 labels. Move one or more labels to another \
                           version and try again.";
            return Err(ApiError::client("ParameterVersionLabelLimitExceeded", message));
        }
    }
    cx.tx.put(parameter);
    Ok(LabelParameterVersionResult { invalid_labels: Some(invalid), parameter_version: Some(number) })
}

fn unlabel_parameter_version(
    cx: &mut Context,
    input: UnlabelParameterVersionRequest,
) -> Result<UnlabelParameterVersionResult, ApiError> {
    let (mut parameter, number) = existing(cx, &input.name, Some(input.parameter_version))?;
    let (mut removed, mut invalid) = (Vec::new(), Vec::new());
    for version in parameter.versions.iter_mut().filter(|version| version.number == number) {
        (removed, invalid) = input.labels.iter().cloned().partition(|label| version.labels.contains(label));
        version.labels.retain(|own| !removed.contains(own));
    }
    cx.tx.put(parameter);
    Ok(UnlabelParameterVersionResult { removed_labels: Some(removed), invalid_labels: Some(invalid) })
}
