//! Subnets: a part of a VPC's addresses, in one availability zone.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/configure-subnets.html>

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use pileus_aws::ec2;
use pileus_core::{ApiError, Tags};
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::cidr::{self, next_free, overlap, usable};
use crate::resource::{Resource, find, in_use, invalid, missing};
use crate::select::{Filters, Selection, one, select};
use crate::{Interface, Vpc, network_acl, route_table, tags, zone};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subnet {
    pub id: String,
    pub vpc: String,
    pub cidr: Ipv4Net,
    /// The zone's name, as in `us-east-1a`.
    pub zone: String,
    pub map_public_ip_on_launch: bool,
    /// Whether it is the default VPC's for its zone.
    #[serde(default)]
    pub default: bool,
    /// The address that was handed out last.
    pub(crate) last_address: Option<Ipv4Addr>,
}

impl Record for Subnet {
    const KIND: &'static str = "ec2/subnet";

    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Resource for Subnet {
    const PREFIX: &'static str = "subnet";
    const TYPE: &'static str = "subnet";
    const NOUN: &'static str = "subnet ID";
    const NOT_FOUND: &'static str = "InvalidSubnetID.NotFound";
    const MALFORMED: &'static str = "InvalidSubnetID.Malformed";
}

/// The first addresses of a subnet that AWS keeps: the network, the router, DNS, and one for later.
const RESERVED: u32 = 4;

pub fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::CreateSubnet>(create_subnet)
        .on::<ec2::ops::DeleteSubnet>(delete_subnet)
        .on::<ec2::ops::DescribeSubnets>(describe_subnets)
        .on::<ec2::ops::ModifySubnetAttribute>(modify_subnet_attribute);
}

/// The addresses of a subnet that interfaces have.
fn used(tx: &Tx, subnet: &str) -> BTreeSet<Ipv4Addr> {
    let interfaces = tx.list::<Interface>().into_iter();
    interfaces.filter(|interface| interface.subnet == subnet).map(|interface| interface.address).collect()
}

/// Takes an address of a subnet: the one that is asked for, or the next free one.
pub(crate) fn take_address(
    tx: &mut Tx,
    subnet: &Subnet,
    wanted: Option<Ipv4Addr>,
) -> Result<Ipv4Addr, ApiError> {
    let (range, used) = (usable(subnet.cidr, RESERVED), used(tx, &subnet.id));
    match wanted {
        Some(address) if !range.contains(&u32::from(address)) => {
            Err(invalid(format!("Address {address} does not fall within the subnet's address range")))
        }
        Some(address) if used.contains(&address) => Err(ApiError::client(
            "InvalidIPAddress.InUse",
            format!("The address {address} is already in use."),
        )),
        Some(address) => Ok(address),
        None => {
            let address = next_free(range, subnet.last_address, &used).ok_or_else(|| {
                let message = format!(
                    "The subnet {} does not have enough free addresses to satisfy the request.",
                    subnet.id
                );
                ApiError::client("InsufficientFreeAddressesInSubnet", message)
            })?;
            tx.update::<Subnet>(&subnet.id, |subnet| subnet.last_address = Some(address));
            Ok(address)
        }
    }
}

fn create_subnet(
    cx: &mut Context,
    input: ec2::CreateSubnetRequest,
) -> Result<ec2::CreateSubnetResult, ApiError> {
    let vpc = find::<Vpc>(cx.tx, &input.vpc_id)?;
    let cidr = input.cidr_block.as_deref().ok_or_else(|| missing("cidrBlock"))?;
    let cidr = cidr::parse(cidr, "cidrBlock")?;
    if !vpc.cidr.contains(&cidr) || !(16..=28).contains(&cidr.prefix_len()) {
        return Err(ApiError::client("InvalidSubnet.Range", format!("The CIDR '{cidr}' is invalid.")));
    }
    if cx.tx.find::<Subnet>(|other| other.vpc == vpc.id && overlap(other.cidr, cidr)).is_some() {
        let message = format!("The CIDR '{cidr}' conflicts with another subnet");
        return Err(ApiError::client("InvalidSubnet.Conflict", message));
    }
    let zone = choose_zone(cx.tx, &vpc.id, input.availability_zone, input.availability_zone_id)?;
    let tags = tags::specified::<Subnet>(&input.tag_specifications)?;
    let subnet = insert(cx, &vpc.id, cidr, zone, tags);
    Ok(ec2::CreateSubnetResult { subnet: Some(shape(cx.tx, &subnet)) })
}

