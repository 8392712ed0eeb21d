//! Health checks: a pure state machine, and the checker that feeds it from a thread of its own.

pub(crate) mod checker;
pub(crate) mod probe;
pub(crate) mod state;
