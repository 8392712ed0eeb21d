//! Which route table is whose: a subnet's own one, and the main one of all other subnets of the VPC.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/WorkWithRouteTables.html>

use std::sync::Arc;

use pileus_aws::ec2;
use pileus_core::ApiError;
use pileus_service::{Context, Router};
use pileus_state::Tx;

use super::RouteTable;
use crate::Subnet;
use crate::resource::{find, invalid, missing};

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::AssociateRouteTable>(associate_route_table)
        .on::<ec2::ops::DisassociateRouteTable>(disassociate_route_table)
        .on::<ec2::ops::ReplaceRouteTableAssociation>(replace_route_table_association);
}

pub(super) fn associated() -> Option<ec2::RouteTableAssociationState> {
    Some(ec2::RouteTableAssociationState { state: Some("associated".into()), status_message: None })
}

/// Drops the association of a subnet that is no more.
pub(crate) fn forget_subnet(tx: &mut Tx, subnet: &str) {
    if let Some(table) = of_subnet(tx, subnet) {
        tx.update::<RouteTable>(&table.id, |table| drop(table.associations.remove(subnet)));
    }
}

fn of_subnet(tx: &Tx, subnet: &str) -> Option<Arc<RouteTable>> {
    tx.find::<RouteTable>(|table| table.associations.contains_key(subnet))
}

fn associate_route_table(
    cx: &mut Context,
    input: ec2::AssociateRouteTableRequest,
) -> Result<ec2::AssociateRouteTableResult, ApiError> {
    let table = find::<RouteTable>(cx.tx, &input.route_table_id)?;
    let subnet = input.subnet_id.ok_or_else(|| missing("subnetId"))?;
    let subnet = find::<Subnet>(cx.tx, &subnet)?;
    if table.vpc != subnet.vpc {
        let message =
            format!("Route table {} and subnet {} belong to different networks", table.id, subnet.id);
        return Err(invalid(message));
    }
    let id = match of_subnet(cx.tx, &subnet.id) {
        Some(other) if other.id != table.id => {
            return Err(ApiError::client(
                "Resource.AlreadyAssociated",
                format!(
                    "the specified association for route table {} conflicts with an existing association",
                    table.id
                ),
            ));
        }
        Some(same) => same.associations[&subnet.id].clone(),
        None => {
            let id = cx.ids.ec2("rtbassoc");
            add(cx.tx, &table.id, &subnet.id, &id);
            id
        }
    };
    Ok(ec2::AssociateRouteTableResult { association_id: Some(id), association_state: associated() })
}

fn add(tx: &mut Tx, table: &str, subnet: &str, id: &str) {
    tx.update::<RouteTable>(table, |table| drop(table.associations.insert(subnet.to_owned(), id.to_owned())));
}

/// The table that holds an association, and the subnet that it is for; `None` for a main one.
fn holder(tx: &Tx, association: &str) -> Result<(Arc<RouteTable>, Option<String>), ApiError> {
    for table in tx.list::<RouteTable>() {
        if table.main.as_deref() == Some(association) {
            return Ok((table, None));
        }
        let mut associations = table.associations.iter();
        if let Some((subnet, _)) = associations.find(|(_, id)| *id == association) {
            let subnet = subnet.clone();
            return Ok((table, Some(subnet)));
        }
    }
    let message = format!("The association ID '{association}' does not exist");
    Err(ApiError::client("InvalidAssociationID.NotFound", message))
}

fn disassociate_route_table(
    cx: &mut Context,
    input: ec2::DisassociateRouteTableRequest,
) -> Result<pileus_model::Unit, ApiError> {
    let id = input.association_id;
    let (_, subnet) = holder(cx.tx, &id)?;
    let main = || invalid(format!("cannot disassociate the main route table association {id}"));
    forget_subnet(cx.tx, &subnet.ok_or_else(main)?);
    Ok(pileus_model::Unit {})
}

