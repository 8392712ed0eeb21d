//! Where the balancer listens: the shared edge on loopback, and every node's address inside its namespace.

pub(crate) mod edge;
pub(crate) mod netns;
pub(crate) mod socket;

pub(crate) use netns::{Home, Namespace};
