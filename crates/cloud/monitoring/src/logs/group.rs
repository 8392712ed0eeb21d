//! Log groups: what streams share, above all how long their events are kept.
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/logs/Working-with-log-groups-and-streams.html>

use pileus_aws::logs::{
    CreateLogGroupRequest, DeleteLogGroupRequest, DeleteRetentionPolicyRequest, DescribeLogGroupsRequest,
    DescribeLogGroupsResponse, ListLogGroupsRequest, ListLogGroupsResponse, ListTagsForResourceRequest,
    ListTagsForResourceResponse, ListTagsLogGroupRequest, ListTagsLogGroupResponse,
    LogGroup as LogGroupShape, LogGroupSummary, PutLogGroupDeletionProtectionRequest,
    PutRetentionPolicyRequest, TagLogGroupRequest, TagResourceRequest, UntagLogGroupRequest,
    UntagResourceRequest, ops,
};
use pileus_contract::LogStreamId;
use pileus_core::{ApiError, Arn, Scope, Tags, Timestamp, filter, paginate, tags};
use pileus_model::Unit;
use pileus_service::{Context, Described, Router};
use pileus_state::{Record, State, Tx};
use serde::{Deserialize, Serialize};

use super::metric_filter::{self, MetricFilter};
use super::stream::LogStream;
use super::{invalid, invalid_token, store_failed};

/// The retention periods that AWS knows, in days.
const RETENTION_DAYS: [i64; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// A log group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogGroup {
    pub name: String,
    pub created: Timestamp,
    /// `None`: events never expire.
    pub retention_days: Option<i64>,
    pub tags: Tags,
    /// Whether it must not be deleted.
    #[serde(default)]
    pub protected: bool,
}

impl Record for LogGroup {
    const KIND: &'static str = "logs/group";

    fn key(&self) -> String {
        self.name.clone()
    }
}

/// A log group, or a stream of one, as policies see it.
fn described(tx: &Tx, arn: &str) -> Option<Described> {
    let name = Arn::parse(arn)?.resource.strip_prefix("log-group:")?.split(':').next()?;
    let group = tx.get::<LogGroup>(name)?;
    Some(Described { arn: arn.to_owned(), tags: group.tags.clone(), policy: None })
}

pub(super) fn operations(router: &mut Router) {
    router
        .resources("logs", described)
        .on::<ops::CreateLogGroup>(create_log_group)
        .on::<ops::DeleteLogGroup>(delete_log_group)
        .on::<ops::PutRetentionPolicy>(put_retention_policy)
        .on::<ops::DeleteRetentionPolicy>(delete_retention_policy)
        .on::<ops::ListTagsForResource>(list_tags_for_resource)
        .on::<ops::TagResource>(tag_resource)
        .on::<ops::UntagResource>(untag_resource)
        .on::<ops::PutLogGroupDeletionProtection>(put_log_group_deletion_protection)
        .on::<ops::ListLogGroups>(list_log_groups)
        .on::<ops::TagLogGroup>(tag_log_group)
        .on::<ops::UntagLogGroup>(untag_log_group)
        .on::<ops::ListTagsLogGroup>(list_tags_log_group)
        .on_bulk::<ops::DescribeLogGroups>(describe_log_groups);
}

/// Creates a group in the transaction's scope.
///
/// # Errors
/// `ResourceAlreadyExistsException` where there is one of this name.
pub fn create(tx: &mut Tx, name: &str, tags: Tags, now: Timestamp) -> Result<(), ApiError> {
    if name.starts_with("aws/") {
        return Err(invalid("Log groups starting with aws/ are reserved for AWS."));
    }
    tags::check(&tags, "InvalidParameterException")?;
    if tx.get::<LogGroup>(name).is_some() {
        return Err(ApiError::client(
            "ResourceAlreadyExistsException",
            "The specified log group already exists",
        ));
    }
    tx.put(LogGroup { name: name.to_owned(), created: now, retention_days: None, tags, protected: false });
    Ok(())
}

