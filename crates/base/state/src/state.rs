//! The state: a value that shares structure with the one before it.

use std::sync::Arc;

use imbl::OrdMap;
use pileus_core::Scope;

use crate::record::{Erased, Record, Tables};

pub(crate) type Key = (Scope, String);

#[derive(Clone, Default)]
pub(crate) struct Rows {
    /// The version of the state in which a row of this table last changed.
    version: u64,
    pub(crate) rows: OrdMap<Key, Erased>,
}

/// Every record of the engine at one version. Cloning costs nothing of note.
#[derive(Clone, Default)]
pub struct State {
    version: u64,
    tables: OrdMap<&'static str, Rows>,
}

/// What one transaction changed: rows put (`Some`) or deleted (`None`).
#[derive(Clone, Default)]
pub struct ChangeSet {
    pub changes: Vec<Change>,
}

#[derive(Clone)]
pub struct Change {
    pub kind: &'static str,
    pub scope: Scope,
    pub key: String,
    pub(crate) record: Option<Erased>,
}

impl Change {
    /// The row as it goes to disk: `None` for a table that is not durable, `Some(None)` for a deletion.
    ///
    /// # Errors
    /// The record cannot be serialised.
    pub fn encode(&self, tables: &Tables) -> serde_json::Result<Option<Option<Vec<u8>>>> {
        let table = tables.0.get(self.kind).expect("records are written through a table that exists");
        if !table.durable {
            return Ok(None);
        }
        self.record.as_ref().map(table.encode).transpose().map(Some)
    }

    /// A row read from disk.
    ///
    /// # Errors
    /// The bytes are not a record of this table.
    pub fn decode(
        tables: &Tables,
        kind: &'static str,
        scope: Scope,
        key: String,
        bytes: &[u8],
    ) -> serde_json::Result<Self> {
        let table = tables.0.get(kind).expect("the caller took the kind from these tables");
        Ok(Self { kind, scope, key, record: Some((table.decode)(bytes)?) })
    }
}

impl State {
    /// Grows by one with each change-set.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The version in which the table of `R` last changed; 0 if it never has.
    pub fn version_of<R: Record>(&self) -> u64 {
        self.tables.get(R::KIND).map_or(0, |table| table.version)
    }

    /// The next state.
    #[must_use]
    pub fn with(&self, changes: &ChangeSet) -> Self {
        let mut next = self.clone();
        next.version += 1;
        for change in &changes.changes {
            let table = next.tables.entry(change.kind).or_default();
            table.version = next.version;
            let key = (change.scope.clone(), change.key.clone());
            match &change.record {
                Some(record) => table.rows.insert(key, record.clone()),
                None => table.rows.remove(&key),
            };
        }
        next
    }

    pub fn get<R: Record>(&self, scope: &Scope, key: &str) -> Option<Arc<R>> {
        let table = self.tables.get(R::KIND)?;
        table.rows.get(&(scope.clone(), key.to_owned())).map(typed)
    }

    /// The records of one scope, ordered by key.
    pub fn list<'a, R: Record>(&'a self, scope: &'a Scope) -> impl Iterator<Item = Arc<R>> + 'a {
        self.rows(R::KIND, scope, "").map(|(_, record)| typed(record))
    }

    /// The first record of a scope whose key is `from` or after it: listings that skip over much go on from there.
    pub fn first_from<R: Record>(&self, scope: &Scope, from: &str) -> Option<Arc<R>> {
        self.rows(R::KIND, scope, from).next().map(|(_, record)| typed(record))
    }

    /// The records of every scope, ordered by scope and key: for controllers.
    pub fn all<R: Record>(&self) -> impl Iterator<Item = (&Scope, Arc<R>)> {
        let rows = self.tables.get(R::KIND).into_iter().flat_map(|table| table.rows.iter());
        rows.map(|((scope, _), record)| (scope, typed(record)))
    }

    pub(crate) fn erased(&self, kind: &str, key: &Key) -> Option<&Erased> {
        self.tables.get(kind)?.rows.get(key)
    }

    pub(crate) fn rows<'a>(
        &'a self,
        kind: &str,
        scope: &'a Scope,
        from: &str,
    ) -> impl Iterator<Item = (&'a Key, &'a Erased)> {
        let from = (scope.clone(), from.to_owned());
        let table = self.tables.get(kind);
        table
            .into_iter()
            .flat_map(move |table| table.rows.range(from.clone()..))
            .take_while(move |((row_scope, _), _)| row_scope == scope)
    }
}

pub(crate) fn typed<R: Record>(record: &Erased) -> Arc<R> {
    record.clone().downcast().expect("a table holds records of its own type")
}
