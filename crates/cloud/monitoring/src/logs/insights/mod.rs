//! Logs Insights: queries over log groups, answered when their results are asked for.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html>

mod parse;
mod run;

use std::sync::Arc;

use pileus_aws::logs::{
    DescribeQueriesRequest, DescribeQueriesResponse, GetQueryResultsRequest, GetQueryResultsResponse,
    QueryInfo, QueryStatistics, ResultField, StartQueryRequest, StartQueryResponse, StopQueryRequest,
    StopQueryResponse, ops,
};
use pileus_core::{ApiError, Timestamp, paginate};
use pileus_service::{Context, Router};
use pileus_state::Record;
use serde::{Deserialize, Serialize};

use super::{group, invalid, invalid_token};

/// Queries whose results can be asked for.
const MAX_QUERIES: usize = 1000;
const MAX_GROUPS: usize = 50;
const MAX_ROWS: i64 = 10_000;

/// A query that was started. It is answered from what the groups hold when its results are asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Query {
    pub id: String,
    pub groups: Vec<String>,
    pub text: String,
    pub from: Timestamp,
    /// The first time that is not looked at.
    pub to: Timestamp,
    pub limit: usize,
    pub started: Timestamp,
}

impl Record for Query {
    const KIND: &'static str = "logs/query";
    const DURABLE: bool = false;

    fn key(&self) -> String {
        self.id.clone()
    }
}

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::StartQuery>(start_query)
        .on::<ops::StopQuery>(stop_query)
        .on::<ops::DescribeQueries>(describe_queries)
        .on_bulk::<ops::GetQueryResults>(get_query_results);
}

fn start_query(cx: &mut Context, input: StartQueryRequest) -> Result<StartQueryResponse, ApiError> {
    if input.query_language.as_deref().is_some_and(|language| language != "CWLI") {
        return Err(ApiError::not_implemented("queries in SQL and PPL"));
    }
    let named =
        [input.log_group_name.map(|name| vec![name]), input.log_group_names, input.log_group_identifiers];
    let mut named = named.into_iter().flatten();
    let (Some(names), None) = (named.next(), named.next()) else {
        return Err(invalid(
            "Exactly one of logGroupName, logGroupNames and logGroupIdentifiers must be given.",
        ));
    };
    if names.is_empty() || names.len() > MAX_GROUPS {
        return Err(invalid(format!("A query is over 1 to {MAX_GROUPS} log groups.")));
    }
    let groups = names.iter().map(|name| Ok(group::find_one(cx.tx, None, Some(name))?.name));
    let groups = groups.collect::<Result<Vec<_>, ApiError>>()?;
    if input.start_time > input.end_time {
        return Err(ApiError::client("MalformedQueryException", "End time should not be before start time."));
    }
    parse::Plan::parse(&input.query_string)?;
    let query = Query {
        id: cx.ids.uuid(),
        groups,
        text: input.query_string,
        from: Timestamp::from_millis(input.start_time.saturating_mul(1000)),
        to: Timestamp::from_millis(input.end_time.saturating_add(1).saturating_mul(1000)),
        limit: input.limit.unwrap_or(MAX_ROWS).min(MAX_ROWS) as usize,
        started: cx.now,
    };
    let mut known = cx.tx.list::<Query>();
    if known.len() >= MAX_QUERIES {
        known.sort_by_key(|query| query.started);
        cx.tx.delete::<Query>(&known[0].id);
    }
    let query_id = Some(query.id.clone());
    cx.tx.put(query);
    Ok(StartQueryResponse { query_id })
}

fn find(cx: &Context, id: &str) -> Result<Arc<Query>, ApiError> {
    let missing = || ApiError::client("ResourceNotFoundException", format!("Query {id} does not exist."));
    cx.tx.get::<Query>(id).ok_or_else(missing)
}

fn get_query_results(
    cx: &mut Context,
    input: GetQueryResultsRequest,
) -> Result<GetQueryResultsResponse, ApiError> {
    let query = find(cx, &input.query_id)?;
    let plan = parse::Plan::parse(&query.text)?;
    let found = run::run(cx, &query, &plan)?;
    let row = |row: Vec<(String, String)>| {
        let field = |(field, value)| ResultField { field: Some(field), value: Some(value) };
        row.into_iter().map(field).collect::<Vec<_>>()
    };
    let statistics = QueryStatistics {
        records_matched: Some(found.matched as f64),
        records_scanned: Some(found.scanned as f64),
        bytes_scanned: Some(found.bytes as f64),
        log_groups_scanned: Some(query.groups.len() as f64),
        ..Default::default()
    };
    Ok(GetQueryResultsResponse {
        query_language: Some("CWLI".into()),
        results: Some(found.rows.into_iter().map(row).collect()),
        statistics: Some(statistics),
        status: Some(if found.whole { "Complete" } else { "Timeout" }.into()),
        ..Default::default()
    })
}

/// A query is answered at once, so there is none to stop.
fn stop_query(cx: &mut Context, input: StopQueryRequest) -> Result<StopQueryResponse, ApiError> {
    find(cx, &input.query_id)?;
    Err(invalid(format!("Query {} is not running: it has ended with status Complete.", input.query_id)))
}

fn describe_queries(
    cx: &mut Context,
    input: DescribeQueriesRequest,
) -> Result<DescribeQueriesResponse, ApiError> {
    let mut queries = cx.tx.list::<Query>();
    queries.retain(|query| {
        input.log_group_name.as_ref().is_none_or(|group| query.groups.contains(group))
            && input.status.as_deref().is_none_or(|status| status == "Complete")
            && input.query_language.as_deref().is_none_or(|language| language == "CWLI")
    });
    let limit = input.max_results.unwrap_or(50) as usize;
    let key = |query: &Arc<Query>| query.id.clone();
    let (page, next_token) = paginate(queries, key, input.next_token.as_deref(), limit, invalid_token)?;
    let info = |query: &Arc<Query>| QueryInfo {
        query_language: Some("CWLI".into()),
        query_id: Some(query.id.clone()),
        query_string: Some(query.text.clone()),
        status: Some("Complete".into()),
        create_time: Some(query.started.millis()),
        log_group_name: query.groups.first().cloned(),
        ..Default::default()
    };
    Ok(DescribeQueriesResponse { queries: Some(page.iter().map(info).collect()), next_token })
}

#[cfg(test)]
mod tests;
