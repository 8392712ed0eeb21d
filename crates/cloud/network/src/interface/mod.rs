//! Elastic network interfaces: addresses in subnets, for tasks, load balancers and NAT gateways.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-eni.html>
//!
//! Other domains make them with [`create`] and [`delete`]; users may too. An interface is
//! usable once the machine has made it: then there is an [`InterfaceReady`].

mod change;
mod describe;

use std::net::Ipv4Addr;

use pileus_core::{ApiError, IdGen, Tags, Timestamp};
use pileus_service::Router;
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::resource::{Resource, find};
use crate::{Address, SecurityGroup, Subnet, address, public_pool, security_group, subnet, tags};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    pub id: String,
    pub subnet: String,
    pub vpc: String,
    /// The zone's name.
    pub zone: String,
    pub address: Ipv4Addr,
    pub mac: [u8; 6],
    /// The security groups that it carries; none for a NAT gateway's.
    pub groups: Vec<String>,
    pub description: String,
    /// `interface`, `nat_gateway`, `vpc_endpoint`.
    pub interface_type: String,
    /// The service that made it, where it is not the user's.
    pub requester: Option<String>,
    pub attachment: Option<Attachment>,
    pub public: Option<PublicAssociation>,
    client_token: Option<String>,
}

/// Whose instance, task or load balancer has the interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    pub id: String,
    /// An account, or a service such as `amazon-elb`.
    pub owner: String,
    pub at: Timestamp,
}

/// The public address that an internet gateway translates to and from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublicAssociation {
    pub id: String,
    pub address: Ipv4Addr,
    /// The elastic address that it is; `None` for one that comes and goes with the interface.
    pub allocation: Option<String>,
}

impl Record for Interface {
    const KIND: &'static str = "ec2/network-interface";

    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Resource for Interface {
    const PREFIX: &'static str = "eni";
    const TYPE: &'static str = "network-interface";
    const NOUN: &'static str = "networkInterface ID";
    const NOT_FOUND: &'static str = "InvalidNetworkInterfaceID.NotFound";
    const MALFORMED: &'static str = "InvalidNetworkInterfaceId.Malformed";
}

/// The interface is there on the machine, in its own network namespace, with its firewall in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InterfaceReady {
    pub interface: String,
}

impl Record for InterfaceReady {
    const KIND: &'static str = "ec2/network-interface-ready";
    const DURABLE: bool = false;

    fn key(&self) -> String {
        self.interface.clone()
    }
}

/// The most groups that one interface can carry by AWS's default quota.
const MAX_GROUPS: usize = 5;

pub(crate) const NAT_GATEWAY: &str = "nat_gateway";
pub(crate) const VPC_ENDPOINT: &str = "vpc_endpoint";

pub fn operations(router: &mut Router) {
    describe::operations(router);
    change::operations(router);
}

/// What a new interface shall be.
#[derive(Clone, Debug, Default)]
pub struct NewInterface {
    pub subnet: String,
    /// None: the VPC's default group.
    pub groups: Vec<String>,
    pub description: String,
    /// The service that manages it, as in `amazon-elb`; users cannot detach or delete such an interface.
    pub requester: Option<String>,
    /// Who has it attached: an account, or a service such as `amazon-elb`. None: it is not attached.
    pub attachment_owner: Option<String>,
    /// None: the next free address of the subnet.
    pub address: Option<Ipv4Addr>,
    /// Whether it gets a public address, which goes when it goes.
    pub public: bool,
    pub tags: Tags,
}

/// Makes an interface.
///
/// # Errors
/// AWS's code where the subnet or a group is unknown, they belong to different VPCs, or there is no free address.
pub fn create(
    tx: &mut Tx,
    ids: &mut IdGen,
    now: Timestamp,
    new: NewInterface,
) -> Result<Interface, ApiError> {
    let subnet = find::<Subnet>(tx, &new.subnet)?;
    let groups = if new.groups.is_empty() {
        vec![security_group::default_of(tx, &subnet.vpc).id.clone()]
    } else {
        check_groups(tx, &subnet, new.groups)?
    };
    let mut interface = insert(tx, ids, &subnet, new.address)?;
    if new.public {
        let address = public_pool::take(tx, &interface.id)?;
        interface.public = Some(PublicAssociation { id: ids.ec2("eipassoc"), address, allocation: None });
    }
    interface.groups = groups;
    interface.description = new.description;
    interface.requester = new.requester;
    interface.attachment =
        new.attachment_owner.map(|owner| Attachment { id: ids.ec2("eni-attach"), owner, at: now });
    tx.put(interface.clone());
    tags::put::<Interface>(tx, &interface.id, new.tags);
    Ok(interface)
}

