//! What is seen of a running system: CloudWatch Logs (`logs`) and CloudWatch metrics (`cloudwatch`).
//!
//! Groups and streams are records of the state; their events, and all metric points, are bulk data.

pub mod logs;
pub mod metrics;

use pileus_service::Router;
use pileus_state::Tables;

/// All tables of this crate.
pub fn tables(tables: &mut Tables) {
    tables.add::<logs::LogGroup>().add::<logs::LogStream>();
}

/// All operations of this crate.
pub fn operations(router: &mut Router) {
    logs::operations(router);
    metrics::operations(router);
}
