//! The balancer as a whole: a real process, real sockets, real targets.

mod basics;
mod bed;
mod messages;
