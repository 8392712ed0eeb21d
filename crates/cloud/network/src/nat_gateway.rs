//! NAT gateways: the way out for interfaces without a public address.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-nat-gateway.html>
//!
//! `pending` → `available` when the machine has made it; `deleting` → `deleted` when it has taken it down. What AWS
//! finds wrong only while it makes one (no internet gateway, address in use) ends in `failed` with a code. Deleted and
//! failed gateways stay visible for an hour.

use std::net::Ipv4Addr;
use std::sync::Arc;

use pileus_aws::ec2;
use pileus_core::{ApiError, Timestamp};
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::resource::{Resource, find, invalid, missing};
use crate::select::{Filters, Selection, one, select};
use crate::{Address, Subnet, interface, internet_gateway, tags, zone};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NatGateway {
    pub id: String,
    pub subnet: String,
    pub vpc: String,
    /// The elastic address that was given.
    pub allocation: String,
    /// What it has got of addresses; `None` for one that failed.
    pub addresses: Option<Addresses>,
    pub state: NatState,
    pub created: Timestamp,
    /// When it failed or was deleted.
    pub ended: Option<Timestamp>,
    client_token: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Addresses {
    pub interface: String,
    pub private: Ipv4Addr,
    pub public: Ipv4Addr,
    pub association: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum NatState {
    Pending,
    Available,
    Failed { code: String, message: String },
    Deleting,
    Deleted,
}

impl NatState {
    /// Whether it works or soon will.
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Pending | Self::Available)
    }

    /// Whether nothing is left of it but the memory.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Deleted)
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Available => "available",
            Self::Failed { .. } => "failed",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
        }
    }
}

impl Record for NatGateway {
    const KIND: &'static str = "ec2/nat-gateway";

    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Resource for NatGateway {
    const PREFIX: &'static str = "nat";
    const TYPE: &'static str = "natgateway";
    const NOUN: &'static str = "NAT gateway";
    const NOT_FOUND: &'static str = "NatGatewayNotFound";
    const MALFORMED: &'static str = "NatGatewayMalformed";

    fn not_found(id: &str) -> ApiError {
        ApiError::client(Self::NOT_FOUND, format!("NAT gateway {id} was not found"))
    }
}

pub fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::CreateNatGateway>(create_nat_gateway)
        .on::<ec2::ops::DeleteNatGateway>(delete_nat_gateway)
        .on::<ec2::ops::DescribeNatGateways>(describe_nat_gateways);
}

fn create_nat_gateway(
    cx: &mut Context,
    input: ec2::CreateNatGatewayRequest,
) -> Result<ec2::CreateNatGatewayResult, ApiError> {
    if let Some(other) = input.connectivity_type.as_deref().filter(|kind| *kind != "public") {
        return Err(ApiError::not_implemented(format!("the ConnectivityType {other} of a NAT gateway")));
    }
    let subnet = find::<Subnet>(cx.tx, input.subnet_id.as_deref().ok_or_else(|| missing("subnetId"))?)?;
    let elastic =
        find::<Address>(cx.tx, input.allocation_id.as_deref().ok_or_else(|| missing("allocationId"))?)?;
    let private = input.private_ip_address.as_deref().map(parse_address).transpose()?;
    let tags = tags::specified::<NatGateway>(&input.tag_specifications)?;
    let token = input.client_token;
    let gateway = match token.as_ref().and_then(|token| created_with(cx.tx, token)) {
        Some(same) if same.subnet == subnet.id && same.allocation == elastic.id => same,
        Some(_) => {
            let message = "The client token was used before with other parameters.";
            return Err(ApiError::client("IdempotentParameterMismatch", message));
        }
        None => {
            let gateway = create(cx, &subnet, &elastic, private, token.clone());
            cx.tx.put(gateway.clone());
            tags::put::<NatGateway>(cx.tx, &gateway.id, tags);
            Arc::new(gateway)
        }
    };
    Ok(ec2::CreateNatGatewayResult { client_token: token, nat_gateway: Some(as_answered(cx.tx, &gateway)) })
}