/// The streams of groups with a retention period, and the time before which their events have expired.
pub fn expiries(state: &State, now: Timestamp) -> Vec<(LogStreamId, Timestamp)> {
    let mut expiries = Vec::new();
    for (scope, group) in state.all::<LogGroup>() {
        let Some(days) = group.retention_days else { continue };
        let before = Timestamp::from_secs(now.secs() - days * 86_400);
        let streams = state.list::<LogStream>(scope).filter(|stream| stream.group == group.name);
        expiries.extend(streams.map(|stream| (stream.id(scope), before)));
    }
    expiries
}

fn create_log_group(cx: &mut Context, input: CreateLogGroupRequest) -> Result<Unit, ApiError> {
    if input.log_group_class.as_deref().is_some_and(|class| class != "STANDARD") {
        return Err(ApiError::not_implemented("log groups of a class other than STANDARD"));
    }
    create(cx.tx, &input.log_group_name, input.tags.unwrap_or_default(), cx.now)?;
    let protected = input.deletion_protection_enabled.unwrap_or(false);
    cx.tx.update::<LogGroup>(&input.log_group_name, |group| group.protected = protected);
    Ok(Unit::default())
}

fn delete_log_group(cx: &mut Context, input: DeleteLogGroupRequest) -> Result<Unit, ApiError> {
    let group = find(cx.tx, &input.log_group_name)?;
    if group.protected {
        let message = "The log group is protected from deletion; disable its deletion protection first.";
        return Err(ApiError::client("InvalidOperationException", message));
    }
    for filter in metric_filter::of_group(cx.tx, &group.name) {
        cx.tx.delete::<MetricFilter>(&filter.key());
    }
    let streams = cx.tx.list::<LogStream>().into_iter().filter(|stream| stream.group == group.name);
    for stream in streams.collect::<Vec<_>>() {
        cx.tx.delete::<LogStream>(&stream.key());
        cx.bulk.logs.delete(&stream.id(cx.tx.scope())).map_err(store_failed)?;
    }
    cx.tx.delete::<LogGroup>(&group.name);
    Ok(Unit::default())
}

fn put_log_group_deletion_protection(
    cx: &mut Context,
    input: PutLogGroupDeletionProtectionRequest,
) -> Result<Unit, ApiError> {
    let group = find(cx.tx, name_of(&input.log_group_identifier))?;
    cx.tx.update::<LogGroup>(&group.name, |group| group.protected = input.deletion_protection_enabled);
    Ok(Unit::default())
}

/// Names that contain one of the pattern's parts, which stand between bars; after `^` a name must begin with it.
fn list_log_groups(cx: &mut Context, input: ListLogGroupsRequest) -> Result<ListLogGroupsResponse, ApiError> {
    let parts: Option<Vec<&str>> =
        input.log_group_name_pattern.as_deref().map(|pattern| pattern.split('|').collect());
    let named = |name: &str| {
        let fits = |part: &&str| {
            part.strip_prefix('^').map_or(name.contains(*part), |start| name.starts_with(start))
        };
        parts.as_ref().is_none_or(|parts| parts.iter().any(fits))
    };
    let tagged = |tags: &Tags| {
        let fits = |value: &String, wanted: &String| match wanted.strip_prefix('!') {
            Some(unwanted) => !filter::wildcard(unwanted, value),
            None => filter::wildcard(wanted, value),
        };
        let mut filters = input.log_group_tags.iter().flatten();
        filters.all(|filter| {
            let wanted = filter.values.as_deref().unwrap_or_default();
            let value = tags.get(&filter.key);
            value.is_some_and(|value| wanted.is_empty() || wanted.iter().any(|wanted| fits(value, wanted)))
        })
    };
    let mut groups = cx.tx.list::<LogGroup>();
    groups.retain(|group| {
        named(&group.name)
            && tagged(&group.tags)
            && input.log_group_class.as_deref().is_none_or(|class| class == "STANDARD")
    });
    let limit = input.limit.unwrap_or(50) as usize;
    let (page, next_token) =
        paginate(groups, |group| group.name.clone(), input.next_token.as_deref(), limit, invalid_token)?;
    let summary = |group: &std::sync::Arc<LogGroup>| LogGroupSummary {
        log_group_name: Some(group.name.clone()),
        log_group_arn: Some(arn(cx.scope(), &group.name)),
        log_group_class: Some("STANDARD".into()),
    };
    Ok(ListLogGroupsResponse { log_groups: Some(page.iter().map(summary).collect()), next_token })
}

