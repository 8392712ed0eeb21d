//! What a table holds, and the list of all tables.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// One resource: a row of the table `KIND`.
pub trait Record: Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The table's name, unique in the engine and stable on disk: `ec2/vpc`.
    const KIND: &'static str;

    /// Whether the record outlives the engine. What is only observed (health, usage) does not: on start it is
    /// asked anew.
    const DURABLE: bool = true;

    /// Unique in its table and scope. Listings are ordered by it.
    fn key(&self) -> String;
}

/// A record whose type is known to its table alone.
pub(crate) type Erased = Arc<dyn Any + Send + Sync>;

/// How the records of one table reach the disk and come back.
pub(crate) struct Table {
    pub(crate) durable: bool,
    pub(crate) encode: fn(&Erased) -> serde_json::Result<Vec<u8>>,
    pub(crate) decode: fn(&[u8]) -> serde_json::Result<Erased>,
}

/// Every table of the engine.
#[derive(Default)]
pub struct Tables(pub(crate) BTreeMap<&'static str, Table>);

impl Tables {
    /// Adds the table of `R`.
    ///
    /// # Panics
    /// Two record types with the same `KIND` are a mistake in the wiring.
    pub fn add<R: Record>(&mut self) -> &mut Self {
        let table = Table {
            durable: R::DURABLE,
            encode: |record| {
                serde_json::to_vec(record.downcast_ref::<R>().expect("a table holds records of its own type"))
            },
            decode: |bytes| Ok(Arc::new(serde_json::from_slice::<R>(bytes)?)),
        };
        assert!(self.0.insert(R::KIND, table).is_none(), "two tables are named {}", R::KIND);
        self
    }

    /// The stable name of a table that exists, for a name read from disk.
    pub fn kind(&self, name: &str) -> Option<&'static str> {
        self.0.get_key_value(name).map(|(kind, _)| *kind)
    }
}
