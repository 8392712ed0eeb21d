//! Whether a task could reach an AWS service on AWS, and why not: over TCP port 443, by the records alone.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-task-networking.html>

use std::net::Ipv4Addr;
use std::sync::Arc;

use pileus_contract::fabric::TrafficSpec;
use pileus_state::Tx;

use crate::endpoints::Service;
use crate::network_acl::Entry;
use crate::route_table::{Destination, Target};
use crate::security_group::Peer;
use crate::vpc_endpoint::Way;
use crate::{
    Interface, InternetGateway, NatGateway, NetworkAcl, RouteTable, Rule, Subnet, Vpc, VpcEndpoint,
    prefix_list, public_pool, vpc_endpoint,
};

const HTTPS: u16 = 443;
/// The first and the last port from which Linux opens connections, where the answers must get through.
const ANSWERS: [u16; 2] = [32768, 60999];

/// Where a task is, or would be.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub subnet: &'a str,
    pub groups: &'a [String],
    /// Whether it has a public address.
    pub public: bool,
}

/// A service that cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// The host name that does not answer.
    pub host: String,
    /// What is missing or closed, in AWS's words.
    pub reason: String,
}

/// Whether a service, by its short name as in `ecr.api`, can be reached from a place.
///
/// # Errors
/// Why not. Of a service or subnet that is unknown nothing is said.
pub fn reach(tx: &Tx, place: Place, service: &str) -> Result<(), Unreachable> {
    let (Some(service), Some(subnet)) = (Service::find(service), tx.get::<Subnet>(place.subnet)) else {
        return Ok(());
    };
    let host = service.host(&tx.scope().region);
    Look { tx, place, subnet, service }.way().map_err(|reason| Unreachable { host, reason })
}

struct Look<'a> {
    tx: &'a Tx<'a>,
    place: Place<'a>,
    subnet: Arc<Subnet>,
    service: &'static Service,
}

