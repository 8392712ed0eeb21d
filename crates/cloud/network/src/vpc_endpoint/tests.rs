//! VPC endpoints from their creation to their end, and what the machine is told of them.

use pileus_aws::ec2;

use pileus_contract::fabric::{RouteSpec, RouteTarget, VpcSpec};
use pileus_kit::Cloud;

use crate::testing::{apply, associate, cloud, filter, group, route_table, subnet, subnet_input, vpc};

type Create = ec2::ops::CreateVpcEndpoint;
type Modify = ec2::ops::ModifyVpcEndpoint;

fn named(cloud: &mut Cloud) -> String {
    let vpc = vpc(cloud, "10.0.0.0/16");
    cloud.ok::<ec2::ops::ModifyVpcAttribute>(ec2::ModifyVpcAttributeRequest {
        vpc_id: vpc.clone(),
        enable_dns_hostnames: Some(ec2::AttributeBooleanValue { value: Some(true) }),
        ..Default::default()
    });
    vpc
}

fn interface(vpc: &str, service: &str, subnets: &[&str]) -> ec2::CreateVpcEndpointRequest {
    ec2::CreateVpcEndpointRequest {
        vpc_id: vpc.into(),
        vpc_endpoint_type: Some("Interface".into()),
        service_name: Some(format!("com.amazonaws.us-east-1.{service}")),
        subnet_ids: Some(subnets.iter().map(|subnet| (*subnet).to_owned()).collect()),
        ..Default::default()
    }
}

fn gateway(vpc: &str, tables: &[&str]) -> ec2::CreateVpcEndpointRequest {
    ec2::CreateVpcEndpointRequest {
        vpc_id: vpc.into(),
        service_name: Some("com.amazonaws.us-east-1.s3".into()),
        route_table_ids: Some(tables.iter().map(|table| (*table).to_owned()).collect()),
        ..Default::default()
    }
}

fn describe(cloud: &mut Cloud, id: &str) -> ec2::VpcEndpoint {
    let input =
        ec2::DescribeVpcEndpointsRequest { vpc_endpoint_ids: Some(vec![id.into()]), ..Default::default() };
    cloud.ok::<ec2::ops::DescribeVpcEndpoints>(input).vpc_endpoints.unwrap().remove(0)
}

fn delete(cloud: &mut Cloud, id: &str) -> Vec<ec2::UnsuccessfulItem> {
    let input = ec2::DeleteVpcEndpointsRequest { vpc_endpoint_ids: vec![id.into()] };
    cloud.ok::<ec2::ops::DeleteVpcEndpoints>(input).unsuccessful.unwrap()
}

