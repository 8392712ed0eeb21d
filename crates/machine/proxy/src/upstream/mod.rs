//! The way to the targets: which one, over which connection.

pub(crate) mod balance;
pub(crate) mod connect;
pub(crate) mod pool;