fn tag_log_group(cx: &mut Context, input: TagLogGroupRequest) -> Result<Unit, ApiError> {
    let group = find(cx.tx, &input.log_group_name)?;
    add_tags(cx, &group, input.tags)
}

fn untag_log_group(cx: &mut Context, input: UntagLogGroupRequest) -> Result<Unit, ApiError> {
    let group = find(cx.tx, &input.log_group_name)?;
    cx.tx.update::<LogGroup>(&group.name, |group| group.tags.retain(|key, _| !input.tags.contains(key)));
    Ok(Unit::default())
}

fn list_tags_log_group(
    cx: &mut Context,
    input: ListTagsLogGroupRequest,
) -> Result<ListTagsLogGroupResponse, ApiError> {
    Ok(ListTagsLogGroupResponse { tags: Some(find(cx.tx, &input.log_group_name)?.tags) })
}

fn add_tags(cx: &mut Context, group: &LogGroup, added: Tags) -> Result<Unit, ApiError> {
    let mut merged = group.tags.clone();
    merged.extend(added);
    tags::check(&merged, "InvalidParameterException")?;
    cx.tx.update::<LogGroup>(&group.name, |group| group.tags = merged);
    Ok(Unit::default())
}

fn put_retention_policy(cx: &mut Context, input: PutRetentionPolicyRequest) -> Result<Unit, ApiError> {
    find(cx.tx, &input.log_group_name)?;
    if !RETENTION_DAYS.contains(&input.retention_in_days) {
        return Err(invalid(format!(
            "Invalid retention value {}. Valid values are: {RETENTION_DAYS:?}",
            input.retention_in_days
        )));
    }
    cx.tx.update::<LogGroup>(&input.log_group_name, |group| {
        group.retention_days = Some(input.retention_in_days);
    });
    Ok(Unit::default())
}

fn delete_retention_policy(cx: &mut Context, input: DeleteRetentionPolicyRequest) -> Result<Unit, ApiError> {
    find(cx.tx, &input.log_group_name)?;
    cx.tx.update::<LogGroup>(&input.log_group_name, |group| group.retention_days = None);
    Ok(Unit::default())
}

fn describe_log_groups(
    cx: &mut Context,
    input: DescribeLogGroupsRequest,
) -> Result<DescribeLogGroupsResponse, ApiError> {
    let (prefix, pattern) = (input.log_group_name_prefix, input.log_group_name_pattern);
    if prefix.is_some() && pattern.is_some() {
        return Err(invalid(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        ));
    }
    let identifiers = input.log_group_identifiers.unwrap_or_default();
    let mut groups = cx.tx.list::<LogGroup>();
    groups.retain(|group| {
        prefix.as_ref().is_none_or(|prefix| group.name.starts_with(prefix))
            && pattern.as_ref().is_none_or(|part| {
                filter::wildcard(&format!("*{}*", part.to_lowercase()), &group.name.to_lowercase())
            })
            && input.log_group_class.as_deref().is_none_or(|class| class == "STANDARD")
            && (identifiers.is_empty() || identifiers.iter().any(|id| name_of(id) == group.name))
    });
    let limit = input.limit.unwrap_or(50) as usize;
    let (page, next_token) =
        paginate(groups, |group| group.name.clone(), input.next_token.as_deref(), limit, invalid_token)?;
    let log_groups = page.iter().map(|group| shape(cx, group)).collect::<Result<_, _>>()?;
    Ok(DescribeLogGroupsResponse { log_groups: Some(log_groups), next_token })
}

