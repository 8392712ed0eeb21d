//! The default VPC of a region: there once it is asked for by name, with a public subnet in each zone.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/default-vpc.html>

use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use pileus_aws::ec2;
use pileus_core::{ApiError, Tags};
use pileus_service::{Context, Router};
use pileus_state::Tx;

use crate::resource::missing;
use crate::{InternetGateway, Subnet, Vpc, internet_gateway, route_table, subnet, vpc, zone};

const BLOCK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(172, 31, 0, 0), 16);
const SUBNET: u8 = 20;

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::CreateDefaultVpc>(create_default_vpc)
        .on::<ec2::ops::CreateDefaultSubnet>(create_default_subnet);
}

/// The region's default VPC, if it has one.
pub fn of_region(tx: &Tx) -> Option<Arc<Vpc>> {
    tx.find::<Vpc>(|vpc| vpc.default)
}

fn create_default_vpc(
    cx: &mut Context,
    _: ec2::CreateDefaultVpcRequest,
) -> Result<ec2::CreateDefaultVpcResult, ApiError> {
    if let Some(other) = of_region(cx.tx) {
        let message = format!("A Default VPC already exists for this account in this region: {}", other.id);
        return Err(ApiError::client("DefaultVpcAlreadyExists", message));
    }
    let made = vpc::insert(cx, BLOCK, Tags::new());
    cx.tx.update::<Vpc>(&made.id, |vpc| (vpc.default, vpc.dns_hostnames) = (true, true));
    let gateway = InternetGateway { id: cx.ids.ec2("igw"), vpc: Some(made.id.clone()) };
    internet_gateway::lead_everything(cx.tx, &made.id, gateway);
    for zone in zone::zones(&cx.scope().region) {
        insert_subnet(cx, &made.id, zone.name)?;
    }
    let made = cx.tx.get::<Vpc>(&made.id).expect("it was just made");
    Ok(ec2::CreateDefaultVpcResult { vpc: Some(vpc::as_created(cx.tx, &made)) })
}

/// A subnet of a zone in the default VPC, on the first free block.
fn insert_subnet(cx: &mut Context, vpc: &str, zone: String) -> Result<Subnet, ApiError> {
    let taken: Vec<Ipv4Net> =
        cx.tx.list::<Subnet>().iter().filter(|it| it.vpc == vpc).map(|it| it.cidr).collect();
    let blocks = BLOCK.subnets(SUBNET).into_iter().flatten();
    let mut free = blocks.filter(|block| !taken.iter().any(|other| crate::cidr::overlap(*other, *block)));
    let block = free.next().ok_or_else(|| {
        ApiError::client(
            "InvalidSubnet.Range",
            format!("{BLOCK} has no free block for another default subnet."),
        )
    })?;
    let made = subnet::insert(cx, vpc, block, zone, Tags::new());
    let made = cx.tx.update::<Subnet>(&made.id, |it| (it.default, it.map_public_ip_on_launch) = (true, true));
    Ok(made.expect("it was just made"))
}

fn create_default_subnet(
    cx: &mut Context,
    input: ec2::CreateDefaultSubnetRequest,
) -> Result<ec2::CreateDefaultSubnetResult, ApiError> {
    let vpc = of_region(cx.tx).ok_or_else(|| {
        ApiError::client("DefaultVpcDoesNotExist", "There is no Default VPC for this account in this region.")
    })?;
    if input.availability_zone.is_none() && input.availability_zone_id.is_none() {
        return Err(missing("availabilityZone"));
    }
    let zone = subnet::choose_zone(cx.tx, &vpc.id, input.availability_zone, input.availability_zone_id)?;
    if cx.tx.find::<Subnet>(|it| it.default && it.zone == zone).is_some() {
        let message = format!("A default subnet already exists for this account in {zone}");
        return Err(ApiError::client("DefaultSubnetAlreadyExistsInAvailabilityZone", message));
    }
    let made = insert_subnet(cx, &vpc.id, zone)?;
    Ok(ec2::CreateDefaultSubnetResult { subnet: Some(subnet::shape(cx.tx, &made)) })
}

impl InternetGateway {
    pub(crate) fn default_route(&self) -> route_table::Route {
        let destination = route_table::Destination::Block(Ipv4Net::default());
        route_table::Route { destination, target: route_table::Target::InternetGateway(self.id.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, filter};

    #[test]
    fn a_default_vpc_is_public_in_every_zone() {
        let mut cloud = cloud();
        type Create = ec2::ops::CreateDefaultVpc;
        type CreateSubnet = ec2::ops::CreateDefaultSubnet;
        let zone = |name: &str| ec2::CreateDefaultSubnetRequest {
            availability_zone: Some(name.into()),
            ..Default::default()
        };
        assert_eq!(cloud.code::<CreateSubnet>(zone("us-east-1a")), "DefaultVpcDoesNotExist");
        let made = cloud.ok::<Create>(Default::default()).vpc.unwrap();
        assert_eq!((made.is_default, made.cidr_block.as_deref()), (Some(true), Some("172.31.0.0/16")));
        assert_eq!(cloud.code::<Create>(Default::default()), "DefaultVpcAlreadyExists");
        let input =
            ec2::DescribeSubnetsRequest { filters: filter("default-for-az", "true"), ..Default::default() };
        let subnets = cloud.ok::<ec2::ops::DescribeSubnets>(input).subnets.unwrap();
        let mut blocks: Vec<_> = subnets.iter().filter_map(|subnet| subnet.cidr_block.clone()).collect();
        blocks.sort();
        assert_eq!(blocks, ["172.31.0.0/20", "172.31.16.0/20", "172.31.32.0/20"]);
        assert!(subnets.iter().all(|subnet| subnet.map_public_ip_on_launch == Some(true)));
        let spec = crate::fabric_spec(&cloud.state).vpcs.remove(0);
        assert!(spec.subnets.iter().all(|subnet| subnet.routes.len() == 1));
        // A group without a VPC is in the default one.
        let group = ec2::CreateSecurityGroupRequest {
            group_name: "web".into(),
            description: "web".into(),
            ..Default::default()
        };
        cloud.ok::<ec2::ops::CreateSecurityGroup>(group);
        assert_eq!(
            cloud.code::<CreateSubnet>(zone("us-east-1b")),
            "DefaultSubnetAlreadyExistsInAvailabilityZone"
        );
        let gone = subnets.iter().find(|it| it.availability_zone.as_deref() == Some("us-east-1b")).unwrap();
        let delete = ec2::DeleteSubnetRequest { subnet_id: gone.subnet_id.clone().unwrap() };
        cloud.ok::<ec2::ops::DeleteSubnet>(delete);
        let again = cloud.ok::<CreateSubnet>(zone("us-east-1b")).subnet.unwrap();
        assert_eq!((again.default_for_az, again.cidr_block), (Some(true), gone.cidr_block.clone()));
    }
}
