//! The fabric against the real kernel, with real packets. Needs root, nftables and iproute2.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../src/reference.rs"]
mod reference;
#[expect(unreachable_pub, reason = "a module of a test")]
mod world;

mod acl;
mod dns;
mod edge;
mod flows;
mod groups;
mod lifecycle;
mod resolver;
mod service;
