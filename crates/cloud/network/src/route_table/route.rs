//! Routes: a destination and the gateway or interface that its packets go to.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/route-table-options.html>

use std::fmt;
use std::sync::Arc;

use ipnet::Ipv4Net;
use pileus_aws::ec2;
use pileus_contract::fabric::{RouteSpec, RouteTarget};
use pileus_core::ApiError;
use pileus_service::{Context, Router};
use pileus_state::Tx;
use serde::{Deserialize, Serialize};

use super::RouteTable;
use crate::resource::{find, invalid, missing};
use crate::{Interface, InternetGateway, NatGateway, Subnet, Vpc, VpcEndpoint, cidr, prefix_list};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    pub destination: Destination,
    pub target: Target,
}

/// Which packets a route takes: those to a block, or to the blocks of the prefix list of this id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Destination {
    Block(Ipv4Net),
    PrefixList(String),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(block) => block.fmt(f),
            Self::PrefixList(id) => id.fmt(f),
        }
    }
}

/// Where a route leads, by id. The target may be gone: then the route is a black hole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Target {
    InternetGateway(String),
    NatGateway(String),
    Interface(String),
}

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::CreateRoute>(create_route)
        .on::<ec2::ops::ReplaceRoute>(replace_route)
        .on::<ec2::ops::DeleteRoute>(delete_route);
}

impl Route {
    /// The route as it works now; `vpc` is that of its table. `get` finds out what is there.
    pub(crate) fn specs(&self, vpc: &str, get: &impl Lookup) -> Vec<RouteSpec> {
        let target = self.target(vpc, get);
        let blocks = match &self.destination {
            Destination::Block(block) => vec![*block],
            Destination::PrefixList(id) => get.prefix_list(id),
        };
        blocks.into_iter().map(|destination| RouteSpec { destination, target: target.clone() }).collect()
    }

    /// Whether it takes the packets to the blocks of this prefix list.
    pub(crate) fn leads_to_list(&self, id: &str) -> bool {
        matches!(&self.destination, Destination::PrefixList(own) if own == id)
    }

    fn target(&self, vpc: &str, get: &impl Lookup) -> RouteTarget {
        let target = match &self.target {
            Target::InternetGateway(id) => {
                get.internet_gateway(id, vpc).then_some(RouteTarget::InternetGateway)
            }
            Target::NatGateway(id) => get.nat_gateway(id).then(|| RouteTarget::NatGateway(id.clone())),
            Target::Interface(id) => get.interface(id).then(|| RouteTarget::Interface(id.clone())),
        };
        target.unwrap_or(RouteTarget::Blackhole)
    }
}

/// Which targets are there to take packets.
pub(crate) trait Lookup {
    /// Whether the gateway is attached to this VPC.
    fn internet_gateway(&self, id: &str, vpc: &str) -> bool;
    fn nat_gateway(&self, id: &str) -> bool;
    fn interface(&self, id: &str) -> bool;
    fn prefix_list(&self, id: &str) -> Vec<Ipv4Net>;
}

impl Lookup for Tx<'_> {
    fn internet_gateway(&self, id: &str, vpc: &str) -> bool {
        self.get::<InternetGateway>(id).is_some_and(|gateway| gateway.vpc.as_deref() == Some(vpc))
    }

    fn nat_gateway(&self, id: &str) -> bool {
        self.get::<NatGateway>(id).is_some_and(|gateway| gateway.state.is_up())
    }

    fn interface(&self, id: &str) -> bool {
        self.get::<Interface>(id).is_some()
    }

    fn prefix_list(&self, id: &str) -> Vec<Ipv4Net> {
        prefix_list::blocks(self.base(), &self.scope().region, id)
    }
}

/// The routes of a table as the API shows them, the `local` one first.
pub(super) fn shapes(tx: &Tx, table: &RouteTable) -> Vec<ec2::Route> {
    let local = tx.get::<Vpc>(&table.vpc).map(|vpc| ec2::Route {
        destination_cidr_block: Some(vpc.cidr.to_string()),
        gateway_id: Some("local".into()),
        origin: Some("CreateRouteTable".into()),
        state: Some("active".into()),
        ..Default::default()
    });
    let own = table.routes.iter().map(|route| shape(tx, table, route));
    local.into_iter().chain(own).chain(of_endpoints(tx, table)).collect()
}

/// The routes that gateway endpoints put into the table.
fn of_endpoints(tx: &Tx, table: &RouteTable) -> Vec<ec2::Route> {
    let all = tx.list::<VpcEndpoint>().into_iter();
    let mine = all.filter(|it| it.gateway().is_some_and(|(_, tables)| tables.contains(&table.id)));
    let route = |endpoint: Arc<VpcEndpoint>| ec2::Route {
        destination_prefix_list_id: Some(prefix_list::of_s3(tx.base(), &tx.scope().region).id),
        gateway_id: Some(endpoint.id.clone()),
        origin: Some("CreateRoute".into()),
        state: Some("active".into()),
        ..Default::default()
    };
    mine.map(route).collect()
}

