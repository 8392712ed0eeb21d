//! Systems Manager's Parameter Store.
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/>

pub(crate) mod record;

use pileus_service::Router;
use pileus_state::Tables;

pub(crate) fn tables(tables: &mut Tables) {
    tables.add::<record::Parameter>();
}

pub(crate) fn operations(_router: &mut Router) {}
