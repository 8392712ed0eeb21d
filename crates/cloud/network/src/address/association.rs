//! Elastic addresses of interfaces, besides those of NAT gateways.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssociateAddress.html>

use std::sync::Arc;

use pileus_aws::ec2;
use pileus_core::ApiError;
use pileus_service::{Context, Router};
use pileus_state::Tx;

use super::{Address, Association};
use crate::interface::{NAT_GATEWAY, PublicAssociation};
use crate::resource::{find, invalid, missing};
use crate::{Interface, internet_gateway, public_pool};

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::AssociateAddress>(associate_address)
        .on::<ec2::ops::DisassociateAddress>(disassociate_address);
}

/// The address that is named by its allocation or by itself.
fn named(tx: &Tx, allocation: Option<String>, ip: Option<String>) -> Result<Arc<Address>, ApiError> {
    match (allocation, ip) {
        (Some(id), None) => find::<Address>(tx, &id),
        (None, Some(ip)) => by_ip(tx, &ip),
        (None, None) => Err(missing("allocationId")),
        (Some(_), Some(_)) => {
            let message = "You may specify public IP or allocation id, but not both in the same call";
            Err(ApiError::client("InvalidParameterCombination", message))
        }
    }
}

fn by_ip(tx: &Tx, ip: &str) -> Result<Arc<Address>, ApiError> {
    let found = tx.find::<Address>(|address| address.public_ip.to_string() == ip);
    found.ok_or_else(|| ApiError::client("InvalidAddress.NotFound", format!("Address '{ip}' not found.")))
}

fn associate_address(
    cx: &mut Context,
    input: ec2::AssociateAddressRequest,
) -> Result<ec2::AssociateAddressResult, ApiError> {
    let address = named(cx.tx, input.allocation_id, input.public_ip)?;
    let id = input.network_interface_id.ok_or_else(|| missing("networkInterfaceId"))?;
    let interface = find::<Interface>(cx.tx, &id)?;
    if let Some(other) = input.private_ip_address.filter(|wanted| *wanted != interface.address.to_string()) {
        return Err(invalid(format!("{other} is not an address of the network interface {id}")));
    }
    if internet_gateway::of_vpc(cx.tx, &interface.vpc).is_none() {
        let message = format!("Network {} is not attached to any internet gateway", interface.vpc);
        return Err(ApiError::client("Gateway.NotAttached", message));
    }
    if let Some(same) = address.association.as_ref().filter(|association| association.interface == id) {
        return Ok(ec2::AssociateAddressResult { association_id: Some(same.id.clone()) });
    }
    let move_it = input.allow_reassociation == Some(true);
    if let Some(other) = address.association.as_ref() {
        if !move_it {
            return Err(taken(&address.id, &other.id));
        }
        release(cx.tx, &other.interface)?;
    }
    match interface.public.as_ref() {
        Some(PublicAssociation { id, allocation: Some(_), .. }) if !move_it => {
            return Err(taken(&interface.id, id));
        }
        Some(_) => release(cx.tx, &interface.id)?,
        None => {}
    }
    let association = cx.ids.ec2("eipassoc");
    cx.tx.update::<Interface>(&id, |interface| {
        interface.public = Some(PublicAssociation {
            id: association.clone(),
            address: address.public_ip,
            allocation: Some(address.id.clone()),
        });
    });
    cx.tx.update::<Address>(&address.id, |address| {
        address.association = Some(Association { id: association.clone(), interface: id });
    });
    Ok(ec2::AssociateAddressResult { association_id: Some(association) })
}

fn taken(resource: &str, association: &str) -> ApiError {
    let message = format!("resource {resource} is already associated with associate-id {association}");
    ApiError::client("Resource.AlreadyAssociated", message)
}