fn addresses(spec: &VpcSpec, name: &str) -> Vec<String> {
    let found = spec.names.iter().find(|known| known.name == name);
    found.map(|it| it.addresses.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

#[test]
fn an_interface_endpoint_takes_its_services_name() {
    let mut cloud = cloud();
    let vpc = named(&mut cloud);
    let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/24");
    let name = "secretsmanager.us-east-1.amazonaws.com";
    let made = cloud.ok::<Create>(interface(&vpc, "secretsmanager", &[&subnet])).vpc_endpoint.unwrap();
    let id = made.vpc_endpoint_id.unwrap();
    assert_eq!(made.state.as_deref(), Some("pending"));
    assert!(made.policy_document.unwrap().contains("\"Principal\": \"*\""));
    let spec = apply(&mut cloud).vpcs.remove(0);
    assert_eq!(addresses(&spec, name), ["10.0.1.4"]);
    assert_eq!(addresses(&spec, "sts.us-east-1.amazonaws.com"), ["198.18.0.254"]);
    assert_eq!(addresses(&spec, "*.s3.us-east-1.amazonaws.com"), ["198.18.0.253"]);
    let shown = describe(&mut cloud, &id);
    assert_eq!(shown.state.as_deref(), Some("available"));
    let entries = shown.dns_entries.unwrap();
    let own = entries[0].dns_name.clone().unwrap();
    assert_eq!(addresses(&spec, &own), ["10.0.1.4"]);
    assert_eq!(entries.last().unwrap().dns_name.as_deref(), Some(name));
    let interfaces = cloud.ok::<ec2::ops::DescribeNetworkInterfaces>(Default::default());
    let interface_type = interfaces.network_interfaces.unwrap().remove(0).interface_type;
    assert_eq!(interface_type.as_deref(), Some("vpc_endpoint"));
    // Without private DNS the name leads elsewhere again.
    cloud.ok::<Modify>(ec2::ModifyVpcEndpointRequest {
        vpc_endpoint_id: id.clone(),
        private_dns_enabled: Some(false),
        ..Default::default()
    });
    assert_eq!(addresses(&apply(&mut cloud).vpcs[0], name), ["198.18.0.254"]);
    assert_eq!(
        cloud.code::<ec2::ops::DeleteVpc>(ec2::DeleteVpcRequest { vpc_id: vpc }),
        "DependencyViolation"
    );
    assert_eq!(delete(&mut cloud, &id), []);
    assert_eq!(describe(&mut cloud, &id).state.as_deref(), Some("deleting"));
    assert!(apply(&mut cloud).vpcs[0].interfaces.is_empty());
    let gone = delete(&mut cloud, &id).remove(0);
    assert_eq!(gone.error.unwrap().code.as_deref(), Some("InvalidVpcEndpointId.NotFound"));
    assert_eq!(cloud.state.all::<crate::Interface>().count(), 0);
}

#[test]
fn a_gateway_endpoint_is_a_route_to_a_prefix_list() {
    let mut cloud = cloud();
    let vpc = vpc(&mut cloud, "10.0.0.0/16");
    let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/24");
    let (table, other) = (route_table(&mut cloud, &vpc), route_table(&mut cloud, &vpc));
    associate(&mut cloud, &table, &subnet);
    let id = cloud.ok::<Create>(gateway(&vpc, &[&table])).vpc_endpoint.unwrap().vpc_endpoint_id.unwrap();
    let spec = apply(&mut cloud).vpcs.remove(0);
    let route = RouteSpec {
        destination: "198.18.0.253/32".parse().unwrap(),
        target: RouteTarget::GatewayEndpoint(id.clone()),
    };
    assert_eq!(spec.subnets[0].routes, [route]);
    assert_eq!(spec.gateway_endpoints[0].id, id);
    assert_eq!(describe(&mut cloud, &id).state.as_deref(), Some("available"));
    let tables =
        ec2::DescribeRouteTablesRequest { filters: filter("route.gateway-id", &id), ..Default::default() };
    let shown = cloud.ok::<ec2::ops::DescribeRouteTables>(tables).route_tables.unwrap().remove(0);
    let list = shown.routes.unwrap()[1].destination_prefix_list_id.clone().unwrap();
    let again = gateway(&vpc, &[&table]);
    assert_eq!(cloud.code::<Create>(again), "RouteAlreadyExists");
    let remove = ec2::DeleteRouteRequest {
        route_table_id: table.clone(),
        destination_prefix_list_id: Some(list),
        ..Default::default()
    };
    assert_eq!(cloud.code::<ec2::ops::DeleteRoute>(remove), "InvalidParameterValue");
    cloud.ok::<Modify>(ec2::ModifyVpcEndpointRequest {
        vpc_endpoint_id: id.clone(),
        remove_route_table_ids: Some(vec![table]),
        add_route_table_ids: Some(vec![other.clone()]),
        ..Default::default()
    });
    assert_eq!(apply(&mut cloud).vpcs[0].subnets[0].routes, []);
    cloud.ok::<ec2::ops::DeleteRouteTable>(ec2::DeleteRouteTableRequest { route_table_id: other });
    assert_eq!(describe(&mut cloud, &id).route_table_ids, Some(Vec::new()));
    delete(&mut cloud, &id);
    apply(&mut cloud);
    assert_eq!(cloud.state.all::<crate::VpcEndpoint>().count(), 0);
    assert_eq!(cloud.state.all::<crate::public_pool::PublicAddress>().count(), 0);
}

#[test]
fn bad_endpoints_are_refused() {
    let mut cloud = cloud();
    let vpc = named(&mut cloud);
    let plain = crate::testing::vpc(&mut cloud, "10.1.0.0/16");
    let (one, foreign) = (subnet(&mut cloud, &vpc, "10.0.1.0/24"), subnet(&mut cloud, &plain, "10.1.1.0/24"));
    let twin = ec2::CreateSubnetRequest {
        availability_zone: Some("us-east-1a".into()),
        ..subnet_input(&vpc, "10.0.2.0/24")
    };
    let twin = cloud.ok::<ec2::ops::CreateSubnet>(twin).subnet.unwrap().subnet_id.unwrap();
    let foreign_group = group(&mut cloud, &plain, "web");
    let table = route_table(&mut cloud, &plain);
    cloud.ok::<Create>(interface(&vpc, "sts", &[&one]));
    let base = || interface(&vpc, "ssm", &[&one]);
    for (input, code) in [
        (ec2::CreateVpcEndpointRequest { service_name: None, ..base() }, "MissingParameter"),
        (interface("vpc-00000000000000000", "ssm", &[]), "InvalidVpcID.NotFound"),
        (interface(&vpc, "sqs", &[]), "InvalidServiceName"),
        (interface(&vpc, "s3", &[]), "UnsupportedOperation"),
        (interface(&vpc, "sts", &[]), "InvalidParameter"),
        (interface(&plain, "sts", &[]), "InvalidParameter"),
        (interface(&vpc, "ssm", &[&foreign]), "InvalidParameter"),
        (interface(&vpc, "ssm", &[&one, &twin]), "DuplicateSubnetsInSameZone"),
        (ec2::CreateVpcEndpointRequest { vpc_endpoint_type: None, ..base() }, "InvalidParameter"),
        (
            ec2::CreateVpcEndpointRequest { vpc_endpoint_type: Some("Resource".into()), ..base() },
            "UnsupportedOperation",
        ),
        (
            ec2::CreateVpcEndpointRequest { security_group_ids: Some(vec![foreign_group]), ..base() },
            "InvalidParameter",
        ),
        (
            ec2::CreateVpcEndpointRequest { policy_document: Some("{".into()), ..base() },
            "InvalidPolicyDocument",
        ),
        (
            ec2::CreateVpcEndpointRequest { ip_address_type: Some("ipv6".into()), ..base() },
            "UnsupportedOperation",
        ),
        (gateway(&vpc, &[&table]), "InvalidParameter"),
        (gateway(&vpc, &["rtb-00000000000000000"]), "InvalidRouteTableID.NotFound"),
    ] {
        assert_eq!(cloud.code::<Create>(input.clone()), code, "{input:?}");
    }
}

#[test]
fn services_are_listed_and_chosen() {
    let mut cloud = cloud();
    type Services = ec2::ops::DescribeVpcEndpointServices;
    let all = cloud.ok::<Services>(Default::default()).service_names.unwrap();
    assert!(all.contains(&"com.amazonaws.us-east-1.ecr.dkr".to_owned()) && all.len() > 10);
    let input = ec2::DescribeVpcEndpointServicesRequest {
        filters: filter("service-type", "Gateway"),
        ..Default::default()
    };
    let gateways = cloud.ok::<Services>(input).service_details.unwrap();
    assert_eq!(gateways[0].service_name.as_deref(), Some("com.amazonaws.us-east-1.s3"));
    let unknown = ec2::DescribeVpcEndpointServicesRequest {
        service_names: Some(vec!["com.amazonaws.us-east-1.sqs".into()]),
        ..Default::default()
    };
    assert_eq!(cloud.code::<Services>(unknown), "InvalidServiceName");
}