pub(crate) fn insert(cx: &mut Context, vpc: &str, cidr: Ipv4Net, zone: String, tags: Tags) -> Subnet {
    let subnet = Subnet {
        id: cx.ids.ec2(Subnet::PREFIX),
        vpc: vpc.to_owned(),
        cidr,
        zone,
        map_public_ip_on_launch: false,
        default: false,
        last_address: None,
    };
    cx.tx.put(subnet.clone());
    tags::put::<Subnet>(cx.tx, &subnet.id, tags);
    network_acl::associate_default(cx, vpc, &subnet.id);
    subnet
}

/// The zone that is asked for by name or id, else the one where the VPC has the fewest subnets.
pub(crate) fn choose_zone(
    tx: &Tx,
    vpc: &str,
    name: Option<String>,
    id: Option<String>,
) -> Result<String, ApiError> {
    let zones = zone::zones(&tx.scope().region);
    if name.is_none() && id.is_none() {
        let subnets = tx.list::<Subnet>();
        let count =
            |zone: &zone::Zone| subnets.iter().filter(|it| it.vpc == vpc && it.zone == zone.name).count();
        let emptiest = zones.iter().min_by_key(|zone| count(zone));
        return Ok(emptiest.expect("every region has zones").name.clone());
    }
    let matching = zones.iter().find(|zone| {
        name.as_ref().is_none_or(|name| *name == zone.name) && id.as_ref().is_none_or(|id| *id == zone.id)
    });
    matching.map(|zone| zone.name.clone()).ok_or_else(|| {
        let names: Vec<&str> = zones.iter().map(|zone| zone.name.as_str()).collect();
        let value = name.or(id).unwrap_or_default();
        invalid(format!(
            "Value ({value}) for parameter availabilityZone is invalid. Subnets can currently only be created in \
             the following availability zones: {}.",
            names.join(", ")
        ))
    })
}

fn delete_subnet(cx: &mut Context, input: ec2::DeleteSubnetRequest) -> Result<pileus_model::Unit, ApiError> {
    let id = &find::<Subnet>(cx.tx, &input.subnet_id)?.id;
    if cx.tx.find::<Interface>(|interface| interface.subnet == *id).is_some() {
        return Err(in_use("subnet", id));
    }
    route_table::forget_subnet(cx.tx, id);
    network_acl::forget_subnet(cx.tx, id);
    tags::forget(cx.tx, id);
    cx.tx.delete::<Subnet>(id);
    Ok(pileus_model::Unit {})
}

const FILTERS: Filters<Subnet> = &[
    ("availability-zone", |_, subnet| one(&subnet.zone)),
    ("availabilityZone", |_, subnet| one(&subnet.zone)),
    ("availability-zone-id", |tx, subnet| zone_id(tx, subnet).into_iter().collect()),
    ("availabilityZoneId", |tx, subnet| zone_id(tx, subnet).into_iter().collect()),
    ("available-ip-address-count", |tx, subnet| one(available(tx, subnet))),
    ("cidr", |_, subnet| one(subnet.cidr)),
    ("cidr-block", |_, subnet| one(subnet.cidr)),
    ("cidrBlock", |_, subnet| one(subnet.cidr)),
    ("default-for-az", |_, subnet| one(subnet.default)),
    ("defaultForAz", |_, subnet| one(subnet.default)),
    ("map-public-ip-on-launch", |_, subnet| one(subnet.map_public_ip_on_launch)),
    ("owner-id", |tx, _| one(&tx.scope().account)),
    ("state", |_, _| one("available")),
    ("subnet-arn", |tx, subnet| one(arn(tx, subnet))),
    ("subnet-id", |_, subnet| one(&subnet.id)),
    ("vpc-id", |_, subnet| one(&subnet.vpc)),
];

fn describe_subnets(
    cx: &mut Context,
    input: ec2::DescribeSubnetsRequest,
) -> Result<ec2::DescribeSubnetsResult, ApiError> {
    let selection = Selection {
        ids: &input.subnet_ids,
        filters: &input.filters,
        next_token: &input.next_token,
        max_results: input.max_results,
    };
    let (subnets, next_token) = select(cx.tx, selection, FILTERS)?;
    let subnets = Some(subnets.iter().map(|subnet| shape(cx.tx, subnet)).collect());
    Ok(ec2::DescribeSubnetsResult { next_token, subnets })
}

fn zone_id(tx: &Tx, subnet: &Subnet) -> Option<String> {
    zone::id_of(&tx.scope().region, &subnet.zone)
}

fn arn(tx: &Tx, subnet: &Subnet) -> String {
    tx.scope().arn("ec2", format_args!("subnet/{}", subnet.id))
}

/// How many addresses of a subnet are free.
pub fn available(tx: &Tx, subnet: &Subnet) -> i64 {
    let usable = usable(subnet.cidr, RESERVED).len();
    i64::try_from(usable - used(tx, &subnet.id).len()).unwrap_or(i64::MAX)
}