/// Moves an association, the main one too, to another table; it gets a new id.
fn replace_route_table_association(
    cx: &mut Context,
    input: ec2::ReplaceRouteTableAssociationRequest,
) -> Result<ec2::ReplaceRouteTableAssociationResult, ApiError> {
    let table = find::<RouteTable>(cx.tx, &input.route_table_id)?;
    let (old, subnet) = holder(cx.tx, &input.association_id)?;
    if table.vpc != old.vpc {
        let message = format!("Route tables {} and {} belong to different networks", old.id, table.id);
        return Err(invalid(message));
    }
    let id = cx.ids.ec2("rtbassoc");
    match subnet {
        Some(subnet) => {
            forget_subnet(cx.tx, &subnet);
            add(cx.tx, &table.id, &subnet, &id);
        }
        None => {
            cx.tx.update::<RouteTable>(&old.id, |old| old.main = None);
            cx.tx.update::<RouteTable>(&table.id, |table| table.main = Some(id.clone()));
        }
    }
    Ok(ec2::ReplaceRouteTableAssociationResult {
        new_association_id: Some(id),
        association_state: associated(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{associate, cloud, filter, route_table, subnet, vpc};

    fn main_table(cloud: &mut pileus_kit::Cloud) -> (String, String) {
        let input = ec2::DescribeRouteTablesRequest {
            filters: filter("association.main", "true"),
            ..Default::default()
        };
        let table = cloud.ok::<ec2::ops::DescribeRouteTables>(input).route_tables.unwrap().remove(0);
        let mut associations = table.associations.unwrap().into_iter();
        let main = associations.find(|association| association.main == Some(true)).unwrap();
        (table.route_table_id.unwrap(), main.route_table_association_id.unwrap())
    }

    #[test]
    fn a_subnet_moves_between_tables() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/24");
        let (one, two) = (route_table(&mut cloud, &vpc), route_table(&mut cloud, &vpc));
        let association = associate(&mut cloud, &one, &subnet);
        assert_eq!(associate(&mut cloud, &one, &subnet), association);
        let again =
            ec2::AssociateRouteTableRequest { route_table_id: two.clone(), subnet_id: Some(subnet.clone()) };
        assert_eq!(cloud.code::<ec2::ops::AssociateRouteTable>(again), "Resource.AlreadyAssociated");
        let replace = ec2::ReplaceRouteTableAssociationRequest {
            association_id: association.clone(),
            route_table_id: two,
        };
        let moved = cloud.ok::<ec2::ops::ReplaceRouteTableAssociation>(replace).new_association_id.unwrap();
        assert_ne!(moved, association);
        let disassociate = |id: &str| ec2::DisassociateRouteTableRequest { association_id: id.into() };
        let code = cloud.code::<ec2::ops::DisassociateRouteTable>(disassociate(&association));
        assert_eq!(code, "InvalidAssociationID.NotFound");
        cloud.ok::<ec2::ops::DisassociateRouteTable>(disassociate(&moved));
        assert!(of_subnet(&Tx::new(&cloud.state, cloud.scope.clone()), &subnet).is_none());
    }

    #[test]
    fn the_main_association_moves_but_never_goes() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let other = route_table(&mut cloud, &vpc);
        let (_, main) = main_table(&mut cloud);
        let disassociate = ec2::DisassociateRouteTableRequest { association_id: main.clone() };
        assert_eq!(cloud.code::<ec2::ops::DisassociateRouteTable>(disassociate), "InvalidParameterValue");
        let replace =
            ec2::ReplaceRouteTableAssociationRequest { association_id: main, route_table_id: other.clone() };
        cloud.ok::<ec2::ops::ReplaceRouteTableAssociation>(replace);
        assert_eq!(main_table(&mut cloud).0, other);
    }

    #[test]
    fn networks_do_not_mix() {
        let mut cloud = cloud();
        let (one, two) = (vpc(&mut cloud, "10.0.0.0/16"), vpc(&mut cloud, "10.1.0.0/16"));
        let input = ec2::AssociateRouteTableRequest {
            route_table_id: route_table(&mut cloud, &one),
            subnet_id: Some(subnet(&mut cloud, &two, "10.1.1.0/24")),
        };
        assert_eq!(cloud.code::<ec2::ops::AssociateRouteTable>(input), "InvalidParameterValue");
    }
}
