//! Tags of every EC2 resource, in one table by resource id.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html>

use pileus_aws::ec2;
use pileus_core::{ApiError, Arn, Tags, tags};
use pileus_service::{Context, Described, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::resource::{Resource, find, invalid, missing};
use crate::select::{matches_any, page, parts, unknown};
use crate::{
    Address, FlowLog, Interface, InternetGateway, NatGateway, NetworkAcl, RouteTable, Rule, SecurityGroup,
    Subnet, Vpc, VpcEndpoint,
};

/// The tags of one resource; there is no record for a resource without tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceTags {
    pub resource: String,
    /// The resource type, as in `vpc` and `internet-gateway`.
    pub kind: String,
    pub tags: Tags,
}

impl Record for ResourceTags {
    const KIND: &'static str = "ec2/tags";

    fn key(&self) -> String {
        self.resource.clone()
    }
}

pub fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::CreateTags>(create_tags)
        .on::<ec2::ops::DeleteTags>(delete_tags)
        .on::<ec2::ops::DescribeTags>(describe_tags)
        .resources("ec2", described);
}

/// A resource as policies see it.
fn described(tx: &Tx, arn: &str) -> Option<Described> {
    let tags = of(tx, Arn::parse(arn)?.name());
    Some(Described { arn: arn.to_owned(), tags, policy: None })
}

/// The tags of a resource.
pub fn of(tx: &Tx, resource: &str) -> Tags {
    tx.get::<ResourceTags>(resource).map(|record| record.tags.clone()).unwrap_or_default()
}

/// The same as an API shape.
pub(crate) fn shapes(tx: &Tx, resource: &str) -> Option<Vec<ec2::Tag>> {
    let tags = of(tx, resource).into_iter();
    Some(tags.map(|(key, value)| ec2::Tag { key: Some(key), value: Some(value) }).collect())
}

/// Replaces the tags of a resource; none at all forgets them.
pub(crate) fn put<R: Resource>(tx: &mut Tx, resource: &str, tags: Tags) {
    write(tx, ResourceTags { resource: resource.to_owned(), kind: R::TYPE.to_owned(), tags });
}

/// Forgets the tags of a resource that is no more.
pub(crate) fn forget(tx: &mut Tx, resource: &str) {
    tx.delete::<ResourceTags>(resource);
}

fn write(tx: &mut Tx, record: ResourceTags) {
    if record.tags.is_empty() {
        tx.delete::<ResourceTags>(&record.resource);
    } else {
        tx.put(record);
    }
}

/// The tags that a request to create an `R` specifies for it.
pub(crate) fn specified<R: Resource>(
    specifications: &Option<Vec<ec2::TagSpecification>>,
) -> Result<Tags, ApiError> {
    let mut tags = Tags::new();
    for specification in specifications.iter().flatten() {
        let kind =
            specification.resource_type.as_deref().ok_or_else(|| missing("TagSpecification.ResourceType"))?;
        if kind != R::TYPE {
            return Err(invalid(format!(
                "'{kind}' is not a valid taggable resource type for this operation."
            )));
        }
        for (key, value) in pairs(specification.tags.as_deref().unwrap_or_default())? {
            if tags.insert(key.clone(), value).is_some() {
                return Err(invalid(format!("Duplicate tag key '{key}' specified.")));
            }
        }
    }
    check(&tags)?;
    Ok(tags)
}

/// Keys and values of request tags; an absent value is empty.
fn pairs(tags: &[ec2::Tag]) -> Result<Vec<(String, String)>, ApiError> {
    let pair = |tag: &ec2::Tag| {
        let key = tag.key.clone().ok_or_else(|| missing("Tag.Key"))?;
        Ok((key, tag.value.clone().unwrap_or_default()))
    };
    tags.iter().map(pair).collect()
}

fn check(tags: &Tags) -> Result<(), ApiError> {
    if tags.len() > tags::MAX_TAGS {
        let message = format!("The maximum number of tags for a resource is {}.", tags::MAX_TAGS);
        return Err(ApiError::client("TagLimitExceeded", message));
    }
    tags::check(tags, "InvalidParameterValue")
}

