//! Network ACLs: stateless rules at the border of subnets. Each VPC has its default one, which allows everything.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>

mod entry;

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use pileus_aws::ec2;
use pileus_contract::fabric::TrafficSpec;
use pileus_core::ApiError;
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::Vpc;
use crate::resource::{Resource, find, in_use, invalid};
use crate::select::{Filters, Selection, one, select};
use crate::tags;

pub use entry::Entry;

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
    client_token: Option<String>,
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

pub fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::CreateNetworkAcl>(create_network_acl)
        .on::<ec2::ops::DeleteNetworkAcl>(delete_network_acl)
        .on::<ec2::ops::ReplaceNetworkAclAssociation>(replace_network_acl_association)
        .on::<ec2::ops::DescribeNetworkAcls>(describe_network_acls);
    entry::operations(router);
}

/// An ACL that no subnet has, and that denies everything.
fn new(cx: &mut Context, vpc: &str) -> NetworkAcl {
    NetworkAcl {
        id: cx.ids.ec2(NetworkAcl::PREFIX),
        vpc: vpc.to_owned(),
        default: false,
        ingress: Vec::new(),
        egress: Vec::new(),
        associations: BTreeMap::new(),
        client_token: None,
    }
}

fn create_network_acl(
    cx: &mut Context,
    input: ec2::CreateNetworkAclRequest,
) -> Result<ec2::CreateNetworkAclResult, ApiError> {
    let vpc = find::<Vpc>(cx.tx, &input.vpc_id)?;
    let tags = tags::specified::<NetworkAcl>(&input.tag_specifications)?;
    let token = input.client_token;
    let earlier = token.as_ref().and_then(|_| cx.tx.find::<NetworkAcl>(|acl| acl.client_token == token));
    let acl = match earlier {
        Some(acl) if acl.vpc != vpc.id => {
            let message = "The client token was used before with other parameters.";
            return Err(ApiError::client("IdempotentParameterMismatch", message));
        }
        Some(acl) => NetworkAcl::clone(&acl),
        None => {
            let acl = NetworkAcl { client_token: token.clone(), ..new(cx, &vpc.id) };
            cx.tx.put(acl.clone());
            tags::put::<NetworkAcl>(cx.tx, &acl.id, tags);
            acl
        }
    };
    Ok(ec2::CreateNetworkAclResult { network_acl: Some(shape(cx.tx, &acl)), client_token: token })
}

fn delete_network_acl(
    cx: &mut Context,
    input: ec2::DeleteNetworkAclRequest,
) -> Result<pileus_model::Unit, ApiError> {
    let acl = find::<NetworkAcl>(cx.tx, &input.network_acl_id)?;
    if acl.default {
        return Err(invalid(format!("cannot delete default network ACL {}", acl.id)));
    }
    if !acl.associations.is_empty() {
        return Err(in_use("networkAcl", &acl.id));
    }
    tags::forget(cx.tx, &acl.id);
    cx.tx.delete::<NetworkAcl>(&acl.id);
    Ok(pileus_model::Unit {})
}

/// Puts the subnet of an association behind another ACL; the association gets a new id.
fn replace_network_acl_association(
    cx: &mut Context,
    input: ec2::ReplaceNetworkAclAssociationRequest,
) -> Result<ec2::ReplaceNetworkAclAssociationResult, ApiError> {
    let id = &input.association_id;
    let old = cx.tx.find::<NetworkAcl>(|acl| acl.associations.values().any(|known| known == id));
    let unknown = || {
        let message = format!("The association ID '{id}' does not exist");
        ApiError::client("InvalidAssociationID.NotFound", message)
    };
    let old = old.ok_or_else(unknown)?;
    let acl = find::<NetworkAcl>(cx.tx, &input.network_acl_id)?;
    if acl.vpc != old.vpc {
        return Err(invalid(format!("Network ACLs {} and {} belong to different networks", old.id, acl.id)));
    }
    let mut subnets = old.associations.iter();
    let subnet =
        subnets.find(|(_, known)| *known == id).map(|(subnet, _)| subnet.clone()).ok_or_else(unknown)?;
    let new = cx.ids.ec2("aclassoc");
    cx.tx.update::<NetworkAcl>(&old.id, |acl| drop(acl.associations.remove(&subnet)));
    cx.tx.update::<NetworkAcl>(&acl.id, |acl| drop(acl.associations.insert(subnet, new.clone())));
    Ok(ec2::ReplaceNetworkAclAssociationResult { new_association_id: Some(new) })
}

