//! VPC endpoints: private ways to the AWS APIs.
//! <https://docs.aws.amazon.com/vpc/latest/privatelink/concepts.html>
//!
//! An interface endpoint has an interface in each of its subnets, at which the engine serves the APIs, and the service's
//! name leads there if private DNS is on. A gateway endpoint is a route to the prefix list of S3. Both are `pending` until
//! the machine has them, and gone when it has taken them down.

mod change;
mod create;
mod delete;
mod describe;
pub(crate) mod names;
mod policy;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use pileus_aws::ec2;
use pileus_core::{ApiError, Scope, Timestamp};
use pileus_service::Router;
use pileus_state::{Record, State, Tx};
use serde::{Deserialize, Serialize};

pub(crate) use delete::{finish, forget_table};

use crate::endpoints::Service;
use crate::resource::Resource;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VpcEndpoint {
    pub id: String,
    pub vpc: String,
    /// The short name of its service, as in `ecr.api`.
    pub service: String,
    pub way: Way,
    /// `None` allows everything.
    policy: Option<String>,
    pub state: EndpointState,
    pub created: Timestamp,
    client_token: Option<String>,
}

/// How it leads to its service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Way {
    Interface {
        /// Its interface in each of its subnets.
        interfaces: BTreeMap<String, String>,
        groups: Vec<String>,
        /// Whether the service's own name leads to it.
        private_dns: bool,
        /// What stands in its names after its id.
        label: String,
    },
    Gateway {
        tables: BTreeSet<String>,
        /// By which the service sees who comes this way.
        address: Ipv4Addr,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndpointState {
    Pending,
    Available,
    Deleting,
}

impl EndpointState {
    /// Whether it works or soon will.
    pub fn is_up(self) -> bool {
        self != Self::Deleting
    }

    fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Available => "available",
            Self::Deleting => "deleting",
        }
    }
}

impl Record for VpcEndpoint {
    const KIND: &'static str = "ec2/vpc-endpoint";

    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Resource for VpcEndpoint {
    const PREFIX: &'static str = "vpce";
    const TYPE: &'static str = "vpc-endpoint";
    const NOUN: &'static str = "Vpc Endpoint Id";
    const NOT_FOUND: &'static str = "InvalidVpcEndpointId.NotFound";
    const MALFORMED: &'static str = "InvalidVpcEndpointId.Malformed";
}

impl VpcEndpoint {
    /// Its interfaces by subnet; none of a gateway endpoint.
    pub fn interfaces(&self) -> impl Iterator<Item = (&String, &String)> {
        let interfaces = match &self.way {
            Way::Interface { interfaces, .. } => Some(interfaces),
            Way::Gateway { .. } => None,
        };
        interfaces.into_iter().flatten()
    }

    /// Its address, and whether a route table has a route to it; `None` for an interface endpoint.
    pub(crate) fn gateway(&self) -> Option<(Ipv4Addr, &BTreeSet<String>)> {
        match &self.way {
            Way::Gateway { tables, address } => Some((*address, tables)),
            Way::Interface { .. } => None,
        }
    }
}

pub fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::CreateVpcEndpoint>(create::create_vpc_endpoint)
        .on::<ec2::ops::ModifyVpcEndpoint>(change::modify_vpc_endpoint)
        .on::<ec2::ops::DeleteVpcEndpoints>(delete::delete_vpc_endpoints)
        .on::<ec2::ops::DescribeVpcEndpoints>(describe::describe_vpc_endpoints)
        .on::<ec2::ops::DescribeVpcEndpointServices>(service::describe_vpc_endpoint_services);
}

/// The endpoints with interfaces that are there, each with the ids of these: where the APIs are to be served.
pub fn served(state: &State) -> impl Iterator<Item = (&Scope, Arc<VpcEndpoint>)> {
    let up = state.all::<VpcEndpoint>().filter(|(_, endpoint)| endpoint.state.is_up());
    up.filter(|(_, endpoint)| matches!(endpoint.way, Way::Interface { .. }))
}

/// The gateway endpoint whose address this is, with its scope.
pub fn of_gateway_address(state: &State, address: Ipv4Addr) -> Option<(&Scope, Arc<VpcEndpoint>)> {
    state.all::<VpcEndpoint>().find(|(_, endpoint)| endpoint.gateway().is_some_and(|(own, _)| own == address))
}

/// The endpoint of a service in a VPC with which `matches` agrees, if it is not being deleted.
pub(crate) fn of_vpc(
    tx: &Tx,
    vpc: &str,
    service: &Service,
    matches: impl Fn(&VpcEndpoint) -> bool,
) -> Option<Arc<VpcEndpoint>> {
    tx.find::<VpcEndpoint>(|it| {
        it.vpc == vpc && it.service == service.name && it.state.is_up() && matches(it)
    })
}

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::client("InvalidParameter", message)
}

#[cfg(test)]
mod tests;
