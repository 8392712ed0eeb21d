//! How the API shows interfaces.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeNetworkInterfaces.html>

use pileus_aws::ec2;
use pileus_core::ApiError;
use pileus_service::{Context, Router};
use pileus_state::Tx;

use super::{Attachment, Interface, PublicAssociation, is_ready};
use crate::select::{Filters, Selection, one, select};
use crate::vpc::private_domain;
use crate::{SecurityGroup, Vpc, tags, zone};

pub(super) fn operations(router: &mut Router) {
    router.on::<ec2::ops::DescribeNetworkInterfaces>(describe_network_interfaces);
}

/// A value of the attachment, if there is one.
fn of_attachment(interface: &Interface, value: impl Fn(&Attachment) -> String) -> Vec<String> {
    interface.attachment.iter().map(value).collect()
}

/// A value of the public association, if there is one.
fn of_public(interface: &Interface, value: impl Fn(&PublicAssociation) -> String) -> Vec<String> {
    interface.public.iter().map(value).collect()
}

const FILTERS: Filters<Interface> = &[
    ("addresses.association.public-ip", |_, it| of_public(it, |public| public.address.to_string())),
    ("addresses.primary", |_, _| one(true)),
    ("addresses.private-ip-address", |_, it| one(it.address)),
    ("association.allocation-id", |_, it| {
        it.public.iter().filter_map(|public| public.allocation.clone()).collect()
    }),
    ("association.association-id", |_, it| of_public(it, |public| public.id.clone())),
    ("association.public-ip", |_, it| of_public(it, |public| public.address.to_string())),
    ("attachment.attachment-id", |_, it| of_attachment(it, |attachment| attachment.id.clone())),
    ("attachment.instance-owner-id", |_, it| of_attachment(it, |attachment| attachment.owner.clone())),
    ("attachment.status", |tx, it| of_attachment(it, |_| attachment_status(tx, it).to_owned())),
    ("availability-zone", |_, it| one(&it.zone)),
    ("availability-zone-id", |tx, it| zone::id_of(&tx.scope().region, &it.zone).into_iter().collect()),
    ("description", |_, it| one(&it.description)),
    ("group-id", |_, it| it.groups.clone()),
    ("group-name", |tx, it| groups(tx, it).into_iter().filter_map(|group| group.group_name).collect()),
    ("interface-type", |_, it| one(&it.interface_type)),
    ("mac-address", |_, it| one(mac(it))),
    ("network-interface-id", |_, it| one(&it.id)),
    ("owner-id", |tx, _| one(&tx.scope().account)),
    ("private-dns-name", |tx, it| private_name(tx, it).into_iter().collect()),
    ("private-ip-address", |_, it| one(it.address)),
    ("requester-id", |_, it| it.requester.iter().cloned().collect()),
    ("requester-managed", |_, it| one(it.requester.is_some())),
    ("source-dest-check", |_, it| one(source_dest_check(it))),
    ("status", |tx, it| one(status(tx, it))),
    ("subnet-id", |_, it| one(&it.subnet)),
    ("vpc-id", |_, it| one(&it.vpc)),
];

fn describe_network_interfaces(
    cx: &mut Context,
    input: ec2::DescribeNetworkInterfacesRequest,
) -> Result<ec2::DescribeNetworkInterfacesResult, ApiError> {
    let selection = Selection {
        ids: &input.network_interface_ids,
        filters: &input.filters,
        next_token: &input.next_token,
        max_results: input.max_results,
    };
    let (interfaces, next_token) = select(cx.tx, selection, FILTERS)?;
    let network_interfaces = Some(interfaces.iter().map(|interface| shape(cx.tx, interface)).collect());
    Ok(ec2::DescribeNetworkInterfacesResult { network_interfaces, next_token })
}

fn status(tx: &Tx, interface: &Interface) -> &'static str {
    match &interface.attachment {
        None => "available",
        Some(_) if is_ready(tx, &interface.id) => "in-use",
        Some(_) => "attaching",
    }
}

fn attachment_status(tx: &Tx, interface: &Interface) -> &'static str {
    if is_ready(tx, &interface.id) { "attached" } else { "attaching" }
}

/// A NAT gateway forwards what is not its own.
fn source_dest_check(interface: &Interface) -> bool {
    interface.interface_type != super::NAT_GATEWAY
}