pub(crate) fn shape(tx: &Tx, subnet: &Subnet) -> ec2::Subnet {
    ec2::Subnet {
        availability_zone_id: zone_id(tx, subnet),
        map_customer_owned_ip_on_launch: Some(false),
        owner_id: Some(tx.scope().account.clone()),
        assign_ipv6_address_on_creation: Some(false),
        ipv6_cidr_block_association_set: Some(Vec::new()),
        tags: tags::shapes(tx, &subnet.id),
        subnet_arn: Some(arn(tx, subnet)),
        enable_dns64: Some(false),
        ipv6_native: Some(false),
        private_dns_name_options_on_launch: Some(ec2::PrivateDnsNameOptionsOnLaunch {
            hostname_type: Some("ip-name".into()),
            enable_resource_name_dns_a_record: Some(false),
            enable_resource_name_dns_aaaa_record: Some(false),
        }),
        block_public_access_states: Some(ec2::BlockPublicAccessStates {
            internet_gateway_block_mode: Some("off".into()),
        }),
        subnet_id: Some(subnet.id.clone()),
        state: Some("available".into()),
        vpc_id: Some(subnet.vpc.clone()),
        cidr_block: Some(subnet.cidr.to_string()),
        available_ip_address_count: Some(available(tx, subnet)),
        availability_zone: Some(subnet.zone.clone()),
        default_for_az: Some(subnet.default),
        map_public_ip_on_launch: Some(subnet.map_public_ip_on_launch),
        ..Default::default()
    }
}

