//! Makes state durable: every change-set is on disk before it is acknowledged.
//!
//! [`Db`] holds the current [`State`](pileus_state::State). One transaction runs at a time; its change-set becomes
//! visible at once and is handed to a writer thread, which commits all that has gathered in one disk transaction
//! (group commit). Whoever answers a client awaits [`Db::durable`] for the version that the answer was made from, so
//! no answer ever rests on a state that a crash could take back.
//!
//! The file is a redb database: crash-safe, single-writer, checksummed. Its format has a version; a newer one is
//! refused and an older one migrated (see [`disk`]). Its rows are encrypted (see [`seal`]).

mod db;
mod disk;
mod seal;

pub use db::{Committed, Db, Watch};
pub use disk::{FORMAT, StoreError};
