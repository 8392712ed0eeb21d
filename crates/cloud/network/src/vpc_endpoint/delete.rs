//! The end of VPC endpoints: their interfaces and routes go at once, they themselves when the machine has seen to it.

use std::collections::BTreeSet;

use pileus_aws::ec2;
use pileus_contract::FabricSpec;
use pileus_core::ApiError;
use pileus_service::Context;
use pileus_state::Tx;

use super::{EndpointState, VpcEndpoint, Way};
use crate::resource::find;
use crate::{interface, public_pool, tags};

pub(super) fn delete_vpc_endpoints(
    cx: &mut Context,
    input: ec2::DeleteVpcEndpointsRequest,
) -> Result<ec2::DeleteVpcEndpointsResult, ApiError> {
    let mut unsuccessful = Vec::new();
    for id in input.vpc_endpoint_ids {
        match find::<VpcEndpoint>(cx.tx, &id) {
            Ok(endpoint) => begin(cx.tx, &endpoint),
            Err(error) => unsuccessful.push(ec2::UnsuccessfulItem {
                error: Some(ec2::UnsuccessfulItemError {
                    code: Some(error.code.into_owned()),
                    message: Some(error.message),
                }),
                resource_id: Some(id),
            }),
        }
    }
    Ok(ec2::DeleteVpcEndpointsResult { unsuccessful: Some(unsuccessful) })
}

fn begin(tx: &mut Tx, endpoint: &VpcEndpoint) {
    for (_, id) in endpoint.interfaces() {
        interface::delete(tx, id);
    }
    tx.update::<VpcEndpoint>(&endpoint.id, |endpoint| {
        endpoint.state = EndpointState::Deleting;
        if let Way::Gateway { tables, .. } = &mut endpoint.way {
            tables.clear();
        }
    });
}

/// Takes a route table that is no more out of the endpoints.
pub(crate) fn forget_table(tx: &mut Tx, table: &str) {
    for endpoint in tx.list::<VpcEndpoint>() {
        if endpoint.gateway().is_some_and(|(_, tables)| tables.contains(table)) {
            tx.update::<VpcEndpoint>(&endpoint.id, |endpoint| {
                if let Way::Gateway { tables, .. } = &mut endpoint.way {
                    tables.remove(table);
                }
            });
        }
    }
}

/// Takes notice of a spec that is in force: endpoints come up or are gone.
pub(crate) fn finish(tx: &mut Tx, applied: &FabricSpec) {
    let vpcs = applied.vpcs.iter();
    let interfaces = vpcs.clone().flat_map(|vpc| &vpc.interfaces).map(|it| it.id.as_str());
    let gateways = vpcs.flat_map(|vpc| &vpc.gateway_endpoints).map(|it| it.id.as_str());
    let there: BTreeSet<&str> = interfaces.chain(gateways).collect();
    for (scope, endpoint) in tx.base().all::<VpcEndpoint>() {
        let parts: Vec<&str> = match &endpoint.way {
            Way::Interface { interfaces, .. } => interfaces.values().map(String::as_str).collect(),
            Way::Gateway { .. } => vec![endpoint.id.as_str()],
        };
        match endpoint.state {
            EndpointState::Pending if parts.iter().all(|part| there.contains(part)) => {
                tx.within(scope.clone(), |tx| {
                    tx.update::<VpcEndpoint>(&endpoint.id, |it| it.state = EndpointState::Available);
                });
            }
            EndpointState::Deleting if !parts.iter().any(|part| there.contains(part)) => {
                tx.within(scope.clone(), |tx| forget(tx, &endpoint));
            }
            _ => {}
        }
    }
}

fn forget(tx: &mut Tx, endpoint: &VpcEndpoint) {
    if let Some((address, _)) = endpoint.gateway() {
        public_pool::give_back(tx, address);
    }
    tags::forget(tx, &endpoint.id);
    tx.delete::<VpcEndpoint>(&endpoint.id);
}
