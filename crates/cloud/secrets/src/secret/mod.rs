//! Secrets Manager. A secret has versions; staging labels say which of them is current.
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/>

pub(crate) mod record;

pub use record::purge;

use pileus_service::Router;
use pileus_state::Tables;

pub(crate) fn tables(tables: &mut Tables) {
    tables.add::<record::ManagedSecret>().add::<record::VersionValue>();
}

pub(crate) fn operations(_router: &mut Router) {}