impl Look<'_> {
    fn way(&self) -> Result<(), String> {
        let hostnames = self.tx.get::<Vpc>(&self.subnet.vpc).is_some_and(|vpc| vpc.dns_hostnames);
        let private = |it: &VpcEndpoint| matches!(&it.way, Way::Interface { private_dns: true, interfaces, .. } if !interfaces.is_empty());
        let endpoint = vpc_endpoint::of_vpc(self.tx, &self.subnet.vpc, self.service, private);
        if let Some(endpoint) = endpoint.filter(|_| hostnames) {
            return self.through_interfaces(&endpoint);
        }
        let address = public_pool::apis(self.tx.base()).of(self.service);
        let Some(table) = self.route_table() else { return Ok(()) };
        let gateway = |it: &VpcEndpoint| it.gateway().is_some_and(|(_, tables)| tables.contains(&table.id));
        if vpc_endpoint::of_vpc(self.tx, &self.subnet.vpc, self.service, gateway).is_none() {
            self.through_table(&table, address)?;
        }
        self.leaves(address, &[])?;
        self.passes(&self.subnet.id, address, true)
    }

    /// The name leads to the endpoint, so no other way counts.
    fn through_interfaces(&self, endpoint: &VpcEndpoint) -> Result<(), String> {
        let mut problem = Ok(());
        for (_, id) in endpoint.interfaces() {
            let Some(interface) = self.tx.get::<Interface>(id) else { continue };
            problem = self.leaves(interface.address, &interface.groups).and_then(|()| {
                self.crosses(&interface.subnet, interface.address)?;
                let open =
                    interface.groups.iter().any(|group| self.allows(group, false, None, self.place.groups));
                if open { Ok(()) } else { Err(self.closed(endpoint, &interface.groups)) }
            });
            if problem.is_ok() {
                return Ok(());
            }
        }
        problem
    }

    fn closed(&self, endpoint: &VpcEndpoint, groups: &[String]) -> String {
        format!(
            "the security group {} of the VPC endpoint {} ({}) does not allow TCP port 443 from {} or {}",
            groups.join(", "),
            endpoint.id,
            self.service.endpoint_name(&self.tx.scope().region),
            self.subnet.cidr,
            self.place.groups.join(", "),
        )
    }

    /// Whether the network ACLs between the task's subnet and another let the connection through.
    fn crosses(&self, other: &str, address: Ipv4Addr) -> Result<(), String> {
        if other == self.subnet.id {
            return Ok(());
        }
        self.passes(&self.subnet.id, address, true)?;
        self.passes(other, self.subnet.cidr.network(), false)
    }

    /// Whether the ACL of a subnet lets connections with an address out or in, and their answers back.
    fn passes(&self, subnet: &str, address: Ipv4Addr, out: bool) -> Result<(), String> {
        let Some(acl) = self.tx.find::<NetworkAcl>(|acl| acl.associations.contains_key(subnet)) else {
            return Ok(());
        };
        let (there, back) = if out { (&acl.egress, &acl.ingress) } else { (&acl.ingress, &acl.egress) };
        if !allowed(there, address, HTTPS) {
            return Err(format!(
                "the network ACL {} of {subnet} does not allow TCP port 443 with {address}",
                acl.id
            ));
        }
        if !ANSWERS.iter().all(|port| allowed(back, address, *port)) {
            let [first, last] = ANSWERS;
            return Err(format!(
                "the network ACL {} of {subnet} does not allow the answers, to TCP ports {first}-{last}",
                acl.id
            ));
        }
        Ok(())
    }

    /// Whether the task's own groups let it speak to an address, which carries `groups`.
    fn leaves(&self, address: Ipv4Addr, groups: &[String]) -> Result<(), String> {
        if self.place.groups.iter().any(|group| self.allows(group, true, Some(address), groups)) {
            return Ok(());
        }
        Err(format!(
            "the security group {} of the task does not allow outbound TCP port 443 to {address}",
            self.place.groups.join(", ")
        ))
    }

    /// Whether a rule of a group allows the port with a peer, which has an address, or is anywhere in the task's
    /// subnet, and carries groups.
    fn allows(&self, group: &str, egress: bool, address: Option<Ipv4Addr>, groups: &[String]) -> bool {
        let rule = |rule: &Rule| {
            let peer = match &rule.peer {
                Peer::Group(id) => groups.contains(id),
                _ => rule.blocks(self.tx.base(), self.tx.scope()).iter().any(|block| match address {
                    Some(address) => block.contains(&address),
                    None => block.contains(&self.subnet.cidr),
                }),
            };
            rule.group == group && rule.egress == egress && peer && covers(&rule.traffic, HTTPS)
        };
        self.tx.find::<Rule>(rule).is_some()
    }

    /// The subnet's own table, else the main one.
    fn route_table(&self) -> Option<Arc<RouteTable>> {
        let own = self.tx.find::<RouteTable>(|table| table.associations.contains_key(&self.subnet.id));
        own.or_else(|| {
            self.tx.find::<RouteTable>(|table| table.vpc == self.subnet.vpc && table.main.is_some())
        })
    }

    /// Where the table leads packets to an address: the most specific route.
    fn target<'a>(&self, table: &'a RouteTable, address: Ipv4Addr) -> Option<&'a Target> {
        let length = |destination: &Destination| {
            let blocks = match destination {
                Destination::Block(block) => vec![*block],
                Destination::PrefixList(id) => {
                    prefix_list::blocks(self.tx.base(), &self.tx.scope().region, id)
                }
            };
            blocks.iter().filter(|block| block.contains(&address)).map(ipnet::Ipv4Net::prefix_len).max()
        };
        let routes =
            table.routes.iter().filter_map(|route| Some((length(&route.destination)?, &route.target)));
        routes.max_by_key(|(length, _)| *length).map(|(_, target)| target)
    }

    fn through_table(&self, table: &RouteTable, address: Ipv4Addr) -> Result<(), String> {
        match self.target(table, address) {
            Some(Target::InternetGateway(id)) if self.is_attached(id) => {
                let missing = "has a route to an internet gateway, but the task has no public IP address \
                               (assignPublicIp is DISABLED)";
                if self.place.public { Ok(()) } else { Err(self.no_way(table, missing)) }
            }
            Some(Target::NatGateway(id)) => {
                match self.tx.get::<NatGateway>(id).filter(|nat| nat.state.is_up()) {
                    Some(nat) if self.is_public(&nat.subnet, address) => Ok(()),
                    Some(_) => {
                        let missing =
                            format!("leads to {id}, whose own subnet has no route to an internet gateway");
                        Err(self.no_way(table, &missing))
                    }
                    None => {
                        Err(self.no_way(table, &format!("leads to {id}, which does not exist (blackhole)")))
                    }
                }
            }
            // Whatever forwards there is the user's own.
            Some(Target::Interface(_)) => Ok(()),
            Some(Target::InternetGateway(id)) => {
                Err(self.no_way(table, &format!("leads to {id}, which is not attached (blackhole)")))
            }
            None => Err(self.no_way(table, "has no route to an internet or NAT gateway")),
        }
    }

    fn is_attached(&self, gateway: &str) -> bool {
        let gateway = self.tx.get::<InternetGateway>(gateway);
        gateway.is_some_and(|gateway| gateway.vpc.as_ref() == Some(&self.subnet.vpc))
    }

    fn is_public(&self, subnet: &str, address: Ipv4Addr) -> bool {
        let Some(subnet) = self.tx.get::<Subnet>(subnet) else { return false };
        let there = Look { tx: self.tx, place: self.place, subnet, service: self.service };
        let table = there.route_table();
        let target = table.as_ref().and_then(|table| there.target(table, address));
        matches!(target, Some(Target::InternetGateway(id)) if there.is_attached(id))
    }

    fn no_way(&self, table: &RouteTable, missing: &str) -> String {
        format!(
            "there is no route: the route table {} of {} {missing}, and {} has no VPC endpoint for {}",
            table.id,
            self.subnet.id,
            self.subnet.vpc,
            self.service.endpoint_name(&self.tx.scope().region),
        )
    }
}

