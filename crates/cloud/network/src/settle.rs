//! What becomes of the state when the machine has applied a fabric: interfaces are ready, NAT gateways and VPC
//! endpoints come up or are gone. And what becomes of it with time: the memory of NAT gateways ends.

use std::collections::BTreeSet;
use std::time::Duration;

use pileus_contract::FabricSpec;
use pileus_core::{Scope, Timestamp};
use pileus_state::{State, Tx};

use crate::nat_gateway::NatState;
use crate::{Interface, InterfaceReady, NatGateway, interface, tags, vpc_endpoint};

/// How long AWS shows NAT gateways that failed or were deleted.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Takes notice of a spec, made by [`fabric_spec`](crate::fabric_spec) of this or an earlier state, that is now in
/// force. Works on all accounts and regions; call it in a transaction of its own.
pub fn settle(tx: &mut Tx, applied: &FabricSpec, now: Timestamp) {
    let gateways: BTreeSet<&str> =
        applied.vpcs.iter().flat_map(|vpc| &vpc.nat_gateways).map(|gateway| gateway.id.as_str()).collect();
    settle_interfaces(tx, applied, &gateways);
    settle_gateways(tx, &gateways, now);
    vpc_endpoint::finish(tx, applied);
}

fn settle_interfaces(tx: &mut Tx, applied: &FabricSpec, gateways: &BTreeSet<&str>) {
    let state = tx.base();
    let mut up: BTreeSet<String> =
        applied.vpcs.iter().flat_map(|vpc| &vpc.interfaces).map(|interface| interface.id.clone()).collect();
    let natted = state.all::<NatGateway>().filter(|(_, gateway)| gateways.contains(gateway.id.as_str()));
    up.extend(natted.filter_map(|(_, gateway)| gateway.addresses.as_ref().map(|it| it.interface.clone())));
    for (scope, interface) in state.all::<Interface>() {
        let was = state.get::<InterfaceReady>(scope, &interface.id).is_some();
        match (was, up.contains(&interface.id)) {
            (false, true) => {
                let ready = InterfaceReady { interface: interface.id.clone() };
                tx.within(scope.clone(), |tx| tx.put(ready));
            }
            (true, false) => drop(tx.within(scope.clone(), |tx| tx.delete::<InterfaceReady>(&interface.id))),
            _ => {}
        }
    }
}

fn settle_gateways(tx: &mut Tx, applied: &BTreeSet<&str>, now: Timestamp) {
    for (scope, gateway) in tx.base().all::<NatGateway>() {
        match (&gateway.state, applied.contains(gateway.id.as_str())) {
            (NatState::Pending, true) => tx.within(scope.clone(), |tx| {
                tx.update::<NatGateway>(&gateway.id, |gateway| gateway.state = NatState::Available);
            }),
            (NatState::Deleting, false) => tx.within(scope.clone(), |tx| {
                if let Some(addresses) = &gateway.addresses {
                    interface::delete(tx, &addresses.interface);
                }
                tx.update::<NatGateway>(&gateway.id, |gateway| {
                    gateway.state = NatState::Deleted;
                    gateway.ended = Some(now);
                });
            }),
            _ => {}
        }
    }
}

/// When [`purge`] has something to do next.
pub fn next_purge(state: &State) -> Option<Timestamp> {
    over(state).map(|(_, _, until)| until).min()
}

/// Forgets NAT gateways that ended an hour ago. Works on all accounts and regions.
pub fn purge(tx: &mut Tx, now: Timestamp) {
    for (scope, id, until) in over(tx.base()) {
        if until <= now {
            tx.within(scope.clone(), |tx| {
                tags::forget(tx, &id);
                tx.delete::<NatGateway>(&id);
            });
        }
    }
}

/// The NAT gateways that have ended, and until when each is remembered.
fn over(state: &State) -> impl Iterator<Item = (&Scope, String, Timestamp)> {
    let ended = state.all::<NatGateway>().filter(|(_, gateway)| gateway.state.is_over());
    ended.filter_map(|(scope, gateway)| Some((scope, gateway.id.clone(), gateway.ended? + REMEMBERED)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric_spec;
    use crate::testing::{apply, cloud, interface, subnet, vpc};

    #[test]
    fn an_interface_newer_than_the_spec_is_not_ready() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/24");
        let old = interface(&mut cloud, &subnet, &[]);
        let spec = fabric_spec(&cloud.state);
        let new = interface(&mut cloud, &subnet, &[]);
        cloud.write(|cx| settle(cx.tx, &spec, cx.now));
        let ready = |cloud: &pileus_kit::Cloud, id: &str| {
            interface::is_ready(&Tx::new(&cloud.state, cloud.scope.clone()), id)
        };
        assert!(ready(&cloud, &old.id) && !ready(&cloud, &new.id));
        apply(&mut cloud);
        assert!(ready(&cloud, &new.id));
    }

    #[test]
    fn settling_again_changes_nothing() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/24");
        interface(&mut cloud, &subnet, &[]);
        let spec = apply(&mut cloud);
        let mut tx = Tx::new(&cloud.state, cloud.scope.clone());
        settle(&mut tx, &spec, cloud.now);
        assert!(tx.into_changes().changes.is_empty());
    }
}
