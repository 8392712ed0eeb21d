//! Route tables: where packets that leave a subnet go.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Route_Tables.html>

mod association;
mod route;

use std::collections::BTreeMap;
use std::sync::Arc;

use pileus_aws::ec2;
use pileus_core::ApiError;
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::resource::{Resource, find, in_use};
use crate::select::{Filters, Selection, one, select};
use crate::{Vpc, tags, vpc_endpoint};

pub(crate) use route::Lookup;
pub use route::{Destination, Route, Target};

pub(crate) use association::forget_subnet;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteTable {
    pub id: String,
    pub vpc: String,
    /// The id of the main association, if this is the table of all subnets without an association of their own.
    pub main: Option<String>,
    /// Besides the `local` one, in order of destination.
    pub routes: Vec<Route>,
    /// The associated subnets, each with the id of its association.
    pub associations: BTreeMap<String, String>,
    client_token: Option<String>,
}

impl Record for RouteTable {
    const KIND: &'static str = "ec2/route-table";

    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Resource for RouteTable {
    const PREFIX: &'static str = "rtb";
    const TYPE: &'static str = "route-table";
    const NOUN: &'static str = "routeTable ID";
    const NOT_FOUND: &'static str = "InvalidRouteTableID.NotFound";
    const MALFORMED: &'static str = "InvalidRouteTableId.Malformed";
}

pub fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::CreateRouteTable>(create_route_table)
        .on::<ec2::ops::DeleteRouteTable>(delete_route_table)
        .on::<ec2::ops::DescribeRouteTables>(describe_route_tables);
    association::operations(router);
    route::operations(router);
}

fn new(cx: &mut Context, vpc: &str) -> RouteTable {
    RouteTable {
        id: cx.ids.ec2(RouteTable::PREFIX),
        vpc: vpc.to_owned(),
        main: None,
        routes: Vec::new(),
        associations: BTreeMap::new(),
        client_token: None,
    }
}

pub(crate) fn create_main(cx: &mut Context, vpc: &str) {
    let table = RouteTable { main: Some(cx.ids.ec2("rtbassoc")), ..new(cx, vpc) };
    cx.tx.put(table);
}

pub(crate) fn delete_main(tx: &mut Tx, vpc: &str) {
    if let Some(main) = tx.find::<RouteTable>(|table| table.vpc == vpc && table.main.is_some()) {
        tags::forget(tx, &main.id);
        tx.delete::<RouteTable>(&main.id);
    }
}

fn create_route_table(
    cx: &mut Context,
    input: ec2::CreateRouteTableRequest,
) -> Result<ec2::CreateRouteTableResult, ApiError> {
    let vpc = find::<Vpc>(cx.tx, &input.vpc_id)?;
    let tags = tags::specified::<RouteTable>(&input.tag_specifications)?;
    let earlier = input.client_token.as_ref().and_then(|token| created_with(cx.tx, token));
    let table = match earlier {
        Some(table) if table.vpc != vpc.id => {
            let message = "The client token was used before with other parameters.";
            return Err(ApiError::client("IdempotentParameterMismatch", message));
        }
        Some(table) => table,
        None => {
            let table = RouteTable { client_token: input.client_token.clone(), ..new(cx, &vpc.id) };
            cx.tx.put(table.clone());
            tags::put::<RouteTable>(cx.tx, &table.id, tags);
            Arc::new(table)
        }
    };
    Ok(ec2::CreateRouteTableResult {
        route_table: Some(shape(cx.tx, &table)),
        client_token: input.client_token,
    })
}

fn created_with(tx: &Tx, token: &str) -> Option<Arc<RouteTable>> {
    tx.find::<RouteTable>(|table| table.client_token.as_deref() == Some(token))
}

fn delete_route_table(
    cx: &mut Context,
    input: ec2::DeleteRouteTableRequest,
) -> Result<pileus_model::Unit, ApiError> {
    let table = find::<RouteTable>(cx.tx, &input.route_table_id)?;
    if table.main.is_some() || !table.associations.is_empty() {
        return Err(in_use("routeTable", &table.id));
    }
    vpc_endpoint::forget_table(cx.tx, &table.id);
    tags::forget(cx.tx, &table.id);
    cx.tx.delete::<RouteTable>(&table.id);
    Ok(pileus_model::Unit {})
}

fn association_ids(table: &RouteTable) -> Vec<String> {
    table.main.iter().chain(table.associations.values()).cloned().collect()
}

