//! Flow logs: what passed the interfaces of a VPC, a subnet or one interface, and what did not, as log events.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs.html>
//!
//! The router of the VPC counts the packets; [`deliveries`] makes records of the counts, minute by minute, as AWS does
//! for the interfaces of its newer machines whatever interval is asked for.

mod format;
mod records;

use pileus_aws::ec2;
use pileus_core::{ApiError, Arn, Scope, Timestamp};
use pileus_service::{Context, Router};
use pileus_state::{Record, State, Tx};
use serde::{Deserialize, Serialize};

pub use self::records::{Delivery, Window, deliveries, since};
use crate::resource::{Resource, find, invalid, missing};
use crate::select::{Filters, Selection, one, select};
use crate::{Interface, Subnet, Vpc, tags};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowLog {
    pub id: String,
    /// A VPC, a subnet or an interface.
    pub resource: String,
    pub traffic: Traffic,
    /// The log group.
    pub group: String,
    /// The role in whose name records are delivered.
    pub role: String,
    /// As it was asked for.
    format: Option<String>,
    /// Seconds, as asked for.
    interval: i64,
    created: Timestamp,
    /// Why the last delivery failed.
    pub error: Option<String>,
    client_token: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Traffic {
    Accept,
    Reject,
    All,
}

impl Traffic {
    fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        match text {
            Some("ACCEPT") => Ok(Self::Accept),
            Some("REJECT") => Ok(Self::Reject),
            Some("ALL") => Ok(Self::All),
            Some(other) => Err(invalid(format!("Invalid value '{other}' for parameter TrafficType."))),
            None => Err(missing("TrafficType")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Reject => "REJECT",
            Self::All => "ALL",
        }
    }
}

impl Record for FlowLog {
    const KIND: &'static str = "ec2/flow-log";

    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Resource for FlowLog {
    const PREFIX: &'static str = "fl";
    const TYPE: &'static str = "vpc-flow-log";
    const NOUN: &'static str = "flow log ID";
    const NOT_FOUND: &'static str = "InvalidFlowLogId.NotFound";
    const MALFORMED: &'static str = "InvalidFlowLogId.Malformed";
}

pub fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::CreateFlowLogs>(create_flow_logs)
        .on::<ec2::ops::DeleteFlowLogs>(delete_flow_logs)
        .on::<ec2::ops::DescribeFlowLogs>(describe_flow_logs);
}

/// Whether any flow log wants to know of the VPC's traffic.
pub(crate) fn concerns(state: &State, scope: &Scope, vpc: &str) -> bool {
    state.list::<FlowLog>(scope).any(|log| vpc_of(state, scope, &log.resource).as_deref() == Some(vpc))
}

/// The VPCs that have flow logs.
pub fn vpcs(state: &State) -> Vec<(Scope, String)> {
    let of = |(scope, log): (&Scope, std::sync::Arc<FlowLog>)| {
        Some((scope.clone(), vpc_of(state, scope, &log.resource)?))
    };
    let mut vpcs: Vec<_> = state.all::<FlowLog>().filter_map(of).collect();
    vpcs.sort();
    vpcs.dedup();
    vpcs
}

/// Notes how a delivery went.
pub fn note(tx: &mut Tx, id: &str, error: Option<&str>) {
    if tx.get::<FlowLog>(id).is_some_and(|log| log.error.as_deref() != error) {
        tx.update::<FlowLog>(id, |log| log.error = error.map(str::to_owned));
    }
}

fn vpc_of(state: &State, scope: &Scope, resource: &str) -> Option<String> {
    match resource.split('-').next()? {
        Vpc::PREFIX => state.get::<Vpc>(scope, resource).map(|vpc| vpc.id.clone()),
        Subnet::PREFIX => state.get::<Subnet>(scope, resource).map(|subnet| subnet.vpc.clone()),
        _ => state.get::<Interface>(scope, resource).map(|interface| interface.vpc.clone()),
    }
}

fn create_flow_logs(
    cx: &mut Context,
    input: ec2::CreateFlowLogsRequest,
) -> Result<ec2::CreateFlowLogsResult, ApiError> {
    let template = template(cx, &input)?;
    let tags = tags::specified::<FlowLog>(&input.tag_specifications)?;
    if let Some(token) = &template.client_token {
        let same = cx.tx.list::<FlowLog>().into_iter().filter(|log| log.client_token.as_ref() == Some(token));
        let ids: Vec<String> = same.map(|log| log.id.clone()).collect();
        if !ids.is_empty() {
            return Ok(created(ids, input.client_token));
        }
    }
    let mut ids = Vec::new();
    for resource in &input.resource_ids {
        match input.resource_type.as_str() {
            "VPC" => drop(find::<Vpc>(cx.tx, resource)?),
            "Subnet" => drop(find::<Subnet>(cx.tx, resource)?),
            "NetworkInterface" => drop(find::<Interface>(cx.tx, resource)?),
            other => {
                return Err(ApiError::not_implemented(format_args!("flow logs of the ResourceType {other}")));
            }
        }
        let same = |log: &FlowLog| {
            log.resource == *resource && log.group == template.group && log.traffic == template.traffic
        };
        if cx.tx.find(same).is_some() {
            let message = format!(
                "There is an existing Flow Log with the same configuration and log destination for {resource}."
            );
            return Err(ApiError::client("FlowLogAlreadyExists", message));
        }
        let log = FlowLog { id: cx.ids.ec2(FlowLog::PREFIX), resource: resource.clone(), ..template.clone() };
        tags::put::<FlowLog>(cx.tx, &log.id, tags.clone());
        ids.push(log.id.clone());
        cx.tx.put(log);
    }
    Ok(created(ids, input.client_token))
}

fn created(ids: Vec<String>, client_token: Option<String>) -> ec2::CreateFlowLogsResult {
    ec2::CreateFlowLogsResult { client_token, flow_log_ids: Some(ids), unsuccessful: Some(Vec::new()) }
}

/// What the flow logs of one request have in common.
fn template(cx: &Context, input: &ec2::CreateFlowLogsRequest) -> Result<FlowLog, ApiError> {
    let kind = input.log_destination_type.as_deref().unwrap_or("cloud-watch-logs");
    if kind != "cloud-watch-logs" {
        return Err(ApiError::not_implemented(format_args!("flow logs with the LogDestinationType {kind}")));
    }
    let interval = input.max_aggregation_interval.unwrap_or(600);
    if !matches!(interval, 60 | 600) {
        return Err(invalid("Invalid value for parameter MaxAggregationInterval. Must be 60 or 600."));
    }
    let group = match (&input.log_group_name, &input.log_destination) {
        (Some(_), Some(_)) => {
            let message = "Please provide either LogGroupName or LogDestination, not both.";
            return Err(ApiError::client("InvalidParameterCombination", message));
        }
        (Some(name), None) => name.clone(),
        (None, Some(arn)) => {
            group_of(arn).ok_or_else(|| invalid(format!("LogDestination: {arn} is invalid.")))?
        }
        (None, None) => return Err(missing("LogGroupName or LogDestination")),
    };
    let role =
        input.deliver_logs_permission_arn.clone().ok_or_else(|| missing("DeliverLogsPermissionArn"))?;
    if Arn::parse(&role).is_none_or(|arn| arn.service != "iam" || arn.account != cx.scope().account) {
        return Err(invalid("Invalid DeliverLogsPermissionArn."));
    }
    if let Some(text) = &input.log_format {
        format::parse(text)?;
    }
    Ok(FlowLog {
        id: String::new(),
        resource: String::new(),
        traffic: Traffic::parse(input.traffic_type.as_deref())?,
        group,
        role,
        format: input.log_format.clone(),
        interval,
        created: cx.now,
        error: None,
        client_token: input.client_token.clone(),
    })
}

/// The name in a log group's ARN, which may end in `:*`.
fn group_of(arn: &str) -> Option<String> {
    let name = Arn::parse(arn).filter(|arn| arn.service == "logs")?.resource.strip_prefix("log-group:")?;
    Some(name.strip_suffix(":*").unwrap_or(name).to_owned())
}

fn delete_flow_logs(
    cx: &mut Context,
    input: ec2::DeleteFlowLogsRequest,
) -> Result<ec2::DeleteFlowLogsResult, ApiError> {
    let mut unsuccessful = Vec::new();
    for id in input.flow_log_ids {
        match find::<FlowLog>(cx.tx, &id) {
            Ok(log) => {
                tags::forget(cx.tx, &log.id);
                cx.tx.delete::<FlowLog>(&log.id);
            }
            Err(error) => {
                let error = ec2::UnsuccessfulItemError {
                    code: Some(error.code.into_owned()),
                    message: Some(error.message),
                };
                unsuccessful.push(ec2::UnsuccessfulItem { error: Some(error), resource_id: Some(id) });
            }
        }
    }
    Ok(ec2::DeleteFlowLogsResult { unsuccessful: Some(unsuccessful) })
}

const FILTERS: Filters<FlowLog> = &[
    ("deliver-log-status", |_, log| one(log.delivery_status())),
    ("flow-log-id", |_, log| one(&log.id)),
    ("log-destination-type", |_, _| one("cloud-watch-logs")),
    ("log-group-name", |_, log| one(&log.group)),
    ("resource-id", |_, log| one(&log.resource)),
    ("traffic-type", |_, log| one(log.traffic.name())),
];

fn describe_flow_logs(
    cx: &mut Context,
    input: ec2::DescribeFlowLogsRequest,
) -> Result<ec2::DescribeFlowLogsResult, ApiError> {
    // An id that is not there is no error, as in AWS.
    let there = |ids: Vec<String>| {
        ids.into_iter().filter(|id| cx.tx.get::<FlowLog>(id).is_some()).collect::<Vec<_>>()
    };
    let ids = input.flow_log_ids.filter(|ids| !ids.is_empty()).map(there);
    if ids.as_ref().is_some_and(Vec::is_empty) {
        return Ok(ec2::DescribeFlowLogsResult { flow_logs: Some(Vec::new()), next_token: None });
    }
    let selection = Selection {
        ids: &ids,
        filters: &input.filter,
        next_token: &input.next_token,
        max_results: input.max_results,
    };
    let (logs, next_token) = select(cx.tx, selection, FILTERS)?;
    let flow_logs = logs.iter().map(|log| shape(cx.tx, log)).collect();
    Ok(ec2::DescribeFlowLogsResult { flow_logs: Some(flow_logs), next_token })
}

impl FlowLog {
    fn delivery_status(&self) -> &'static str {
        if self.error.is_some() { "FAILED" } else { "SUCCESS" }
    }
}

fn shape(tx: &Tx, log: &FlowLog) -> ec2::FlowLog {
    let destination = tx.scope().arn("logs", format_args!("log-group:{}", log.group));
    ec2::FlowLog {
        creation_time: Some(log.created),
        deliver_logs_error_message: log.error.clone(),
        deliver_logs_permission_arn: Some(log.role.clone()),
        deliver_logs_status: Some(log.delivery_status().into()),
        flow_log_id: Some(log.id.clone()),
        flow_log_status: Some("ACTIVE".into()),
        log_group_name: Some(log.group.clone()),
        resource_id: Some(log.resource.clone()),
        traffic_type: Some(log.traffic.name().into()),
        log_destination_type: Some("cloud-watch-logs".into()),
        log_destination: Some(destination),
        log_format: Some(log.format.clone().unwrap_or_else(|| format::DEFAULT.into())),
        max_aggregation_interval: Some(log.interval),
        tags: tags::shapes(tx, &log.id),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