fn mac(interface: &Interface) -> String {
    interface.mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn groups(tx: &Tx, interface: &Interface) -> Vec<ec2::GroupIdentifier> {
    let group = |id: &String| ec2::GroupIdentifier {
        group_id: Some(id.clone()),
        group_name: tx.get::<SecurityGroup>(id).map(|group| group.name.clone()),
    };
    interface.groups.iter().map(group).collect()
}

fn has_names(tx: &Tx, interface: &Interface) -> bool {
    tx.get::<Vpc>(&interface.vpc).is_some_and(|vpc| vpc.dns_hostnames)
}

fn private_name(tx: &Tx, interface: &Interface) -> Option<String> {
    has_names(tx, interface).then(|| interface.private_name(&private_domain(tx.scope())))
}

impl Interface {
    /// The name by which its VPC's resolver knows it: `ip-10-0-1-5.<domain>`.
    pub(crate) fn private_name(&self, domain: &str) -> String {
        let [a, b, c, d] = self.address.octets();
        format!("ip-{a}-{b}-{c}-{d}.{domain}")
    }
}

fn association(tx: &Tx, interface: &Interface) -> Option<ec2::NetworkInterfaceAssociation> {
    let public = interface.public.as_ref()?;
    let owner = if public.allocation.is_some() { tx.scope().account.as_str() } else { "amazon" };
    Some(ec2::NetworkInterfaceAssociation {
        allocation_id: public.allocation.clone(),
        association_id: Some(public.id.clone()),
        ip_owner_id: Some(owner.to_owned()),
        public_ip: Some(public.address.to_string()),
        ..Default::default()
    })
}

fn attachment(tx: &Tx, interface: &Interface) -> Option<ec2::NetworkInterfaceAttachment> {
    let attachment = interface.attachment.as_ref()?;
    Some(ec2::NetworkInterfaceAttachment {
        attach_time: Some(attachment.at),
        attachment_id: Some(attachment.id.clone()),
        delete_on_termination: Some(false),
        device_index: Some(1),
        network_card_index: Some(0),
        instance_owner_id: Some(attachment.owner.clone()),
        status: Some(attachment_status(tx, interface).into()),
        ..Default::default()
    })
}

pub(super) fn shape(tx: &Tx, interface: &Interface) -> ec2::NetworkInterface {
    let scope = tx.scope();
    let name = private_name(tx, interface);
    let address = Some(interface.address.to_string());
    ec2::NetworkInterface {
        association: association(tx, interface),
        attachment: attachment(tx, interface),
        availability_zone: Some(interface.zone.clone()),
        availability_zone_id: zone::id_of(&scope.region, &interface.zone),
        description: Some(interface.description.clone()),
        groups: Some(groups(tx, interface)),
        interface_type: Some(interface.interface_type.clone()),
        ipv6_addresses: Some(Vec::new()),
        mac_address: Some(mac(interface)),
        network_interface_id: Some(interface.id.clone()),
        owner_id: Some(scope.account.clone()),
        private_dns_name: name.clone(),
        private_ip_address: address.clone(),
        private_ip_addresses: Some(vec![ec2::NetworkInterfacePrivateIpAddress {
            association: association(tx, interface),
            primary: Some(true),
            private_dns_name: name,
            private_ip_address: address,
        }]),
        requester_id: interface.requester.clone(),
        requester_managed: Some(interface.requester.is_some()),
        source_dest_check: Some(source_dest_check(interface)),
        status: Some(status(tx, interface).into()),
        subnet_id: Some(interface.subnet.clone()),
        tag_set: tags::shapes(tx, &interface.id),
        vpc_id: Some(interface.vpc.clone()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NewInterface;
    use crate::testing::{apply, cloud, filter, subnet, vpc};

    #[test]
    fn an_interface_is_in_use_once_the_machine_has_made_it() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let new = NewInterface {
            subnet: subnet(&mut cloud, &vpc, "10.0.1.0/24"),
            description: "ELB app/web/0123456789abcdef".into(),
            requester: Some("amazon-elb".into()),
            attachment_owner: Some("amazon-elb".into()),
            ..Default::default()
        };
        let made = cloud.write(|cx| super::super::create(cx.tx, cx.ids, cx.now, new)).unwrap();
        let find = |cloud: &mut pileus_kit::Cloud, name: &str, value: &str| {
            let input =
                ec2::DescribeNetworkInterfacesRequest { filters: filter(name, value), ..Default::default() };
            cloud.ok::<ec2::ops::DescribeNetworkInterfaces>(input).network_interfaces.unwrap().pop()
        };
        let shape = find(&mut cloud, "attachment.instance-owner-id", "amazon-elb").unwrap();
        assert_eq!(shape.status.as_deref(), Some("attaching"));
        assert_eq!((shape.requester_managed, shape.source_dest_check), (Some(true), Some(true)));
        apply(&mut cloud);
        let shape = find(&mut cloud, "description", "ELB app/web/*").unwrap();
        assert_eq!(shape.status.as_deref(), Some("in-use"));
        assert_eq!(shape.groups.unwrap()[0].group_name.as_deref(), Some("default"));
        cloud.write(|cx| super::super::delete(cx.tx, &made.id));
        assert_eq!(find(&mut cloud, "status", "in-use"), None);
        assert_eq!(cloud.state.all::<crate::InterfaceReady>().count(), 0);
    }
}