/// Whether a kind of traffic includes TCP to a port.
fn covers(traffic: &TrafficSpec, port: u16) -> bool {
    match traffic {
        TrafficSpec::All => true,
        TrafficSpec::Tcp { from, to } => (*from..=*to).contains(&port),
        TrafficSpec::Protocol(number) => *number == 6,
        TrafficSpec::Udp { .. } | TrafficSpec::Icmp { .. } => false,
    }
}

/// What the first entry that matches says; the end denies.
fn allowed(entries: &[Entry], address: Ipv4Addr, port: u16) -> bool {
    let mut matching =
        entries.iter().filter(|entry| entry.peer.contains(&address) && covers(&entry.traffic, port));
    matching.next().is_some_and(|entry| entry.allow)
}

#[cfg(test)]
mod tests {
    use pileus_aws::ec2;
    use pileus_kit::Cloud;

    use super::*;
    use crate::testing::{cloud, group, internet_gateway, nat_gateway, subnet, vpc};

    fn problem(cloud: &Cloud, subnet: &str, group: &str, public: bool, service: &str) -> Option<String> {
        let tx = Tx::new(&cloud.state, cloud.scope.clone());
        let place = Place { subnet, groups: &[group.to_owned()], public };
        reach(&tx, place, service).err().map(|it| it.reason)
    }

    fn default_route(cloud: &mut Cloud, gateway: Option<&str>, nat: Option<&str>) {
        let tables = cloud.ok::<ec2::ops::DescribeRouteTables>(Default::default()).route_tables.unwrap();
        let input = ec2::CreateRouteRequest {
            route_table_id: tables[0].route_table_id.clone().unwrap(),
            destination_cidr_block: Some("0.0.0.0/0".into()),
            gateway_id: gateway.map(Into::into),
            nat_gateway_id: nat.map(Into::into),
            ..Default::default()
        };
        cloud.ok::<ec2::ops::CreateRoute>(input);
    }

