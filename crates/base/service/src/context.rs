//! All that a handler can see and touch.

use pileus_contract::Bulk;
use pileus_core::{IdGen, Scope, Timestamp};
use pileus_state::Tx;

/// Who makes a request, once its signature has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// `arn:aws:iam::<account>:root`, `…:user/<name>`, or `arn:aws:sts::<account>:assumed-role/<role>/<session>`.
    pub arn: String,
    pub account: String,
    /// The unique id that `GetCallerIdentity` shows.
    pub user_id: String,
    /// The access key of the temporary credentials that it acts with: such a session may be allowed less.
    pub session: Option<String>,
}

/// What a request brings to its handler.
pub struct Context<'a, 's> {
    /// The transaction that the handler reads and writes. For a bulk operation it is read only in effect: its
    /// writes are not committed.
    pub tx: &'a mut Tx<'s>,
    pub bulk: &'a Bulk,
    pub caller: &'a Caller,
    pub now: Timestamp,
    pub ids: &'a mut IdGen,
    /// Fills the bytes with randomness fit for secrets: the operating system's, where `ids` may be replayed.
    pub entropy: &'a dyn Fn(&mut [u8]),
    /// The host and port by which the client reached the engine, for URLs that lead back to it.
    pub endpoint: &'a str,
}

impl Context<'_, '_> {
    /// The account and region that the request is for.
    pub fn scope(&self) -> &Scope {
        self.tx.scope()
    }
}