/// Makes the interface of a NAT gateway, with its elastic address.
pub(crate) fn create_for_nat(
    tx: &mut Tx,
    ids: &mut IdGen,
    now: Timestamp,
    subnet: &Subnet,
    elastic: &Address,
    private: Option<Ipv4Addr>,
    gateway: &str,
) -> Result<Interface, ApiError> {
    let mut interface = insert(tx, ids, subnet, private)?;
    let association = ids.ec2("eipassoc");
    interface.description = format!("Interface for NAT Gateway {gateway}");
    NAT_GATEWAY.clone_into(&mut interface.interface_type);
    interface.requester = Some("amazon-vpc".into());
    interface.attachment =
        Some(Attachment { id: ids.ec2("eni-attach"), owner: "amazon-aws".into(), at: now });
    interface.public = Some(PublicAssociation {
        id: association.clone(),
        address: elastic.public_ip,
        allocation: Some(elastic.id.clone()),
    });
    tx.update::<Address>(&elastic.id, |elastic| {
        elastic.association = Some(address::Association { id: association, interface: interface.id.clone() });
    });
    tx.put(interface.clone());
    Ok(interface)
}

/// A bare interface with an address, not yet in the transaction.
fn insert(
    tx: &mut Tx,
    ids: &mut IdGen,
    subnet: &Subnet,
    wanted: Option<Ipv4Addr>,
) -> Result<Interface, ApiError> {
    let address = subnet::take_address(tx, subnet, wanted)?;
    let id = ids.ec2(Interface::PREFIX);
    Ok(Interface {
        mac: mac(&id),
        id,
        subnet: subnet.id.clone(),
        vpc: subnet.vpc.clone(),
        zone: subnet.zone.clone(),
        address,
        groups: Vec::new(),
        description: String::new(),
        interface_type: "interface".into(),
        requester: None,
        attachment: None,
        public: None,
        client_token: None,
    })
}

/// A locally administered unicast address made of the last 40 bits of the id.
fn mac(id: &str) -> [u8; 6] {
    let digits = id.rsplit('-').next().and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0);
    let [.., a, b, c, d, e] = digits.to_be_bytes();
    [0x02, a, b, c, d, e]
}

fn check_groups(tx: &Tx, subnet: &Subnet, mut groups: Vec<String>) -> Result<Vec<String>, ApiError> {
    groups.sort();
    groups.dedup();
    if groups.len() > MAX_GROUPS {
        let message =
            format!("You have exceeded the maximum of {MAX_GROUPS} security groups for an interface.");
        return Err(ApiError::client("SecurityGroupsPerInterfaceLimitExceeded", message));
    }
    for group in &groups {
        if find::<SecurityGroup>(tx, group)?.vpc != subnet.vpc {
            let message =
                format!("Security group {group} and subnet {} belong to different networks.", subnet.id);
            return Err(ApiError::client("InvalidParameter", message));
        }
    }
    Ok(groups)
}

/// Changes the groups that an interface carries.
///
/// # Errors
/// AWS's code where the interface or a group is unknown, or a group belongs to another VPC.
pub fn set_groups(tx: &mut Tx, id: &str, groups: Vec<String>) -> Result<(), ApiError> {
    let interface = find::<Interface>(tx, id)?;
    let subnet = find::<Subnet>(tx, &interface.subnet)?;
    let groups = check_groups(tx, &subnet, groups)?;
    tx.update::<Interface>(id, |interface| interface.groups = groups);
    Ok(())
}

/// Deletes an interface and gives its addresses back. An unknown one is gone already.
pub fn delete(tx: &mut Tx, id: &str) {
    let Some(interface) = tx.delete::<Interface>(id) else { return };
    tx.delete::<InterfaceReady>(id);
    tags::forget(tx, id);
    match &interface.public {
        Some(PublicAssociation { allocation: Some(allocation), .. }) => {
            tx.update::<Address>(allocation, |address| address.association = None);
        }
        Some(PublicAssociation { address, .. }) => public_pool::give_back(tx, *address),
        None => {}
    }
}

