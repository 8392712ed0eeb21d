//! Dashboards: documents that are kept for those who draw them.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html>

use pileus_aws::cloudwatch::{
    DashboardEntry, DashboardValidationMessage, DeleteDashboardsInput, DeleteDashboardsOutput,
    GetDashboardInput, GetDashboardOutput, ListDashboardsInput, ListDashboardsOutput, PutDashboardInput,
    PutDashboardOutput, ops,
};
use pileus_core::{ApiError, Scope, Tags, Timestamp, paginate, tags};
use pileus_service::{Context, Router};
use pileus_state::{Record, Tables};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const PAGE: usize = 1000;
/// Widgets that a dashboard may have.
const MAX_WIDGETS: usize = 500;
const MAX_BODY: usize = 1 << 20;
const MAX_DASHBOARDS: usize = 5000;
const WIDGETS: [&str; 6] = ["metric", "text", "log", "alarm", "explorer", "custom"];

/// A dashboard. Its ARN has no region, but it is listed where it was put.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Dashboard {
    pub name: String,
    /// A JSON document, as it was put.
    pub body: String,
    pub modified: Timestamp,
    pub tags: Tags,
}

impl Record for Dashboard {
    const KIND: &'static str = "cloudwatch/dashboard";

    fn key(&self) -> String {
        self.name.clone()
    }
}

pub(crate) fn tables(tables: &mut Tables) {
    tables.add::<Dashboard>();
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::PutDashboard>(put_dashboard)
        .on::<ops::GetDashboard>(get_dashboard)
        .on::<ops::ListDashboards>(list_dashboards)
        .on::<ops::DeleteDashboards>(delete_dashboards);
}

fn arn(scope: &Scope, name: &str) -> String {
    format!("arn:{}:cloudwatch::{}:dashboard/{name}", scope.partition, scope.account)
}

fn not_found(name: &str) -> ApiError {
    ApiError::new("ResourceNotFound", 404, format!("Dashboard {name} does not exist"))
}

fn put_dashboard(cx: &mut Context, input: PutDashboardInput) -> Result<PutDashboardOutput, ApiError> {
    let refused = |message: String| ApiError::client("InvalidParameterInput", message);
    let name = input.dashboard_name;
    let named = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 255 || !name.chars().all(named) {
        return Err(refused(format!(
            "The dashboard name {name} has characters other than A-Z, a-z, 0-9, - and _."
        )));
    }
    if input.dashboard_body.len() > MAX_BODY {
        return Err(refused(format!("The dashboard body is larger than {MAX_BODY} bytes.")));
    }
    let problems = problems(&input.dashboard_body);
    let fatal = problems.iter().find(|problem| problem.fatal);
    if let Some(Problem { path, message, .. }) = fatal {
        return Err(refused(format!("The dashboard body is invalid: {path}: {message}")));
    }
    let tags = input.tags.into_iter().flatten().map(|tag| (tag.key, tag.value)).collect();
    tags::check(&tags, "InvalidParameterInput")?;
    let old = cx.tx.get::<Dashboard>(&name);
    if old.is_none() && cx.tx.list::<Dashboard>().len() >= MAX_DASHBOARDS {
        return Err(refused(format!("The account has {MAX_DASHBOARDS} dashboards already.")));
    }
    let tags = old.map_or(tags, |old| old.tags.clone());
    cx.tx.put(Dashboard { name, body: input.dashboard_body, modified: cx.now, tags });
    let message = |problem: Problem| DashboardValidationMessage {
        data_path: Some(problem.path),
        message: Some(problem.message),
    };
    let messages = problems.into_iter().map(message).collect();
    Ok(PutDashboardOutput { dashboard_validation_messages: Some(messages) })
}

struct Problem {
    path: String,
    message: String,
    /// Whether the dashboard is refused for it; else it is only mentioned.
    fatal: bool,
}

/// What is wrong with a body: it must be an object, its widgets must have a type and properties.
fn problems(body: &str) -> Vec<Problem> {
    let fatal = |path: String, message: &str| Problem { path, message: message.into(), fatal: true };
    let document = match serde_json::from_str::<Value>(body) {
        Ok(Value::Object(document)) => document,
        Ok(_) => return vec![fatal("/".into(), "The dashboard body must be a JSON object")],
        Err(error) => return vec![fatal("/".into(), &format!("The dashboard body is not JSON: {error}"))],
    };
    let Some(Value::Array(widgets)) = document.get("widgets") else {
        return vec![fatal("/widgets".into(), "Should have required property 'widgets', an array")];
    };
    if widgets.len() > MAX_WIDGETS {
        return vec![fatal("/widgets".into(), &format!("Should have at most {MAX_WIDGETS} widgets"))];
    }
    let mut problems = Vec::new();
    for (index, widget) in widgets.iter().enumerate() {
        let path = format!("/widgets/{index}");
        match widget.get("type").and_then(Value::as_str) {
            Some(kind) if WIDGETS.contains(&kind) => {}
            Some(_) => {
                problems.push(fatal(format!("{path}/type"), "Should be equal to one of the allowed values"));
            }
            None => problems.push(fatal(path.clone(), "Should have required property 'type'")),
        }
        match widget.get("properties") {
            Some(Value::Object(_)) => {}
            _ => problems.push(fatal(path.clone(), "Should have required property 'properties', an object")),
        }
        for (member, highest) in [("x", 23), ("y", i64::MAX), ("width", 24), ("height", 1000)] {
            let fits = |value: &Value| value.as_i64().is_some_and(|value| (0..=highest).contains(&value));
            if widget.get(member).is_some_and(|value| !fits(value)) {
                let message = format!("Should be an integer from 0 to {highest}");
                problems.push(Problem { path: format!("{path}/{member}"), message, fatal: true });
            }
        }
    }
    for member in document
        .keys()
        .filter(|key| !["widgets", "start", "end", "periodOverride", "variables"].contains(&key.as_str()))
    {
        problems.push(Problem {
            path: format!("/{member}"),
            message: "Unknown property".into(),
            fatal: false,
        });
    }
    problems
}

