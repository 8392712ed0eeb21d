//! The file: one redb table of rows, `(table, scope, key)` to sealed JSON, and one of facts about the file itself.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use pileus_core::Scope;
use pileus_state::{Change, ChangeSet, State, Tables};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::seal::Seal;

/// The version of the on-disk format that this build writes.
pub const FORMAT: u32 = 1;

const META: TableDefinition<&str, u32> = TableDefinition::new("meta");
/// Keys are kind, partition, account, region and key, each ended by a zero byte (none of them contains one).
const ROWS: TableDefinition<&str, &[u8]> = TableDefinition::new("rows");

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the state in {path} is in use by another engine; `pileus stop` ends that one.")]
    InUse { path: PathBuf },
    #[error(
        "the state in {path} is damaged: {source}. Put back a copy of the file, or move it away to start afresh."
    )]
    Damaged { path: PathBuf, source: Box<redb::DatabaseError> },
    #[error("cannot open the state in {path}: {source}. It must be writable, and its disk have free space.")]
    Open { path: PathBuf, source: Box<redb::DatabaseError> },
    #[error(
        "the state in {path} has format {found}, which is newer than the format {FORMAT} of this version of \
         pileus. Use the newer pileus, or move the file away to start afresh."
    )]
    Newer { path: PathBuf, found: u32 },
    #[error("the state in {path} holds a row that this version of pileus cannot read ({key}): {cause}")]
    Row { path: PathBuf, key: String, cause: String },
    #[error("cannot read or make the key {path} that the state is encrypted with: {source}")]
    Key { path: PathBuf, source: std::io::Error },
    #[error("a record of {kind} cannot be written as JSON: {source}")]
    Encode { kind: &'static str, source: serde_json::Error },
    #[error("cannot read or write the state: {0}. Is the disk full?")]
    Disk(Box<redb::Error>),
}

fn disk(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Disk(Box::new(error.into()))
}

/// Why a file could not be opened, told apart by what there is to do about it.
fn refused(path: &Path, source: redb::DatabaseError) -> StoreError {
    use redb::{DatabaseError, StorageError};
    let path = path.to_owned();
    match source {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path },
        DatabaseError::Storage(StorageError::Io(error))
            if !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            StoreError::Open { path, source: Box::new(DatabaseError::Storage(StorageError::Io(error))) }
        }
        other => StoreError::Damaged { path, source: Box::new(other) },
    }
}

fn disk_io(error: std::io::Error) -> StoreError {
    disk(redb::Error::Io(error))
}

pub(crate) struct Disk {
    database: Database,
    path: PathBuf,
    seal: Seal,
}

impl Disk {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let key = path.with_extension("key");
        let seal = Seal::open(&key).map_err(|source| StoreError::Key { path: key, source })?;
        if !path.exists() {
            Self::create(path)?;
        }
        let database = Self::open_file(path)?;
        Ok(Self { database, path: path.to_owned(), seal })
    }

    /// Makes a new file under another name first: one that is half made, because its maker was killed, cannot be opened.
    fn create(path: &Path) -> Result<(), StoreError> {
        let new = path.with_extension("new");
        let removed = std::fs::remove_file(&new);
        removed
            .or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
            .map_err(disk_io)?;
        drop(Self::open_file(&new)?);
        std::fs::rename(&new, path).map_err(disk_io)
    }

    fn open_file(path: &Path) -> Result<Database, StoreError> {
        let database = Database::create(path).map_err(|source| refused(path, source))?;
        Self::check_format(&database, path)?;
        Ok(database)
    }

    fn check_format(database: &Database, path: &Path) -> Result<(), StoreError> {
        let write = database.begin_write().map_err(disk)?;
        {
            let mut meta = write.open_table(META).map_err(disk)?;
            let found = meta.get("format").map_err(disk)?.map_or(FORMAT, |format| format.value());
            if found > FORMAT {
                return Err(StoreError::Newer { path: path.to_owned(), found });
            }
            meta.insert("format", FORMAT).map_err(disk)?;
            write.open_table(ROWS).map_err(disk)?;
        }
        write.commit().map_err(disk)
    }

    /// Every row, as one change-set on the empty state.
    pub(crate) fn load(&self, tables: &Tables) -> Result<State, StoreError> {
        let read = self.database.begin_read().map_err(disk)?;
        let rows = read.open_table(ROWS).map_err(disk)?;
        let mut loaded = ChangeSet::default();
        for row in rows.iter().map_err(disk)? {
            let (key, bytes) = row.map_err(disk)?;
            let plain = self.seal.open_row(key.value(), bytes.value());
            let change = plain.and_then(|plain| decode_row(tables, key.value(), &plain));
            let change = change.map_err(|cause| StoreError::Row {
                path: self.path.clone(),
                key: key.value().replace('\0', " "),
                cause,
            })?;
            loaded.changes.push(change);
        }
        Ok(State::default().with(&loaded))
    }

    /// Commits encoded rows in one transaction; durable when it returns.
    pub(crate) fn commit(&self, rows: &[Row]) -> Result<(), StoreError> {
        let write = self.database.begin_write().map_err(disk)?;
        {
            let mut table = write.open_table(ROWS).map_err(disk)?;
            for (key, value) in rows {
                match value {
                    Some(bytes) => {
                        let sealed = self.seal.close_row(key, bytes).map_err(disk_io)?;
                        table.insert(key.as_str(), sealed.as_slice()).map_err(disk)?
                    }
                    None => table.remove(key.as_str()).map_err(disk)?,
                };
            }
        }
        write.commit().map_err(disk)
    }
}

/// A row's key and what to put there; `None` deletes it.
pub(crate) type Row = (String, Option<Vec<u8>>);

/// The durable part of a change-set.
pub(crate) fn encode(tables: &Tables, changes: &ChangeSet) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::with_capacity(changes.changes.len());
    for change in &changes.changes {
        let encoded =
            change.encode(tables).map_err(|source| StoreError::Encode { kind: change.kind, source })?;
        let Some(value) = encoded else { continue };
        let Scope { partition, account, region } = &change.scope;
        rows.push((format!("{}\0{partition}\0{account}\0{region}\0{}", change.kind, change.key), value));
    }
    Ok(rows)
}

fn decode_row(tables: &Tables, row: &str, bytes: &[u8]) -> Result<Change, String> {
    let mut parts = row.splitn(5, '\0');
    let mut part = || parts.next().ok_or("its key is not of five parts");
    let kind = part()?;
    let kind = tables.kind(kind).ok_or_else(|| format!("there is no table {kind}"))?;
    let scope = Scope { partition: part()?.into(), account: part()?.into(), region: part()?.into() };
    let key = part()?.to_owned();
    Change::decode(tables, kind, scope, key, bytes).map_err(|error| error.to_string())
}
