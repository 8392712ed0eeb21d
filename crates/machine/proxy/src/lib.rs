//! The balancer: every load balancer's data plane, in a process of its own that outlives the engine.
//!
//! Two halves. [`balancer_main`] is that process: event loops that answer as an Application Load Balancer does
//! (`serve`), by an immutable snapshot (`daemon`) that is replaced as a whole, with health checks beside them
//! (`health`). [`BalancerClient`] is the engine's side: it starts the process, watches over it, hands it
//! configurations, and hears its events.
//!
//! What is pure: `http1` (parsing and writing), `route` (rules), `upstream::balance`, `health::state`.
#![forbid(unsafe_code)]

mod client;
mod config;
mod daemon;
mod error;
mod health;
mod http1;
mod listen;
mod route;
mod serve;
mod stats;
mod tls;
mod upstream;
mod wire;
mod worker;

pub use client::{BalancerClient, stop};
pub use config::BalancerConfig;
pub use daemon::balancer_main;
pub use error::ProxyError;
