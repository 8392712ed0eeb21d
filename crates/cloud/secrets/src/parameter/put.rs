//! Making a parameter, or a new version of one.
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html>

use pileus_aws::ssm::{PutParameterRequest, PutParameterResult, ops};
use pileus_core::{ApiError, Arn, Secret};
use pileus_service::{Context, Router};
use regex::{Regex, RegexBuilder};

use super::record::{Parameter, ParameterVersion};
use super::{invalid, name, tags};

pub(super) const SECURE: &str = "SecureString";
/// The key that encrypts secure strings unless another is asked for.
const DEFAULT_KEY: &str = "alias/aws/ssm";
const ADVANCED: &str = "Advanced";
/// In bytes of UTF-8.
const STANDARD_SIZE: usize = 4096;
const ADVANCED_SIZE: usize = 8192;
const MAX_VERSIONS: usize = 100;
const MAX_PARAMETERS: usize = 10_000;
/// A pattern that compiles to more is refused.
const PATTERN_SIZE: usize = 1 << 20;

pub(super) fn operations(router: &mut Router) {
    router.on::<ops::PutParameter>(put_parameter);
}

fn put_parameter(cx: &mut Context, input: PutParameterRequest) -> Result<PutParameterResult, ApiError> {
    name::check(&input.name)?;
    let existing = cx.tx.get::<Parameter>(&input.name);
    let overwrite = input.overwrite.unwrap_or(false);
    let tags = tags::read(input.tags.clone())?;
    if overwrite && !tags.is_empty() {
        return Err(invalid(
            "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please \
             remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or \
             RemoveTagsFromResource.",
        ));
    }
    let mut parameter = match existing {
        Some(_) if !overwrite => {
            let message = "The parameter already exists. To overwrite this value, set the overwrite option in the \
                           request to true.";
            return Err(ApiError::client("ParameterAlreadyExists", message));
        }
        Some(existing) => Parameter::clone(&existing),
        None if cx.tx.list::<Parameter>().len() >= MAX_PARAMETERS => {
            let message = "You have exceeded the number of parameters for this AWS account.";
            return Err(ApiError::client("ParameterLimitExceeded", message));
        }
        None => Parameter { name: input.name.clone(), tags, versions: Vec::new() },
    };
    let version = next_version(cx, &input, parameter.versions.last())?;
    let result = PutParameterResult { version: Some(version.number), tier: Some(version.tier.clone()) };
    make_room(&mut parameter)?;
    parameter.versions.push(version);
    cx.tx.put(parameter);
    Ok(result)
}

/// What is not said stays as it was.
fn next_version(
    cx: &mut Context,
    input: &PutParameterRequest,
    last: Option<&ParameterVersion>,
) -> Result<ParameterVersion, ApiError> {
    let kind = kind(input, last)?;
    let kept = |given: &Option<String>, old: Option<&String>| {
        given.as_ref().or(old).filter(|text| !text.is_empty()).cloned()
    };
    let allowed_pattern = kept(&input.allowed_pattern, last.and_then(|last| last.allowed_pattern.as_ref()));
    check_value(&input.value, allowed_pattern.as_deref())?;
    Ok(ParameterVersion {
        number: last.map_or(1, |last| last.number + 1),
        key_id: key_id(input, &kind, last)?,
        ciphertext: (kind == SECURE).then(|| format!("AQICAH{}", cx.ids.alphanumeric(190))),
        kind,
        tier: tier(input, last)?,
        data_type: data_type(input, last)?,
        description: kept(&input.description, last.and_then(|last| last.description.as_ref())),
        allowed_pattern,
        value: Secret::new(&*input.value),
        labels: Vec::new(),
        modified: cx.now,
        user: cx.caller.arn.clone(),
    })
}

fn kind(input: &PutParameterRequest, last: Option<&ParameterVersion>) -> Result<String, ApiError> {
    match (&input.r#type, last) {
        (Some(kind), Some(last)) if *kind != last.kind => Err(ApiError::client(
            "HierarchyTypeMismatchException",
            format!(
                "Parameter Store does not support changing a parameter type in a hierarchy. For example, you can't \
                 change a parameter from a {} type to a {kind} type. You must create a new, unique parameter.",
                last.kind
            ),
        )),
        (Some(kind), _) => Ok(kind.clone()),
        (None, Some(last)) => Ok(last.kind.clone()),
        (None, None) => Err(invalid("A parameter type is required when you create a parameter.")),
    }
}