/// The interface of this id.
pub fn get(tx: &Tx, id: &str) -> Option<std::sync::Arc<Interface>> {
    tx.get::<Interface>(id)
}

/// Whether the machine has made the interface. Controllers read the [`InterfaceReady`] records themselves.
pub fn is_ready(tx: &Tx, id: &str) -> bool {
    tx.get::<InterfaceReady>(id).is_some()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{cloud, group, interface, subnet, vpc};

    #[test]
    fn an_interface_gets_address_mac_and_default_group() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/24");
        let made = interface(&mut cloud, &subnet, &[]);
        assert_eq!(made.address, Ipv4Addr::new(10, 0, 1, 4));
        assert_eq!((made.mac[0], made.groups.len()), (2, 1));
        let id = made.id.clone();
        cloud.write(|cx| delete(cx.tx, &id));
        // An address that was just given back is not the next one to be used.
        assert_eq!(interface(&mut cloud, &subnet, &[]).address, Ipv4Addr::new(10, 0, 1, 5));
    }

    #[test]
    fn a_public_address_comes_and_goes_with_it() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let new = NewInterface {
            subnet: subnet(&mut cloud, &vpc, "10.0.1.0/24"),
            public: true,
            ..Default::default()
        };
        let made = cloud.write(|cx| create(cx.tx, cx.ids, cx.now, new)).unwrap();
        assert!(made.public.is_some());
        assert_eq!(cloud.state.all::<public_pool::PublicAddress>().count(), 1);
        cloud.write(|cx| delete(cx.tx, &made.id));
        assert_eq!(cloud.state.all::<public_pool::PublicAddress>().count(), 0);
    }

    #[test]
    fn bad_interfaces_are_refused() {
        let mut cloud = cloud();
        let (one, two) = (vpc(&mut cloud, "10.0.0.0/16"), vpc(&mut cloud, "10.1.0.0/16"));
        let foreign = group(&mut cloud, &two, "web");
        let subnet = subnet(&mut cloud, &one, "10.0.1.0/24");
        interface(&mut cloud, &subnet, &[]);
        let new = || NewInterface { subnet: subnet.clone(), ..Default::default() };
        for (new, code) in [
            (NewInterface { subnet: "subnet-00000000000000000".into(), ..new() }, "InvalidSubnetID.NotFound"),
            (NewInterface { groups: vec![foreign], ..new() }, "InvalidParameter"),
            (NewInterface { groups: vec!["sg-00000000000000000".into()], ..new() }, "InvalidGroup.NotFound"),
            (NewInterface { address: Some(Ipv4Addr::new(10, 0, 1, 4)), ..new() }, "InvalidIPAddress.InUse"),
            (NewInterface { address: Some(Ipv4Addr::new(10, 0, 1, 3)), ..new() }, "InvalidParameterValue"),
            (NewInterface { address: Some(Ipv4Addr::new(10, 0, 1, 255)), ..new() }, "InvalidParameterValue"),
        ] {
            let result = cloud.write(|cx| create(cx.tx, cx.ids, cx.now, new));
            assert_eq!(result.unwrap_err().code, code);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// However interfaces come and go, no two have the same address.
        #[test]
        fn addresses_never_collide(steps in proptest::collection::vec(proptest::option::of(0_usize..12), 1..60)) {
            let mut cloud = cloud();
            let vpc = vpc(&mut cloud, "10.0.0.0/16");
            let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/28");
            let mut alive: Vec<Interface> = Vec::new();
            for step in steps {
                match step {
                    Some(index) if index < alive.len() => {
                        let gone = alive.remove(index);
                        cloud.write(|cx| delete(cx.tx, &gone.id));
                    }
                    _ => {
                        let new = NewInterface { subnet: subnet.clone(), ..Default::default() };
                        let made = cloud.write(|cx| create(cx.tx, cx.ids, cx.now, new));
                        prop_assert_eq!(made.is_ok(), alive.len() < 11);
                        alive.extend(made);
                    }
                }
                let addresses: BTreeSet<Ipv4Addr> = alive.iter().map(|it| it.address).collect();
                prop_assert_eq!(addresses.len(), alive.len());
            }
        }
    }
}
