//! The network: VPCs, their subnets, interfaces, firewalls and ways out.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::MachineError;

/// Every network of one engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FabricSpec {
    pub vpcs: Vec<VpcSpec>,
    /// Availability zones that are cut off: no packet enters or leaves an interface in them.
    pub isolated_zones: BTreeSet<String>,
    /// What the VPCs find on the internet besides the internet itself.
    pub api: Option<ApiSpec>,
}

/// An HTTP service of the host that the VPCs reach over the internet, and nobody else does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiSpec {
    /// The addresses by which it is called, on ports 80 and 443. No VPC has them.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// Where it listens: at one of the addresses.
    pub listener: SocketAddrV4,
}

/// One VPC: an isolated network with its own router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcSpec {
    pub id: String,
    pub cidr: Ipv4Net,
    pub subnets: Vec<SubnetSpec>,
    pub interfaces: Vec<InterfaceSpec>,
    pub security_groups: Vec<SecurityGroupSpec>,
    pub nat_gateways: Vec<NatGatewaySpec>,
    pub gateway_endpoints: Vec<GatewayEndpointSpec>,
    /// Whether the packets of its flows are counted.
    pub counts_flows: bool,
    /// Names that the VPC's resolver (base + 2) answers, lower-case without a final dot. The first label `*` stands for
    /// one or more labels that are not named otherwise.
    pub names: Vec<NameSpec>,
}

/// A subnet with the routes of its route table and the rules of its network ACL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetSpec {
    pub id: String,
    pub cidr: Ipv4Net,
    pub zone: String,
    /// Routes besides the VPC's `local` one; the longest prefix wins.
    pub routes: Vec<RouteSpec>,
    /// Stateless rules in order of evaluation, applied where packets enter the subnet; the end denies.
    pub acl_ingress: Vec<AclRuleSpec>,
    /// The same where packets leave the subnet.
    pub acl_egress: Vec<AclRuleSpec>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSpec {
    pub destination: Ipv4Net,
    pub target: RouteTarget,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteTarget {
    /// Out with 1:1 address translation: only interfaces with a public address get through.
    InternetGateway,
    /// Out with the address of the NAT gateway of this id.
    NatGateway(String),
    /// Out with the address of the gateway endpoint of this id.
    GatewayEndpoint(String),
    /// To the interface of this id.
    Interface(String),
    /// Dropped in silence, as when the target of a route is gone.
    Blackhole,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclRuleSpec {
    pub allow: bool,
    pub traffic: TrafficSpec,
    pub peer: Ipv4Net,
}

/// An elastic network interface: a network namespace of its own, with one `eth0` in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceSpec {
    /// `eni-…`; also the name of its namespace.
    pub id: String,
    pub subnet: String,
    pub address: Ipv4Addr,
    pub mac: [u8; 6],
    /// The public address that an internet gateway translates to and from.
    pub public_address: Option<Ipv4Addr>,
    /// The groups whose rules apply to it, and of which its address is a member.
    pub security_groups: Vec<String>,
}

/// A security group: what its members accept and may send. Allow rules only, stateful.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroupSpec {
    pub id: String,
    pub ingress: Vec<GroupRuleSpec>,
    pub egress: Vec<GroupRuleSpec>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRuleSpec {
    pub traffic: TrafficSpec,
    pub peer: PeerSpec,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerSpec {
    Cidr(Ipv4Net),
    /// The private addresses of the interfaces that carry this group, evaluated live.
    Group(String),
}

/// What kind of packets a rule speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrafficSpec {
    All,
    /// Inclusive port range.
    Tcp {
        from: u16,
        to: u16,
    },
    /// Inclusive port range.
    Udp {
        from: u16,
        to: u16,
    },
    /// `None` stands for every type or code.
    Icmp {
        kind: Option<u8>,
        code: Option<u8>,
    },
    /// Any other protocol, by its IANA number.
    Protocol(u8),
}

/// A NAT gateway: outbound connections of others leave with its public address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGatewaySpec {
    pub id: String,
    /// The (public) subnet it lives in; it works only while that subnet has a way to an internet gateway.
    pub subnet: String,
    pub private_address: Ipv4Addr,
    pub public_address: Ipv4Addr,
}

/// A gateway endpoint: a way out for routes to particular addresses. Who takes it is seen with the endpoint's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayEndpointSpec {
    pub id: String,
    /// A public address of its own.
    pub address: Ipv4Addr,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameSpec {
    pub name: String,
    pub addresses: Vec<Ipv4Addr>,
}

/// The packets of one direction of a flow, as the VPC's router saw them: with the addresses that the interfaces have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowCounts {
    pub flow: Flow,
    /// Those that came to the router.
    pub arrived: Count,
    /// Of these, those that the sender's side let out: its network ACL and its security groups.
    pub sent: Count,
    /// Of these, those that the receiver's side let in.
    pub received: Count,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Flow {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    /// The IANA number.
    pub protocol: u8,
    /// 0 where the protocol has no ports.
    pub source_port: u16,
    pub destination_port: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub packets: u64,
    pub bytes: u64,
}

/// Carries out a [`FabricSpec`].
pub trait Fabric: Send + Sync {
    /// Makes the host's networks those of `spec`: creates what is missing, changes what differs, removes what is
    /// no longer named. Adopts what an earlier process left. When it returns `Ok`, the spec is in force.
    ///
    /// # Errors
    /// What could not be done; the rest has been applied, and the same spec may be applied again.
    fn apply(&self, spec: &FabricSpec) -> Result<(), MachineError>;

    /// The path of the network namespace of an interface, whether it exists yet or not.
    fn namespace(&self, interface: &str) -> PathBuf;

    /// Listens at an interface, in its namespace, on a TCP port. The socket does not block.
    ///
    /// # Errors
    /// There is no such interface, or something listens there already.
    fn listen(&self, interface: &str, port: u16) -> Result<TcpListener, MachineError>;

    /// What was counted of a VPC's flows so far. A flow that rests for a quarter of an hour is forgotten, and all are
    /// when the engine starts; then counts begin at 0 again.
    ///
    /// # Errors
    /// The kernel cannot be asked, or the VPC's flows are not counted.
    fn flows(&self, vpc: &str) -> Result<Vec<FlowCounts>, MachineError>;

    /// Removes every trace of this engine's networks from the host.
    ///
    /// # Errors
    /// What could not be removed.
    fn teardown(&self) -> Result<(), MachineError>;
}
