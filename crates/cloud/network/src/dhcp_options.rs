//! DHCP options: what the interfaces of a VPC are told of names. Every VPC has the region's default set.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/VPC_DHCP_Options.html>

use std::collections::BTreeSet;

use pileus_aws::ec2;
use pileus_core::ApiError;
use pileus_service::{Context, Router};

use crate::Vpc;
use crate::resource::is_id;
use crate::select::{matches_any, page, parts, unknown};
use crate::vpc::private_domain;

pub(crate) fn operations(router: &mut Router) {
    router.on::<ec2::ops::DescribeDhcpOptions>(describe_dhcp_options);
}

fn describe_dhcp_options(
    cx: &mut Context,
    input: ec2::DescribeDhcpOptionsRequest,
) -> Result<ec2::DescribeDhcpOptionsResult, ApiError> {
    let known: BTreeSet<String> = cx.tx.list::<Vpc>().iter().map(|vpc| vpc.dhcp_options.clone()).collect();
    let wanted = input.dhcp_options_ids.unwrap_or_default();
    if let Some(id) = wanted.iter().find(|id| !known.contains(*id)) {
        let code =
            if is_id("dopt", id) { "InvalidDhcpOptionID.NotFound" } else { "InvalidDhcpOptionsId.Malformed" };
        return Err(ApiError::client(code, format!("The dhcpOption ID '{id}' does not exist")));
    }
    let mut chosen: Vec<String> =
        known.into_iter().filter(|id| wanted.is_empty() || wanted.contains(id)).collect();
    let configurations = [
        ("domain-name", private_domain(cx.scope())),
        ("domain-name-servers", "AmazonProvidedDNS".to_owned()),
    ];
    for filter in input.filters.iter().flatten() {
        let (name, patterns) = parts(filter)?;
        match name {
            "dhcp-options-id" => chosen.retain(|id| matches_any(patterns, id)),
            "key" => chosen.retain(|_| configurations.iter().any(|(key, _)| matches_any(patterns, key))),
            "owner-id" => chosen.retain(|_| matches_any(patterns, &cx.scope().account)),
            "value" => {
                chosen.retain(|_| configurations.iter().any(|(_, value)| matches_any(patterns, value)));
            }
            tag if tag == "tag-key" || tag.starts_with("tag:") => chosen.clear(),
            _ => return Err(unknown(name)),
        }
    }
    let (chosen, next_token) = page(chosen, String::clone, &input.next_token, input.max_results)?;
    let configurations: Vec<ec2::DhcpConfiguration> = configurations
        .into_iter()
        .map(|(key, value)| ec2::DhcpConfiguration {
            key: Some(key.into()),
            values: Some(vec![ec2::AttributeValue { value: Some(value) }]),
        })
        .collect();
    let shape = |id| ec2::DhcpOptions {
        owner_id: Some(cx.scope().account.clone()),
        tags: Some(Vec::new()),
        dhcp_options_id: Some(id),
        dhcp_configurations: Some(configurations.clone()),
    };
    Ok(ec2::DescribeDhcpOptionsResult {
        next_token,
        dhcp_options: Some(chosen.into_iter().map(shape).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, filter, vpc};

    #[test]
    fn all_vpcs_of_a_region_have_the_default_set() {
        let mut cloud = cloud();
        type Describe = ec2::ops::DescribeDhcpOptions;
        assert_eq!(cloud.ok::<Describe>(Default::default()).dhcp_options, Some(Vec::new()));
        vpc(&mut cloud, "10.0.0.0/16");
        vpc(&mut cloud, "10.1.0.0/16");
        let input = ec2::DescribeDhcpOptionsRequest {
            filters: filter("value", "AmazonProvidedDNS"),
            ..Default::default()
        };
        let sets = cloud.ok::<Describe>(input).dhcp_options.unwrap();
        assert_eq!((sets.len(), sets[0].dhcp_configurations.as_ref().unwrap().len()), (1, 2));
        let unknown = ec2::DescribeDhcpOptionsRequest {
            dhcp_options_ids: Some(vec!["dopt-00000000000000000".into()]),
            ..Default::default()
        };
        assert_eq!(cloud.code::<Describe>(unknown), "InvalidDhcpOptionID.NotFound");
    }
}
