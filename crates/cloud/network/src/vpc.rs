//! VPCs, with what AWS makes along with each: a main route table, a default network ACL and a default security group.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/configure-your-vpc.html>

use ipnet::Ipv4Net;
use pileus_aws::ec2;
use pileus_core::{ApiError, Scope, Tags};
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::cidr::{self, overlap};
use crate::resource::{Resource, find, in_use, invalid, missing};
use crate::select::{Filters, Selection, one, select};
use crate::{
    Interface, InternetGateway, NatGateway, NetworkAcl, RouteTable, SecurityGroup, Subnet, VpcEndpoint,
    network_acl, public_pool, route_table, security_group, tags,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vpc {
    pub id: String,
    pub cidr: Ipv4Net,
    /// The id of the association between the VPC and its CIDR block.
    pub cidr_association: String,
    pub dhcp_options: String,
    /// `enableDnsHostnames`: whether public addresses have names.
    pub dns_hostnames: bool,
    /// Whether it is its region's default one.
    #[serde(default)]
    pub default: bool,
}

impl Record for Vpc {
    const KIND: &'static str = "ec2/vpc";

    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Resource for Vpc {
    const PREFIX: &'static str = "vpc";
    const TYPE: &'static str = "vpc";
    const NOUN: &'static str = "vpc ID";
    const NOT_FOUND: &'static str = "InvalidVpcID.NotFound";
    const MALFORMED: &'static str = "InvalidVpcID.Malformed";
}

pub fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::CreateVpc>(create_vpc)
        .on::<ec2::ops::DeleteVpc>(delete_vpc)
        .on::<ec2::ops::DescribeVpcs>(describe_vpcs)
        .on::<ec2::ops::DescribeVpcAttribute>(describe_vpc_attribute)
        .on::<ec2::ops::ModifyVpcAttribute>(modify_vpc_attribute);
}

/// The domain of private names: `ip-10-0-1-5.<domain>`.
pub(crate) fn private_domain(scope: &Scope) -> String {
    match scope.region.as_str() {
        "us-east-1" => "ec2.internal".to_owned(),
        region => format!("{region}.compute.internal"),
    }
}

fn create_vpc(cx: &mut Context, input: ec2::CreateVpcRequest) -> Result<ec2::CreateVpcResult, ApiError> {
    let cidr = input.cidr_block.as_deref().ok_or_else(|| missing("cidrBlock"))?;
    let cidr = allowed(cidr::parse(cidr, "cidrBlock")?)?;
    if input.amazon_provided_ipv6_cidr_block == Some(true) {
        return Err(ApiError::not_implemented("IPv6 (AmazonProvidedIpv6CidrBlock) in a VPC"));
    }
    if let Some(tenancy) = input.instance_tenancy.filter(|tenancy| tenancy != "default") {
        return Err(ApiError::not_implemented(format!("the InstanceTenancy {tenancy} of a VPC")));
    }
    let tags = tags::specified::<Vpc>(&input.tag_specifications)?;
    let vpc = insert(cx, cidr, tags);
    Ok(ec2::CreateVpcResult { vpc: Some(as_created(cx.tx, &vpc)) })
}

/// A new VPC is available at once, but AWS answers this.
pub(crate) fn as_created(tx: &Tx, vpc: &Vpc) -> ec2::Vpc {
    ec2::Vpc { state: Some("pending".into()), ..shape(tx, vpc) }
}

pub(crate) fn insert(cx: &mut Context, cidr: Ipv4Net, tags: Tags) -> Vpc {
    let dhcp_options = match cx.tx.list::<Vpc>().first() {
        Some(other) => other.dhcp_options.clone(),
        None => cx.ids.ec2("dopt"),
    };
    let vpc = Vpc {
        id: cx.ids.ec2(Vpc::PREFIX),
        cidr,
        cidr_association: cx.ids.ec2("vpc-cidr-assoc"),
        dhcp_options,
        dns_hostnames: false,
        default: false,
    };
    cx.tx.put(vpc.clone());
    tags::put::<Vpc>(cx.tx, &vpc.id, tags);
    route_table::create_main(cx, &vpc.id);
    network_acl::create_default(cx, &vpc.id);
    security_group::create_default(cx, &vpc.id);
    vpc
}

/// Blocks of a size that AWS allows, and of addresses that can be routed here.
fn allowed(cidr: Ipv4Net) -> Result<Ipv4Net, ApiError> {
    let special = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"];
    let special = special.iter().filter_map(|block| block.parse().ok());
    if !(16..=28).contains(&cidr.prefix_len()) || special.into_iter().any(|block| overlap(block, cidr)) {
        return Err(ApiError::client("InvalidVpc.Range", format!("The CIDR '{cidr}' is invalid.")));
    }
    if overlap(public_pool::RANGE, cidr) {
        return Err(ApiError::not_implemented(format!(
            "a VPC with the CIDR {cidr}: {} is where its public addresses are from",
            public_pool::RANGE
        )));
    }
    Ok(cidr)
}

fn delete_vpc(cx: &mut Context, input: ec2::DeleteVpcRequest) -> Result<pileus_model::Unit, ApiError> {
    let id = &find::<Vpc>(cx.tx, &input.vpc_id)?.id;
    let tx = &mut *cx.tx;
    let used = tx.find::<Subnet>(|subnet| subnet.vpc == *id).is_some()
        || tx.find::<InternetGateway>(|gateway| gateway.vpc.as_ref() == Some(id)).is_some()
        || tx.find::<RouteTable>(|table| table.vpc == *id && table.main.is_none()).is_some()
        || tx.find::<SecurityGroup>(|group| group.vpc == *id && !group.is_default()).is_some()
        || tx.find::<NetworkAcl>(|acl| acl.vpc == *id && !acl.default).is_some()
        || tx.find::<Interface>(|interface| interface.vpc == *id).is_some()
        || tx.find::<VpcEndpoint>(|endpoint| endpoint.vpc == *id).is_some()
        || tx.find::<NatGateway>(|gateway| gateway.vpc == *id && !gateway.state.is_over()).is_some();
    if used {
        return Err(in_use("vpc", id));
    }
    route_table::delete_main(tx, id);
    network_acl::delete_default(tx, id);
    security_group::delete_default(tx, id);
    tags::forget(tx, id);
    tx.delete::<Vpc>(id);
    Ok(pileus_model::Unit {})
}

const FILTERS: Filters<Vpc> = &[
    ("cidr", |_, vpc| one(vpc.cidr)),
    ("cidr-block-association.association-id", |_, vpc| one(&vpc.cidr_association)),
    ("cidr-block-association.cidr-block", |_, vpc| one(vpc.cidr)),
    ("cidr-block-association.state", |_, _| one("associated")),
    ("dhcp-options-id", |_, vpc| one(&vpc.dhcp_options)),
    ("is-default", |_, vpc| one(vpc.default)),
    ("isDefault", |_, vpc| one(vpc.default)),
    ("owner-id", |tx, _| one(&tx.scope().account)),
    ("state", |_, _| one("available")),
    ("vpc-id", |_, vpc| one(&vpc.id)),
];

fn describe_vpcs(
    cx: &mut Context,
    input: ec2::DescribeVpcsRequest,
) -> Result<ec2::DescribeVpcsResult, ApiError> {
    let selection = Selection {
        ids: &input.vpc_ids,
        filters: &input.filters,
        next_token: &input.next_token,
        max_results: input.max_results,
    };
    let (vpcs, next_token) = select(cx.tx, selection, FILTERS)?;
    let vpcs = Some(vpcs.iter().map(|vpc| shape(cx.tx, vpc)).collect());
    Ok(ec2::DescribeVpcsResult { next_token, vpcs })
}

fn shape(tx: &Tx, vpc: &Vpc) -> ec2::Vpc {
    let cidr = Some(vpc.cidr.to_string());
    ec2::Vpc {
        owner_id: Some(tx.scope().account.clone()),
        instance_tenancy: Some("default".into()),
        cidr_block_association_set: Some(vec![ec2::VpcCidrBlockAssociation {
            association_id: Some(vpc.cidr_association.clone()),
            cidr_block: cidr.clone(),
            cidr_block_state: Some(ec2::VpcCidrBlockState {
                state: Some("associated".into()),
                status_message: None,
            }),
        }]),
        is_default: Some(vpc.default),
        tags: tags::shapes(tx, &vpc.id),
        block_public_access_states: Some(ec2::BlockPublicAccessStates {
            internet_gateway_block_mode: Some("off".into()),
        }),
        vpc_id: Some(vpc.id.clone()),
        state: Some("available".into()),
        cidr_block: cidr,
        dhcp_options_id: Some(vpc.dhcp_options.clone()),
        ..Default::default()
    }
}

fn describe_vpc_attribute(
    cx: &mut Context,
    input: ec2::DescribeVpcAttributeRequest,
) -> Result<ec2::DescribeVpcAttributeResult, ApiError> {
    let vpc = find::<Vpc>(cx.tx, &input.vpc_id)?;
    let mut result = ec2::DescribeVpcAttributeResult { vpc_id: Some(vpc.id.clone()), ..Default::default() };
    let value = |value| Some(ec2::AttributeBooleanValue { value: Some(value) });
    match input.attribute.as_str() {
        "enableDnsSupport" => result.enable_dns_support = value(true),
        "enableDnsHostnames" => result.enable_dns_hostnames = value(vpc.dns_hostnames),
        "enableNetworkAddressUsageMetrics" => result.enable_network_address_usage_metrics = value(false),
        other => return Err(invalid(format!("Value ({other}) for parameter attribute is invalid."))),
    }
    Ok(result)
}

fn modify_vpc_attribute(
    cx: &mut Context,
    input: ec2::ModifyVpcAttributeRequest,
) -> Result<pileus_model::Unit, ApiError> {
    find::<Vpc>(cx.tx, &input.vpc_id)?;
    let value = |attribute: Option<ec2::AttributeBooleanValue>| attribute.map(|it| it.value.unwrap_or(false));
    let support = value(input.enable_dns_support);
    let hostnames = value(input.enable_dns_hostnames);
    let metrics = value(input.enable_network_address_usage_metrics);
    match (support, hostnames, metrics) {
        (None, None, None) => return Err(missing("attribute")),
        (Some(true), None, None) | (None, None, Some(false)) => {}
        (Some(false), None, None) => {
            return Err(ApiError::not_implemented("EnableDnsSupport=false of a VPC"));
        }
        (None, None, Some(true)) => {
            return Err(ApiError::not_implemented("EnableNetworkAddressUsageMetrics=true of a VPC"));
        }
        (None, Some(hostnames), None) => {
            cx.tx.update::<Vpc>(&input.vpc_id, |vpc| vpc.dns_hostnames = hostnames);
        }
        _ => {
            let message = "Only one attribute can be modified at a time";
            return Err(ApiError::client("InvalidParameterCombination", message));
        }
    }
    Ok(pileus_model::Unit {})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, filter, group, internet_gateway, route_table, subnet, vpc};

    fn create(cidr: &str) -> ec2::CreateVpcRequest {
        ec2::CreateVpcRequest { cidr_block: Some(cidr.into()), ..Default::default() }
    }

    #[test]
    fn a_vpc_comes_with_its_defaults_and_takes_them_away() {
        let mut cloud = cloud();
        let created = cloud.ok::<ec2::ops::CreateVpc>(create("10.0.0.1/16")).vpc.unwrap();
        assert_eq!(created.cidr_block.as_deref(), Some("10.0.0.0/16"));
        assert_eq!(created.state.as_deref(), Some("pending"));
        let id = created.vpc_id.unwrap();
        let described = cloud.ok::<ec2::ops::DescribeVpcs>(Default::default()).vpcs.unwrap();
        assert_eq!(described[0].state.as_deref(), Some("available"));
        let tables = cloud.ok::<ec2::ops::DescribeRouteTables>(Default::default()).route_tables.unwrap();
        assert_eq!(tables[0].associations.as_ref().unwrap()[0].main, Some(true));
        assert_eq!(tables[0].routes.as_ref().unwrap().len(), 1);
        assert_eq!(
            cloud.ok::<ec2::ops::DescribeNetworkAcls>(Default::default()).network_acls.unwrap().len(),
            1
        );
        assert_eq!(
            cloud.ok::<ec2::ops::DescribeSecurityGroups>(Default::default()).security_groups.unwrap().len(),
            1
        );
        cloud.ok::<ec2::ops::DeleteVpc>(ec2::DeleteVpcRequest { vpc_id: id });
        assert!(cloud.ok::<ec2::ops::DescribeVpcs>(Default::default()).vpcs.unwrap().is_empty());
        assert!(
            cloud.ok::<ec2::ops::DescribeRouteTables>(Default::default()).route_tables.unwrap().is_empty()
        );
        assert!(
            cloud.ok::<ec2::ops::DescribeNetworkAcls>(Default::default()).network_acls.unwrap().is_empty()
        );
        assert_eq!(cloud.state.all::<crate::Rule>().count() + cloud.state.all::<SecurityGroup>().count(), 0);
    }

    #[test]
    fn bad_blocks_and_what_is_not_implemented_are_refused() {
        let mut cloud = cloud();
        for (cidr, code) in [
            ("10.0.0.0/15", "InvalidVpc.Range"),
            ("10.0.0.0/29", "InvalidVpc.Range"),
            ("127.0.0.0/16", "InvalidVpc.Range"),
            ("169.254.0.0/20", "InvalidVpc.Range"),
            ("198.18.0.0/16", "UnsupportedOperation"),
            ("10.0.0.0", "InvalidParameterValue"),
            ("ten", "InvalidParameterValue"),
        ] {
            assert_eq!(cloud.code::<ec2::ops::CreateVpc>(create(cidr)), code, "{cidr}");
        }
        assert_eq!(cloud.code::<ec2::ops::CreateVpc>(Default::default()), "MissingParameter");
        let ipv6 =
            ec2::CreateVpcRequest { amazon_provided_ipv6_cidr_block: Some(true), ..create("10.0.0.0/16") };
        assert_eq!(cloud.code::<ec2::ops::CreateVpc>(ipv6), "UnsupportedOperation");
        let dedicated =
            ec2::CreateVpcRequest { instance_tenancy: Some("dedicated".into()), ..create("10.0.0.0/16") };
        assert_eq!(cloud.code::<ec2::ops::CreateVpc>(dedicated), "UnsupportedOperation");
        assert_eq!(cloud.state.version(), 0);
    }

    #[test]
    fn a_vpc_in_use_stays() {
        let mut cloud = cloud();
        let uses: [fn(&mut pileus_kit::Cloud, &str); 4] = [
            |cloud, vpc| drop(subnet(cloud, vpc, "10.0.1.0/24")),
            |cloud, vpc| drop(internet_gateway(cloud, vpc)),
            |cloud, vpc| drop(group(cloud, vpc, "web")),
            |cloud, vpc| drop(route_table(cloud, vpc)),
        ];
        for add in uses {
            let id = vpc(&mut cloud, "10.0.0.0/16");
            add(&mut cloud, &id);
            let delete = ec2::DeleteVpcRequest { vpc_id: id };
            assert_eq!(cloud.code::<ec2::ops::DeleteVpc>(delete), "DependencyViolation");
        }
    }

    #[test]
    fn unknown_and_malformed_ids_differ() {
        let mut cloud = cloud();
        for (id, code) in
            [("vpc-00000000000000000", "InvalidVpcID.NotFound"), ("subnet-1", "InvalidVpcID.Malformed")]
        {
            assert_eq!(cloud.code::<ec2::ops::DeleteVpc>(ec2::DeleteVpcRequest { vpc_id: id.into() }), code);
            let input = ec2::DescribeVpcsRequest { vpc_ids: Some(vec![id.into()]), ..Default::default() };
            assert_eq!(cloud.code::<ec2::ops::DescribeVpcs>(input), code);
        }
    }

    #[test]
    fn attributes_are_modified_one_at_a_time() {
        let mut cloud = cloud();
        let id = vpc(&mut cloud, "10.0.0.0/16");
        let on = || Some(ec2::AttributeBooleanValue { value: Some(true) });
        let off = || Some(ec2::AttributeBooleanValue { value: Some(false) });
        let modify = || ec2::ModifyVpcAttributeRequest { vpc_id: id.clone(), ..Default::default() };
        let get = |attribute: &str| ec2::DescribeVpcAttributeRequest {
            attribute: attribute.into(),
            vpc_id: id.clone(),
        };
        let hostnames = |cloud: &mut pileus_kit::Cloud| {
            let output = cloud.ok::<ec2::ops::DescribeVpcAttribute>(get("enableDnsHostnames"));
            output.enable_dns_hostnames.unwrap().value
        };
        assert_eq!(hostnames(&mut cloud), Some(false));
        cloud.ok::<ec2::ops::ModifyVpcAttribute>(ec2::ModifyVpcAttributeRequest {
            enable_dns_hostnames: on(),
            ..modify()
        });
        assert_eq!(hostnames(&mut cloud), Some(true));
        for (input, code) in [
            (modify(), "MissingParameter"),
            (
                ec2::ModifyVpcAttributeRequest { enable_dns_support: off(), ..modify() },
                "UnsupportedOperation",
            ),
            (
                ec2::ModifyVpcAttributeRequest {
                    enable_dns_support: on(),
                    enable_dns_hostnames: on(),
                    ..modify()
                },
                "InvalidParameterCombination",
            ),
        ] {
            assert_eq!(cloud.code::<ec2::ops::ModifyVpcAttribute>(input), code);
        }
    }

    #[test]
    fn describing_pages_and_filters() {
        let mut cloud = cloud();
        let ids: Vec<String> = (0..7).map(|n| vpc(&mut cloud, &format!("10.{n}.0.0/16"))).collect();
        let mut found = Vec::new();
        let mut next_token = None;
        loop {
            let input = ec2::DescribeVpcsRequest { max_results: Some(5), next_token, ..Default::default() };
            let page = cloud.ok::<ec2::ops::DescribeVpcs>(input);
            found.extend(page.vpcs.unwrap().into_iter().filter_map(|vpc| vpc.vpc_id));
            next_token = page.next_token;
            if next_token.is_none() {
                break;
            }
        }
        found.sort();
        let mut all = ids.clone();
        all.sort();
        assert_eq!(found, all);
        let input = ec2::DescribeVpcsRequest { filters: filter("cidr", "10.3.*"), ..Default::default() };
        let found = cloud.ok::<ec2::ops::DescribeVpcs>(input).vpcs.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].vpc_id.as_ref(), Some(&ids[3]));
        let input = ec2::DescribeVpcsRequest { next_token: Some("%".into()), ..Default::default() };
        assert_eq!(cloud.code::<ec2::ops::DescribeVpcs>(input), "InvalidNextToken");
    }

    #[test]
    fn other_accounts_and_regions_see_nothing() {
        let mut cloud = cloud();
        let id = vpc(&mut cloud, "10.0.0.0/16");
        for scope in
            [Scope::new("111111111111", "us-east-1"), Scope::new(Scope::DEFAULT_ACCOUNT, "eu-west-1")]
        {
            cloud.scope = scope;
            assert!(cloud.ok::<ec2::ops::DescribeVpcs>(Default::default()).vpcs.unwrap().is_empty());
            let delete = ec2::DeleteVpcRequest { vpc_id: id.clone() };
            assert_eq!(cloud.code::<ec2::ops::DeleteVpc>(delete), "InvalidVpcID.NotFound");
        }
    }
}
