//! Services.

pub(crate) mod apply;
mod breaker;
pub(crate) mod events;
mod fleet;
pub(crate) mod observe;
pub(crate) mod plan;
pub(crate) mod record;
pub(crate) mod view;

#[cfg(test)]
mod plan_tests;
