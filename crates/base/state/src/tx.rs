//! A transaction: reads see its own writes, and nothing of it is seen elsewhere until it is committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use pileus_core::Scope;

use crate::record::{Erased, Record};
use crate::state::{Change, ChangeSet, Key, State, typed};

/// Reads a snapshot and collects changes. Works in one scope at a time; see [`Tx::within`].
pub struct Tx<'a> {
    base: &'a State,
    scope: Scope,
    writes: BTreeMap<(&'static str, Key), Option<Erased>>,
}

impl<'a> Tx<'a> {
    pub fn new(base: &'a State, scope: Scope) -> Self {
        Self { base, scope, writes: BTreeMap::new() }
    }

    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The state that this transaction began with, without its own writes: for controllers, which look across scopes.
    pub fn base(&self) -> &'a State {
        self.base
    }

    /// Runs `f` in another scope: IAM's global one, or another account's.
    pub fn within<T>(&mut self, scope: Scope, f: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.scope, scope);
        let result = f(self);
        self.scope = outer;
        result
    }

    pub fn get<R: Record>(&self, key: &str) -> Option<Arc<R>> {
        let row = (self.scope.clone(), key.to_owned());
        if let Some(write) = self.writes.get(&(R::KIND, row.clone())) {
            return write.as_ref().map(typed);
        }
        self.base.erased(R::KIND, &row).map(typed)
    }

    /// The records of this scope, ordered by key.
    pub fn list<R: Record>(&self) -> Vec<Arc<R>> {
        let mut rows: BTreeMap<&str, Arc<R>> = self
            .base
            .rows(R::KIND, &self.scope, "")
            .map(|((_, key), record)| (key.as_str(), typed(record)))
            .collect();
        let from = (R::KIND, (self.scope.clone(), String::new()));
        for ((kind, (scope, key)), write) in self.writes.range(from..) {
            if *kind != R::KIND || *scope != self.scope {
                break;
            }
            match write {
                Some(record) => rows.insert(key, typed(record)),
                None => rows.remove(key.as_str()),
            };
        }
        rows.into_values().collect()
    }

    /// The first record of this scope whose key is `from` or after it.
    pub fn first_from<R: Record>(&self, from: &str) -> Option<Arc<R>> {
        let overwritten = |row: &Key| self.writes.contains_key(&(R::KIND, row.clone()));
        let before = self.base.rows(R::KIND, &self.scope, from).find(|(row, _)| !overwritten(row));
        let start = (R::KIND, (self.scope.clone(), from.to_owned()));
        let here = |kind: &str, scope: &Scope| kind == R::KIND && *scope == self.scope;
        let written = self.writes.range(start..).take_while(|((kind, (scope, _)), _)| here(kind, scope));
        let written = written.filter_map(|((_, row), write)| Some((row, write.as_ref()?))).next();
        let first = before.into_iter().chain(written).min_by_key(|((_, key), _)| key);
        first.map(|(_, record)| typed(record))
    }

    /// The first record of this scope that `matches`.
    pub fn find<R: Record>(&self, matches: impl Fn(&R) -> bool) -> Option<Arc<R>> {
        self.list::<R>().into_iter().find(|record| matches(record))
    }

    /// Writes a record; one that equals what is there is no change.
    pub fn put<R: Record>(&mut self, record: R) {
        let key = record.key();
        if self.get::<R>(&key).is_some_and(|old| *old == record) {
            return;
        }
        self.writes.insert((R::KIND, (self.scope.clone(), key)), Some(Arc::new(record)));
    }

    /// Changes the record at `key` in place; returns it as it then is, or `None` where there is none.
    /// The key itself must stay the same.
    pub fn update<R: Record>(&mut self, key: &str, change: impl FnOnce(&mut R)) -> Option<R> {
        let mut record = R::clone(&*self.get::<R>(key)?);
        change(&mut record);
        debug_assert_eq!(record.key(), key, "an update keeps the key");
        self.put(record.clone());
        Some(record)
    }

    /// Deletes a record; returns what was there.
    pub fn delete<R: Record>(&mut self, key: &str) -> Option<Arc<R>> {
        let old = self.get::<R>(key)?;
        let row = (self.scope.clone(), key.to_owned());
        if self.base.erased(R::KIND, &row).is_some() {
            self.writes.insert((R::KIND, row), None);
        } else {
            self.writes.remove(&(R::KIND, row));
        }
        Some(old)
    }

    /// What has been changed so far.
    pub fn into_changes(self) -> ChangeSet {
        let changes = self.writes.into_iter();
        let changes = changes.map(|((kind, (scope, key)), record)| Change { kind, scope, key, record });
        ChangeSet { changes: changes.collect() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        id: String,
        text: u32,
    }

    impl Record for Note {
        const KIND: &'static str = "test/note";

        fn key(&self) -> String {
            self.id.clone()
        }
    }

    fn note(id: u8, text: u32) -> Note {
        Note { id: id.to_string(), text }
    }

    #[test]
    fn a_transaction_sees_its_own_writes_and_others_do_not() {
        let (here, there) = (Scope::new("1", "us-east-1"), Scope::new("1", "eu-west-1"));
        let empty = State::default();
        let mut tx = Tx::new(&empty, here.clone());
        tx.put(note(1, 1));
        tx.within(there.clone(), |tx| tx.put(note(2, 2)));
        assert_eq!(tx.list::<Note>().len(), 1);
        let state = empty.with(&tx.into_changes());
        assert_eq!(empty.list::<Note>(&here).count(), 0);
        assert_eq!(*state.get::<Note>(&there, "2").expect("it was put"), note(2, 2));
        assert_eq!(state.all::<Note>().count(), 2);
        assert_eq!(state.version_of::<Note>(), 1);
    }

    #[test]
    fn writing_what_is_there_is_no_change() {
        let scope = Scope::new("1", "us-east-1");
        let mut tx = Tx::new(&State::default(), scope.clone()).into_changes();
        assert!(tx.changes.is_empty());
        let empty = State::default();
        let mut first = Tx::new(&empty, scope.clone());
        first.put(note(1, 1));
        let state = empty.with(&first.into_changes());
        let mut second = Tx::new(&state, scope);
        second.put(note(1, 1));
        tx = second.into_changes();
        assert!(tx.changes.is_empty());
    }

    proptest! {
        /// Whatever a transaction does, its own listing is what the next state lists.
        #[test]
        fn listing_in_a_transaction_equals_listing_after_it(
            before in proptest::collection::vec((0_u8..8, 0_u32..4), 0..8),
            steps in proptest::collection::vec((0_u8..8, proptest::option::of(0_u32..4)), 0..16),
        ) {
            let scope = Scope::new("1", "us-east-1");
            let empty = State::default();
            let mut tx = Tx::new(&empty, scope.clone());
            before.iter().for_each(|&(id, text)| tx.put(note(id, text)));
            let state = empty.with(&tx.into_changes());
            let mut tx = Tx::new(&state, scope.clone());
            for (id, text) in steps {
                match text {
                    Some(text) => tx.put(note(id, text)),
                    None => drop(tx.delete::<Note>(&id.to_string())),
                }
            }
            let inside = tx.list::<Note>();
            let from_four: Vec<_> = inside.iter().find(|note| note.id.as_str() >= "4").cloned().into_iter().collect();
            prop_assert_eq!(tx.first_from::<Note>("4").into_iter().collect::<Vec<_>>(), from_four);
            let after: Vec<_> = state.with(&tx.into_changes()).list::<Note>(&scope).collect();
            prop_assert_eq!(inside, after);
        }
    }
}
