//! What an operation asks of the caller's policies: which actions on which resources, under which condition keys. Follows
//! from the operation's [`AccessSchema`](pileus_model::AccessSchema), the input, and nothing else.
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/>

use pileus_core::{Arn, Scope};
use pileus_model::{OperationSchema, Value};
use pileus_service::Caller;

use crate::policy::ContextKeys;
use crate::template::{Source, expand};

/// One thing that must be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// `service:Action`
    pub action: String,
    /// An ARN, or `*`.
    pub resource: String,
    /// Condition keys of the request.
    pub keys: ContextKeys,
}

/// All that must be allowed for an operation, in AWS's order: the operation itself, its tags, the roles that it passes.
pub fn questions(
    operation: &OperationSchema,
    input: &Value,
    scope: &Scope,
    caller: &Caller,
) -> Vec<Question> {
    let access = operation.access;
    let user = Arn::parse(&caller.arn).filter(|arn| arn.resource.starts_with("user/"));
    let source = Source { input, scope, user: user.map(|arn| arn.name()) };
    let mut keys = tag_keys(input);
    for (key, template) in access.keys {
        let values = expand(template, &source);
        if !values.is_empty() {
            keys.insert((*key).to_owned(), values);
        }
    }
    let of = |action: &str, keys: &ContextKeys, resources: Vec<String>| {
        let one = |resource| Question { action: action.to_owned(), resource, keys: keys.clone() };
        resources.into_iter().map(one).collect::<Vec<_>>()
    };
    let mut resources: Vec<String> =
        access.resources.iter().flat_map(|template| expand(template, &source)).collect();
    if resources.is_empty() {
        resources.push("*".to_owned());
    }
    let mut asked = of(access.action, &keys, resources);
    if let Some(tagging) = access.tagging.filter(|_| has_tags(input)) {
        let prefix = tagging.split(':').next().unwrap_or_default();
        let mut keys = keys.clone();
        keys.insert(format!("{prefix}:createaction"), vec![operation.name.to_owned()]);
        asked.extend(of(tagging, &keys, tagged(access.resources, &source)));
    }
    for (service, template) in access.passes {
        let keys = [("iam:passedtoservice".to_owned(), vec![(*service).to_owned()])].into();
        let roles = expand(template, &source).into_iter().filter(|role| role.starts_with("arn:"));
        asked.extend(of("iam:PassRole", &keys, roles.collect()));
    }
    asked
}

/// What gets the tags: EC2 says so itself, elsewhere it is the first resource.
fn tagged(templates: &[&str], source: &Source) -> Vec<String> {
    let kinds = expand("arn:aws:ec2:{region}:{account}:{TagSpecifications.ResourceType}/*", source);
    if !kinds.is_empty() {
        return kinds;
    }
    templates.first().map(|template| expand(template, source)).unwrap_or_default()
}

