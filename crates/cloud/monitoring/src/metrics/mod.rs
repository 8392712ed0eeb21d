//! Amazon CloudWatch metrics.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/>

mod put;
mod query;
mod statistic;

use std::collections::BTreeMap;

use pileus_aws::cloudwatch::Dimension;
use pileus_core::ApiError;
use pileus_service::Router;

pub(crate) fn operations(router: &mut Router) {
    put::operations(router);
    query::operations(router);
}

pub(crate) use statistic::Statistic;

/// The period in seconds of the metrics and expressions that an alarm watches.
pub(crate) fn alarm_period(_: &[pileus_aws::cloudwatch::MetricDataQuery]) -> Result<i64, ApiError> {
    Err(ApiError::not_implemented("cloudwatch:PutMetricAlarm with Metrics (metric math)"))
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::client("InvalidParameterValue", message)
}

/// Dimensions as a metric is known by them: at most 30, each name once.
pub(crate) fn dimensions(list: Option<Vec<Dimension>>) -> Result<BTreeMap<String, String>, ApiError> {
    let list = list.unwrap_or_default();
    if list.len() > 30 {
        return Err(invalid("The collection Dimensions must not have a size greater than 30."));
    }
    let mut dimensions = BTreeMap::new();
    for Dimension { name, value } in list {
        if dimensions.insert(name.clone(), value).is_some() {
            return Err(invalid(format!("Metric dimensions must have unique names: {name}")));
        }
    }
    Ok(dimensions)
}
