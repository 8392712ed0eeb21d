//! What is seen of a running system: CloudWatch Logs (`logs`), CloudWatch metrics, alarms and dashboards
//! (`cloudwatch`), and the topics that alarms tell (`sns`).
//!
//! Groups and streams are records of the state; their events, and all metric points, are bulk data.

pub mod alarms;
mod dashboards;
pub mod logs;
pub mod metrics;
pub mod sns;
mod tags;

use pileus_service::Router;
use pileus_state::Tables;

/// All tables of this crate.
pub fn tables(tables: &mut Tables) {
    tables.add::<logs::LogGroup>().add::<logs::LogStream>().add::<logs::MetricFilter>().add::<logs::Query>();
    alarms::tables(tables);
    dashboards::tables(tables);
    sns::tables(tables);
}

/// All operations of this crate.
pub fn operations(router: &mut Router) {
    logs::operations(router);
    metrics::operations(router);
    alarms::operations(router);
    dashboards::operations(router);
    tags::operations(router);
    sns::operations(router);
}
