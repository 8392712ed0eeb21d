//! The balancer as a whole: a real process, real sockets, real targets.

mod basics;
mod bed;
mod changes;
mod failures;
mod health;
mod hostile;
mod messages;
mod netns;
mod process;
mod routing;
mod streams;
mod tls;