fn create_tags(cx: &mut Context, input: ec2::CreateTagsRequest) -> Result<pileus_model::Unit, ApiError> {
    let new = pairs(&input.tags)?;
    check(&new.iter().cloned().collect())?;
    for resource in &input.resources {
        let kind = existing(cx.tx, resource)?;
        let mut tags = of(cx.tx, resource);
        tags.extend(new.iter().cloned());
        check(&tags)?;
        write(cx.tx, ResourceTags { resource: resource.clone(), kind: kind.to_owned(), tags });
    }
    Ok(pileus_model::Unit {})
}

/// No tags named: all go. A tag without a value: any value; with one: only that value.
fn delete_tags(cx: &mut Context, input: ec2::DeleteTagsRequest) -> Result<pileus_model::Unit, ApiError> {
    let named = input.tags.as_deref().unwrap_or_default();
    for resource in &input.resources {
        let kind = existing(cx.tx, resource)?;
        let mut tags = of(cx.tx, resource);
        tags.retain(|key, value| {
            let gone = |tag: &ec2::Tag| {
                tag.key.as_ref() == Some(key) && tag.value.as_ref().is_none_or(|only| only == value)
            };
            !named.is_empty() && !named.iter().any(gone)
        });
        write(cx.tx, ResourceTags { resource: resource.clone(), kind: kind.to_owned(), tags });
    }
    Ok(pileus_model::Unit {})
}

/// The type of a resource that exists.
fn existing(tx: &Tx, id: &str) -> Result<&'static str, ApiError> {
    fn of<R: Resource>(tx: &Tx, id: &str) -> Result<&'static str, ApiError> {
        find::<R>(tx, id).map(|_| R::TYPE)
    }
    match id.split_once('-').map(|(prefix, _)| prefix) {
        Some(Vpc::PREFIX) => of::<Vpc>(tx, id),
        Some(Subnet::PREFIX) => of::<Subnet>(tx, id),
        Some(InternetGateway::PREFIX) => of::<InternetGateway>(tx, id),
        Some(RouteTable::PREFIX) => of::<RouteTable>(tx, id),
        Some(SecurityGroup::PREFIX) => of::<SecurityGroup>(tx, id),
        Some(Rule::PREFIX) => of::<Rule>(tx, id),
        Some(NetworkAcl::PREFIX) => of::<NetworkAcl>(tx, id),
        Some(Interface::PREFIX) => of::<Interface>(tx, id),
        Some(Address::PREFIX) => of::<Address>(tx, id),
        Some(NatGateway::PREFIX) => of::<NatGateway>(tx, id),
        Some(FlowLog::PREFIX) => of::<FlowLog>(tx, id),
        Some(VpcEndpoint::PREFIX) => of::<VpcEndpoint>(tx, id),
        _ => Err(ApiError::client("InvalidID", format!("The ID '{id}' is not valid"))),
    }
}

fn describe_tags(
    cx: &mut Context,
    input: ec2::DescribeTagsRequest,
) -> Result<ec2::DescribeTagsResult, ApiError> {
    let mut all: Vec<ec2::TagDescription> =
        cx.tx.list::<ResourceTags>().iter().flat_map(|r| descriptions(r)).collect();
    for filter in input.filters.iter().flatten() {
        let (name, patterns) = parts(filter)?;
        let value: fn(&ec2::TagDescription) -> &Option<String> = match name {
            "key" => |tag| &tag.key,
            "resource-id" => |tag| &tag.resource_id,
            "resource-type" => |tag| &tag.resource_type,
            "value" => |tag| &tag.value,
            _ => match name.strip_prefix("tag:") {
                Some(key) => {
                    all.retain(|tag| tag.key.as_deref() == Some(key));
                    |tag| &tag.value
                }
                None => return Err(unknown(name)),
            },
        };
        all.retain(|tag| value(tag).as_ref().is_some_and(|value| matches_any(patterns, value)));
    }
    let key = |tag: &ec2::TagDescription| {
        format!(
            "{}/{}",
            tag.resource_id.as_deref().unwrap_or_default(),
            tag.key.as_deref().unwrap_or_default()
        )
    };
    let (tags, next_token) = page(all, key, &input.next_token, input.max_results)?;
    Ok(ec2::DescribeTagsResult { next_token, tags: Some(tags) })
}