fn list_tags_for_resource(
    cx: &mut Context,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, ApiError> {
    let group = find_by_arn(cx.tx, &input.resource_arn)?;
    Ok(ListTagsForResourceResponse { tags: Some(group.tags.clone()) })
}

fn tag_resource(cx: &mut Context, input: TagResourceRequest) -> Result<Unit, ApiError> {
    let group = find_by_arn(cx.tx, &input.resource_arn)?;
    add_tags(cx, &group, input.tags)
}

fn untag_resource(cx: &mut Context, input: UntagResourceRequest) -> Result<Unit, ApiError> {
    let group = find_by_arn(cx.tx, &input.resource_arn)?;
    cx.tx.update::<LogGroup>(&group.name, |group| group.tags.retain(|key, _| !input.tag_keys.contains(key)));
    Ok(Unit::default())
}

/// # Errors
/// `ResourceNotFoundException` where there is no group of this name.
pub(super) fn find(tx: &Tx, name: &str) -> Result<LogGroup, ApiError> {
    let group = tx.get::<LogGroup>(name).map(|group| LogGroup::clone(&group));
    group.ok_or_else(|| {
        ApiError::client("ResourceNotFoundException", "The specified log group does not exist.")
    })
}

/// The group that a request names, by name or by identifier (name or ARN), of which it must give one.
pub(super) fn find_one(tx: &Tx, name: Option<&str>, identifier: Option<&str>) -> Result<LogGroup, ApiError> {
    match (name, identifier) {
        (Some(name), None) => find(tx, name),
        (None, Some(identifier)) => find(tx, name_of(identifier)),
        (Some(_), Some(_)) => {
            Err(invalid("LogGroup name and LogGroup ARN are mutually exclusive parameters."))
        }
        (None, None) => Err(invalid("Either LogGroup name or LogGroup ARN must be specified.")),
    }
}

fn find_by_arn(tx: &Tx, arn: &str) -> Result<LogGroup, ApiError> {
    if Arn::parse(arn).is_none() {
        return Err(invalid("The specified resource ARN is not valid."));
    }
    find(tx, name_of(arn))
}

/// The name in a log group's ARN, with or without the final `:*`; a plain name is itself.
fn name_of(identifier: &str) -> &str {
    match Arn::parse(identifier) {
        Some(arn) => {
            let name = arn.resource.strip_prefix("log-group:").unwrap_or(arn.resource);
            name.strip_suffix(":*").unwrap_or(name)
        }
        None => identifier,
    }
}

pub(super) fn arn(scope: &Scope, name: &str) -> String {
    scope.arn("logs", format_args!("log-group:{name}"))
}

fn shape(cx: &Context, group: &LogGroup) -> Result<LogGroupShape, ApiError> {
    let streams = cx.tx.list::<LogStream>().into_iter().filter(|stream| stream.group == group.name);
    let mut stored = 0;
    for stream in streams {
        stored += cx.bulk.logs.summary(&stream.id(cx.scope())).map_err(store_failed)?.stored_bytes;
    }
    let arn = arn(cx.scope(), &group.name);
    Ok(LogGroupShape {
        log_group_name: Some(group.name.clone()),
        creation_time: Some(group.created.millis()),
        retention_in_days: group.retention_days,
        metric_filter_count: Some(metric_filter::of_group(cx.tx, &group.name).len() as i64),
        deletion_protection_enabled: Some(group.protected),
        arn: Some(format!("{arn}:*")),
        log_group_arn: Some(arn),
        stored_bytes: Some(stored as i64),
        log_group_class: Some("STANDARD".into()),
        ..LogGroupShape::default()
    })
}

#[cfg(test)]
mod tests {
    use pileus_kit::Cloud;

    use super::*;

    fn cloud() -> Cloud {
        Cloud::new(crate::tables, crate::operations)
    }

    fn create(name: &str) -> CreateLogGroupRequest {
        CreateLogGroupRequest { log_group_name: name.into(), ..Default::default() }
    }

    #[test]
    fn a_group_lives_from_create_to_delete() {
        let mut cloud = cloud();
        cloud.ok::<ops::CreateLogGroup>(create("/ecs/web"));
        assert_eq!(cloud.code::<ops::CreateLogGroup>(create("/ecs/web")), "ResourceAlreadyExistsException");
        assert_eq!(cloud.code::<ops::CreateLogGroup>(create("aws/web")), "InvalidParameterException");
        let policy =
            |days| PutRetentionPolicyRequest { log_group_name: "/ecs/web".into(), retention_in_days: days };
        assert_eq!(cloud.code::<ops::PutRetentionPolicy>(policy(2)), "InvalidParameterException");
        cloud.ok::<ops::PutRetentionPolicy>(policy(7));
        let groups = cloud.ok::<ops::DescribeLogGroups>(DescribeLogGroupsRequest::default()).log_groups;
        let group = groups.expect("a list").remove(0);
        assert_eq!(group.retention_in_days, Some(7));
        assert_eq!(group.arn.as_deref(), Some("arn:aws:logs:us-east-1:000000000000:log-group:/ecs/web:*"));
        cloud.ok::<ops::DeleteLogGroup>(DeleteLogGroupRequest { log_group_name: "/ecs/web".into() });
        let gone = DeleteLogGroupRequest { log_group_name: "/ecs/web".into() };
        assert_eq!(cloud.code::<ops::DeleteLogGroup>(gone), "ResourceNotFoundException");
    }

    #[test]
    fn tags_are_added_listed_and_removed_by_arn() {
        let mut cloud = cloud();
        cloud.ok::<ops::CreateLogGroup>(create("web"));
        let resource_arn = "arn:aws:logs:us-east-1:000000000000:log-group:web".to_owned();
        let tags = Tags::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        cloud.ok::<ops::TagResource>(TagResourceRequest { resource_arn: resource_arn.clone(), tags });
        let untag = UntagResourceRequest { resource_arn: resource_arn.clone(), tag_keys: vec!["a".into()] };
        cloud.ok::<ops::UntagResource>(untag);
        let tags = cloud.ok::<ops::ListTagsForResource>(ListTagsForResourceRequest { resource_arn }).tags;
        assert_eq!(tags, Some(Tags::from([("b".to_owned(), "2".to_owned())])));
        let unknown = ListTagsForResourceRequest { resource_arn: "web".into() };
        assert_eq!(cloud.code::<ops::ListTagsForResource>(unknown), "InvalidParameterException");
    }

    #[test]
    fn listing_finds_by_prefix_and_pattern_and_pages() {
        let mut cloud = cloud();
        for name in ["/a/web", "/a/api", "/b/Web"] {
            cloud.ok::<ops::CreateLogGroup>(create(name));
        }
        let mut names = |input: DescribeLogGroupsRequest| {
            let output = cloud.ok::<ops::DescribeLogGroups>(input);
            let names: Vec<_> =
                output.log_groups.into_iter().flatten().filter_map(|group| group.log_group_name).collect();
            (names, output.next_token)
        };
        let by_prefix =
            DescribeLogGroupsRequest { log_group_name_prefix: Some("/a".into()), ..Default::default() };
        assert_eq!(names(by_prefix).0, ["/a/api", "/a/web"]);
        let by_pattern =
            DescribeLogGroupsRequest { log_group_name_pattern: Some("web".into()), ..Default::default() };
        assert_eq!(names(by_pattern).0, ["/a/web", "/b/Web"]);
        let (first, next_token) = names(DescribeLogGroupsRequest { limit: Some(2), ..Default::default() });
        assert_eq!(first.len(), 2);
        let rest = names(DescribeLogGroupsRequest { limit: Some(2), next_token, ..Default::default() });
        assert_eq!(rest, (vec!["/b/Web".to_owned()], None));
    }
}
