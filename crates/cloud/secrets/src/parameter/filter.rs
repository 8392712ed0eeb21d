//! The filters by which parameters are listed.
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_ParameterStringFilter.html>

use pileus_aws::ssm::ParameterStringFilter;
use pileus_core::ApiError;

use super::name;
use super::record::Parameter;

/// # Errors
/// A filter has a key that is not among `keys`, an option that its key does not take, or no values.
pub(super) fn check(filters: &[ParameterStringFilter], keys: &[&str]) -> Result<(), ApiError> {
    for filter in filters {
        let key = filter.key.as_str();
        let known = if key.starts_with("tag:") { keys.contains(&"tag:") } else { keys.contains(&key) };
        if !known {
            let message = format!(
                "The following filter key is not valid: {key}. Valid filter keys include: [{}].",
                keys.join(", ")
            );
            return Err(ApiError::client("InvalidFilterKey", message));
        }
        check_option(filter)?;
        let without_values = filter.values.as_ref().is_none_or(Vec::is_empty);
        if without_values && !key.starts_with("tag:") {
            let message = format!("The following filter values are missing : null for filter key {key}");
            return Err(ApiError::client("InvalidFilterValue", message));
        }
        if key == "Path" {
            filter.values.iter().flatten().try_for_each(|path| name::check_path(path))?;
        }
    }
    let mut names: Vec<&str> = filters.iter().map(|filter| filter.key.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        let message = "The following filters are duplicated in the request. A request can contain only one instance of a specific filter.";
        return Err(ApiError::client("InvalidFilterKey", message));
    }
    Ok(())
}

fn check_option(filter: &ParameterStringFilter) -> Result<(), ApiError> {
    let options: &[&str] = match filter.key.as_str() {
        "Path" => &["Recursive", "OneLevel"],
        "Name" => &["BeginsWith", "Equals", "Contains"],
        _ => &["BeginsWith", "Equals"],
    };
    match filter.option.as_deref() {
        Some(option) if !options.contains(&option) => {
            let message = format!(
                "The following filter option is not valid: {option}. Valid options include: [{}].",
                options.join(", ")
            );
            Err(ApiError::client("InvalidFilterOption", message))
        }
        _ => Ok(()),
    }
}

/// Whether a parameter meets every filter, each by one of its values.
pub(super) fn matches(parameter: &Parameter, filters: &[ParameterStringFilter]) -> bool {
    filters.iter().all(|filter| meets(parameter, filter))
}

fn meets(parameter: &Parameter, filter: &ParameterStringFilter) -> bool {
    let values = filter.values.as_deref().unwrap_or_default();
    let option = filter.option.as_deref();
    let any = |text: &str| {
        values.iter().any(|value| match option {
            Some("BeginsWith") => text.starts_with(value.as_str()),
            Some("Contains") => text.contains(value.as_str()),
            _ => text == value,
        })
    };
    let current = parameter.current();
    if let Some(key) = filter.key.strip_prefix("tag:") {
        return parameter.tags.get(key).is_some_and(|value| values.is_empty() || any(value));
    }
    match filter.key.as_str() {
        "Name" => {
            // The leading slash may be left out.
            let short = parameter.name.strip_prefix('/').filter(|_| option != Some("Equals"));
            any(&parameter.name) || short.is_some_and(any)
        }
        "Type" => any(&current.kind),
        "KeyId" => current.key_id.as_deref().is_some_and(any),
        "Tier" => any(&current.tier),
        "DataType" => any(&current.data_type),
        "Label" => parameter.versions.iter().flat_map(|version| &version.labels).any(|label| any(label)),
        "Path" => {
            let recursive = option == Some("Recursive");
            values.iter().any(|path| name::is_below(&parameter.name, path, recursive))
        }
        _ => false,
    }
}
