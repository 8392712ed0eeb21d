//! Interfaces of the user's own: they are there in their namespaces, though no task has them.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateNetworkInterface.html>

use std::sync::Arc;

use pileus_aws::ec2;
use pileus_core::ApiError;
use pileus_service::{Context, Router};

use super::{Interface, NewInterface, create, delete, describe, set_groups};
use crate::resource::{find, invalid};
use crate::tags;

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::CreateNetworkInterface>(create_network_interface)
        .on::<ec2::ops::DeleteNetworkInterface>(delete_network_interface)
        .on::<ec2::ops::ModifyNetworkInterfaceAttribute>(modify_network_interface_attribute)
        .on::<ec2::ops::DescribeNetworkInterfaceAttribute>(describe_network_interface_attribute);
}

fn create_network_interface(
    cx: &mut Context,
    input: ec2::CreateNetworkInterfaceRequest,
) -> Result<ec2::CreateNetworkInterfaceResult, ApiError> {
    if let Some(kind) = input.interface_type.filter(|kind| kind != "interface") {
        return Err(ApiError::not_implemented(format!("the InterfaceType {kind} of a network interface")));
    }
    let tags = tags::specified::<Interface>(&input.tag_specifications)?;
    let token = input.client_token;
    let earlier = token.as_ref().and_then(|_| cx.tx.find::<Interface>(|it| it.client_token == token));
    let interface = match earlier {
        Some(same) if same.subnet == input.subnet_id => Interface::clone(&same),
        Some(_) => {
            let message = "The client token was used before with other parameters.";
            return Err(ApiError::client("IdempotentParameterMismatch", message));
        }
        None => {
            let wanted = input.private_ip_address.map(|text| {
                let wrong = || invalid(format!("Value ({text}) for parameter privateIpAddress is invalid."));
                text.parse().map_err(|_| wrong())
            });
            let new = NewInterface {
                subnet: input.subnet_id,
                groups: input.groups.unwrap_or_default(),
                description: input.description.unwrap_or_default(),
                address: wanted.transpose()?,
                tags,
                ..Default::default()
            };
            let made = Interface { client_token: token.clone(), ..create(cx.tx, cx.ids, cx.now, new)? };
            cx.tx.put(made.clone());
            made
        }
    };
    let shape =
        ec2::NetworkInterface { status: Some("pending".into()), ..describe::shape(cx.tx, &interface) };
    Ok(ec2::CreateNetworkInterfaceResult { network_interface: Some(shape), client_token: token })
}

/// The interface of this id, which the user may change: not one that a service manages.
fn own(cx: &Context, id: &str) -> Result<Arc<Interface>, ApiError> {
    let interface = find::<Interface>(cx.tx, id)?;
    if interface.requester.is_some() {
        let message = "You do not have permission to access the specified resource.";
        return Err(ApiError::new("AuthFailure", 403, message));
    }
    Ok(interface)
}

fn delete_network_interface(
    cx: &mut Context,
    input: ec2::DeleteNetworkInterfaceRequest,
) -> Result<pileus_model::Unit, ApiError> {
    let interface = find::<Interface>(cx.tx, &input.network_interface_id)?;
    if interface.attachment.is_some() {
        return Err(invalid(format!("Network interface '{}' is currently in use.", interface.id)));
    }
    delete(cx.tx, &own(cx, &interface.id)?.id);
    Ok(pileus_model::Unit {})
}

fn modify_network_interface_attribute(
    cx: &mut Context,
    input: ec2::ModifyNetworkInterfaceAttributeRequest,
) -> Result<pileus_model::Unit, ApiError> {
    let id = &own(cx, &input.network_interface_id)?.id;
    match (input.description, input.source_dest_check, input.groups) {
        (Some(description), None, None) => {
            let text = description.value.unwrap_or_default();
            cx.tx.update::<Interface>(id, |interface| interface.description = text);
        }
        (None, Some(check), None) if check.value == Some(false) => {
            return Err(ApiError::not_implemented("SourceDestCheck=false of a network interface"));
        }
        (None, Some(_), None) => {}
        (None, None, Some(groups)) => set_groups(cx.tx, id, groups)?,
        (None, None, None) => return Err(crate::resource::missing("attribute")),
        _ => {
            let message = "Only one attribute can be modified at a time";
            return Err(ApiError::client("InvalidParameterCombination", message));
        }
    }
    Ok(pileus_model::Unit {})
}

