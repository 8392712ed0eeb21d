//! Application load balancers: a node with an interface in each of their subnets, a DNS name, listeners.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html>

mod attributes;
mod change;
mod placement;

use std::net::Ipv4Addr;

use pileus_aws::elbv2::{
    AvailabilityZone, CreateLoadBalancerInput, CreateLoadBalancerOutput, DeleteLoadBalancerInput,
    DeleteLoadBalancerOutput, DescribeCapacityReservationInput, DescribeCapacityReservationOutput,
    DescribeLoadBalancersInput, DescribeLoadBalancersOutput, LoadBalancer as Shape, LoadBalancerState, ops,
};
use pileus_contract::proxy::LoadBalancerAttributes;
use pileus_core::{ApiError, Scope, Tags, Timestamp};
use pileus_network::{NewInterface, Subnet, interface};
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use self::placement::{Asked, Placement};
use crate::attributes::Attributes;
use crate::resource::{self, Resource, check_name, invalid};
use crate::{listener, tags};

/// The one IP address type.
const ADDRESSES: &str = "ipv4";
pub(crate) const MAX_PER_REGION: usize = 50;
/// Who manages the interfaces of load balancers.
const OWNER: &str = "amazon-elb";

/// An application load balancer over IPv4: the only kind so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoadBalancer {
    /// `app/<name>/<16 hex>`: how the balancer and the metrics call it too.
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) dns_name: String,
    pub(crate) scheme: Scheme,
    pub(crate) vpc: String,
    pub(crate) nodes: Vec<Node>,
    pub(crate) security_groups: Vec<String>,
    pub(crate) created: Timestamp,
    /// Whether the balancer has served by it; until then it is provisioning.
    pub(crate) active: bool,
    pub(crate) attributes: Attributes,
    pub(crate) tags: Tags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Scheme {
    InternetFacing,
    Internal,
}

/// Its presence in one zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) zone: String,
    pub(crate) subnet: String,
    pub(crate) interface: String,
    pub(crate) address: Ipv4Addr,
}

impl Record for LoadBalancer {
    const KIND: &'static str = "elbv2/load-balancer";

    fn key(&self) -> String {
        self.key.clone()
    }
}

impl Resource for LoadBalancer {
    const PREFIX: &'static str = "loadbalancer/";
    const NOUN: &'static str = "load balancer";
    const NOT_FOUND: &'static str = "LoadBalancerNotFound";

    fn tags(&self) -> &Tags {
        &self.tags
    }

    fn tags_mut(&mut self) -> &mut Tags {
        &mut self.tags
    }
}

impl Scheme {
    pub(crate) fn is_internet_facing(self) -> bool {
        self == Self::InternetFacing
    }

    fn text(self) -> &'static str {
        match self {
            Self::InternetFacing => "internet-facing",
            Self::Internal => "internal",
        }
    }
}

impl LoadBalancer {
    pub(crate) fn has_zone(&self, zone: &str) -> bool {
        self.nodes.iter().any(|node| node.zone == zone)
    }

    pub(crate) fn contract_attributes(&self) -> LoadBalancerAttributes {
        attributes::contract(&self.attributes)
    }
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::CreateLoadBalancer>(create_load_balancer)
        .on::<ops::DescribeLoadBalancers>(describe_load_balancers)
        .on::<ops::DescribeCapacityReservation>(describe_capacity_reservation)
        .on::<ops::DeleteLoadBalancer>(delete_load_balancer);
    attributes::operations(router);
    change::operations(router);
}

/// The load balancer with this key.
pub(crate) fn of_key(tx: &Tx, key: &str) -> Result<LoadBalancer, ApiError> {
    tx.get::<LoadBalancer>(key)
        .map(|balancer| LoadBalancer::clone(&balancer))
        .ok_or_else(resource::not_found::<LoadBalancer>)
}

fn create_load_balancer(
    cx: &mut Context,
    input: CreateLoadBalancerInput,
) -> Result<CreateLoadBalancerOutput, ApiError> {
    check_name(LoadBalancer::NOUN, &input.name)?;
    if input.name.starts_with("internal-") {
        return Err(invalid(format!(
            "The load balancer name '{}' cannot begin with 'internal-'",
            input.name
        )));
    }
    check_kind(&input)?;
    let scheme = match input.scheme.as_deref() {
        Some("internal") => Scheme::Internal,
        _ => Scheme::InternetFacing,
    };
    let asked = Asked { subnets: input.subnets.as_deref(), mappings: input.subnet_mappings.as_deref() };
    let placement = placement::choose(cx.tx, &asked, input.security_groups.as_deref(), scheme)?;
    let existing = cx.tx.find(|other: &LoadBalancer| other.name == input.name);
    if let Some(existing) = existing {
        return repeated(cx.scope(), &existing, scheme, &placement);
    }
    if cx.tx.list::<LoadBalancer>().len() >= MAX_PER_REGION {
        let message = "You've reached the limit on the number of load balancers";
        return Err(ApiError::client("TooManyLoadBalancers", message));
    }
    let balancer = build(cx, input, scheme, placement)?;
    let shape = shape(cx.scope(), &balancer);
    cx.tx.put(balancer);
    Ok(CreateLoadBalancerOutput { load_balancers: Some(vec![shape]) })
}

