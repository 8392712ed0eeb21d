//! Network ACLs: stateless rules at the border of subnets. Each VPC has its default one, which allows everything.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use pileus_aws::ec2;
use pileus_contract::fabric::TrafficSpec;
use pileus_core::ApiError;
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::resource::Resource;
use crate::select::{Filters, Selection, one, select};
use crate::tags;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkAcl {
    pub id: String,
    pub vpc: String,
    pub default: bool,
    /// In order of evaluation.
    pub ingress: Vec<Entry>,
    pub egress: Vec<Entry>,
    /// The subnets that it guards, each with the id of the association.
    pub associations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// 1..=32766.
    pub number: u16,
    pub allow: bool,
    pub traffic: TrafficSpec,
    pub peer: Ipv4Net,
}

impl Record for NetworkAcl {
    const KIND: &'static str = "ec2/network-acl";

    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Resource for NetworkAcl {
    const PREFIX: &'static str = "acl";
    const TYPE: &'static str = "network-acl";
    const NOUN: &'static str = "networkAcl ID";
    const NOT_FOUND: &'static str = "InvalidNetworkAclID.NotFound";
    const MALFORMED: &'static str = "InvalidNetworkAclId.Malformed";
}

/// The number of the rule at the end of every ACL, which denies.
const LAST: u16 = 32767;

pub fn operations(router: &mut Router) {
    router.on::<ec2::ops::DescribeNetworkAcls>(describe_network_acls);
}

pub(crate) fn create_default(cx: &mut Context, vpc: &str) {
    let allow =
        || vec![Entry { number: 100, allow: true, traffic: TrafficSpec::All, peer: Ipv4Net::default() }];
    cx.tx.put(NetworkAcl {
        id: cx.ids.ec2(NetworkAcl::PREFIX),
        vpc: vpc.to_owned(),
        default: true,
        ingress: allow(),
        egress: allow(),
        associations: BTreeMap::new(),
    });
}

pub(crate) fn delete_default(tx: &mut Tx, vpc: &str) {
    if let Some(acl) = tx.find::<NetworkAcl>(|acl| acl.vpc == vpc && acl.default) {
        tags::forget(tx, &acl.id);
        tx.delete::<NetworkAcl>(&acl.id);
    }
}

/// Puts a new subnet behind its VPC's default ACL.
pub(crate) fn associate_default(cx: &mut Context, vpc: &str, subnet: &str) {
    let acl = cx.tx.find::<NetworkAcl>(|acl| acl.vpc == vpc && acl.default).expect("a VPC has a default ACL");
    let association = cx.ids.ec2("aclassoc");
    cx.tx.update::<NetworkAcl>(&acl.id, |acl| drop(acl.associations.insert(subnet.to_owned(), association)));
}

/// Drops the association of a subnet that is no more.
pub(crate) fn forget_subnet(tx: &mut Tx, subnet: &str) {
    if let Some(acl) = tx.find::<NetworkAcl>(|acl| acl.associations.contains_key(subnet)) {
        tx.update::<NetworkAcl>(&acl.id, |acl| drop(acl.associations.remove(subnet)));
    }
}

const FILTERS: Filters<NetworkAcl> = &[
    ("association.association-id", |_, acl| acl.associations.values().cloned().collect()),
    ("association.network-acl-id", |_, acl| one(&acl.id)),
    ("association.subnet-id", |_, acl| acl.associations.keys().cloned().collect()),
    ("default", |_, acl| one(acl.default)),
    ("network-acl-id", |_, acl| one(&acl.id)),
    ("owner-id", |tx, _| one(&tx.scope().account)),
    ("vpc-id", |_, acl| one(&acl.vpc)),
];

fn describe_network_acls(
    cx: &mut Context,
    input: ec2::DescribeNetworkAclsRequest,
) -> Result<ec2::DescribeNetworkAclsResult, ApiError> {
    let selection = Selection {
        ids: &input.network_acl_ids,
        filters: &input.filters,
        next_token: &input.next_token,
        max_results: input.max_results,
    };
    let (acls, next_token) = select(cx.tx, selection, FILTERS)?;
    let network_acls = Some(acls.iter().map(|acl| shape(cx.tx, acl)).collect());
    Ok(ec2::DescribeNetworkAclsResult { network_acls, next_token })
}

fn shape(tx: &Tx, acl: &NetworkAcl) -> ec2::NetworkAcl {
    let associations = acl.associations.iter().map(|(subnet, association)| ec2::NetworkAclAssociation {
        network_acl_association_id: Some(association.clone()),
        network_acl_id: Some(acl.id.clone()),
        subnet_id: Some(subnet.clone()),
    });
    ec2::NetworkAcl {
        associations: Some(associations.collect()),
        entries: Some([entries(&acl.egress, true), entries(&acl.ingress, false)].concat()),
        is_default: Some(acl.default),
        network_acl_id: Some(acl.id.clone()),
        tags: tags::shapes(tx, &acl.id),
        vpc_id: Some(acl.vpc.clone()),
        owner_id: Some(tx.scope().account.clone()),
    }
}

/// The entries of one direction, with the one at the end that denies.
fn entries(entries: &[Entry], egress: bool) -> Vec<ec2::NetworkAclEntry> {
    let last = Entry { number: LAST, allow: false, traffic: TrafficSpec::All, peer: Ipv4Net::default() };
    entries.iter().chain([&last]).map(|entry| entry_shape(entry, egress)).collect()
}

fn entry_shape(entry: &Entry, egress: bool) -> ec2::NetworkAclEntry {
    let ports = |from: u16, to: u16| Some(ec2::PortRange { from: Some(from.into()), to: Some(to.into()) });
    let any = |part: Option<u8>| Some(part.map_or(-1, i64::from));
    let (protocol, port_range, icmp_type_code) = match entry.traffic {
        TrafficSpec::All => ("-1".to_owned(), None, None),
        TrafficSpec::Tcp { from, to } => ("6".to_owned(), ports(from, to), None),
        TrafficSpec::Udp { from, to } => ("17".to_owned(), ports(from, to), None),
        TrafficSpec::Icmp { kind, code } => {
            ("1".to_owned(), None, Some(ec2::IcmpTypeCode { code: any(code), r#type: any(kind) }))
        }
        TrafficSpec::Protocol(number) => (number.to_string(), None, None),
    };
    ec2::NetworkAclEntry {
        cidr_block: Some(entry.peer.to_string()),
        egress: Some(egress),
        icmp_type_code,
        ipv6_cidr_block: None,
        port_range,
        protocol: Some(protocol),
        rule_action: Some(if entry.allow { "allow" } else { "deny" }.into()),
        rule_number: Some(entry.number.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, filter, subnet, vpc};

    #[test]
    fn the_default_acl_allows_everything_and_guards_every_subnet() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/24");
        let input = ec2::DescribeNetworkAclsRequest {
            filters: filter("association.subnet-id", &subnet),
            ..Default::default()
        };
        let acl = cloud.ok::<ec2::ops::DescribeNetworkAcls>(input).network_acls.unwrap().remove(0);
        assert_eq!(acl.is_default, Some(true));
        assert_eq!(acl.associations.unwrap()[0].subnet_id, Some(subnet));
        let rules: Vec<_> =
            acl.entries.unwrap().into_iter().map(|e| (e.egress, e.rule_number, e.rule_action)).collect();
        let rule = |egress, number, action: &str| (Some(egress), Some(number), Some(action.to_owned()));
        let (out, into) = ([rule(true, 100, "allow"), rule(true, 32767, "deny")], false);
        assert_eq!(rules, [out.to_vec(), vec![rule(into, 100, "allow"), rule(into, 32767, "deny")]].concat());
    }
}
