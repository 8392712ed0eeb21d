//! The current state, its one writer, and those who watch it.

use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;

use arc_swap::ArcSwap;
use pileus_core::Scope;
use pileus_state::{State, Tables, Tx};
use tokio::sync::watch;

use crate::disk::{self, Disk, Row, StoreError};

/// What a transaction gave, and the version to await before anybody is told.
#[derive(Debug)]
pub struct Committed<T> {
    pub value: T,
    pub version: u64,
    /// Whether it changed anything.
    pub changed: bool,
}

/// The engine's state: reads are snapshots, writes are transactions.
pub struct Db {
    tables: Tables,
    current: ArcSwap<State>,
    /// Held while a transaction runs. Batches go to the writer in the order of their versions.
    writer: Mutex<mpsc::Sender<Batch>>,
    changed: watch::Sender<u64>,
    durable: watch::Receiver<Durable>,
}

struct Batch {
    version: u64,
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
enum Durable {
    UpTo(u64),
    /// The disk refused; nothing will become durable any more.
    Failed(Arc<StoreError>),
}

impl Db {
    /// Opens or creates the state in the file at `path`.
    ///
    /// # Errors
    /// The file is in use, damaged, or of a newer format.
    pub fn open(path: &Path, tables: Tables) -> Result<Self, StoreError> {
        let file = Disk::open(path)?;
        let state = file.load(&tables)?;
        let version = state.version();
        let (sender, batches) = mpsc::channel();
        let (acknowledge, durable) = watch::channel(Durable::UpTo(version));
        thread::Builder::new()
            .name("state-writer".into())
            .spawn(move || write_batches(&file, &batches, &acknowledge))
            .expect("the system can start a thread");
        Ok(Self {
            tables,
            current: ArcSwap::from_pointee(state),
            writer: Mutex::new(sender),
            changed: watch::channel(version).0,
            durable,
        })
    }

    /// The newest state.
    pub fn snapshot(&self) -> Arc<State> {
        self.current.load_full()
    }

    /// Runs one transaction in `scope`. An error leaves everything as it was. The change is visible to readers when
    /// this returns, and on disk once [`Self::durable`] says so for its version.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn transact<T, E>(
        &self,
        scope: &Scope,
        work: impl FnOnce(&mut Tx) -> Result<T, E>,
    ) -> Result<Committed<T>, E> {
        let writer = self.writer.lock().unwrap_or_else(|poisoned| {
            // A handler that panicked has changed nothing: the state is replaced only below.
            self.writer.clear_poison();
            poisoned.into_inner()
        });
        let base = self.current.load_full();
        let mut tx = Tx::new(&base, scope.clone());
        let value = work(&mut tx)?;
        let changes = tx.into_changes();
        if changes.changes.is_empty() {
            return Ok(Committed { value, version: base.version(), changed: false });
        }
        let next = base.with(&changes);
        let version = next.version();
        match disk::encode(&self.tables, &changes) {
            Ok(rows) => {
                self.current.store(Arc::new(next));
                // The writer ends only after it has said that the disk failed; `durable` tells that.
                let _ = writer.send(Batch { version, rows });
            }
            Err(error) => panic!("a record cannot be stored: {error}"),
        }
        self.changed.send_replace(version);
        Ok(Committed { value, version, changed: true })
    }

    /// Waits until the state of `version` is on disk.
    ///
    /// # Errors
    /// The disk has refused a write: this and all later versions will never be durable, and the engine must end.
    pub async fn durable(&self, version: u64) -> Result<(), Arc<StoreError>> {
        let mut durable = self.durable.clone();
        let reached = |durable: &Durable| match durable {
            Durable::UpTo(reached) => *reached >= version,
            Durable::Failed(_) => true,
        };
        match durable.wait_for(reached).await.as_deref() {
            Ok(Durable::UpTo(_)) => Ok(()),
            Ok(Durable::Failed(error)) => Err(error.clone()),
            Err(_) => unreachable!("the writer lives as long as the database, and reports its end"),
        }
    }

    /// A watch that wakes whoever waits on it after each change.
    pub fn watch(&self) -> Watch {
        Watch(self.changed.subscribe())
    }
}

/// Wakes after changes; changes that happen while nobody waits are seen at the next wait.
pub struct Watch(watch::Receiver<u64>);

impl Watch {
    /// Waits for a change that this watch has not seen yet.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The database is gone: the process is ending.
            std::future::pending::<()>().await;
        }
    }
}

