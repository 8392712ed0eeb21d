//! A cloud for unit tests: services behind their real router, on a clock that the test moves and ids from a seed.
//!
//! Every call is one transaction. What it commits goes through the form that records have on disk, so a record that
//! does not survive a restart of the engine fails the first test that writes it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use pileus_contract::Bulk;
use pileus_core::{ApiError, IdGen, Scope, Timestamp};
use pileus_model::{Operation, Structure as _, validate};
use pileus_service::{Caller, Context, Router};
use pileus_state::{Change, ChangeSet, State, Tables, Tx};
use sha2::{Digest as _, Sha256};

use crate::bulk;

/// An engine's services without the engine.
pub struct Cloud {
    pub state: State,
    pub now: Timestamp,
    pub ids: IdGen,
    pub bulk: Bulk,
    pub caller: Caller,
    /// Where calls go: account and region. Change it to act elsewhere.
    pub scope: Scope,
    tables: Tables,
    router: Router,
    /// What survives a restart: the stored form of every durable record.
    disk: BTreeMap<(&'static str, Scope, String), Vec<u8>>,
    /// How many times secrets were drawn.
    drawn: Cell<u64>,
}

impl Cloud {
    /// The endpoint that handlers see.
    pub const ENDPOINT: &str = "localhost:4566";

    /// A cloud of the services whose `tables` and `operations` functions are called here:
    /// `Cloud::new(pileus_network::tables, pileus_network::operations)`.
    pub fn new(tables: impl FnOnce(&mut Tables), operations: impl FnOnce(&mut Router)) -> Self {
        let mut cloud = Self {
            state: State::default(),
            now: Timestamp::from_secs(1_795_377_600),
            ids: IdGen::seeded(1),
            bulk: bulk(),
            caller: Caller {
                arn: format!("arn:aws:iam::{}:root", Scope::DEFAULT_ACCOUNT),
                account: Scope::DEFAULT_ACCOUNT.into(),
                user_id: Scope::DEFAULT_ACCOUNT.into(),
                session: None,
            },
            scope: Scope::new(Scope::DEFAULT_ACCOUNT, Scope::DEFAULT_REGION),
            tables: Tables::default(),
            router: Router::default(),
            disk: BTreeMap::new(),
            drawn: Cell::new(0),
        };
        tables(&mut cloud.tables);
        operations(&mut cloud.router);
        cloud
    }

    /// Moves the clock.
    pub fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
    }

    /// Calls an operation as a client would: its input is validated, an `Ok` is committed, an `Err` changes nothing.
    ///
    /// # Errors
    /// What the service answers.
    ///
    /// # Panics
    /// The operation has no handler, or it wrote a record that cannot be stored.
    pub fn call<O: Operation>(&mut self, input: O::Input) -> Result<O::Output, ApiError> {
        let value = input.to_value();
        validate(O::SCHEMA, &value)?;
        let router = std::mem::take(&mut self.router);
        let handler = router.get(O::SCHEMA).unwrap_or_else(|| panic!("{} has no handler", O::SCHEMA.name));
        let result = self.attempt(!handler.bulk, |context| handler.call(context, value));
        self.router = router;
        Ok(O::Output::from_value(result?)?)
    }

    /// Calls an operation that must succeed.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn ok<O: Operation>(&mut self, input: O::Input) -> O::Output {
        self.call::<O>(input).unwrap_or_else(|error| panic!("{} failed: {error}", O::SCHEMA.name))
    }

    /// Calls an operation that must fail; returns the error's code.
    ///
    /// # Panics
    /// It succeeds.
    #[track_caller]
    pub fn code<O: Operation>(&mut self, input: O::Input) -> String {
        match self.call::<O>(input) {
            Ok(output) => panic!("{} succeeded: {output:?}", O::SCHEMA.name),
            Err(error) => error.code.into_owned(),
        }
    }

    /// Runs `f` in a transaction and commits what it writes.
    ///
    /// # Panics
    /// It writes a record that cannot be stored.
    pub fn write<T>(&mut self, f: impl FnOnce(&mut Context) -> T) -> T {
        match self.attempt(true, |context| Ok::<_, std::convert::Infallible>(f(context))) {
            Ok(value) => value,
        }
    }

    fn attempt<T, E>(&mut self, commit: bool, f: impl FnOnce(&mut Context) -> Result<T, E>) -> Result<T, E> {
        let base = self.state.clone();
        let mut tx = Tx::new(&base, self.scope.clone());
        let mut context = Context {
            tx: &mut tx,
            bulk: &self.bulk,
            caller: &self.caller,
            now: self.now,
            ids: &mut self.ids,
            entropy: &|bytes| draw(&self.drawn, bytes),
            endpoint: Self::ENDPOINT,
        };
        let value = f(&mut context)?;
        if commit {
            let changes: Vec<Change> =
                tx.into_changes().changes.into_iter().map(|change| self.store(change)).collect();
            if !changes.is_empty() {
                self.state = self.state.with(&ChangeSet { changes });
            }
        }
        Ok(value)
    }

    /// Ends the engine and starts it again: what was only observed is gone.
    ///
    /// # Panics
    /// A stored record cannot be read back.
    pub fn restart(&mut self) {
        let rows = self.disk.iter();
        let changes = rows.map(|((kind, scope, key), bytes)| self.read(kind, scope, key, bytes)).collect();
        self.state = State::default().with(&ChangeSet { changes });
    }

    /// Writes the change to disk; returns it as it comes back from there.
    fn store(&mut self, change: Change) -> Change {
        let row = (change.kind, change.scope.clone(), change.key.clone());
        let encoded = change.encode(&self.tables);
        match encoded.unwrap_or_else(|error| panic!("{} {} cannot be stored: {error}", row.0, row.2)) {
            None => change,
            Some(None) => {
                self.disk.remove(&row);
                change
            }
            Some(Some(bytes)) => {
                let back = self.read(row.0, &row.1, &row.2, &bytes);
                self.disk.insert(row, bytes);
                back
            }
        }
    }

    fn read(&self, kind: &'static str, scope: &Scope, key: &str, bytes: &[u8]) -> Change {
        Change::decode(&self.tables, kind, scope.clone(), key.to_owned(), bytes)
            .unwrap_or_else(|error| panic!("{kind} {key} cannot be read back: {error}"))
    }
}

/// Bytes that differ with every draw and are the same in every run.
fn draw(drawn: &Cell<u64>, bytes: &mut [u8]) {
    for chunk in bytes.chunks_mut(32) {
        drawn.set(drawn.get() + 1);
        chunk.copy_from_slice(&Sha256::digest(drawn.get().to_be_bytes())[..chunk.len()]);
    }
}
