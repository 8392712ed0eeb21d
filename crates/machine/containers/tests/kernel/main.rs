//! Tasks on the real kernel: what a task gets, how it ends, and what is left of it. Needs root and busybox.

#![expect(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod faults;
mod features;
mod image;
mod kit;
mod lifecycle;
mod restrictions;
