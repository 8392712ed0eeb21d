//! One file for each command, and the processes behind hidden ones.

pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod engine;
pub(crate) mod hidden;
pub(crate) mod image;
pub(crate) mod logs;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod up;

use std::future::Future;

use crate::failure::Failure;

/// Runs a client's work. What is left in other threads when it is done is not waited for.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}
