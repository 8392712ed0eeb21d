//! Application Auto Scaling: scalable targets, their policies, and what those decide.

use pileus_service::Router;
use pileus_state::Tables;

/// The tables of this crate.
pub fn tables(_tables: &mut Tables) {}

/// The operations of this crate.
pub fn operations(_router: &mut Router) {}