fn get_dashboard(cx: &mut Context, input: GetDashboardInput) -> Result<GetDashboardOutput, ApiError> {
    let name = input.dashboard_name;
    let dashboard = cx.tx.get::<Dashboard>(&name).ok_or_else(|| not_found(&name))?;
    Ok(GetDashboardOutput {
        dashboard_arn: Some(arn(cx.scope(), &name)),
        dashboard_body: Some(dashboard.body.clone()),
        dashboard_name: Some(name),
    })
}

fn list_dashboards(cx: &mut Context, input: ListDashboardsInput) -> Result<ListDashboardsOutput, ApiError> {
    let mut dashboards = cx.tx.list::<Dashboard>();
    let prefix = input.dashboard_name_prefix.unwrap_or_default();
    dashboards.retain(|dashboard| dashboard.name.starts_with(&prefix));
    let invalid = || ApiError::client("InvalidParameterValue", "The next token specified is invalid.");
    let key = |dashboard: &std::sync::Arc<Dashboard>| dashboard.name.clone();
    let (page, next_token) = paginate(dashboards, key, input.next_token.as_deref(), PAGE, invalid)?;
    let entry = |dashboard: &std::sync::Arc<Dashboard>| DashboardEntry {
        dashboard_name: Some(dashboard.name.clone()),
        dashboard_arn: Some(arn(cx.scope(), &dashboard.name)),
        last_modified: Some(dashboard.modified),
        size: Some(dashboard.body.len() as i64),
    };
    Ok(ListDashboardsOutput { dashboard_entries: Some(page.iter().map(entry).collect()), next_token })
}

/// All or none.
fn delete_dashboards(
    cx: &mut Context,
    input: DeleteDashboardsInput,
) -> Result<DeleteDashboardsOutput, ApiError> {
    for name in &input.dashboard_names {
        cx.tx.delete::<Dashboard>(name).ok_or_else(|| not_found(name))?;
    }
    Ok(DeleteDashboardsOutput::default())
}

#[cfg(test)]
mod tests {
    use pileus_kit::Cloud;

    use super::*;

    fn put(name: &str, body: &str) -> PutDashboardInput {
        PutDashboardInput { dashboard_name: name.into(), dashboard_body: body.into(), ..Default::default() }
    }

    #[test]
    fn a_dashboard_lives_from_put_to_delete() {
        let mut cloud = Cloud::new(crate::tables, crate::operations);
        let body = r##"{"widgets":[{"type":"text","x":0,"y":0,"width":6,"height":3,"properties":{"markdown":"# Hi"}}]}"##;
        cloud.ok::<ops::PutDashboard>(put("web", body));
        let read = cloud.ok::<ops::GetDashboard>(GetDashboardInput { dashboard_name: "web".into() });
        assert_eq!(read.dashboard_body.as_deref(), Some(body));
        assert_eq!(read.dashboard_arn.as_deref(), Some("arn:aws:cloudwatch::000000000000:dashboard/web"));
        let list = cloud.ok::<ops::ListDashboards>(ListDashboardsInput::default());
        assert_eq!(list.dashboard_entries.expect("a list")[0].size, Some(body.len() as i64));
        let delete = || DeleteDashboardsInput { dashboard_names: vec!["web".into()] };
        cloud.ok::<ops::DeleteDashboards>(delete());
        assert_eq!(cloud.code::<ops::DeleteDashboards>(delete()), "ResourceNotFound");
        let gone = GetDashboardInput { dashboard_name: "web".into() };
        assert_eq!(cloud.code::<ops::GetDashboard>(gone), "ResourceNotFound");
    }

    #[test]
    fn a_body_that_is_no_dashboard_is_refused() {
        let mut cloud = Cloud::new(crate::tables, crate::operations);
        for body in [
            "",
            "[]",
            "{}",
            r#"{"widgets":[{"type":"chart","properties":{}}]}"#,
            r#"{"widgets":[{"type":"text"}]}"#,
        ] {
            assert_eq!(cloud.code::<ops::PutDashboard>(put("web", body)), "InvalidParameterInput", "{body}");
        }
        assert_eq!(cloud.code::<ops::PutDashboard>(put("a b", "{\"widgets\":[]}")), "InvalidParameterInput");
        let output = cloud.ok::<ops::PutDashboard>(put("web", r#"{"widgets":[],"colour":1}"#));
        assert_eq!(output.dashboard_validation_messages.expect("a list").len(), 1);
    }
}
