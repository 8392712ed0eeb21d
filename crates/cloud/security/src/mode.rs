//! Whether the engine is strict: only credentials that it has issued count, and what would fail at AWS fails here.

use pileus_core::Scope;
use pileus_state::{Record, State, Tx};
use serde::{Deserialize, Serialize};

/// One record, in the default account's global scope. Every start of an engine says anew how it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mode {
    strict: bool,
}

impl Mode {
    const KEY: &'static str = "mode";
}

impl Record for Mode {
    const KIND: &'static str = "engine/mode";
    const DURABLE: bool = false;

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }
}

fn scope() -> Scope {
    Scope::new(Scope::DEFAULT_ACCOUNT, Scope::DEFAULT_REGION).global()
}

/// Makes the engine strict, or not.
pub fn set_strict(tx: &mut Tx, strict: bool) {
    tx.within(scope(), |tx| tx.put(Mode { strict }));
}

/// Whether it is; not, where nothing has been said.
pub fn is_strict(state: &State) -> bool {
    state.get::<Mode>(&scope(), Mode::KEY).is_some_and(|mode| mode.strict)
}
