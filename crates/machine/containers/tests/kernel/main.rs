//! Tasks on the real kernel: what a task gets, how it ends, and what is left of it. Needs root and busybox.

mod faults;
mod image;
mod kit;
mod lifecycle;
mod restrictions;