fn parse_address(text: &str) -> Result<Ipv4Addr, ApiError> {
    text.parse().map_err(|_| invalid(format!("Value ({text}) for parameter privateIpAddress is invalid.")))
}

fn created_with(tx: &Tx, token: &str) -> Option<Arc<NatGateway>> {
    tx.find::<NatGateway>(|gateway| gateway.client_token.as_deref() == Some(token))
}

/// AWS answers `pending` whatever becomes of it.
fn as_answered(tx: &Tx, gateway: &NatGateway) -> ec2::NatGateway {
    shape(tx, &NatGateway { state: NatState::Pending, ended: None, ..gateway.clone() })
}

fn create(
    cx: &mut Context,
    subnet: &Subnet,
    elastic: &Address,
    private: Option<Ipv4Addr>,
    client_token: Option<String>,
) -> NatGateway {
    let mut gateway = NatGateway {
        id: cx.ids.ec2(NatGateway::PREFIX),
        subnet: subnet.id.clone(),
        vpc: subnet.vpc.clone(),
        allocation: elastic.id.clone(),
        addresses: None,
        state: NatState::Pending,
        created: cx.now,
        ended: None,
        client_token,
    };
    match addresses(cx, subnet, elastic, private, &gateway.id) {
        Ok(addresses) => gateway.addresses = Some(addresses),
        Err(error) => {
            gateway.state = NatState::Failed { code: error.code.into_owned(), message: error.message };
            gateway.ended = Some(cx.now);
        }
    }
    gateway
}

/// The addresses of a new gateway, or the reason why it fails.
fn addresses(
    cx: &mut Context,
    subnet: &Subnet,
    elastic: &Address,
    private: Option<Ipv4Addr>,
    gateway: &str,
) -> Result<Addresses, ApiError> {
    if internet_gateway::of_vpc(cx.tx, &subnet.vpc).is_none() {
        let message = format!("Network {} has no Internet gateway attached", subnet.vpc);
        return Err(ApiError::client("Gateway.NotAttached", message));
    }
    if elastic.association.is_some() {
        let message = format!("Elastic IP address [{}] is already associated", elastic.id);
        return Err(ApiError::client("Resource.AlreadyAssociated", message));
    }
    let made = interface::create_for_nat(cx.tx, cx.ids, cx.now, subnet, elastic, private, gateway)?;
    Ok(Addresses {
        interface: made.id,
        private: made.address,
        public: elastic.public_ip,
        association: made.public.map(|public| public.id).unwrap_or_default(),
    })
}

fn delete_nat_gateway(
    cx: &mut Context,
    input: ec2::DeleteNatGatewayRequest,
) -> Result<ec2::DeleteNatGatewayResult, ApiError> {
    let id = input.nat_gateway_id;
    let gateway = find::<NatGateway>(cx.tx, &id)?;
    let next = match gateway.state {
        NatState::Pending | NatState::Available | NatState::Deleting => NatState::Deleting,
        NatState::Failed { .. } => NatState::Deleted,
        NatState::Deleted => return Err(NatGateway::not_found(&id)),
    };
    cx.tx.update::<NatGateway>(&id, |gateway| gateway.state = next);
    Ok(ec2::DeleteNatGatewayResult { nat_gateway_id: Some(id) })
}

const FILTERS: Filters<NatGateway> = &[
    ("nat-gateway-id", |_, gateway| one(&gateway.id)),
    ("state", |_, gateway| one(gateway.state.name())),
    ("subnet-id", |_, gateway| one(&gateway.subnet)),
    ("vpc-id", |_, gateway| one(&gateway.vpc)),
];

fn describe_nat_gateways(
    cx: &mut Context,
    input: ec2::DescribeNatGatewaysRequest,
) -> Result<ec2::DescribeNatGatewaysResult, ApiError> {
    let selection = Selection {
        ids: &input.nat_gateway_ids,
        filters: &input.filter,
        next_token: &input.next_token,
        max_results: input.max_results,
    };
    let (gateways, next_token) = select(cx.tx, selection, FILTERS)?;
    let nat_gateways = Some(gateways.iter().map(|gateway| shape(cx.tx, gateway)).collect());
    Ok(ec2::DescribeNatGatewaysResult { nat_gateways, next_token })
}

