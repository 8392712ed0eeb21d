//! The VPC part of EC2: virtual networks, what is in them and how they reach the internet.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/>
//!
//! The state says what is desired; [`fabric_spec`] turns all of it into one value for the machine, and [`settle`]
//! takes notice of what the machine has applied. Other domains create and delete interfaces through [`interface`].
//!
//! **What is real:** IPv4 with one CIDR block a VPC. IPv6, prefix lists of users, peering and gateways other
//! than the internet and NAT gateways are refused by name.

mod account;
pub mod address;
mod cidr;
pub mod default_vpc;
mod dhcp_options;
pub mod endpoints;
mod fabric;
pub mod flow_log;
pub mod interface;
pub mod internet_gateway;
pub mod nat_gateway;
pub mod network_acl;
pub mod prefix_list;
pub mod public_pool;
mod reach;
mod resource;
pub mod route_table;
pub mod security_group;
mod select;
mod settle;
pub mod subnet;
pub mod tags;
pub mod vpc;
pub mod vpc_endpoint;
pub mod zone;

#[cfg(test)]
mod testing;

pub use address::Address;
pub use fabric::fabric_spec;
pub use flow_log::FlowLog;
pub use interface::{Interface, InterfaceReady, NewInterface};
pub use internet_gateway::InternetGateway;
pub use nat_gateway::NatGateway;
pub use network_acl::NetworkAcl;
pub use reach::{Place, Unreachable, reach};
pub use resource::{Resource, find};
pub use route_table::RouteTable;
pub use security_group::{Rule, SecurityGroup};
pub use settle::{next_purge, purge, settle};
pub use subnet::Subnet;
pub use vpc::Vpc;
pub use vpc_endpoint::VpcEndpoint;

use pileus_service::Router;
use pileus_state::Tables;

/// The tables of this crate.
pub fn tables(tables: &mut Tables) {
    tables
        .add::<Vpc>()
        .add::<Subnet>()
        .add::<InternetGateway>()
        .add::<RouteTable>()
        .add::<SecurityGroup>()
        .add::<Rule>()
        .add::<NetworkAcl>()
        .add::<Interface>()
        .add::<InterfaceReady>()
        .add::<Address>()
        .add::<NatGateway>()
        .add::<VpcEndpoint>()
        .add::<FlowLog>()
        .add::<tags::ResourceTags>()
        .add::<public_pool::Settings>()
        .add::<public_pool::PublicAddress>();
}

/// The operations of this crate.
pub fn operations(router: &mut Router) {
    vpc::operations(router);
    subnet::operations(router);
    internet_gateway::operations(router);
    route_table::operations(router);
    security_group::operations(router);
    network_acl::operations(router);
    interface::operations(router);
    address::operations(router);
    nat_gateway::operations(router);
    vpc_endpoint::operations(router);
    flow_log::operations(router);
    prefix_list::operations(router);
    default_vpc::operations(router);
    dhcp_options::operations(router);
    account::operations(router);
    zone::operations(router);
    tags::operations(router);
}
