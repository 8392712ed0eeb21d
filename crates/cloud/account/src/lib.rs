//! AWS Account Management: the account's Regions, its name and its contacts.
//! <https://docs.aws.amazon.com/accounts/latest/reference/>
//!
//! **What differs from AWS:** every Region here is enabled by default; none can be opted into. There are no
//! organizations, so a request is for the caller's own account.

#![expect(clippy::needless_pass_by_value, reason = "every handler takes its input by value")]

mod contact;
mod region;
mod settings;

#[cfg(test)]
mod tests;

use pileus_core::ApiError;
use pileus_service::{Context, Router};
use pileus_state::Tables;

/// The tables of this crate.
pub fn tables(tables: &mut Tables) {
    tables.add::<settings::Settings>();
}

/// The operations of this crate.
pub fn operations(router: &mut Router) {
    contact::operations(router);
    region::operations(router);
    settings::operations(router);
}

/// # Errors
/// The request is for another account.
fn check_account(cx: &Context, account: Option<&str>) -> Result<(), ApiError> {
    match account {
        Some(account) if account != cx.scope().account => {
            let message = "The account is not a member of an organization whose management account you are.";
            Err(ApiError::new("AccessDeniedException", 403, message))
        }
        _ => Ok(()),
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::client("ValidationException", message)
}

fn not_found(message: impl Into<String>) -> ApiError {
    ApiError::new("ResourceNotFoundException", 404, message)
}