/// What an attribute other than `MapPublicIpOnLaunch` can be set to is what it is.
fn modify_subnet_attribute(
    cx: &mut Context,
    input: ec2::ModifySubnetAttributeRequest,
) -> Result<pileus_model::Unit, ApiError> {
    find::<Subnet>(cx.tx, &input.subnet_id)?;
    let value = |attribute: Option<ec2::AttributeBooleanValue>| attribute.map(|it| it.value.unwrap_or(false));
    let public = value(input.map_public_ip_on_launch);
    let ipv6 = value(input.assign_ipv6_address_on_creation);
    let resource_name = value(input.enable_resource_name_dns_a_record_on_launch);
    let hostname_type = input.private_dns_hostname_type_on_launch;
    let given = [public.is_some(), ipv6.is_some(), resource_name.is_some(), hostname_type.is_some()];
    match given.iter().filter(|given| **given).count() {
        0 => return Err(missing("attribute")),
        1 => {}
        _ => {
            let message = "Only one attribute can be modified at a time";
            return Err(ApiError::client("InvalidParameterCombination", message));
        }
    }
    if ipv6 == Some(true) {
        return Err(ApiError::not_implemented("IPv6 (AssignIpv6AddressOnCreation=true) in a subnet"));
    }
    if resource_name == Some(true) {
        return Err(ApiError::not_implemented("EnableResourceNameDnsARecordOnLaunch=true of a subnet"));
    }
    if let Some(other) = hostname_type.filter(|kind| kind != "ip-name") {
        return Err(ApiError::not_implemented(format!("PrivateDnsHostnameTypeOnLaunch={other} of a subnet")));
    }
    if let Some(public) = public {
        cx.tx.update::<Subnet>(&input.subnet_id, |subnet| subnet.map_public_ip_on_launch = public);
    }
    Ok(pileus_model::Unit {})
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{cloud, filter, interface, subnet, subnet_input, vpc};

    #[test]
    fn a_subnet_lives_in_a_zone_and_counts_its_addresses() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let input = ec2::CreateSubnetRequest {
            availability_zone: Some("us-east-1b".into()),
            ..subnet_input(&vpc, "10.0.1.0/24")
        };
        let created = cloud.ok::<ec2::ops::CreateSubnet>(input).subnet.unwrap();
        assert_eq!(created.availability_zone_id.as_deref(), Some("use1-az2"));
        assert_eq!(created.available_ip_address_count, Some(251));
        let id = created.subnet_id.unwrap();
        let first = interface(&mut cloud, &id, &[]);
        assert_eq!(first.address.to_string(), "10.0.1.4");
        let input = ec2::DescribeSubnetsRequest { filters: filter("vpc-id", &vpc), ..Default::default() };
        let described = cloud.ok::<ec2::ops::DescribeSubnets>(input).subnets.unwrap();
        assert_eq!(described[0].available_ip_address_count, Some(250));
        let delete = ec2::DeleteSubnetRequest { subnet_id: id };
        assert_eq!(cloud.code::<ec2::ops::DeleteSubnet>(delete.clone()), "DependencyViolation");
        cloud.write(|cx| crate::interface::delete(cx.tx, &first.id));
        cloud.ok::<ec2::ops::DeleteSubnet>(delete);
        let acls = cloud.ok::<ec2::ops::DescribeNetworkAcls>(Default::default()).network_acls.unwrap();
        assert_eq!(acls[0].associations, Some(Vec::new()));
    }

    #[test]
    fn without_a_zone_subnets_spread() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let mut zone = |cidr: &str| {
            let subnet = cloud.ok::<ec2::ops::CreateSubnet>(subnet_input(&vpc, cidr)).subnet.unwrap();
            subnet.availability_zone.unwrap()
        };
        assert_ne!(zone("10.0.1.0/24"), zone("10.0.2.0/24"));
    }

    #[test]
    fn bad_subnets_are_refused() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        subnet(&mut cloud, &vpc, "10.0.1.0/24");
        for (cidr, code) in [
            ("10.1.0.0/24", "InvalidSubnet.Range"),
            ("10.0.0.0/15", "InvalidSubnet.Range"),
            ("10.0.3.0/29", "InvalidSubnet.Range"),
            ("10.0.1.128/25", "InvalidSubnet.Conflict"),
            ("10.0.0.0/16", "InvalidSubnet.Conflict"),
            ("nonsense", "InvalidParameterValue"),
        ] {
            assert_eq!(cloud.code::<ec2::ops::CreateSubnet>(subnet_input(&vpc, cidr)), code, "{cidr}");
        }
        let zone = |name: &str, id: Option<&str>| ec2::CreateSubnetRequest {
            availability_zone: Some(name.into()),
            availability_zone_id: id.map(Into::into),
            ..subnet_input(&vpc, "10.0.5.0/24")
        };
        assert_eq!(cloud.code::<ec2::ops::CreateSubnet>(zone("eu-west-1a", None)), "InvalidParameterValue");
        let contradiction = zone("us-east-1a", Some("use1-az2"));
        assert_eq!(cloud.code::<ec2::ops::CreateSubnet>(contradiction), "InvalidParameterValue");
    }

    #[test]
    fn attributes_are_modified_one_at_a_time() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let id = subnet(&mut cloud, &vpc, "10.0.1.0/24");
        let on = || Some(ec2::AttributeBooleanValue { value: Some(true) });
        let modify = || ec2::ModifySubnetAttributeRequest { subnet_id: id.clone(), ..Default::default() };
        cloud.ok::<ec2::ops::ModifySubnetAttribute>(ec2::ModifySubnetAttributeRequest {
            map_public_ip_on_launch: on(),
            ..modify()
        });
        let described = cloud.ok::<ec2::ops::DescribeSubnets>(Default::default()).subnets.unwrap();
        assert_eq!(described[0].map_public_ip_on_launch, Some(true));
        let ipv6 = ec2::ModifySubnetAttributeRequest { assign_ipv6_address_on_creation: on(), ..modify() };
        assert_eq!(cloud.code::<ec2::ops::ModifySubnetAttribute>(ipv6.clone()), "UnsupportedOperation");
        let both = ec2::ModifySubnetAttributeRequest { map_public_ip_on_launch: on(), ..ipv6 };
        assert_eq!(cloud.code::<ec2::ops::ModifySubnetAttribute>(both), "InvalidParameterCombination");
    }

    #[test]
    fn a_small_subnet_runs_out_of_addresses() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let id = subnet(&mut cloud, &vpc, "10.0.1.0/28");
        let taken: BTreeSet<Ipv4Addr> = (0..11).map(|_| interface(&mut cloud, &id, &[]).address).collect();
        assert_eq!(taken.len(), 11);
        let new = || crate::NewInterface { subnet: id.clone(), ..Default::default() };
        let result = cloud.write(|cx| crate::interface::create(cx.tx, cx.ids, cx.now, new()));
        assert_eq!(result.unwrap_err().code, "InsufficientFreeAddressesInSubnet");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// A subnet is accepted exactly when it shares no address with those before it.
        #[test]
        fn conflicts_are_found(blocks in proptest::collection::vec((0_u32..=0xff, 24_u8..=28), 1..12)) {
            let mut cloud = cloud();
            let vpc = vpc(&mut cloud, "10.0.0.0/16");
            let mut taken = BTreeSet::new();
            for (host, length) in blocks {
                let block = Ipv4Net::new(Ipv4Addr::from(0x0a00_0000 | host), length).unwrap().trunc();
                let addresses: BTreeSet<u32> = (block.network().into()..=block.broadcast().into()).collect();
                let result = cloud.call::<ec2::ops::CreateSubnet>(subnet_input(&vpc, &block.to_string()));
                prop_assert_eq!(result.is_ok(), taken.is_disjoint(&addresses));
                if result.is_ok() {
                    taken.extend(addresses);
                }
            }
        }
    }
}