    #[test]
    fn an_internet_gateway_needs_a_public_address() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let (subnet, tasks) = (subnet(&mut cloud, &vpc, "10.0.1.0/24"), group(&mut cloud, &vpc, "tasks"));
        let none = problem(&cloud, &subnet, &tasks, true, "ecr.api").unwrap();
        assert!(none.contains("has no route") && none.contains("com.amazonaws.us-east-1.ecr.api"), "{none}");
        let gateway = internet_gateway(&mut cloud, &vpc);
        default_route(&mut cloud, Some(&gateway), None);
        assert_eq!(problem(&cloud, &subnet, &tasks, true, "ecr.api"), None);
        let private = problem(&cloud, &subnet, &tasks, false, "ecr.api").unwrap();
        assert!(private.contains("no public IP address"), "{private}");
        let acls = cloud.ok::<ec2::ops::DescribeNetworkAcls>(Default::default()).network_acls.unwrap();
        let answers = |port: i64| ec2::CreateNetworkAclEntryRequest {
            network_acl_id: acls[0].network_acl_id.clone().unwrap(),
            rule_number: 1,
            protocol: "6".into(),
            rule_action: "deny".into(),
            egress: false,
            cidr_block: Some("0.0.0.0/0".into()),
            port_range: Some(ec2::PortRange { from: Some(1024), to: Some(port) }),
            ..Default::default()
        };
        cloud.ok::<ec2::ops::CreateNetworkAclEntry>(answers(65535));
        let blocked = problem(&cloud, &subnet, &tasks, true, "ecr.api").unwrap();
        assert!(blocked.contains("does not allow the answers"), "{blocked}");
    }

    #[test]
    fn a_nat_gateway_needs_a_public_subnet() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let (subnet, tasks) = (subnet(&mut cloud, &vpc, "10.0.1.0/24"), group(&mut cloud, &vpc, "tasks"));
        internet_gateway(&mut cloud, &vpc);
        let nat = nat_gateway(&mut cloud, &subnet);
        default_route(&mut cloud, None, Some(&nat));
        let problem = problem(&cloud, &subnet, &tasks, false, "logs").unwrap();
        assert!(problem.contains("whose own subnet has no route"), "{problem}");
    }

    #[test]
    fn an_endpoint_must_let_the_task_in() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        cloud.ok::<ec2::ops::ModifyVpcAttribute>(ec2::ModifyVpcAttributeRequest {
            vpc_id: vpc.clone(),
            enable_dns_hostnames: Some(ec2::AttributeBooleanValue { value: Some(true) }),
            ..Default::default()
        });
        let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/24");
        let (tasks, doors) = (group(&mut cloud, &vpc, "tasks"), group(&mut cloud, &vpc, "doors"));
        cloud.ok::<ec2::ops::CreateVpcEndpoint>(ec2::CreateVpcEndpointRequest {
            vpc_id: vpc,
            vpc_endpoint_type: Some("Interface".into()),
            service_name: Some("com.amazonaws.us-east-1.secretsmanager".into()),
            subnet_ids: Some(vec![subnet.clone()]),
            security_group_ids: Some(vec![doors.clone()]),
            ..Default::default()
        });
        let closed = problem(&cloud, &subnet, &tasks, false, "secretsmanager").unwrap();
        assert!(closed.contains(&doors) && closed.contains("443"), "{closed}");
        cloud.ok::<ec2::ops::AuthorizeSecurityGroupIngress>(ec2::AuthorizeSecurityGroupIngressRequest {
            group_id: Some(doors),
            ip_protocol: Some("tcp".into()),
            from_port: Some(443),
            to_port: Some(443),
            cidr_ip: Some("10.0.0.0/16".into()),
            ..Default::default()
        });
        assert_eq!(problem(&cloud, &subnet, &tasks, false, "secretsmanager"), None);
        assert!(problem(&cloud, &subnet, &tasks, false, "logs").is_some());
    }
}
