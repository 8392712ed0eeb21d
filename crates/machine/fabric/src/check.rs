//! What a spec must fulfil so that names and rules made of it mean what they say.
//!
//! Ids become file names, and words in nft scripts: nothing that could be more than a name passes.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use pileus_contract::fabric::{ApiSpec, InterfaceSpec, VpcSpec};

use crate::error::{FabricError, Result};

/// The longest id; AWS's are 26 at most.
const ID: usize = 64;
/// Where public addresses come from: the range for benchmarks (RFC 2544), which is never routed on the internet, so
/// that the host loses the way to nobody.
pub(crate) const PUBLIC: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15);

/// Checks one VPC. `seen` collects what must be unique on the whole host: ids and public addresses.
pub(crate) fn vpc(vpc: &VpcSpec, seen: &mut Seen) -> Result<()> {
    id(&vpc.id)?;
    let mut local = BTreeSet::new();
    for subnet in &vpc.subnets {
        id(&subnet.id)?;
        unique(&mut local, &subnet.id)?;
        if !vpc.cidr.contains(&subnet.cidr) || subnet.cidr.prefix_len() > 30 {
            return fail(format!("subnet {} is not a part of {}", subnet.id, vpc.cidr));
        }
    }
    for group in &vpc.security_groups {
        id(&group.id)?;
        unique(&mut local, &group.id)?;
    }
    let mut addresses = BTreeSet::new();
    for interface in &vpc.interfaces {
        check_interface(vpc, interface, &mut addresses)?;
        unique(&mut seen.ids, &interface.id)?;
        interface.public_address.map_or(Ok(()), |address| seen.public(address))?;
    }
    for nat in &vpc.nat_gateways {
        id(&nat.id)?;
        seen.public(nat.public_address)?;
    }
    for endpoint in &vpc.gateway_endpoints {
        id(&endpoint.id)?;
        seen.public(endpoint.address)?;
    }
    unique(&mut seen.ids, &vpc.id)
}

/// The names of the namespaces of a VPC.
pub(crate) fn names(vpc: &VpcSpec) -> impl Iterator<Item = &str> {
    std::iter::once(vpc.id.as_str()).chain(vpc.interfaces.iter().map(|interface| interface.id.as_str()))
}

/// Checks the service of the host; its addresses are nobody else's.
pub(crate) fn api(api: &ApiSpec, seen: &mut Seen) -> Result<()> {
    if !api.addresses.contains(api.listener.ip()) {
        return fail(format!("the host's service listens at {}, which is not its own", api.listener));
    }
    api.addresses.iter().try_for_each(|address| seen.public(*address))
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    ids: BTreeSet<String>,
    public: BTreeSet<Ipv4Addr>,
}

impl Seen {
    fn public(&mut self, address: Ipv4Addr) -> Result<()> {
        if !PUBLIC.contains(&address) {
            return fail(format!("public address {address} is not in {PUBLIC}"));
        }
        if self.public.insert(address) {
            Ok(())
        } else {
            fail(format!("public address {address} is given twice"))
        }
    }
}

fn check_interface(
    vpc: &VpcSpec,
    interface: &InterfaceSpec,
    addresses: &mut BTreeSet<Ipv4Addr>,
) -> Result<()> {
    id(&interface.id)?;
    let Some(subnet) = vpc.subnets.iter().find(|subnet| subnet.id == interface.subnet) else {
        return fail(format!("{} is in the unknown subnet {:?}", interface.id, interface.subnet));
    };
    if !subnet.cidr.contains(&interface.address) {
        return fail(format!("{}: {} is not in {}", interface.id, interface.address, subnet.cidr));
    }
    if !addresses.insert(interface.address) {
        return fail(format!("{}: {} is given twice", interface.id, interface.address));
    }
    let unknown = |group: &&String| !vpc.security_groups.iter().any(|known| known.id == **group);
    match interface.security_groups.iter().find(unknown) {
        Some(group) => fail(format!("{} is in the unknown group {group:?}", interface.id)),
        None => Ok(()),
    }
}

/// A kind and a rest, such as `eni-0abc`: never a path, a keyword or more than one word.
fn id(id: &str) -> Result<()> {
    let word = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let kind = id.starts_with(|first: char| first.is_ascii_lowercase()) && id.contains('-');
    if word && kind && id.len() <= ID { Ok(()) } else { fail(format!("{id:?} cannot be an id")) }
}

fn unique(seen: &mut BTreeSet<String>, id: &str) -> Result<()> {
    if seen.insert(id.to_owned()) { Ok(()) } else { fail(format!("{id} is given twice")) }
}

fn fail<T>(problem: String) -> Result<T> {
    Err(FabricError::Spec(problem))
}

#[cfg(test)]
mod tests {
    use pileus_contract::fabric::GatewayEndpointSpec;

    use super::*;
    use crate::reference;

    fn problem(change: impl FnOnce(&mut VpcSpec)) -> String {
        let mut spec = reference::vpc("vpc-1");
        spec.interfaces.push(reference::interface("private-a", "10.0.10.5", "sg-task"));
        assert!(vpc(&spec, &mut Seen::default()).is_ok());
        change(&mut spec);
        vpc(&spec, &mut Seen::default()).unwrap_err().to_string()
    }

    #[test]
    fn ids_are_single_words() {
        for bad in ["", "eni", "../eni-1", "eni-1 accept", "-eni", "eni-\n", "Eni-1"] {
            assert!(id(bad).is_err(), "{bad:?}");
        }
        assert!(id("eni-0123456789abcdef0").is_ok());
        assert!(problem(|vpc| vpc.id = "vpc-1; flush ruleset".into()).contains("cannot be an id"));
    }

    #[test]
    fn refers_only_to_what_is_there_and_uses_addresses_once() {
        assert!(problem(|vpc| vpc.interfaces[0].subnet = "subnet-9".into()).contains("unknown subnet"));
        assert!(
            problem(|vpc| vpc.interfaces[0].security_groups = vec!["sg-9".into()]).contains("unknown group")
        );
        assert!(problem(|vpc| vpc.interfaces[0].address = Ipv4Addr::new(10, 0, 1, 5)).contains("is not in"));
        assert!(problem(|vpc| vpc.subnets[0].cidr = reference::net("10.1.0.0/24")).contains("not a part"));
        let twice = |vpc: &mut VpcSpec| {
            let mut other = vpc.interfaces[0].clone();
            other.id = "eni-other".into();
            vpc.interfaces.push(other);
        };
        assert!(problem(twice).contains("given twice"));
        let public =
            |vpc: &mut VpcSpec| vpc.interfaces[0].public_address = Some(Ipv4Addr::new(198, 18, 0, 1));
        assert!(problem(public).contains("given twice"));
        let endpoint = |vpc: &mut VpcSpec| {
            let address = Ipv4Addr::new(198, 18, 0, 1);
            vpc.gateway_endpoints = vec![GatewayEndpointSpec { id: "vpce-1".into(), address }];
        };
        assert!(problem(endpoint).contains("given twice"));
        let real = |vpc: &mut VpcSpec| vpc.interfaces[0].public_address = Some(Ipv4Addr::new(1, 1, 1, 1));
        assert!(problem(real).contains("not in 198.18.0.0/15"));
    }
}
