//! What authorisation must know of resources before a handler runs.

use pileus_core::Tags;
use pileus_state::Tx;

/// A resource as policies see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// Its ARN in full, where a request may name it by less.
    pub arn: String,
    pub tags: Tags,
    /// Its own policy.
    pub policy: Option<String>,
}

/// Finds the resource that an ARN made from a request names, in the scope of the transaction.
pub type Describe = fn(&Tx, &str) -> Option<Described>;
