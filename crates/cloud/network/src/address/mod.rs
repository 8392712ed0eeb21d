//! Elastic IP addresses.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/elastic-ip-addresses-eip.html>

mod association;

use std::net::Ipv4Addr;
use std::sync::Arc;

use pileus_aws::ec2;
use pileus_core::ApiError;
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::resource::{Resource, find, invalid, missing};
use crate::select::{Filters, Selection, one, select};
use crate::{Interface, public_pool, tags};

/// An allocated address; its id is the allocation id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Address {
    pub id: String,
    pub public_ip: Ipv4Addr,
    pub association: Option<Association>,
}

/// An address in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Association {
    pub id: String,
    pub interface: String,
}

impl Record for Address {
    const KIND: &'static str = "ec2/address";

    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Resource for Address {
    const PREFIX: &'static str = "eipalloc";
    const TYPE: &'static str = "elastic-ip";
    const NOUN: &'static str = "allocation ID";
    const NOT_FOUND: &'static str = "InvalidAllocationID.NotFound";
    const MALFORMED: &'static str = "InvalidAllocationID.Malformed";
}

pub fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::AllocateAddress>(allocate_address)
        .on::<ec2::ops::ReleaseAddress>(release_address)
        .on::<ec2::ops::DescribeAddresses>(describe_addresses)
        .on::<ec2::ops::DescribeAddressesAttribute>(describe_addresses_attribute);
    association::operations(router);
}

fn allocate_address(
    cx: &mut Context,
    input: ec2::AllocateAddressRequest,
) -> Result<ec2::AllocateAddressResult, ApiError> {
    if let Some(other) = input.domain.filter(|domain| domain != "vpc") {
        return Err(ApiError::not_implemented(format!("the Domain {other} of an address")));
    }
    check_border_group(cx, input.network_border_group)?;
    let tags = tags::specified::<Address>(&input.tag_specifications)?;
    let id = cx.ids.ec2(Address::PREFIX);
    let public_ip = public_pool::take(cx.tx, &id)?;
    cx.tx.put(Address { id: id.clone(), public_ip, association: None });
    tags::put::<Address>(cx.tx, &id, tags);
    Ok(ec2::AllocateAddressResult {
        allocation_id: Some(id),
        public_ipv4_pool: Some("amazon".into()),
        network_border_group: Some(cx.scope().region.clone()),
        domain: Some("vpc".into()),
        public_ip: Some(public_ip.to_string()),
        ..Default::default()
    })
}

/// The border group of a region's addresses is the region.
fn check_border_group(cx: &Context, group: Option<String>) -> Result<(), ApiError> {
    match group {
        Some(group) if group != cx.scope().region => {
            Err(invalid(format!("Value ({group}) for parameter networkBorderGroup is invalid.")))
        }
        _ => Ok(()),
    }
}

fn release_address(
    cx: &mut Context,
    input: ec2::ReleaseAddressRequest,
) -> Result<pileus_model::Unit, ApiError> {
    check_border_group(cx, input.network_border_group)?;
    let address = match (input.allocation_id, input.public_ip) {
        (Some(id), None) => find::<Address>(cx.tx, &id)?,
        (None, Some(_)) => {
            let message = "You must specify an allocation id when releasing a VPC elastic IP address";
            return Err(ApiError::client("InvalidParameterCombination", message));
        }
        (Some(_), Some(_)) => {
            let message = "You may specify public IP or allocation id, but not both in the same call";
            return Err(ApiError::client("InvalidParameterCombination", message));
        }
        (None, None) => return Err(missing("allocationId")),
    };
    if address.association.is_some() {
        let message = format!("Address {} is in use.", address.public_ip);
        return Err(ApiError::client("InvalidIPAddress.InUse", message));
    }
    public_pool::give_back(cx.tx, address.public_ip);
    tags::forget(cx.tx, &address.id);
    cx.tx.delete::<Address>(&address.id);
    Ok(pileus_model::Unit {})
}

fn interface_of(tx: &Tx, address: &Address) -> Option<Arc<Interface>> {
    tx.get::<Interface>(&address.association.as_ref()?.interface)
}

const FILTERS: Filters<Address> = &[
    ("allocation-id", |_, address| one(&address.id)),
    ("association-id", |_, address| address.association.iter().map(|it| it.id.clone()).collect()),
    ("domain", |_, _| one("vpc")),
    ("network-border-group", |tx, _| one(&tx.scope().region)),
    ("network-interface-id", |_, address| {
        address.association.iter().map(|it| it.interface.clone()).collect()
    }),
    ("network-interface-owner-id", |tx, address| {
        interface_of(tx, address).iter().map(|_| account(tx)).collect()
    }),
    ("private-ip-address", |tx, address| {
        interface_of(tx, address).iter().map(|it| it.address.to_string()).collect()
    }),
    ("public-ip", |_, address| one(address.public_ip)),
];

fn account(tx: &Tx) -> String {
    tx.scope().account.clone()
}