/// A value of each route, the `local` one included.
fn of_routes(tx: &Tx, table: &RouteTable, value: impl Fn(ec2::Route) -> Option<String>) -> Vec<String> {
    route::shapes(tx, table).into_iter().filter_map(value).collect()
}

const FILTERS: Filters<RouteTable> = &[
    ("association.main", |_, table| one(table.main.is_some())),
    ("association.route-table-association-id", |_, table| association_ids(table)),
    ("association.route-table-id", |_, table| {
        association_ids(table).iter().map(|_| table.id.clone()).collect()
    }),
    ("association.subnet-id", |_, table| table.associations.keys().cloned().collect()),
    ("owner-id", |tx, _| one(&tx.scope().account)),
    ("route.destination-cidr-block", |tx, table| of_routes(tx, table, |route| route.destination_cidr_block)),
    ("route.destination-prefix-list-id", |tx, table| {
        of_routes(tx, table, |route| route.destination_prefix_list_id)
    }),
    ("route.gateway-id", |tx, table| of_routes(tx, table, |route| route.gateway_id)),
    ("route.nat-gateway-id", |tx, table| of_routes(tx, table, |route| route.nat_gateway_id)),
    ("route.origin", |tx, table| of_routes(tx, table, |route| route.origin)),
    ("route.state", |tx, table| of_routes(tx, table, |route| route.state)),
    ("route-table-id", |_, table| one(&table.id)),
    ("vpc-id", |_, table| one(&table.vpc)),
];

fn describe_route_tables(
    cx: &mut Context,
    input: ec2::DescribeRouteTablesRequest,
) -> Result<ec2::DescribeRouteTablesResult, ApiError> {
    let selection = Selection {
        ids: &input.route_table_ids,
        filters: &input.filters,
        next_token: &input.next_token,
        max_results: input.max_results,
    };
    let (tables, next_token) = select(cx.tx, selection, FILTERS)?;
    let route_tables = Some(tables.iter().map(|table| shape(cx.tx, table)).collect());
    Ok(ec2::DescribeRouteTablesResult { route_tables, next_token })
}

fn shape(tx: &Tx, table: &RouteTable) -> ec2::RouteTable {
    let association = |id: &String, subnet: Option<&String>| ec2::RouteTableAssociation {
        main: Some(subnet.is_none()),
        route_table_association_id: Some(id.clone()),
        route_table_id: Some(table.id.clone()),
        subnet_id: subnet.cloned(),
        association_state: association::associated(),
        ..Default::default()
    };
    let main = table.main.iter().map(|id| association(id, None));
    let subnets = table.associations.iter().map(|(subnet, id)| association(id, Some(subnet)));
    ec2::RouteTable {
        associations: Some(main.chain(subnets).collect()),
        propagating_vgws: Some(Vec::new()),
        route_table_id: Some(table.id.clone()),
        routes: Some(route::shapes(tx, table)),
        tags: tags::shapes(tx, &table.id),
        vpc_id: Some(table.vpc.clone()),
        owner_id: Some(tx.scope().account.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{associate, cloud, route_table, subnet, vpc};

    #[test]
    fn a_table_is_created_once_for_a_token_and_deleted() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let create = || ec2::CreateRouteTableRequest {
            vpc_id: vpc.clone(),
            client_token: Some("once".into()),
            ..Default::default()
        };
        let mut id = || {
            let table = cloud.ok::<ec2::ops::CreateRouteTable>(create()).route_table.unwrap();
            table.route_table_id.unwrap()
        };
        let (first, second) = (id(), id());
        assert_eq!(first, second);
        let delete = ec2::DeleteRouteTableRequest { route_table_id: first };
        cloud.ok::<ec2::ops::DeleteRouteTable>(delete.clone());
        assert_eq!(cloud.code::<ec2::ops::DeleteRouteTable>(delete), "InvalidRouteTableID.NotFound");
    }

    #[test]
    fn a_table_in_use_and_the_main_table_stay() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/24");
        let used = route_table(&mut cloud, &vpc);
        associate(&mut cloud, &used, &subnet);
        let tables = cloud.ok::<ec2::ops::DescribeRouteTables>(Default::default()).route_tables.unwrap();
        for table in tables {
            let delete = ec2::DeleteRouteTableRequest { route_table_id: table.route_table_id.unwrap() };
            assert_eq!(cloud.code::<ec2::ops::DeleteRouteTable>(delete), "DependencyViolation");
        }
    }
}
