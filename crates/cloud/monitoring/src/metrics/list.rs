//! `ListMetrics`.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_ListMetrics.html>

use std::time::Duration;

use pileus_aws::cloudwatch::{Dimension, ListMetricsInput, ListMetricsOutput, Metric, ops};
use pileus_contract::MetricKey;
use pileus_core::{ApiError, paginate};
use pileus_service::{Context, Router};

use super::invalid;

const PAGE: usize = 500;
/// A metric that had no point for this long is no longer listed; its points can still be read.
const LISTED: Duration = Duration::from_secs(14 * 86_400);
/// `RecentlyActive` knows this one time, three hours.
const RECENT: Duration = Duration::from_secs(3 * 3600);

pub(super) fn operations(router: &mut Router) {
    router.on_bulk::<ops::ListMetrics>(list_metrics);
}

fn list_metrics(cx: &mut Context, input: ListMetricsInput) -> Result<ListMetricsOutput, ApiError> {
    let filters = input.dimensions.unwrap_or_default();
    let oldest = cx.now - if input.recently_active.is_some() { RECENT } else { LISTED };
    let wanted = |key: &MetricKey| {
        input.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
            && input.metric_name.as_ref().is_none_or(|name| *name == key.name)
            && filters.iter().all(|filter| {
                let value = key.dimensions.get(&filter.name);
                value.is_some_and(|value| filter.value.as_ref().is_none_or(|wanted| wanted == value))
            })
    };
    let keys = cx.bulk.metrics.list(cx.scope()).into_iter();
    let mut keys: Vec<_> =
        keys.filter(|(key, newest)| *newest >= oldest && wanted(key)).map(|(key, _)| key).collect();
    let text = |key: &MetricKey| format!("{}\0{}\0{:?}", key.namespace, key.name, key.dimensions);
    keys.sort_by_cached_key(text);
    let invalid_token = || invalid("The next token specified is invalid.");
    let (page, next_token) = paginate(keys, text, input.next_token.as_deref(), PAGE, invalid_token)?;
    let metric = |key: MetricKey| Metric {
        namespace: Some(key.namespace),
        metric_name: Some(key.name),
        dimensions: Some(key.dimensions.into_iter().map(|(name, value)| Dimension { name, value }).collect()),
    };
    Ok(ListMetricsOutput {
        metrics: Some(page.into_iter().map(metric).collect()),
        next_token,
        owning_accounts: None,
    })
}
