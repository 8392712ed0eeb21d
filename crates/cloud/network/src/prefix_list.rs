//! Prefix lists that AWS manages: the addresses of a service, for routes and for rules of security groups. Here S3's.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/working-with-aws-managed-prefix-lists.html>

use ipnet::Ipv4Net;
use pileus_aws::ec2;
use pileus_core::ApiError;
use pileus_service::{Context, Router};
use pileus_state::{State, Tx};

use crate::endpoints::Service;
use crate::public_pool;
use crate::resource::{invalid, is_id};
use crate::select::{matches_any, page, parts, unknown};

/// A named list of address blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixList {
    pub id: String,
    pub name: String,
    pub blocks: Vec<Ipv4Net>,
}

pub fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::DescribePrefixLists>(describe_prefix_lists)
        .on::<ec2::ops::DescribeManagedPrefixLists>(describe_managed_prefix_lists)
        .on::<ec2::ops::GetManagedPrefixListEntries>(get_managed_prefix_list_entries);
}

/// The list of S3's addresses in a region.
pub(crate) fn of_s3(state: &State, region: &str) -> PrefixList {
    let s3 = Service::s3();
    PrefixList {
        id: format!("pl-{}", &s3.number(region)[..8]),
        name: s3.endpoint_name(region),
        blocks: vec![public_pool::apis(state).s3.into()],
    }
}

/// The blocks of the list of this id; none if there is no such list.
pub(crate) fn blocks(state: &State, region: &str, id: &str) -> Vec<Ipv4Net> {
    let list = of_s3(state, region);
    if list.id == id { list.blocks } else { Vec::new() }
}

/// The list of this id.
pub(crate) fn find(tx: &Tx, id: &str) -> Result<PrefixList, ApiError> {
    let list = of_s3(tx.base(), &tx.scope().region);
    if list.id == id {
        return Ok(list);
    }
    if !is_id("pl", id) {
        let message = format!("Invalid id: \"{id}\" (expecting \"pl-...\")");
        return Err(ApiError::client("InvalidPrefixListId.Malformed", message));
    }
    Err(ApiError::client("InvalidPrefixListID.NotFound", format!("The prefix list ID '{id}' does not exist")))
}

/// The lists that a request chooses; of `filters` it knows `names`.
fn choose(
    tx: &Tx,
    ids: &Option<Vec<String>>,
    filters: &Option<Vec<ec2::Filter>>,
    names: &[&str],
) -> Result<Vec<PrefixList>, ApiError> {
    let mut lists = match ids.as_deref().unwrap_or_default() {
        [] => vec![of_s3(tx.base(), &tx.scope().region)],
        ids => ids.iter().map(|id| find(tx, id)).collect::<Result<_, _>>()?,
    };
    lists.dedup();
    for filter in filters.iter().flatten() {
        let (name, patterns) = parts(filter)?;
        let value: fn(&PrefixList) -> &str = match name {
            _ if !names.contains(&name) => return Err(unknown(name)),
            "prefix-list-id" => |list| &list.id,
            "prefix-list-name" => |list| &list.name,
            _ => |_| "AWS",
        };
        lists.retain(|list| matches_any(patterns, value(list)));
    }
    Ok(lists)
}

fn describe_prefix_lists(
    cx: &mut Context,
    input: ec2::DescribePrefixListsRequest,
) -> Result<ec2::DescribePrefixListsResult, ApiError> {
    let lists =
        choose(cx.tx, &input.prefix_list_ids, &input.filters, &["prefix-list-id", "prefix-list-name"])?;
    let (lists, next_token) = page(lists, |list| list.id.clone(), &input.next_token, input.max_results)?;
    let shape = |list: PrefixList| ec2::PrefixList {
        cidrs: Some(list.blocks.iter().map(ToString::to_string).collect()),
        prefix_list_id: Some(list.id),
        prefix_list_name: Some(list.name),
    };
    Ok(ec2::DescribePrefixListsResult {
        next_token,
        prefix_lists: Some(lists.into_iter().map(shape).collect()),
    })
}

fn describe_managed_prefix_lists(
    cx: &mut Context,
    input: ec2::DescribeManagedPrefixListsRequest,
) -> Result<ec2::DescribeManagedPrefixListsResult, ApiError> {
    let known = ["owner-id", "prefix-list-id", "prefix-list-name"];
    let lists = choose(cx.tx, &input.prefix_list_ids, &input.filters, &known)?;
    let (lists, next_token) = page(lists, |list| list.id.clone(), &input.next_token, input.max_results)?;
    let region = &cx.scope().region;
    let shape = |list: PrefixList| ec2::ManagedPrefixList {
        address_family: Some("IPv4".into()),
        state: Some("create-complete".into()),
        prefix_list_arn: Some(format!("arn:aws:ec2:{region}:aws:prefix-list/{}", list.id)),
        prefix_list_id: Some(list.id),
        prefix_list_name: Some(list.name),
        owner_id: Some("AWS".into()),
        tags: Some(Vec::new()),
        ..Default::default()
    };
    Ok(ec2::DescribeManagedPrefixListsResult {
        next_token,
        prefix_lists: Some(lists.into_iter().map(shape).collect()),
    })
}

fn get_managed_prefix_list_entries(
    cx: &mut Context,
    input: ec2::GetManagedPrefixListEntriesRequest,
) -> Result<ec2::GetManagedPrefixListEntriesResult, ApiError> {
    let list = find(cx.tx, &input.prefix_list_id)?;
    if input.target_version.is_some() {
        return Err(invalid(format!("The prefix list {} is managed by AWS and has no versions.", list.id)));
    }
    let entry = |block: &Ipv4Net| ec2::PrefixListEntry { cidr: Some(block.to_string()), description: None };
    let (blocks, next_token) = page(list.blocks, ToString::to_string, &input.next_token, input.max_results)?;
    Ok(ec2::GetManagedPrefixListEntriesResult {
        entries: Some(blocks.iter().map(entry).collect()),
        next_token,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, filter};

    #[test]
    fn s3_has_a_list_of_its_address() {
        let mut cloud = cloud();
        let input = ec2::DescribePrefixListsRequest {
            filters: filter("prefix-list-name", "com.amazonaws.us-east-1.s3"),
            ..Default::default()
        };
        let list = cloud.ok::<ec2::ops::DescribePrefixLists>(input).prefix_lists.unwrap().remove(0);
        assert_eq!(list.cidrs, Some(vec!["198.18.0.253/32".to_owned()]));
        let id = list.prefix_list_id.unwrap();
        let managed = ec2::DescribeManagedPrefixListsRequest {
            prefix_list_ids: Some(vec![id.clone()]),
            ..Default::default()
        };
        let managed = cloud.ok::<ec2::ops::DescribeManagedPrefixLists>(managed).prefix_lists.unwrap();
        assert_eq!(managed[0].owner_id.as_deref(), Some("AWS"));
        let entries = |id: &str| ec2::GetManagedPrefixListEntriesRequest {
            prefix_list_id: id.into(),
            ..Default::default()
        };
        let found = cloud.ok::<ec2::ops::GetManagedPrefixListEntries>(entries(&id)).entries.unwrap();
        assert_eq!(found.len(), 1);
        type Get = ec2::ops::GetManagedPrefixListEntries;
        assert_eq!(cloud.code::<Get>(entries("pl-00000000")), "InvalidPrefixListID.NotFound");
        assert_eq!(cloud.code::<Get>(entries("list")), "InvalidPrefixListId.Malformed");
    }
}