fn descriptions(record: &ResourceTags) -> Vec<ec2::TagDescription> {
    let describe = |(key, value): (&String, &String)| ec2::TagDescription {
        key: Some(key.clone()),
        resource_id: Some(record.resource.clone()),
        resource_type: Some(record.kind.clone()),
        value: Some(value.clone()),
    };
    record.tags.iter().map(describe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, filter, vpc};

    fn tag(key: &str, value: Option<&str>) -> ec2::Tag {
        ec2::Tag { key: Some(key.into()), value: value.map(Into::into) }
    }

    fn create(resource: &str, key: &str, value: &str) -> ec2::CreateTagsRequest {
        ec2::CreateTagsRequest { resources: vec![resource.into()], tags: vec![tag(key, Some(value))] }
    }

    #[test]
    fn tags_are_set_listed_and_removed() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        cloud.ok::<ec2::ops::CreateTags>(create(&vpc, "Name", "main"));
        cloud.ok::<ec2::ops::CreateTags>(create(&vpc, "stage", "test"));
        let all = |cloud: &mut pileus_kit::Cloud, name, value| {
            let input = ec2::DescribeTagsRequest { filters: filter(name, value), ..Default::default() };
            let tags = cloud.ok::<ec2::ops::DescribeTags>(input).tags.unwrap();
            tags.into_iter().map(|tag| (tag.key.unwrap(), tag.value.unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(all(&mut cloud, "resource-type", "vpc").len(), 2);
        assert_eq!(all(&mut cloud, "tag:Name", "m*"), [("Name".to_owned(), "main".to_owned())]);
        let delete = |tags| ec2::DeleteTagsRequest { resources: vec![vpc.clone()], tags };
        cloud.ok::<ec2::ops::DeleteTags>(delete(Some(vec![tag("Name", Some("other"))])));
        assert_eq!(all(&mut cloud, "resource-id", &vpc).len(), 2);
        cloud.ok::<ec2::ops::DeleteTags>(delete(Some(vec![tag("Name", None)])));
        assert_eq!(all(&mut cloud, "resource-id", &vpc).len(), 1);
        cloud.ok::<ec2::ops::DeleteTags>(delete(None));
        assert!(all(&mut cloud, "resource-id", &vpc).is_empty());
    }

    #[test]
    fn bad_tags_and_unknown_resources_are_refused() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        for (resource, key, code) in [
            ("vpc-00000000000000000", "a", "InvalidVpcID.NotFound"),
            ("what-0", "a", "InvalidID"),
            (vpc.as_str(), "aws:a", "InvalidParameterValue"),
        ] {
            assert_eq!(cloud.code::<ec2::ops::CreateTags>(create(resource, key, "v")), code);
        }
        let many = (0..51).map(|n| tag(&n.to_string(), Some(""))).collect();
        let many = ec2::CreateTagsRequest { resources: vec![vpc], tags: many };
        assert_eq!(cloud.code::<ec2::ops::CreateTags>(many), "TagLimitExceeded");
    }

    #[test]
    fn a_specification_must_name_what_is_created() {
        let mut cloud = cloud();
        let specification = |kind: &str| ec2::CreateVpcRequest {
            cidr_block: Some("10.0.0.0/16".into()),
            tag_specifications: Some(vec![ec2::TagSpecification {
                resource_type: Some(kind.into()),
                tags: Some(vec![tag("Name", Some("main"))]),
            }]),
            ..Default::default()
        };
        assert_eq!(cloud.code::<ec2::ops::CreateVpc>(specification("subnet")), "InvalidParameterValue");
        let vpc = cloud.ok::<ec2::ops::CreateVpc>(specification("vpc")).vpc.unwrap();
        assert_eq!(vpc.tags, Some(vec![tag("Name", Some("main"))]));
    }
}