fn shape(tx: &Tx, gateway: &NatGateway) -> ec2::NatGateway {
    let (failure_code, failure_message) = match &gateway.state {
        NatState::Failed { code, message } => (Some(code.clone()), Some(message.clone())),
        _ => (None, None),
    };
    ec2::NatGateway {
        create_time: Some(gateway.created),
        delete_time: gateway.ended,
        failure_code,
        failure_message,
        nat_gateway_addresses: Some(vec![address_shape(tx, gateway)]),
        nat_gateway_id: Some(gateway.id.clone()),
        state: Some(gateway.state.name().into()),
        subnet_id: Some(gateway.subnet.clone()),
        vpc_id: Some(gateway.vpc.clone()),
        tags: tags::shapes(tx, &gateway.id),
        connectivity_type: Some("public".into()),
        availability_mode: Some("zonal".into()),
        ..Default::default()
    }
}

fn address_shape(tx: &Tx, gateway: &NatGateway) -> ec2::NatGatewayAddress {
    let status = match gateway.state {
        NatState::Pending => "associating",
        NatState::Available => "succeeded",
        NatState::Failed { .. } => "failed",
        NatState::Deleting | NatState::Deleted => "disassociating",
    };
    let zone = tx.get::<Subnet>(&gateway.subnet).map(|subnet| subnet.zone.clone());
    let has = gateway.addresses.as_ref();
    ec2::NatGatewayAddress {
        allocation_id: Some(gateway.allocation.clone()),
        network_interface_id: has.map(|it| it.interface.clone()),
        private_ip: has.map(|it| it.private.to_string()),
        public_ip: has.map(|it| it.public.to_string()),
        association_id: has.map(|it| it.association.clone()),
        is_primary: Some(true),
        failure_message: None,
        status: Some(status.into()),
        availability_zone_id: zone.as_ref().and_then(|zone| zone::id_of(&tx.scope().region, zone)),
        availability_zone: zone,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pileus_kit::Cloud;

    use super::*;
    use crate::testing::{address, apply, cloud, internet_gateway, nat_gateway, subnet, vpc};

    fn describe(cloud: &mut Cloud, id: &str) -> ec2::NatGateway {
        let input =
            ec2::DescribeNatGatewaysRequest { nat_gateway_ids: Some(vec![id.into()]), ..Default::default() };
        cloud.ok::<ec2::ops::DescribeNatGateways>(input).nat_gateways.unwrap().remove(0)
    }

    fn state(cloud: &mut Cloud, id: &str) -> String {
        describe(cloud, id).state.unwrap()
    }

    #[test]
    fn a_gateway_lives_as_the_machine_applies_it() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        internet_gateway(&mut cloud, &vpc);
        let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/24");
        let id = nat_gateway(&mut cloud, &subnet);
        assert_eq!(state(&mut cloud, &id), "pending");
        assert_eq!(apply(&mut cloud).vpcs[0].nat_gateways.len(), 1);
        assert_eq!(state(&mut cloud, &id), "available");
        let shown =
            cloud.ok::<ec2::ops::DescribeNetworkInterfaces>(Default::default()).network_interfaces.unwrap();
        assert_eq!(shown[0].interface_type.as_deref(), Some("nat_gateway"));
        assert_eq!(shown[0].status.as_deref(), Some("in-use"));
        let delete = ec2::DeleteNatGatewayRequest { nat_gateway_id: id.clone() };
        cloud.ok::<ec2::ops::DeleteNatGateway>(delete.clone());
        assert_eq!(state(&mut cloud, &id), "deleting");
        assert!(apply(&mut cloud).vpcs[0].nat_gateways.is_empty());
        assert_eq!(state(&mut cloud, &id), "deleted");
        assert_eq!(cloud.code::<ec2::ops::DeleteNatGateway>(delete), "NatGatewayNotFound");
        assert_eq!(cloud.state.all::<crate::Interface>().count(), 0);
        assert!(cloud.state.all::<Address>().all(|(_, address)| address.association.is_none()));
        cloud.advance(Duration::from_secs(3599));
        cloud.write(|cx| crate::purge(cx.tx, cx.now));
        assert_eq!(state(&mut cloud, &id), "deleted");
        assert!(crate::next_purge(&cloud.state).is_some());
        cloud.advance(Duration::from_secs(1));
        cloud.write(|cx| crate::purge(cx.tx, cx.now));
        let input = ec2::DescribeNatGatewaysRequest { nat_gateway_ids: Some(vec![id]), ..Default::default() };
        assert_eq!(cloud.code::<ec2::ops::DescribeNatGateways>(input), "NatGatewayNotFound");
        assert_eq!(crate::next_purge(&cloud.state), None);
    }

    #[test]
    fn what_aws_finds_later_ends_in_failed() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/24");
        let allocation = address(&mut cloud);
        let create = || ec2::CreateNatGatewayRequest {
            subnet_id: Some(subnet.clone()),
            allocation_id: Some(allocation.clone()),
            ..Default::default()
        };
        let made = cloud.ok::<ec2::ops::CreateNatGateway>(create()).nat_gateway.unwrap();
        assert_eq!(made.state.as_deref(), Some("pending"));
        let failed = describe(&mut cloud, &made.nat_gateway_id.unwrap());
        assert_eq!(failed.failure_code.as_deref(), Some("Gateway.NotAttached"));
        internet_gateway(&mut cloud, &vpc);
        cloud.ok::<ec2::ops::CreateNatGateway>(create());
        let made = cloud.ok::<ec2::ops::CreateNatGateway>(create()).nat_gateway.unwrap();
        let failed = describe(&mut cloud, &made.nat_gateway_id.unwrap());
        assert_eq!(failed.failure_code.as_deref(), Some("Resource.AlreadyAssociated"));
    }

    #[test]
    fn a_token_makes_one_gateway() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        internet_gateway(&mut cloud, &vpc);
        let input = ec2::CreateNatGatewayRequest {
            subnet_id: Some(subnet(&mut cloud, &vpc, "10.0.1.0/24")),
            allocation_id: Some(address(&mut cloud)),
            client_token: Some("once".into()),
            ..Default::default()
        };
        let mut id =
            |input| cloud.ok::<ec2::ops::CreateNatGateway>(input).nat_gateway.unwrap().nat_gateway_id;
        assert_eq!(id(input.clone()), id(input.clone()));
        let other = ec2::CreateNatGatewayRequest { allocation_id: Some(address(&mut cloud)), ..input };
        assert_eq!(cloud.code::<ec2::ops::CreateNatGateway>(other), "IdempotentParameterMismatch");
    }

    #[test]
    fn bad_gateways_are_refused() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/24");
        let good = ec2::CreateNatGatewayRequest {
            subnet_id: Some(subnet),
            allocation_id: Some(address(&mut cloud)),
            ..Default::default()
        };
        for (input, code) in [
            (ec2::CreateNatGatewayRequest { subnet_id: None, ..good.clone() }, "MissingParameter"),
            (ec2::CreateNatGatewayRequest { allocation_id: None, ..good.clone() }, "MissingParameter"),
            (
                ec2::CreateNatGatewayRequest { connectivity_type: Some("private".into()), ..good.clone() },
                "UnsupportedOperation",
            ),
            (
                ec2::CreateNatGatewayRequest {
                    allocation_id: Some("eipalloc-00000000".into()),
                    ..good.clone()
                },
                "InvalidAllocationID.NotFound",
            ),
            (
                ec2::CreateNatGatewayRequest { private_ip_address: Some("ten".into()), ..good },
                "InvalidParameterValue",
            ),
        ] {
            assert_eq!(cloud.code::<ec2::ops::CreateNatGateway>(input), code);
        }
    }
}
