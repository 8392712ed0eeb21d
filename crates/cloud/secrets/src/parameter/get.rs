//! Reading parameters.
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html>

use pileus_aws::ssm::{
    GetParameterRequest, GetParameterResult, GetParametersByPathRequest, GetParametersByPathResult,
    GetParametersRequest, GetParametersResult, Parameter as Shape, ops,
};
use pileus_core::{ApiError, Scope, paginate};
use pileus_service::{Context, Router};

use super::record::{Parameter, ParameterVersion, chosen, find, split};
use super::{bad_token, filter, limit, name, reference as secrets};

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::GetParameter>(get_parameter)
        .on::<ops::GetParameters>(get_parameters)
        .on::<ops::GetParametersByPath>(get_parameters_by_path);
}

fn get_parameter(cx: &mut Context, input: GetParameterRequest) -> Result<GetParameterResult, ApiError> {
    let decrypt = input.with_decryption.unwrap_or(false);
    let parameter = Some(read(cx, &input.name, decrypt)?);
    Ok(GetParameterResult { parameter })
}

fn read(cx: &Context, reference: &str, decrypt: bool) -> Result<Shape, ApiError> {
    if let Some(secret) = secrets::read(cx, reference, decrypt) {
        return secret;
    }
    let (name, selector) = split(reference);
    let found = find(cx.tx, name);
    let (parameter, version) = chosen(found.as_deref(), name, selector)?;
    let selector = selector.map(|selector| format!(":{selector}"));
    Ok(Shape { selector, ..shape(cx.scope(), parameter, version, decrypt) })
}

fn shape(scope: &Scope, parameter: &Parameter, version: &ParameterVersion, decrypt: bool) -> Shape {
    Shape {
        name: Some(parameter.name.clone()),
        r#type: Some(version.kind.clone()),
        value: Some(version.shown(decrypt).to_owned()),
        version: Some(version.number),
        last_modified_date: Some(version.modified),
        arn: Some(parameter.arn(scope)),
        data_type: Some(version.data_type.clone()),
        ..Shape::default()
    }
}

fn get_parameters(cx: &mut Context, input: GetParametersRequest) -> Result<GetParametersResult, ApiError> {
    let decrypt = input.with_decryption.unwrap_or(false);
    let (mut parameters, mut invalid) = (Vec::new(), Vec::new());
    for name in input.names {
        match read(cx, &name, decrypt) {
            Ok(parameter) => parameters.push(parameter),
            Err(_) => invalid.push(name),
        }
    }
    Ok(GetParametersResult { parameters: Some(parameters), invalid_parameters: Some(invalid) })
}

fn get_parameters_by_path(
    cx: &mut Context,
    input: GetParametersByPathRequest,
) -> Result<GetParametersByPathResult, ApiError> {
    name::check_path(&input.path)?;
    let filters = input.parameter_filters.unwrap_or_default();
    filter::check(&filters, &["Type", "KeyId", "Label"])?;
    let recursive = input.recursive.unwrap_or(false);
    let mut found = cx.tx.list::<Parameter>();
    found.retain(|parameter| name::is_below(&parameter.name, &input.path, recursive));
    found.retain(|parameter| filter::matches(parameter, &filters));
    let key = |parameter: &std::sync::Arc<Parameter>| parameter.name.clone();
    let token = input.next_token.as_deref();
    let (page, next_token) = paginate(found, key, token, limit(input.max_results, 10), bad_token)?;
    let decrypt = input.with_decryption.unwrap_or(false);
    let label = filters.iter().find(|filter| filter.key == "Label").and_then(|filter| filter.values.as_ref());
    let parameters = page.iter().map(|parameter| {
        let labelled = label.and_then(|labels| labels.iter().find_map(|label| parameter.labelled(label)));
        shape(cx.scope(), parameter, labelled.unwrap_or(parameter.current()), decrypt)
    });
    Ok(GetParametersByPathResult { parameters: Some(parameters.collect()), next_token })
}
