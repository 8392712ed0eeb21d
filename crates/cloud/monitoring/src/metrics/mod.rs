//! Amazon CloudWatch metrics.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/>

mod data;
mod label;
mod list;
mod math;
mod put;
mod query;
mod series;
mod statistic;
mod statistics;

use std::collections::BTreeMap;

use pileus_aws::cloudwatch::Dimension;
use pileus_contract::MachineError;
use pileus_core::ApiError;
use pileus_service::Router;

pub use put::aws_unit;
pub(crate) use query::{Queries, alarm_period};
pub(crate) use series::{Point, Reader, Window};
pub(crate) use statistic::Statistic;

pub(crate) fn operations(router: &mut Router) {
    put::operations(router);
    data::operations(router);
    statistics::operations(router);
    list::operations(router);
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::client("InvalidParameterValue", message)
}

fn validation(message: impl Into<String>) -> ApiError {
    ApiError::client("ValidationError", message)
}

/// A failure of the store is ours; the client cannot mend it.
fn store_failed(error: MachineError) -> ApiError {
    ApiError::new("InternalServiceError", 500, error.to_string())
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
