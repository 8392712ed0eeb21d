//! Task definitions.
pub(crate) mod record;
