//! What is said of parameters, without their values.
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeParameters.html>

use std::sync::Arc;

use pileus_aws::ssm::{
    DescribeParametersRequest, DescribeParametersResult, ParameterMetadata, ParameterStringFilter, ops,
};
use pileus_core::{ApiError, Scope, paginate};
use pileus_service::{Context, Router};

use super::record::Parameter;
use super::{bad_token, filter, invalid, limit};

pub(super) fn operations(router: &mut Router) {
    router.on::<ops::DescribeParameters>(describe_parameters);
}

fn describe_parameters(
    cx: &mut Context,
    input: DescribeParametersRequest,
) -> Result<DescribeParametersResult, ApiError> {
    let filters = match (input.filters, input.parameter_filters) {
        (Some(_), Some(_)) => {
            return Err(invalid("You can use either Filters or ParameterFilters in a single request."));
        }
        // The older form: a name is a prefix.
        (Some(filters), None) => {
            let filters = filters.into_iter().map(|filter| ParameterStringFilter {
                option: (filter.key == "Name").then(|| "BeginsWith".to_owned()),
                key: filter.key,
                values: Some(filter.values),
            });
            filters.collect()
        }
        (None, filters) => filters.unwrap_or_default(),
    };
    filter::check(&filters, &["Path", "Name", "Type", "KeyId", "Tier", "DataType", "Label", "tag:"])?;
    let mut found = cx.tx.list::<Parameter>();
    // Nothing is shared between accounts here.
    found.retain(|parameter| !input.shared.unwrap_or(false) && filter::matches(parameter, &filters));
    let key = |parameter: &Arc<Parameter>| parameter.name.clone();
    let token = input.next_token.as_deref();
    let (page, next_token) = paginate(found, key, token, limit(input.max_results, 50), bad_token)?;
    let parameters = page.iter().map(|parameter| shape(cx.scope(), parameter)).collect();
    Ok(DescribeParametersResult { parameters: Some(parameters), next_token })
}

fn shape(scope: &Scope, parameter: &Parameter) -> ParameterMetadata {
    let current = parameter.current();
    ParameterMetadata {
        name: Some(parameter.name.clone()),
        arn: Some(parameter.arn(scope)),
        r#type: Some(current.kind.clone()),
        key_id: current.key_id.clone(),
        last_modified_date: Some(current.modified),
        last_modified_user: Some(current.user.clone()),
        description: current.description.clone(),
        allowed_pattern: current.allowed_pattern.clone(),
        version: Some(current.number),
        tier: Some(current.tier.clone()),
        policies: Some(Vec::new()),
        data_type: Some(current.data_type.clone()),
    }
}
