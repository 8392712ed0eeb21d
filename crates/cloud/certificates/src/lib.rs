//! AWS Certificate Manager: certificates that Pileus issues itself, and those that are imported.
//! <https://docs.aws.amazon.com/acm/latest/userguide/>
//!
//! A requested certificate is `PENDING_VALIDATION` until the engine has issued it: [`orders`] says what is to be issued
//! or renewed, [`settle`] takes what was. The balancer serves by [`material`], and tells by [`use_by`] and [`release`]
//! which load balancer has a certificate.
//!
//! **What differs from AWS:** the issuer is an authority of this engine, whose certificate is `ca.pem` in its home, and
//! there is no DNS of the world here in which a validation record could be looked for, so every domain is validated as
//! soon as it is asked for. Validation by e-mail and over HTTP, private authorities and exports are refused.

#![expect(clippy::needless_pass_by_value, reason = "every handler takes its input by value")]

mod account;
mod delete;
mod describe;
mod facts;
mod import;
mod issue;
mod list;
mod options;
mod record;
mod request;
mod tags;
mod usage;

#[cfg(test)]
mod tests;

pub use issue::{Authority, Issued, Order, authority, keep_authority, next_renewal, orders, reject, settle};
pub use usage::{Unusable, material, release, use_by};

use pileus_service::Router;
use pileus_state::Tables;

/// The tables of this crate.
pub fn tables(tables: &mut Tables) {
    tables.add::<record::Certificate>().add::<issue::AuthorityRecord>().add::<account::Configuration>();
}

/// The operations of this crate.
pub fn operations(router: &mut Router) {
    router.resources("acm", record::described);
    account::operations(router);
    delete::operations(router);
    describe::operations(router);
    import::operations(router);
    list::operations(router);
    options::operations(router);
    request::operations(router);
    tags::operations(router);
}