/// Refuses the kinds of load balancers that do not exist here, by name.
fn check_kind(input: &CreateLoadBalancerInput) -> Result<(), ApiError> {
    let kind = input.r#type.as_deref().unwrap_or("application");
    if kind != "application" {
        return Err(ApiError::not_implemented(format_args!(
            "load balancers of type '{kind}'; use 'application'"
        )));
    }
    check_addresses(input.ip_address_type.as_deref().unwrap_or(ADDRESSES))
}

fn check_addresses(kind: &str) -> Result<(), ApiError> {
    match kind {
        ADDRESSES => Ok(()),
        _ => Err(ApiError::not_implemented(format_args!("load balancers with IP address type '{kind}'"))),
    }
}

/// A second creation under the same name: the same load balancer if it asks for the same settings.
fn repeated(
    scope: &Scope,
    existing: &LoadBalancer,
    scheme: Scheme,
    placement: &Placement,
) -> Result<CreateLoadBalancerOutput, ApiError> {
    let subnets = placement.subnets.iter().map(|subnet| &subnet.id);
    let same = existing.scheme == scheme
        && existing.nodes.iter().map(|node| &node.subnet).eq(subnets)
        && existing.security_groups == placement.security_groups;
    if same {
        return Ok(CreateLoadBalancerOutput { load_balancers: Some(vec![shape(scope, existing)]) });
    }
    let name = &existing.name;
    let message = format!("A load balancer with the same name '{name}' exists, but with different settings");
    Err(ApiError::client("DuplicateLoadBalancerName", message))
}

/// Makes the load balancer and its interfaces.
fn build(
    cx: &mut Context,
    input: CreateLoadBalancerInput,
    scheme: Scheme,
    placement: Placement,
) -> Result<LoadBalancer, ApiError> {
    let tags = tags::of_request(input.tags)?;
    let key = format!("app/{}/{}", input.name, cx.ids.hex(16));
    let groups = &placement.security_groups;
    let nodes = placement.subnets.iter().map(|subnet| node(cx, &key, subnet, groups, scheme));
    let nodes = nodes.collect::<Result<_, _>>()?;
    let prefix = if scheme.is_internet_facing() { "" } else { "internal-" };
    let digits = cx.ids.digits(10);
    Ok(LoadBalancer {
        dns_name: format!("{prefix}{}-{digits}.{}.elb.localhost", input.name, cx.scope().region),
        key,
        name: input.name,
        scheme,
        vpc: placement.vpc,
        nodes,
        security_groups: placement.security_groups,
        created: cx.now,
        active: false,
        attributes: attributes::initial(scheme),
        tags,
    })
}

/// A node in the subnet, with an interface of its own.
fn node(
    cx: &mut Context,
    balancer: &str,
    subnet: &Subnet,
    groups: &[String],
    scheme: Scheme,
) -> Result<Node, ApiError> {
    let new = NewInterface {
        subnet: subnet.id.clone(),
        groups: groups.to_vec(),
        description: format!("ELB {balancer}"),
        requester: Some(OWNER.into()),
        attachment_owner: Some(OWNER.into()),
        public: scheme.is_internet_facing(),
        ..NewInterface::default()
    };
    let interface = interface::create(cx.tx, cx.ids, cx.now, new)?;
    Ok(Node {
        zone: subnet.zone.clone(),
        subnet: subnet.id.clone(),
        interface: interface.id.clone(),
        address: interface.address,
    })
}

fn describe_load_balancers(
    cx: &mut Context,
    input: DescribeLoadBalancersInput,
) -> Result<DescribeLoadBalancersOutput, ApiError> {
    let all = || cx.tx.list::<LoadBalancer>().into_iter();
    let mut balancers: Vec<_> = match (&input.load_balancer_arns, &input.names) {
        (Some(arns), None) => arns.iter().map(|arn| resource::find(cx.tx, arn)).collect::<Result<_, _>>()?,
        (None, Some(names)) => {
            let named = |name: &String| {
                all().find(|balancer| balancer.name == *name).ok_or_else(|| {
                    let message = format!("Load balancers '[{name}]' not found");
                    ApiError::client(LoadBalancer::NOT_FOUND, message)
                })
            };
            names.iter().map(named).collect::<Result<_, _>>()?
        }
        (None, None) => all().collect(),
        (Some(_), Some(_)) => {
            return Err(invalid("Load balancer names and ARNs cannot be specified at the same time"));
        }
    };
    balancers.sort_by(|one, other| one.key.cmp(&other.key));
    let (balancers, next_marker) =
        resource::page(balancers, |balancer| balancer.key.clone(), input.marker.as_deref(), input.page_size)?;
    let load_balancers = balancers.iter().map(|balancer| shape(cx.scope(), balancer)).collect();
    Ok(DescribeLoadBalancersOutput { load_balancers: Some(load_balancers), next_marker })
}