fn describe_network_interface_attribute(
    cx: &mut Context,
    input: ec2::DescribeNetworkInterfaceAttributeRequest,
) -> Result<ec2::DescribeNetworkInterfaceAttributeResult, ApiError> {
    let interface = find::<Interface>(cx.tx, &input.network_interface_id)?;
    let shape = describe::shape(cx.tx, &interface);
    let mut result = ec2::DescribeNetworkInterfaceAttributeResult {
        network_interface_id: Some(interface.id.clone()),
        ..Default::default()
    };
    match input.attribute.as_deref() {
        Some("description") => result.description = Some(ec2::AttributeValue { value: shape.description }),
        Some("groupSet") => result.groups = shape.groups,
        Some("sourceDestCheck") => {
            result.source_dest_check = Some(ec2::AttributeBooleanValue { value: shape.source_dest_check });
        }
        Some("attachment") => result.attachment = shape.attachment,
        Some(other) => return Err(invalid(format!("Value ({other}) for parameter attribute is invalid."))),
        None => return Err(crate::resource::missing("attribute")),
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{apply, cloud, group, subnet, vpc};

    #[test]
    fn a_users_interface_is_made_changed_and_deleted() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let (subnet, group) = (subnet(&mut cloud, &vpc, "10.0.1.0/24"), group(&mut cloud, &vpc, "web"));
        let create = ec2::CreateNetworkInterfaceRequest {
            subnet_id: subnet,
            private_ip_address: Some("10.0.1.77".into()),
            client_token: Some("once".into()),
            ..Default::default()
        };
        type Create = ec2::ops::CreateNetworkInterface;
        let made = cloud.ok::<Create>(create.clone()).network_interface.unwrap();
        assert_eq!(
            (made.status.as_deref(), made.private_ip_address.as_deref()),
            (Some("pending"), Some("10.0.1.77"))
        );
        let id = made.network_interface_id.unwrap();
        assert_eq!(
            cloud.ok::<Create>(create.clone()).network_interface.unwrap().network_interface_id.as_ref(),
            Some(&id)
        );
        let bad = ec2::CreateNetworkInterfaceRequest {
            private_ip_address: Some("ten".into()),
            client_token: None,
            ..create
        };
        assert_eq!(cloud.code::<Create>(bad), "InvalidParameterValue");
        apply(&mut cloud);
        let shown = cloud.ok::<ec2::ops::DescribeNetworkInterfaces>(Default::default());
        assert_eq!(shown.network_interfaces.unwrap()[0].status.as_deref(), Some("available"));
        let modify = |groups, check: Option<bool>| ec2::ModifyNetworkInterfaceAttributeRequest {
            network_interface_id: id.clone(),
            groups,
            source_dest_check: check.map(|value| ec2::AttributeBooleanValue { value: Some(value) }),
            ..Default::default()
        };
        type Modify = ec2::ops::ModifyNetworkInterfaceAttribute;
        cloud.ok::<Modify>(modify(Some(vec![group.clone()]), None));
        assert_eq!(cloud.code::<Modify>(modify(None, Some(false))), "UnsupportedOperation");
        assert_eq!(cloud.code::<Modify>(modify(None, None)), "MissingParameter");
        let attribute = ec2::DescribeNetworkInterfaceAttributeRequest {
            network_interface_id: id.clone(),
            attribute: Some("groupSet".into()),
        };
        let groups = cloud.ok::<ec2::ops::DescribeNetworkInterfaceAttribute>(attribute).groups.unwrap();
        assert_eq!(groups[0].group_id.as_ref(), Some(&group));
        let delete = ec2::DeleteNetworkInterfaceRequest { network_interface_id: id };
        cloud.ok::<ec2::ops::DeleteNetworkInterface>(delete.clone());
        let code = cloud.code::<ec2::ops::DeleteNetworkInterface>(delete);
        assert_eq!(code, "InvalidNetworkInterfaceID.NotFound");
    }
}
