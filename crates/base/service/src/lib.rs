//! How an operation meets its handler.
//!
//! A service crate registers a function for each operation that it implements; the [`Router`] turns a validated
//! [`Value`](pileus_model::Value) into the typed input, runs the function, and turns its output back. Services
//! never see HTTP, and a handler has no way to anything but what is in its [`Context`].

mod context;
mod resource;
mod router;

pub use context::{Caller, Context};
pub use resource::{Describe, Described};
pub use router::{Handler, Router};