fn disassociate_address(
    cx: &mut Context,
    input: ec2::DisassociateAddressRequest,
) -> Result<pileus_model::Unit, ApiError> {
    let interface = match (input.association_id, input.public_ip) {
        (Some(id), None) => {
            let of = |address: &Address| address.association.as_ref().is_some_and(|it| it.id == id);
            let unknown = || {
                let message = format!("The association ID '{id}' does not exist");
                ApiError::client("InvalidAssociationID.NotFound", message)
            };
            cx.tx.find::<Address>(of).ok_or_else(unknown)?.association.as_ref().map(|it| it.interface.clone())
        }
        (None, Some(ip)) => by_ip(cx.tx, &ip)?.association.as_ref().map(|it| it.interface.clone()),
        (None, None) => return Err(missing("associationId")),
        (Some(_), Some(_)) => {
            let message = "You may specify public IP or association id, but not both in the same call";
            return Err(ApiError::client("InvalidParameterCombination", message));
        }
    };
    // An address that nobody has stays so.
    interface.map_or(Ok(()), |interface| release(cx.tx, &interface))?;
    Ok(pileus_model::Unit {})
}

/// Takes its public address from an interface. A NAT gateway keeps the one that it was made with.
fn release(tx: &mut Tx, interface: &str) -> Result<(), ApiError> {
    let interface = find::<Interface>(tx, interface)?;
    if interface.interface_type == NAT_GATEWAY {
        let message = "You do not have permission to access the specified resource.";
        return Err(ApiError::new("AuthFailure", 403, message));
    }
    match &interface.public {
        Some(PublicAssociation { allocation: Some(allocation), .. }) => {
            tx.update::<Address>(allocation, |address| address.association = None);
        }
        Some(public) => public_pool::give_back(tx, public.address),
        None => {}
    }
    tx.update::<Interface>(&interface.id, |interface| interface.public = None);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{address, cloud, interface, internet_gateway, nat_gateway, subnet, vpc};

    #[test]
    fn an_address_goes_to_an_interface_and_on_to_another() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/24");
        let (one, two) = (interface(&mut cloud, &subnet, &[]), interface(&mut cloud, &subnet, &[]));
        let allocation = address(&mut cloud);
        let associate = |interface: &Interface, again| ec2::AssociateAddressRequest {
            allocation_id: Some(allocation.clone()),
            network_interface_id: Some(interface.id.clone()),
            allow_reassociation: Some(again),
            ..Default::default()
        };
        type Associate = ec2::ops::AssociateAddress;
        type Disassociate = ec2::ops::DisassociateAddress;
        assert_eq!(cloud.code::<Associate>(associate(&one, false)), "Gateway.NotAttached");
        internet_gateway(&mut cloud, &vpc);
        let first = cloud.ok::<Associate>(associate(&one, false)).association_id;
        assert_eq!(cloud.ok::<Associate>(associate(&one, false)).association_id, first);
        assert_eq!(cloud.code::<Associate>(associate(&two, false)), "Resource.AlreadyAssociated");
        let second = cloud.ok::<Associate>(associate(&two, true)).association_id;
        let public = |cloud: &pileus_kit::Cloud, interface: &Interface| {
            cloud.state.get::<Interface>(&cloud.scope, &interface.id).unwrap().public.is_some()
        };
        assert_eq!((public(&cloud, &one), public(&cloud, &two)), (false, true));
        let end =
            |id: Option<String>| ec2::DisassociateAddressRequest { association_id: id, public_ip: None };
        assert_eq!(cloud.code::<Disassociate>(end(first)), "InvalidAssociationID.NotFound");
        cloud.ok::<Disassociate>(end(second));
        assert!(!public(&cloud, &two));
        assert_eq!(cloud.code::<Disassociate>(end(None)), "MissingParameter");
        nat_gateway(&mut cloud, &subnet);
        let addresses = cloud.ok::<ec2::ops::DescribeAddresses>(Default::default()).addresses.unwrap();
        let lent = addresses.into_iter().find_map(|address| address.association_id);
        assert_eq!(cloud.code::<Disassociate>(end(lent)), "AuthFailure");
    }
}
