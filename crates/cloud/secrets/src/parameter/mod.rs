//! Systems Manager's Parameter Store.
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/>

mod delete;
mod describe;
mod filter;
mod get;
mod history;
mod label;
mod name;
mod put;
pub(crate) mod record;
mod reference;
mod tags;

#[cfg(test)]
mod tests;

use pileus_core::ApiError;
use pileus_service::Router;
use pileus_state::Tables;

pub(crate) fn tables(tables: &mut Tables) {
    tables.add::<record::Parameter>();
}

pub(crate) fn operations(router: &mut Router) {
    router.resources("ssm", record::described);
    delete::operations(router);
    describe::operations(router);
    get::operations(router);
    history::operations(router);
    label::operations(router);
    put::operations(router);
    tags::operations(router);
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::client("ValidationException", message)
}

fn bad_token() -> ApiError {
    ApiError::client("InvalidNextToken", "The specified token isn't valid.")
}

/// The size of a page: `most` unless the request asks for less.
fn limit(asked: Option<i64>, most: usize) -> usize {
    asked.and_then(|asked| usize::try_from(asked).ok()).unwrap_or(most).clamp(1, most)
}