/// Commits batches, as many at a time as have gathered.
fn write_batches(file: &Disk, batches: &mpsc::Receiver<Batch>, acknowledge: &watch::Sender<Durable>) {
    while let Ok(Batch { mut version, mut rows }) = batches.recv() {
        while let Ok(more) = batches.try_recv() {
            version = more.version;
            rows.extend(more.rows);
        }
        // Versions that changed only what is not durable need no write.
        if !rows.is_empty()
            && let Err(error) = file.commit(&rows)
        {
            tracing::error!(%error, "the state could not be written");
            acknowledge.send_replace(Durable::Failed(Arc::new(error)));
            return;
        }
        acknowledge.send_replace(Durable::UpTo(version));
    }
}

#[cfg(test)]
mod tests {
    use pileus_state::Record;
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Note(String);

    impl Record for Note {
        const KIND: &'static str = "test/note";

        fn key(&self) -> String {
            self.0.clone()
        }
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Seen(String);

    impl Record for Seen {
        const KIND: &'static str = "test/seen";
        const DURABLE: bool = false;

        fn key(&self) -> String {
            self.0.clone()
        }
    }

    fn open(path: &Path) -> Result<Db, StoreError> {
        let mut tables = Tables::default();
        tables.add::<Note>().add::<Seen>();
        Db::open(path, tables)
    }

    fn scope() -> Scope {
        Scope::new("000000000000", "us-east-1")
    }

    async fn put(db: &Db, text: &str) {
        let work = |tx: &mut Tx| {
            tx.put(Note(text.into()));
            tx.put(Seen(text.into()));
            Ok::<_, ()>(())
        };
        let committed = db.transact(&scope(), work).expect("the work does not fail");
        db.durable(committed.version).await.expect("the disk works");
    }

    #[tokio::test]
    async fn durable_records_come_back_and_observed_ones_do_not() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("state.redb");
        let db = open(&path).expect("a new file");
        put(&db, "one").await;
        put(&db, "two").await;
        assert!(db.snapshot().get::<Seen>(&scope(), "one").is_some());
        drop(db);
        let db = loop {
            // The writer thread closes the file a moment after its channel.
            match open(&path) {
                Ok(db) => break db,
                Err(StoreError::InUse { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        let state = db.snapshot();
        assert_eq!(
            state.list::<Note>(&scope()).map(|note| note.0.clone()).collect::<Vec<_>>(),
            ["one", "two"]
        );
        assert!(state.get::<Seen>(&scope(), "one").is_none());
    }

    #[tokio::test]
    async fn an_error_changes_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let db = open(&dir.path().join("state.redb")).expect("a new file");
        let work = |tx: &mut Tx| {
            tx.put(Note("lost".into()));
            Err::<(), _>("no")
        };
        assert_eq!(db.transact(&scope(), work).expect_err("the work fails"), "no");
        assert_eq!(db.snapshot().version(), 1);
        assert!(db.snapshot().get::<Note>(&scope(), "lost").is_none());
    }

    #[test]
    fn a_second_engine_and_a_newer_format_are_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("state.redb");
        {
            let database = redb::Database::create(&path).expect("a new file");
            let write = database.begin_write().expect("a transaction");
            let meta = redb::TableDefinition::<&str, u32>::new("meta");
            write.open_table(meta).expect("a table").insert("format", disk::FORMAT + 1).expect("a row");
            write.commit().expect("a commit");
            assert!(matches!(open(&path), Err(StoreError::InUse { .. })));
        }
        let Err(error) = open(&path) else { panic!("a newer format was opened") };
        assert!(error.to_string().contains("newer"), "{error}");
    }

    #[test]
    fn a_file_that_was_half_made_when_its_maker_was_killed_is_made_anew() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("state.redb");
        std::fs::write(path.with_extension("new"), [0; 4096]).expect("a write");
        open(&path).expect("a new file");
        assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 2, "the state and its key");
    }

    #[test]
    fn a_damaged_file_is_said_to_be_damaged() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("state.redb");
        drop(redb::Database::create(&path).expect("a new file"));
        let whole = std::fs::read(&path).expect("a file");
        for damage in
            [b"no database at all".repeat(1000), whole[..whole.len() / 2].to_vec(), whole[..99].to_vec()]
        {
            std::fs::write(&path, damage).expect("a write");
            let Err(error) = open(&path) else { panic!("a damaged file was opened") };
            assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        }
    }
}
