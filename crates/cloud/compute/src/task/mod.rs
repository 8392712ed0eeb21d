//! Tasks.

pub(crate) mod apply;
pub(crate) mod launch;
pub(crate) mod plan;
pub(crate) mod record;
