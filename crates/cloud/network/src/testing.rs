//! Helpers of this crate's tests: short ways to common resources.

use pileus_aws::ec2;
use pileus_kit::Cloud;

pub(crate) fn cloud() -> Cloud {
    Cloud::new(crate::tables, crate::operations)
}

pub(crate) fn filter(name: &str, value: &str) -> Option<Vec<ec2::Filter>> {
    Some(vec![ec2::Filter { name: Some(name.into()), values: Some(vec![value.into()]) }])
}

pub(crate) fn vpc(cloud: &mut Cloud, cidr: &str) -> String {
    let input = ec2::CreateVpcRequest { cidr_block: Some(cidr.into()), ..Default::default() };
    cloud.ok::<ec2::ops::CreateVpc>(input).vpc.unwrap().vpc_id.unwrap()
}

pub(crate) fn subnet_input(vpc: &str, cidr: &str) -> ec2::CreateSubnetRequest {
    ec2::CreateSubnetRequest { vpc_id: vpc.into(), cidr_block: Some(cidr.into()), ..Default::default() }
}

pub(crate) fn subnet(cloud: &mut Cloud, vpc: &str, cidr: &str) -> String {
    cloud.ok::<ec2::ops::CreateSubnet>(subnet_input(vpc, cidr)).subnet.unwrap().subnet_id.unwrap()
}

/// An internet gateway, attached.
pub(crate) fn internet_gateway(cloud: &mut Cloud, vpc: &str) -> String {
    let created = cloud.ok::<ec2::ops::CreateInternetGateway>(Default::default());
    let id = created.internet_gateway.unwrap().internet_gateway_id.unwrap();
    let input = ec2::AttachInternetGatewayRequest { internet_gateway_id: id.clone(), vpc_id: vpc.into() };
    cloud.ok::<ec2::ops::AttachInternetGateway>(input);
    id
}

pub(crate) fn group(cloud: &mut Cloud, vpc: &str, name: &str) -> String {
    let input = ec2::CreateSecurityGroupRequest {
        group_name: name.into(),
        description: "test".into(),
        vpc_id: Some(vpc.into()),
        ..Default::default()
    };
    cloud.ok::<ec2::ops::CreateSecurityGroup>(input).group_id.unwrap()
}

pub(crate) fn address(cloud: &mut Cloud) -> String {
    cloud.ok::<ec2::ops::AllocateAddress>(Default::default()).allocation_id.unwrap()
}

pub(crate) fn route_table(cloud: &mut Cloud, vpc: &str) -> String {
    let input = ec2::CreateRouteTableRequest { vpc_id: vpc.into(), ..Default::default() };
    cloud.ok::<ec2::ops::CreateRouteTable>(input).route_table.unwrap().route_table_id.unwrap()
}

pub(crate) fn associate(cloud: &mut Cloud, table: &str, subnet: &str) -> String {
    let input =
        ec2::AssociateRouteTableRequest { route_table_id: table.into(), subnet_id: Some(subnet.into()) };
    cloud.ok::<ec2::ops::AssociateRouteTable>(input).association_id.unwrap()
}

pub(crate) fn nat_gateway(cloud: &mut Cloud, subnet: &str) -> String {
    let input = ec2::CreateNatGatewayRequest {
        subnet_id: Some(subnet.into()),
        allocation_id: Some(address(cloud)),
        ..Default::default()
    };
    cloud.ok::<ec2::ops::CreateNatGateway>(input).nat_gateway.unwrap().nat_gateway_id.unwrap()
}

/// A plain interface, as a task has it.
pub(crate) fn interface(cloud: &mut Cloud, subnet: &str, groups: &[&str]) -> crate::Interface {
    let new = crate::NewInterface {
        subnet: subnet.into(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..Default::default()
    };
    cloud.write(|cx| crate::interface::create(cx.tx, cx.ids, cx.now, new)).unwrap()
}

/// Applies the whole fabric, as an engine with a perfect machine does.
pub(crate) fn apply(cloud: &mut Cloud) -> pileus_contract::FabricSpec {
    let spec = crate::fabric_spec(&cloud.state);
    cloud.write(|cx| crate::settle(cx.tx, &spec, cx.now));
    spec
}