pub(crate) fn create_default(cx: &mut Context, vpc: &str) {
    let allow =
        || vec![Entry { number: 100, allow: true, traffic: TrafficSpec::All, peer: Ipv4Net::default() }];
    let acl = NetworkAcl { default: true, ingress: allow(), egress: allow(), ..new(cx, vpc) };
    cx.tx.put(acl);
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

/// A value of each entry.
fn of_entries(acl: &NetworkAcl, value: fn(ec2::NetworkAclEntry) -> Option<String>) -> Vec<String> {
    let all = [entry::shapes(&acl.egress, true), entry::shapes(&acl.ingress, false)].concat();
    all.into_iter().filter_map(value).collect()
}

const FILTERS: Filters<NetworkAcl> = &[
    ("association.association-id", |_, acl| acl.associations.values().cloned().collect()),
    ("association.network-acl-id", |_, acl| one(&acl.id)),
    ("association.subnet-id", |_, acl| acl.associations.keys().cloned().collect()),
    ("default", |_, acl| one(acl.default)),
    ("entry.cidr", |_, acl| of_entries(acl, |entry| entry.cidr_block)),
    ("entry.egress", |_, acl| of_entries(acl, |entry| entry.egress.map(|egress| egress.to_string()))),
    ("entry.protocol", |_, acl| of_entries(acl, |entry| entry.protocol)),
    ("entry.rule-action", |_, acl| of_entries(acl, |entry| entry.rule_action)),
    ("entry.rule-number", |_, acl| of_entries(acl, |entry| entry.rule_number.map(|it| it.to_string()))),
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
        entries: Some([entry::shapes(&acl.egress, true), entry::shapes(&acl.ingress, false)].concat()),
        is_default: Some(acl.default),
        network_acl_id: Some(acl.id.clone()),
        tags: tags::shapes(tx, &acl.id),
        vpc_id: Some(acl.vpc.clone()),
        owner_id: Some(tx.scope().account.clone()),
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

    fn rule(
        acl: &str,
        number: i64,
        protocol: &str,
        ports: Option<(i64, i64)>,
    ) -> ec2::CreateNetworkAclEntryRequest {
        ec2::CreateNetworkAclEntryRequest {
            network_acl_id: acl.into(),
            rule_number: number,
            protocol: protocol.into(),
            rule_action: "allow".into(),
            egress: false,
            cidr_block: Some("10.0.0.0/8".into()),
            port_range: ports.map(|(from, to)| ec2::PortRange { from: Some(from), to: Some(to) }),
            ..Default::default()
        }
    }

    #[test]
    fn an_acl_of_ones_own_guards_a_subnet() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/24");
        let create = ec2::CreateNetworkAclRequest {
            vpc_id: vpc.clone(),
            client_token: Some("once".into()),
            ..Default::default()
        };
        let made = cloud.ok::<ec2::ops::CreateNetworkAcl>(create.clone()).network_acl.unwrap();
        let id = made.network_acl_id.unwrap();
        assert_eq!(made.entries.unwrap().len(), 2, "it denies everything");
        let again = cloud.ok::<ec2::ops::CreateNetworkAcl>(create).network_acl.unwrap();
        assert_eq!(again.network_acl_id.as_ref(), Some(&id));
        let acls = cloud.ok::<ec2::ops::DescribeNetworkAcls>(Default::default()).network_acls.unwrap();
        let association = acls.iter().flat_map(|acl| acl.associations.iter().flatten()).next().unwrap();
        let replace = |acl: &str, association: &str| ec2::ReplaceNetworkAclAssociationRequest {
            association_id: association.into(),
            network_acl_id: acl.into(),
        };
        let old = association.network_acl_association_id.clone().unwrap();
        type Replace = ec2::ops::ReplaceNetworkAclAssociation;
        let new = cloud.ok::<Replace>(replace(&id, &old)).new_association_id.unwrap();
        assert_eq!(cloud.code::<Replace>(replace(&id, &old)), "InvalidAssociationID.NotFound");
        cloud.ok::<ec2::ops::CreateNetworkAclEntry>(rule(&id, 200, "tcp", Some((80, 81))));
        cloud.ok::<ec2::ops::CreateNetworkAclEntry>(rule(&id, 100, "-1", None));
        let spec = crate::fabric_spec(&cloud.state).vpcs.remove(0);
        assert_eq!((spec.subnets[0].id.as_str(), spec.subnets[0].acl_egress.len()), (subnet.as_str(), 0));
        let traffic: Vec<_> = spec.subnets[0].acl_ingress.iter().map(|rule| &rule.traffic).collect();
        assert_eq!(traffic, [&TrafficSpec::All, &TrafficSpec::Tcp { from: 80, to: 81 }]);
        let delete = ec2::DeleteNetworkAclRequest { network_acl_id: id.clone() };
        assert_eq!(cloud.code::<ec2::ops::DeleteNetworkAcl>(delete.clone()), "DependencyViolation");
        let default = acls[0].network_acl_id.clone().filter(|other| *other != id);
        let default = default.or_else(|| acls[1].network_acl_id.clone()).unwrap();
        cloud.ok::<Replace>(replace(&default, &new));
        cloud.ok::<ec2::ops::DeleteNetworkAcl>(delete.clone());
        assert_eq!(cloud.code::<ec2::ops::DeleteNetworkAcl>(delete), "InvalidNetworkAclID.NotFound");
        let main = ec2::DeleteNetworkAclRequest { network_acl_id: default };
        assert_eq!(cloud.code::<ec2::ops::DeleteNetworkAcl>(main), "InvalidParameterValue");
    }

    #[test]
    fn entries_are_changed_by_their_numbers() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let input = ec2::CreateNetworkAclRequest { vpc_id: vpc, ..Default::default() };
        let id = cloud.ok::<ec2::ops::CreateNetworkAcl>(input).network_acl.unwrap().network_acl_id.unwrap();
        type Create = ec2::ops::CreateNetworkAclEntry;
        cloud.ok::<Create>(rule(&id, 1, "6", Some((80, 80))));
        for (input, code) in [
            (rule(&id, 1, "-1", None), "NetworkAclEntryAlreadyExists"),
            (rule(&id, 0, "-1", None), "InvalidParameterValue"),
            (rule(&id, 32767, "-1", None), "InvalidParameterValue"),
            (rule(&id, 2, "tcp", None), "MissingParameter"),
            (rule(&id, 2, "tcp", Some((81, 80))), "InvalidParameterValue"),
            (rule(&id, 2, "icmp", None), "MissingParameter"),
            (rule(&id, 2, "http", None), "InvalidParameterValue"),
            (rule("acl-00000000000000000", 2, "-1", None), "InvalidNetworkAclID.NotFound"),
            (
                ec2::CreateNetworkAclEntryRequest { cidr_block: None, ..rule(&id, 2, "-1", None) },
                "MissingParameter",
            ),
        ] {
            assert_eq!(cloud.code::<Create>(input.clone()), code, "{input:?}");
        }
        let replace = |number| ec2::ReplaceNetworkAclEntryRequest {
            network_acl_id: id.clone(),
            rule_number: number,
            protocol: "-1".into(),
            rule_action: "deny".into(),
            egress: false,
            cidr_block: Some("0.0.0.0/0".into()),
            ..Default::default()
        };
        cloud.ok::<ec2::ops::ReplaceNetworkAclEntry>(replace(1));
        let code = cloud.code::<ec2::ops::ReplaceNetworkAclEntry>(replace(2));
        assert_eq!(code, "InvalidNetworkAclEntry.NotFound");
        let delete =
            |egress| ec2::DeleteNetworkAclEntryRequest { network_acl_id: id.clone(), rule_number: 1, egress };
        type Delete = ec2::ops::DeleteNetworkAclEntry;
        assert_eq!(cloud.code::<Delete>(delete(true)), "InvalidNetworkAclEntry.NotFound");
        cloud.ok::<Delete>(delete(false));
        assert_eq!(cloud.code::<Delete>(delete(false)), "InvalidNetworkAclEntry.NotFound");
    }
}