fn key_id(
    input: &PutParameterRequest,
    kind: &str,
    last: Option<&ParameterVersion>,
) -> Result<Option<String>, ApiError> {
    if kind != SECURE {
        return match input.key_id {
            Some(_) => Err(invalid("KeyId can only be specified for a parameter of type SecureString.")),
            None => Ok(None),
        };
    }
    let old = last.and_then(|last| last.key_id.clone());
    let key = input.key_id.clone().or(old).unwrap_or_else(|| DEFAULT_KEY.into());
    let alias = Arn::parse(&key).filter(|arn| arn.service == "kms").map_or(&*key, |arn| arn.resource);
    if alias == DEFAULT_KEY {
        return Ok(Some(key));
    }
    let message = format!("Invalid keyId {key}. Pileus has no KMS: {DEFAULT_KEY} is the only key.");
    Err(ApiError::client("InvalidKeyId", message))
}

fn tier(input: &PutParameterRequest, last: Option<&ParameterVersion>) -> Result<String, ApiError> {
    let was_advanced = last.is_some_and(|last| last.tier == ADVANCED);
    let large = input.value.len() > STANDARD_SIZE;
    let advanced = match input.tier.as_deref() {
        Some("Standard") if was_advanced => {
            return Err(invalid(
                "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the \
                 advanced-parameter tier to the standard-parameter tier. If necessary, you can delete the advanced \
                 parameter and recreate it as a standard parameter.",
            ));
        }
        Some(ADVANCED) => true,
        Some("Intelligent-Tiering") => was_advanced || large,
        _ => was_advanced,
    };
    let (tier, most) = if advanced { ("Advanced", ADVANCED_SIZE) } else { ("Standard", STANDARD_SIZE) };
    if input.value.len() <= most {
        return Ok(tier.to_owned());
    }
    let more = if advanced {
        ""
    } else {
        " To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier. For more \
         information, see https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html"
    };
    Err(invalid(format!(
        "{tier} tier parameters support a maximum parameter value of {most} characters.{more}"
    )))
}

fn data_type(input: &PutParameterRequest, last: Option<&ParameterVersion>) -> Result<String, ApiError> {
    match input.data_type.as_deref().filter(|given| !given.is_empty()) {
        None => Ok(last.map_or_else(|| "text".to_owned(), |last| last.data_type.clone())),
        Some("text") => Ok("text".to_owned()),
        Some(known @ ("aws:ec2:image" | "aws:ssm:integration")) => {
            Err(ApiError::not_implemented(format_args!("parameters of the data type {known}")))
        }
        Some(other) => Err(invalid(format!(
            "The following data type is not supported: {other} (Data type names are all lowercase.)"
        ))),
    }
}

fn check_value(value: &str, pattern: Option<&str>) -> Result<(), ApiError> {
    if value.is_empty() {
        return Err(invalid(
            "1 validation error detected: Value '' at 'value' failed to satisfy constraint: Member must have length \
             greater than or equal to 1.",
        ));
    }
    if value.contains("{{") {
        return Err(invalid(
            "Parameter value can't nest another parameter. Do not use \"{{}}\" in the value.",
        ));
    }
    let Some(pattern) = pattern else { return Ok(()) };
    if whole(pattern)?.is_match(value) {
        return Ok(());
    }
    let message = format!("Parameter value, cannot be validated against allowedPattern: {pattern}");
    Err(ApiError::client("ParameterPatternMismatchException", message))
}

fn whole(pattern: &str) -> Result<Regex, ApiError> {
    RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(PATTERN_SIZE).build().map_err(|_| {
        let message = "The request does not meet the regular expression requirement.";
        ApiError::client("InvalidAllowedPatternException", message)
    })
}

/// The oldest version makes room for a new one, unless a label holds it.
fn make_room(parameter: &mut Parameter) -> Result<(), ApiError> {
    if parameter.versions.len() < MAX_VERSIONS {
        return Ok(());
    }
    let oldest = parameter.versions.remove(0);
    if oldest.labels.is_empty() {
        return Ok(());
    }
    let message = format!(
        "You attempted to create a new version of {} by calling the PutParameter API with the overwrite flag. Version \
         {}, the oldest version, can't be deleted because it has a label associated with it. Move the label to another \
         version of the parameter, and try again.",
        parameter.name, oldest.number
    );
    Err(ApiError::client("ParameterMaxVersionLimitExceeded", message))
}
