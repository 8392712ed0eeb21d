//! Secrets Manager. A secret has versions; staging labels say which of them is current.
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/>

mod create;
mod delete;
mod describe;
mod filter;
mod password;
mod policy;
pub(crate) mod record;
mod stage;
mod tags;
mod value;
mod version;

#[cfg(test)]
mod tests;

pub use delete::purge;
pub(crate) use value::note_access;

use pileus_core::ApiError;
use pileus_service::Router;
use pileus_state::Tables;

pub(crate) fn tables(tables: &mut Tables) {
    tables.add::<record::ManagedSecret>().add::<record::VersionValue>();
}

pub(crate) fn operations(router: &mut Router) {
    router.resources("secretsmanager", record::described);
    create::operations(router);
    delete::operations(router);
    describe::operations(router);
    password::operations(router);
    policy::operations(router);
    tags::operations(router);
    value::operations(router);
    version::operations(router);
}

fn invalid_parameter(message: impl Into<String>) -> ApiError {
    ApiError::client("InvalidParameterException", message)
}

fn invalid_request(message: impl Into<String>) -> ApiError {
    ApiError::client("InvalidRequestException", message)
}

fn bad_token() -> ApiError {
    ApiError::client("InvalidNextTokenException", "You provided an invalid NextToken.")
}

/// The size of a page: `most` unless the request asks for less.
fn limit(asked: Option<i64>, most: usize) -> usize {
    asked.and_then(|asked| usize::try_from(asked).ok()).unwrap_or(most).clamp(1, most)
}