/// The members of a structure whose name is `name` in some case.
fn members<'a>(input: &'a Value, name: &'a str) -> impl Iterator<Item = &'a Value> {
    let members = if let Value::Structure(members) = input { members.as_slice() } else { &[] };
    members.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn items(value: &Value) -> &[Value] {
    if let Value::List(items) = value { items } else { &[] }
}

/// The tags that a request brings, in whatever form its service has them.
fn request_tags(input: &Value) -> Vec<(String, String)> {
    let direct = members(input, "tags").chain(members(input, "taglist"));
    let specified = members(input, "tagspecifications").flat_map(items).flat_map(|one| members(one, "tags"));
    direct.chain(specified).flat_map(pairs).collect()
}

fn pairs(tags: &Value) -> Vec<(String, String)> {
    if let Value::Map(entries) = tags {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        return entries.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    }
    let member = |tag: &Value, names: [&str; 2]| {
        let found = names.iter().find_map(|name| members(tag, name).next().and_then(Value::as_str));
        found.map(str::to_owned)
    };
    let pair = |tag: &Value| {
        let value = member(tag, ["value", "tagvalue"]).unwrap_or_default();
        Some((member(tag, ["key", "tagkey"])?, value))
    };
    items(tags).iter().filter_map(pair).collect()
}

fn has_tags(input: &Value) -> bool {
    !request_tags(input).is_empty()
}

/// `aws:RequestTag/…` and `aws:TagKeys`.
fn tag_keys(input: &Value) -> ContextKeys {
    let tags = request_tags(input);
    let mut names: Vec<String> = tags.iter().map(|(key, _)| key.clone()).collect();
    let removed = members(input, "tagkeys").flat_map(items).filter_map(Value::as_str);
    names.extend(removed.map(str::to_owned));
    let tags = tags.into_iter();
    let mut keys: ContextKeys =
        tags.map(|(key, value)| (format!("aws:requesttag/{}", key.to_lowercase()), vec![value])).collect();
    if !names.is_empty() {
        keys.insert("aws:tagkeys".to_owned(), names);
    }
    keys
}

#[cfg(test)]
mod tests {
    use pileus_aws::{ec2, ecs, iam, logs, secretsmanager, ssm};
    use pileus_model::{Operation, Structure as _};

    use super::*;

    fn ask<O: Operation>(input: O::Input) -> Vec<(String, String)> {
        let scope = Scope::new("000000000001", "eu-west-1");
        let caller = Caller {
            arn: "arn:aws:iam::000000000001:user/team/alice".into(),
            account: "000000000001".into(),
            user_id: "AIDA".into(),
            session: None,
        };
        let asked = questions(O::SCHEMA, &input.to_value(), &scope, &caller);
        asked.into_iter().map(|question| (question.action, question.resource)).collect()
    }

    fn pair(action: &str, resource: &str) -> (String, String) {
        (action.to_owned(), resource.replace("R:A", "eu-west-1:000000000001"))
    }

    #[test]
    fn names_and_arns_mean_the_same_resource() {
        let service = pair("ecs:DescribeServices", "arn:aws:ecs:R:A:service/web/api");
        for (cluster, name) in [
            ("web", "api"),
            ("arn:aws:ecs:eu-west-1:000000000001:cluster/web", "api"),
            ("web", "arn:aws:ecs:eu-west-1:000000000001:service/web/api"),
        ] {
            let input = ecs::DescribeServicesRequest {
                cluster: Some(cluster.into()),
                services: vec![name.into()],
                ..Default::default()
            };
            assert_eq!(ask::<ecs::ops::DescribeServices>(input), std::slice::from_ref(&service));
        }
        let input = ecs::StopTaskRequest { task: "1".into(), ..Default::default() };
        assert_eq!(
            ask::<ecs::ops::StopTask>(input),
            [pair("ecs:StopTask", "arn:aws:ecs:R:A:task/default/1")]
        );
    }

    #[test]
    fn a_task_definition_passes_its_roles_and_its_tags_need_a_permission() {
        let input = ecs::RegisterTaskDefinitionRequest {
            family: "web".into(),
            task_role_arn: Some("arn:aws:iam::000000000001:role/task".into()),
            tags: Some(vec![ecs::Tag { key: Some("team".into()), value: Some("a".into()) }]),
            ..Default::default()
        };
        let definition = "arn:aws:ecs:R:A:task-definition/web:*";
        assert_eq!(
            ask::<ecs::ops::RegisterTaskDefinition>(input),
            [
                pair("ecs:RegisterTaskDefinition", definition),
                pair("ecs:TagResource", definition),
                pair("iam:PassRole", "arn:aws:iam::000000000001:role/task"),
            ]
        );
    }

    #[test]
    fn every_resource_of_a_request_is_asked_for() {
        let input = ec2::CreateSubnetRequest {
            vpc_id: "vpc-1".into(),
            tag_specifications: Some(vec![ec2::TagSpecification {
                resource_type: Some("subnet".into()),
                tags: Some(vec![ec2::Tag { key: Some("Name".into()), value: Some("a".into()) }]),
            }]),
            ..Default::default()
        };
        assert_eq!(
            ask::<ec2::ops::CreateSubnet>(input),
            [
                pair("ec2:CreateSubnet", "arn:aws:ec2:R:A:subnet/*"),
                pair("ec2:CreateSubnet", "arn:aws:ec2:R:A:vpc/vpc-1"),
                pair("ec2:CreateTags", "arn:aws:ec2:R:A:subnet/*"),
            ]
        );
        let input =
            ec2::DeleteTagsRequest { resources: vec!["sg-1".into(), "eni-2".into()], ..Default::default() };
        assert_eq!(
            ask::<ec2::ops::DeleteTags>(input),
            [
                pair("ec2:DeleteTags", "arn:aws:ec2:R:A:security-group/sg-1"),
                pair("ec2:DeleteTags", "arn:aws:ec2:R:A:network-interface/eni-2"),
            ]
        );
    }

    #[test]
    fn services_write_their_arns_in_their_own_ways() {
        let input = ssm::GetParameterRequest { name: "/web/url".into(), ..Default::default() };
        let parameter = pair("ssm:GetParameter", "arn:aws:ssm:R:A:parameter/web/url");
        assert_eq!(ask::<ssm::ops::GetParameter>(input), [parameter]);
        let input = logs::DescribeLogStreamsRequest {
            log_group_identifier: Some("arn:aws:logs:eu-west-1:000000000001:log-group:/ecs/web:*".into()),
            ..Default::default()
        };
        let group = pair("logs:DescribeLogStreams", "arn:aws:logs:R:A:log-group:/ecs/web:log-stream:");
        assert_eq!(ask::<logs::ops::DescribeLogStreams>(input), [group]);
        let input =
            iam::CreateRoleRequest { role_name: "r".into(), path: Some("/x/".into()), ..Default::default() };
        let role = pair("iam:CreateRole", "arn:aws:iam::000000000001:role/x/r");
        assert_eq!(ask::<iam::ops::CreateRole>(input), [role]);
        let own = pair("iam:GetUser", "arn:aws:iam::000000000001:user/alice");
        assert_eq!(ask::<iam::ops::GetUser>(Default::default()), [own]);
        let all = pair("secretsmanager:ListSecrets", "*");
        assert_eq!(ask::<secretsmanager::ops::ListSecrets>(Default::default()), [all]);
    }

    #[test]
    fn tags_are_condition_keys() {
        let scope = Scope::new("000000000001", "eu-west-1");
        let caller = Caller { arn: "a".into(), account: "b".into(), user_id: "c".into(), session: None };
        let input = ecs::TagResourceRequest {
            resource_arn: "arn:aws:ecs:eu-west-1:000000000001:cluster/web".into(),
            tags: vec![ecs::Tag { key: Some("Team".into()), value: Some("a".into()) }],
        };
        let asked = questions(ecs::ops::TagResource::SCHEMA, &input.to_value(), &scope, &caller);
        assert_eq!(asked.len(), 1, "tagging is the operation itself");
        assert_eq!(asked[0].keys["aws:requesttag/team"], ["a"]);
        assert_eq!(asked[0].keys["aws:tagkeys"], ["Team"]);
    }
}