/// Nothing is ever reserved: the answer is that of a load balancer whose capacity was never asked for.
fn describe_capacity_reservation(
    cx: &mut Context,
    input: DescribeCapacityReservationInput,
) -> Result<DescribeCapacityReservationOutput, ApiError> {
    resource::find::<LoadBalancer>(cx.tx, &input.load_balancer_arn)?;
    Ok(DescribeCapacityReservationOutput {
        capacity_reservation_state: Some(Vec::new()),
        ..DescribeCapacityReservationOutput::default()
    })
}

/// Deletes the load balancer with its listeners, rules and interfaces. What is not there is no error, as in AWS.
fn delete_load_balancer(
    cx: &mut Context,
    input: DeleteLoadBalancerInput,
) -> Result<DeleteLoadBalancerOutput, ApiError> {
    let arn = &input.load_balancer_arn;
    let key = resource::key::<LoadBalancer>(cx.scope(), arn)?.unwrap_or_default();
    let Some(balancer) = cx.tx.get::<LoadBalancer>(key) else { return Ok(DeleteLoadBalancerOutput {}) };
    if attributes::deletion_protected(&balancer.attributes) {
        let message =
            format!("Load balancer '{arn}' cannot be deleted because deletion protection is enabled");
        return Err(ApiError::client("OperationNotPermitted", message));
    }
    let certificates = listener::certificates_of(cx.tx, key);
    for listener in listener::of_load_balancer(cx.tx, key) {
        listener::delete(cx.tx, &listener.key);
    }
    listener::note_use(cx.tx, key, &certificates, cx.now)?;
    for node in &balancer.nodes {
        interface::delete(cx.tx, &node.interface);
    }
    cx.tx.delete::<LoadBalancer>(key);
    Ok(DeleteLoadBalancerOutput {})
}

fn shape(scope: &Scope, balancer: &LoadBalancer) -> Shape {
    let state = if balancer.active { "active" } else { "provisioning" };
    Shape {
        load_balancer_arn: Some(balancer.arn(scope)),
        dns_name: Some(balancer.dns_name.clone()),
        canonical_hosted_zone_id: hosted_zone(&scope.region).map(str::to_owned),
        created_time: Some(balancer.created),
        load_balancer_name: Some(balancer.name.clone()),
        scheme: Some(balancer.scheme.text().into()),
        vpc_id: Some(balancer.vpc.clone()),
        state: Some(LoadBalancerState { code: Some(state.into()), reason: None }),
        r#type: Some("application".into()),
        availability_zones: Some(balancer.nodes.iter().map(zone).collect()),
        security_groups: Some(balancer.security_groups.clone()),
        ip_address_type: Some(ADDRESSES.into()),
        ..Shape::default()
    }
}

fn zone(node: &Node) -> AvailabilityZone {
    AvailabilityZone {
        zone_name: Some(node.zone.clone()),
        subnet_id: Some(node.subnet.clone()),
        load_balancer_addresses: Some(Vec::new()),
        ..AvailabilityZone::default()
    }
}

/// The Route 53 zone that holds a region's load balancer names.
/// <https://docs.aws.amazon.com/general/latest/gr/elb.html>
fn hosted_zone(region: &str) -> Option<&'static str> {
    Some(match region {
        "us-east-1" => "Z35SXDOTRQ7X7K",
        "us-east-2" => "Z3AADJGX6KTTL2",
        "us-west-1" => "Z368ELLRRE2KJ0",
        "us-west-2" => "Z1H1FL5HABSF5",
        "eu-west-1" => "Z32O12XQLNTSW2",
        "eu-west-2" => "ZHURV8PSTC4K8",
        "eu-west-3" => "Z3Q77PNBQS71R4",
        "eu-central-1" => "Z215JYRZR1TBD5",
        "eu-north-1" => "Z23TAZ6LKFMNIO",
        "ap-northeast-1" => "Z14GRHDCWA56QT",
        "ap-southeast-1" => "Z1LMS91P8CMLE5",
        "ap-southeast-2" => "Z1GM3OXH4ZPM65",
        "ap-south-1" => "ZP97RAFLXTNZK",
        "sa-east-1" => "Z2P70J7HTTTPLU",
        "ca-central-1" => "ZQSVJUPU6J1EY",
        _ => return None,
    })
}
