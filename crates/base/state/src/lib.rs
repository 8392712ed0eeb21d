//! All resources of the engine: typed tables in memory, changed only by transactions.
//!
//! A [`State`] is an immutable value; a clone is cheap and shares structure, so readers work on a snapshot and
//! never wait for a writer. A [`Tx`] reads a snapshot and collects a [`ChangeSet`]; committing it makes the next
//! state. Durability is not here: `pileus-store` writes change-sets to disk before they are acknowledged.
//!
//! **Invariant:** a record is reached only through its [`Scope`]; nothing can be read across accounts or regions
//! but by the explicit `all` of a controller.

mod record;
mod state;
mod tx;

pub use record::{Record, Tables};
pub use state::{Change, ChangeSet, State};
pub use tx::Tx;
