//! Internet gateways: a VPC's way to the internet for interfaces that have a public address.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Internet_Gateway.html>

use std::sync::Arc;

use pileus_aws::ec2;
use pileus_core::ApiError;
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::resource::{Resource, find, in_use, invalid};
use crate::select::{Filters, Selection, one, select};
use crate::{Interface, RouteTable, Vpc, tags};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InternetGateway {
    pub id: String,
    /// The VPC that it is attached to.
    pub vpc: Option<String>,
}

impl Record for InternetGateway {
    const KIND: &'static str = "ec2/internet-gateway";

    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Resource for InternetGateway {
    const PREFIX: &'static str = "igw";
    const TYPE: &'static str = "internet-gateway";
    const NOUN: &'static str = "internetGateway ID";
    const NOT_FOUND: &'static str = "InvalidInternetGatewayID.NotFound";
    const MALFORMED: &'static str = "InvalidInternetGatewayId.Malformed";
}

pub fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::CreateInternetGateway>(create_internet_gateway)
        .on::<ec2::ops::AttachInternetGateway>(attach_internet_gateway)
        .on::<ec2::ops::DetachInternetGateway>(detach_internet_gateway)
        .on::<ec2::ops::DeleteInternetGateway>(delete_internet_gateway)
        .on::<ec2::ops::DescribeInternetGateways>(describe_internet_gateways);
}

/// The gateway that is attached to a VPC.
pub fn of_vpc(tx: &Tx, vpc: &str) -> Option<Arc<InternetGateway>> {
    tx.find::<InternetGateway>(|gateway| gateway.vpc.as_deref() == Some(vpc))
}

/// Puts a new gateway into the state, and leads everything from the main route table of its VPC to it.
pub(crate) fn lead_everything(tx: &mut Tx, vpc: &str, gateway: InternetGateway) {
    if let Some(main) = tx.find::<RouteTable>(|table| table.vpc == vpc && table.main.is_some()) {
        tx.update::<RouteTable>(&main.id, |table| table.routes.push(gateway.default_route()));
    }
    tx.put(gateway);
}

fn create_internet_gateway(
    cx: &mut Context,
    input: ec2::CreateInternetGatewayRequest,
) -> Result<ec2::CreateInternetGatewayResult, ApiError> {
    let tags = tags::specified::<InternetGateway>(&input.tag_specifications)?;
    let gateway = InternetGateway { id: cx.ids.ec2(InternetGateway::PREFIX), vpc: None };
    cx.tx.put(gateway.clone());
    tags::put::<InternetGateway>(cx.tx, &gateway.id, tags);
    Ok(ec2::CreateInternetGatewayResult { internet_gateway: Some(shape(cx.tx, &gateway)) })
}

fn attach_internet_gateway(
    cx: &mut Context,
    input: ec2::AttachInternetGatewayRequest,
) -> Result<pileus_model::Unit, ApiError> {
    let gateway = find::<InternetGateway>(cx.tx, &input.internet_gateway_id)?;
    let vpc = find::<Vpc>(cx.tx, &input.vpc_id)?;
    if let Some(other) = &gateway.vpc {
        let message = format!("resource {} is already attached to network {other}", gateway.id);
        return Err(ApiError::client("Resource.AlreadyAssociated", message));
    }
    if of_vpc(cx.tx, &vpc.id).is_some() {
        return Err(invalid(format!("Network {} already has an internet gateway attached", vpc.id)));
    }
    cx.tx.update::<InternetGateway>(&gateway.id, |gateway| gateway.vpc = Some(vpc.id.clone()));
    Ok(pileus_model::Unit {})
}

fn detach_internet_gateway(
    cx: &mut Context,
    input: ec2::DetachInternetGatewayRequest,
) -> Result<pileus_model::Unit, ApiError> {
    let gateway = find::<InternetGateway>(cx.tx, &input.internet_gateway_id)?;
    let vpc = find::<Vpc>(cx.tx, &input.vpc_id)?;
    if gateway.vpc.as_ref() != Some(&vpc.id) {
        let message = format!("resource {} is not attached to network {}", gateway.id, vpc.id);
        return Err(ApiError::client("Gateway.NotAttached", message));
    }
    if cx.tx.find::<Interface>(|interface| interface.vpc == vpc.id && interface.public.is_some()).is_some() {
        let message = format!(
            "Network {} has some mapped public address(es). Please unmap those public address(es) before detaching \
             the gateway.",
            vpc.id
        );
        return Err(ApiError::client("DependencyViolation", message));
    }
    cx.tx.update::<InternetGateway>(&gateway.id, |gateway| gateway.vpc = None);
    Ok(pileus_model::Unit {})
}

