//! The vocabulary that every crate shares and that knows no domain: time, ids, ARNs, tags, errors.
//!
//! Nothing here does I/O, reads a clock or draws a random number; both come in as values.

pub mod arn;
pub mod clock;
pub mod error;
pub mod filter;
pub mod ids;
pub mod page;
pub mod scope;
pub mod secret;
pub mod tags;
pub mod time;

pub use arn::Arn;
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::ApiError;
pub use ids::IdGen;
pub use page::paginate;
pub use scope::Scope;
pub use secret::Secret;
pub use tags::Tags;
pub use time::Timestamp;
