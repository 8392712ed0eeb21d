//! The packet filter of a VPC's router, as a value.
//!
//! A [`Table`] says everything that nftables holds for one namespace. `of_vpc` computes it from the spec, and
//! [`Table::script_from`] writes the transaction that leads from one table to the next, as long as the change is.
//! Nothing here touches the kernel.

mod acl;
mod diff;
mod model;
mod nat;
mod security_group;
mod traffic;
mod vpc;

pub(crate) use model::{Chain, Set, Table};
pub(crate) use nat::public_addresses;
pub(crate) use vpc::of_vpc;