fn describe_addresses(
    cx: &mut Context,
    input: ec2::DescribeAddressesRequest,
) -> Result<ec2::DescribeAddressesResult, ApiError> {
    let mut ids = input.allocation_ids.unwrap_or_default();
    for ip in input.public_ips.iter().flatten() {
        let address = cx.tx.find::<Address>(|address| address.public_ip.to_string() == *ip);
        let unknown = || ApiError::client("InvalidAddress.NotFound", format!("Address '{ip}' not found."));
        ids.push(address.ok_or_else(unknown)?.id.clone());
    }
    let selection =
        Selection { ids: &Some(ids), filters: &input.filters, next_token: &None, max_results: None };
    let (addresses, _) = select(cx.tx, selection, FILTERS)?;
    let addresses = Some(addresses.iter().map(|address| shape(cx.tx, address)).collect());
    Ok(ec2::DescribeAddressesResult { addresses })
}

/// The only attribute is the name for reverse lookups. None can be set, so there is none to tell; Terraform asks after
/// each `aws_eip`.
fn describe_addresses_attribute(
    cx: &mut Context,
    input: ec2::DescribeAddressesAttributeRequest,
) -> Result<ec2::DescribeAddressesAttributeResult, ApiError> {
    let selection = Selection {
        ids: &input.allocation_ids,
        filters: &None,
        next_token: &input.next_token,
        max_results: input.max_results,
    };
    let (addresses, next_token) = select(cx.tx, selection, FILTERS)?;
    let attribute = |address: &Arc<Address>| ec2::AddressAttribute {
        public_ip: Some(address.public_ip.to_string()),
        allocation_id: Some(address.id.clone()),
        ..Default::default()
    };
    Ok(ec2::DescribeAddressesAttributeResult {
        addresses: Some(addresses.iter().map(attribute).collect()),
        next_token,
    })
}

fn shape(tx: &Tx, address: &Address) -> ec2::Address {
    let interface = interface_of(tx, address);
    ec2::Address {
        allocation_id: Some(address.id.clone()),
        association_id: address.association.as_ref().map(|it| it.id.clone()),
        domain: Some("vpc".into()),
        network_interface_id: interface.as_ref().map(|it| it.id.clone()),
        network_interface_owner_id: interface.as_ref().map(|_| account(tx)),
        private_ip_address: interface.as_ref().map(|it| it.address.to_string()),
        tags: tags::shapes(tx, &address.id),
        public_ipv4_pool: Some("amazon".into()),
        network_border_group: Some(tx.scope().region.clone()),
        public_ip: Some(address.public_ip.to_string()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{address, cloud, filter, internet_gateway, nat_gateway, subnet, vpc};

    #[test]
    fn an_address_is_allocated_and_released() {
        let mut cloud = cloud();
        let id = address(&mut cloud);
        let described = cloud.ok::<ec2::ops::DescribeAddresses>(Default::default()).addresses.unwrap();
        let ip = described[0].public_ip.clone().unwrap();
        assert!(public_pool::RANGE.contains(&ip.parse::<Ipv4Addr>().unwrap()));
        let by_ip =
            ec2::DescribeAddressesRequest { public_ips: Some(vec![ip.clone()]), ..Default::default() };
        assert_eq!(cloud.ok::<ec2::ops::DescribeAddresses>(by_ip.clone()).addresses.unwrap().len(), 1);
        let attributes = ec2::DescribeAddressesAttributeRequest {
            allocation_ids: Some(vec![id.clone()]),
            ..Default::default()
        };
        let attributes = cloud.ok::<ec2::ops::DescribeAddressesAttribute>(attributes).addresses.unwrap();
        assert_eq!((attributes[0].public_ip.as_ref(), &attributes[0].ptr_record), (Some(&ip), &None));
        let release = |id: Option<&String>, ip: Option<&String>| ec2::ReleaseAddressRequest {
            allocation_id: id.cloned(),
            public_ip: ip.cloned(),
            network_border_group: None,
        };
        for (input, code) in [
            (release(None, None), "MissingParameter"),
            (release(None, Some(&ip)), "InvalidParameterCombination"),
            (release(Some(&"eipalloc-00000000000000000".into()), None), "InvalidAllocationID.NotFound"),
        ] {
            assert_eq!(cloud.code::<ec2::ops::ReleaseAddress>(input), code);
        }
        cloud.ok::<ec2::ops::ReleaseAddress>(release(Some(&id), None));
        assert_eq!(cloud.code::<ec2::ops::DescribeAddresses>(by_ip), "InvalidAddress.NotFound");
        assert_eq!(cloud.state.all::<public_pool::PublicAddress>().count(), 0);
    }

    #[test]
    fn an_address_in_use_stays() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        internet_gateway(&mut cloud, &vpc);
        let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/24");
        nat_gateway(&mut cloud, &subnet);
        let input = ec2::DescribeAddressesRequest {
            filters: filter("private-ip-address", "10.0.1.4"),
            ..Default::default()
        };
        let used = cloud.ok::<ec2::ops::DescribeAddresses>(input).addresses.unwrap().remove(0);
        let release = ec2::ReleaseAddressRequest { allocation_id: used.allocation_id, ..Default::default() };
        assert_eq!(cloud.code::<ec2::ops::ReleaseAddress>(release), "InvalidIPAddress.InUse");
    }
}