fn delete_internet_gateway(
    cx: &mut Context,
    input: ec2::DeleteInternetGatewayRequest,
) -> Result<pileus_model::Unit, ApiError> {
    let gateway = find::<InternetGateway>(cx.tx, &input.internet_gateway_id)?;
    if gateway.vpc.is_some() {
        return Err(in_use("internetGateway", &gateway.id));
    }
    tags::forget(cx.tx, &gateway.id);
    cx.tx.delete::<InternetGateway>(&gateway.id);
    Ok(pileus_model::Unit {})
}

const FILTERS: Filters<InternetGateway> = &[
    ("attachment.state", |_, gateway| gateway.vpc.iter().map(|_| "available".to_owned()).collect()),
    ("attachment.vpc-id", |_, gateway| gateway.vpc.iter().cloned().collect()),
    ("internet-gateway-id", |_, gateway| one(&gateway.id)),
    ("owner-id", |tx, _| one(&tx.scope().account)),
];

fn describe_internet_gateways(
    cx: &mut Context,
    input: ec2::DescribeInternetGatewaysRequest,
) -> Result<ec2::DescribeInternetGatewaysResult, ApiError> {
    let selection = Selection {
        ids: &input.internet_gateway_ids,
        filters: &input.filters,
        next_token: &input.next_token,
        max_results: input.max_results,
    };
    let (gateways, next_token) = select(cx.tx, selection, FILTERS)?;
    let internet_gateways = Some(gateways.iter().map(|gateway| shape(cx.tx, gateway)).collect());
    Ok(ec2::DescribeInternetGatewaysResult { internet_gateways, next_token })
}

fn shape(tx: &Tx, gateway: &InternetGateway) -> ec2::InternetGateway {
    let attachments = gateway.vpc.iter().map(|vpc| ec2::InternetGatewayAttachment {
        state: Some("available".into()),
        vpc_id: Some(vpc.clone()),
    });
    ec2::InternetGateway {
        attachments: Some(attachments.collect()),
        internet_gateway_id: Some(gateway.id.clone()),
        owner_id: Some(tx.scope().account.clone()),
        tags: tags::shapes(tx, &gateway.id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, filter, internet_gateway, nat_gateway, subnet, vpc};

    #[test]
    fn a_gateway_is_attached_detached_and_deleted() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let id = internet_gateway(&mut cloud, &vpc);
        let attach =
            ec2::AttachInternetGatewayRequest { internet_gateway_id: id.clone(), vpc_id: vpc.clone() };
        let detach =
            ec2::DetachInternetGatewayRequest { internet_gateway_id: id.clone(), vpc_id: vpc.clone() };
        let delete = ec2::DeleteInternetGatewayRequest { internet_gateway_id: id.clone() };
        assert_eq!(cloud.code::<ec2::ops::AttachInternetGateway>(attach), "Resource.AlreadyAssociated");
        assert_eq!(cloud.code::<ec2::ops::DeleteInternetGateway>(delete.clone()), "DependencyViolation");
        let input = ec2::DescribeInternetGatewaysRequest {
            filters: filter("attachment.vpc-id", &vpc),
            ..Default::default()
        };
        let found = cloud.ok::<ec2::ops::DescribeInternetGateways>(input).internet_gateways.unwrap();
        assert_eq!(found[0].attachments.as_ref().unwrap()[0].state.as_deref(), Some("available"));
        cloud.ok::<ec2::ops::DetachInternetGateway>(detach.clone());
        assert_eq!(cloud.code::<ec2::ops::DetachInternetGateway>(detach), "Gateway.NotAttached");
        cloud.ok::<ec2::ops::DeleteInternetGateway>(delete.clone());
        let code = cloud.code::<ec2::ops::DeleteInternetGateway>(delete);
        assert_eq!(code, "InvalidInternetGatewayID.NotFound");
    }

    #[test]
    fn a_vpc_has_one_gateway() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        internet_gateway(&mut cloud, &vpc);
        let second =
            cloud.ok::<ec2::ops::CreateInternetGateway>(Default::default()).internet_gateway.unwrap();
        let attach = ec2::AttachInternetGatewayRequest {
            internet_gateway_id: second.internet_gateway_id.unwrap(),
            vpc_id: vpc,
        };
        assert_eq!(cloud.code::<ec2::ops::AttachInternetGateway>(attach), "InvalidParameterValue");
    }

    #[test]
    fn a_gateway_with_mapped_addresses_cannot_be_detached() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let id = internet_gateway(&mut cloud, &vpc);
        let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/24");
        nat_gateway(&mut cloud, &subnet);
        let detach = ec2::DetachInternetGatewayRequest { internet_gateway_id: id, vpc_id: vpc };
        assert_eq!(cloud.code::<ec2::ops::DetachInternetGateway>(detach), "DependencyViolation");
    }
}