fn shape(tx: &Tx, table: &RouteTable, route: &Route) -> ec2::Route {
    let dead = route.target(&table.vpc, tx) == RouteTarget::Blackhole;
    let mut shape = ec2::Route {
        origin: Some("CreateRoute".into()),
        state: Some(if dead { "blackhole" } else { "active" }.into()),
        ..Default::default()
    };
    match &route.destination {
        Destination::Block(block) => shape.destination_cidr_block = Some(block.to_string()),
        Destination::PrefixList(id) => shape.destination_prefix_list_id = Some(id.clone()),
    }
    match &route.target {
        Target::InternetGateway(id) => shape.gateway_id = Some(id.clone()),
        Target::NatGateway(id) => shape.nat_gateway_id = Some(id.clone()),
        Target::Interface(id) => shape.network_interface_id = Some(id.clone()),
    }
    shape
}

fn create_route(
    cx: &mut Context,
    input: ec2::CreateRouteRequest,
) -> Result<ec2::CreateRouteResult, ApiError> {
    let table = find::<RouteTable>(cx.tx, &input.route_table_id)?;
    let destination = destination(cx.tx, input.destination_cidr_block, input.destination_prefix_list_id)?;
    let target = target(cx.tx, &table, [input.gateway_id, input.nat_gateway_id, input.network_interface_id])?;
    let vpc = find::<Vpc>(cx.tx, &table.vpc)?;
    let known = destination == Destination::Block(vpc.cidr)
        || table.routes.iter().any(|route| route.destination == destination)
        || endpoint_to(cx.tx, &table, &destination).is_some();
    if known {
        let message = format!("The route identified by {destination} already exists.");
        return Err(ApiError::client("RouteAlreadyExists", message));
    }
    check_destination(cx.tx, &vpc, &destination, &target)?;
    cx.tx.update::<RouteTable>(&table.id, |table| {
        table.routes.push(Route { destination, target });
        table.routes.sort_by_key(|route| route.destination.clone());
    });
    Ok(ec2::CreateRouteResult { r#return: Some(true) })
}

fn replace_route(cx: &mut Context, input: ec2::ReplaceRouteRequest) -> Result<pileus_model::Unit, ApiError> {
    let table = find::<RouteTable>(cx.tx, &input.route_table_id)?;
    let destination = destination(cx.tx, input.destination_cidr_block, input.destination_prefix_list_id)?;
    let target = target(cx.tx, &table, [input.gateway_id, input.nat_gateway_id, input.network_interface_id])?;
    let Some(index) = table.routes.iter().position(|route| route.destination == destination) else {
        return Err(invalid(format!(
            "There is no route defined for '{destination}' in the route table. Use CreateRoute instead."
        )));
    };
    let vpc = find::<Vpc>(cx.tx, &table.vpc)?;
    check_destination(cx.tx, &vpc, &destination, &target)?;
    cx.tx.update::<RouteTable>(&table.id, |table| table.routes[index].target = target);
    Ok(pileus_model::Unit {})
}

fn delete_route(cx: &mut Context, input: ec2::DeleteRouteRequest) -> Result<pileus_model::Unit, ApiError> {
    let table = find::<RouteTable>(cx.tx, &input.route_table_id)?;
    let destination = destination(cx.tx, input.destination_cidr_block, input.destination_prefix_list_id)?;
    if Destination::Block(find::<Vpc>(cx.tx, &table.vpc)?.cidr) == destination {
        return Err(invalid(format!("cannot remove local route {destination} in route table {}", table.id)));
    }
    if let Some(endpoint) = endpoint_to(cx.tx, &table, &destination) {
        return Err(invalid(format!(
            "cannot remove VPC endpoint route {endpoint} in route table {}",
            table.id
        )));
    }
    if !table.routes.iter().any(|route| route.destination == destination) {
        let message = format!("no route with destination {destination} in route table {}", table.id);
        return Err(ApiError::client("InvalidRoute.NotFound", message));
    }
    cx.tx.update::<RouteTable>(&table.id, |table| {
        table.routes.retain(|route| route.destination != destination);
    });
    Ok(pileus_model::Unit {})
}

fn destination(tx: &Tx, block: Option<String>, list: Option<String>) -> Result<Destination, ApiError> {
    match (block, list) {
        (Some(block), None) => cidr::parse(&block, "destinationCidrBlock").map(Destination::Block),
        (None, Some(id)) => prefix_list::find(tx, &id).map(|list| Destination::PrefixList(list.id)),
        (None, None) => Err(missing("destinationCidrBlock or destinationPrefixListId")),
        (Some(_), Some(_)) => {
            let message = "A route has exactly one destination: a CIDR block or a prefix list";
            Err(ApiError::client("InvalidParameterCombination", message))
        }
    }
}

/// The gateway endpoint that has a route for this destination in the table.
fn endpoint_to(tx: &Tx, table: &RouteTable, destination: &Destination) -> Option<String> {
    let routes = of_endpoints(tx, table).into_iter();
    let mut same =
        routes.filter(|it| it.destination_prefix_list_id.as_ref() == Some(&destination.to_string()));
    same.find_map(|route| route.gateway_id)
}

/// The one target of a request, given as gateway, NAT gateway or interface.
fn target(tx: &Tx, table: &RouteTable, given: [Option<String>; 3]) -> Result<Target, ApiError> {
    let (target, vpc) = match given {
        [Some(id), None, None] => internet_gateway(tx, id)?,
        [None, Some(id), None] => nat_gateway(tx, id)?,
        [None, None, Some(id)] => {
            let vpc = find::<Interface>(tx, &id)?.vpc.clone();
            (Target::Interface(id), Some(vpc))
        }
        [None, None, None] => return Err(missing("gatewayId, natGatewayId or networkInterfaceId")),
        _ => {
            let message = "A route has exactly one target: a gateway, a NAT gateway or a network interface";
            return Err(ApiError::client("InvalidParameterCombination", message));
        }
    };
    if vpc.as_ref() != Some(&table.vpc) {
        let (Target::InternetGateway(id) | Target::NatGateway(id) | Target::Interface(id)) = target;
        return Err(invalid(format!(
            "route table {} and network gateway {id} belong to different networks",
            table.id
        )));
    }
    Ok(target)
}

fn internet_gateway(tx: &Tx, id: String) -> Result<(Target, Option<String>), ApiError> {
    if let Some(gateway) = tx.get::<InternetGateway>(&id) {
        return Ok((Target::InternetGateway(id), gateway.vpc.clone()));
    }
    match id.split_once('-') {
        Some(("vpce", _)) => Err(invalid(format!(
            "{id} is not a valid target: routes to a gateway endpoint are made with ModifyVpcEndpoint"
        ))),
        Some(("vgw" | "eigw" | "cagw", _)) => {
            Err(ApiError::not_implemented(format!("the gateway {id} in a route")))
        }
        _ => {
            let message = format!("The gateway ID '{id}' does not exist");
            Err(ApiError::client("InvalidGatewayID.NotFound", message))
        }
    }
}

fn nat_gateway(tx: &Tx, id: String) -> Result<(Target, Option<String>), ApiError> {
    match tx.get::<NatGateway>(&id).filter(|gateway| gateway.state.is_up()) {
        Some(gateway) => Ok((Target::NatGateway(id), Some(gateway.vpc.clone()))),
        None => {
            let message = format!("The natGateway ID '{id}' does not exist");
            Err(ApiError::client("InvalidNatGatewayID.NotFound", message))
        }
    }
}

/// Within the VPC a route may only divert the traffic to a whole subnet, through a NAT gateway or an interface.
fn check_destination(tx: &Tx, vpc: &Vpc, destination: &Destination, target: &Target) -> Result<(), ApiError> {
    let &Destination::Block(destination) = destination else { return Ok(()) };
    if "169.254.168.0/22".parse::<Ipv4Net>().is_ok_and(|reserved| reserved.contains(&destination)) {
        return Err(invalid(format!(
            "The destination CIDR block {destination} is reserved and cannot be routed."
        )));
    }
    if !vpc.cidr.contains(&destination) {
        return Ok(());
    }
    if matches!(target, Target::InternetGateway(_)) {
        return Err(invalid(format!(
            "The destination CIDR block {destination} is equal to or more specific than one of this VPC's CIDR \
             blocks. This route can target only an interface or an instance."
        )));
    }
    match tx.find::<Subnet>(|subnet| subnet.vpc == vpc.id && subnet.cidr == destination) {
        Some(_) => Ok(()),
        None => Err(invalid(format!(
            "The destination CIDR block {destination} does not match a subnet's CIDR block."
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, interface, internet_gateway, nat_gateway, route_table, subnet, vpc};

    fn create(table: &str, destination: &str, gateway: &str) -> ec2::CreateRouteRequest {
        ec2::CreateRouteRequest {
            route_table_id: table.into(),
            destination_cidr_block: Some(destination.into()),
            gateway_id: Some(gateway.into()),
            ..Default::default()
        }
    }

    fn routes(cloud: &mut pileus_kit::Cloud, table: &str) -> Vec<(String, String)> {
        let input = ec2::DescribeRouteTablesRequest {
            route_table_ids: Some(vec![table.into()]),
            ..Default::default()
        };
        let table = cloud.ok::<ec2::ops::DescribeRouteTables>(input).route_tables.unwrap().remove(0);
        let routes = table.routes.unwrap().into_iter();
        routes.map(|route| (route.destination_cidr_block.unwrap(), route.state.unwrap())).collect()
    }

    #[test]
    fn routes_are_created_replaced_and_deleted() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let gateway = internet_gateway(&mut cloud, &vpc);
        let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/24");
        let table = route_table(&mut cloud, &vpc);
        cloud.ok::<ec2::ops::CreateRoute>(create(&table, "0.0.0.0/0", &gateway));
        let again = create(&table, "0.0.0.0/0", &gateway);
        assert_eq!(cloud.code::<ec2::ops::CreateRoute>(again), "RouteAlreadyExists");
        assert_eq!(
            cloud.code::<ec2::ops::CreateRoute>(create(&table, "10.0.0.0/16", &gateway)),
            "RouteAlreadyExists"
        );
        let nat = nat_gateway(&mut cloud, &subnet);
        let replace = |destination: &str| ec2::ReplaceRouteRequest {
            route_table_id: table.clone(),
            destination_cidr_block: Some(destination.into()),
            nat_gateway_id: Some(nat.clone()),
            ..Default::default()
        };
        cloud.ok::<ec2::ops::ReplaceRoute>(replace("0.0.0.0/0"));
        assert_eq!(cloud.code::<ec2::ops::ReplaceRoute>(replace("8.0.0.0/8")), "InvalidParameterValue");
        let pair = |cidr: &str, state: &str| (cidr.to_owned(), state.to_owned());
        assert_eq!(routes(&mut cloud, &table), [pair("10.0.0.0/16", "active"), pair("0.0.0.0/0", "active")]);
        cloud.ok::<ec2::ops::DeleteNatGateway>(ec2::DeleteNatGatewayRequest { nat_gateway_id: nat });
        assert_eq!(routes(&mut cloud, &table)[1], pair("0.0.0.0/0", "blackhole"));
        let delete = |destination: &str| ec2::DeleteRouteRequest {
            destination_prefix_list_id: None,
            route_table_id: table.clone(),
            destination_cidr_block: Some(destination.into()),
        };
        cloud.ok::<ec2::ops::DeleteRoute>(delete("0.0.0.0/0"));
        assert_eq!(cloud.code::<ec2::ops::DeleteRoute>(delete("0.0.0.0/0")), "InvalidRoute.NotFound");
        assert_eq!(cloud.code::<ec2::ops::DeleteRoute>(delete("10.0.0.0/16")), "InvalidParameterValue");
    }

    #[test]
    fn bad_routes_are_refused() {
        let mut cloud = cloud();
        let (vpc, other) = (vpc(&mut cloud, "10.0.0.0/16"), vpc(&mut cloud, "10.1.0.0/16"));
        let gateway = internet_gateway(&mut cloud, &vpc);
        let foreign = internet_gateway(&mut cloud, &other);
        let table = route_table(&mut cloud, &vpc);
        for (destination, gateway, code) in [
            ("0.0.0.0/0", foreign.as_str(), "InvalidParameterValue"),
            ("0.0.0.0/0", "igw-00000000000000000", "InvalidGatewayID.NotFound"),
            ("0.0.0.0/0", "vgw-00000000000000000", "UnsupportedOperation"),
            ("10.0.1.0/24", &gateway, "InvalidParameterValue"),
            ("169.254.168.0/24", &gateway, "InvalidParameterValue"),
            ("everywhere", &gateway, "InvalidParameterValue"),
        ] {
            let input = create(&table, destination, gateway);
            assert_eq!(cloud.code::<ec2::ops::CreateRoute>(input), code, "{destination} to {gateway}");
        }
        let none = ec2::CreateRouteRequest { gateway_id: None, ..create(&table, "0.0.0.0/0", "") };
        assert_eq!(cloud.code::<ec2::ops::CreateRoute>(none), "MissingParameter");
        let both = ec2::CreateRouteRequest {
            nat_gateway_id: Some("nat-0".into()),
            ..create(&table, "0.0.0.0/0", &gateway)
        };
        assert_eq!(cloud.code::<ec2::ops::CreateRoute>(both), "InvalidParameterCombination");
    }

    #[test]
    fn traffic_to_a_subnet_can_be_diverted_to_an_interface() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/24");
        let table = route_table(&mut cloud, &vpc);
        let interface = interface(&mut cloud, &subnet, &[]);
        let divert = |destination| ec2::CreateRouteRequest {
            gateway_id: None,
            network_interface_id: Some(interface.id.clone()),
            ..create(&table, destination, "")
        };
        cloud.ok::<ec2::ops::CreateRoute>(divert("10.0.1.0/24"));
        assert_eq!(cloud.code::<ec2::ops::CreateRoute>(divert("10.0.2.0/24")), "InvalidParameterValue");
    }
}
