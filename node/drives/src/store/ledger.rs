//! What would be lost for ever: drive rows, heads, local names (specs/drives.md, section 17).

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::batch::{Batch, KeyValue, MemoryTables, scan_start};

/// Number of the ledger's format; a ledger with a higher one is refused, one with a lower one is migrated.
const FORMAT: u32 = 1;
/// Memory for redb's page cache, in bytes: the ledger is small and seldom read.
const PAGE_CACHE_BYTES: usize = 4 * 1024 * 1024;

const FORMAT_TABLE: TableDefinition<'_, &str, u32> = TableDefinition::new("drives.format");
const FORMAT_KEY: &str = "format";

/// Tables of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LedgerTable {
    /// By drive: header, writer set, retained heads, pins, folder, own writer key id and last counter.
    Drive,
    /// By drive and head hash: the envelope.
    Head,
    /// By drive and local path: the stored name.
    Names,
    /// By drive and tag: the hash of a head.
    Tag,
    /// The rows of the name system, which knows their keys.
    NameSystem,
    /// By app id: what it was granted.
    Apps,
    /// The user's identity, contacts and invites.
    People,
    /// By caller and key: answers to writes that may be repeated.
    Answers,
    /// By local network and peer: where the peer was met there.
    Neighbours,
}

impl LedgerTable {
    const ALL: [Self; 9] = [
        Self::Drive,
        Self::Head,
        Self::Names,
        Self::Tag,
        Self::NameSystem,
        Self::Apps,
        Self::People,
        Self::Answers,
        Self::Neighbours,
    ];

    /// The name on disk; the prefix keeps clear of other parts that share the file.
    fn definition(self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(match self {
            Self::Drive => "drives.drive",
            Self::Head => "drives.head",
            Self::Names => "drives.names",
            Self::Tag => "drives.tag",
            Self::NameSystem => "names.rows",
            Self::Apps => "apps.rows",
            Self::People => "people.rows",
            Self::Answers => "apps.answers",
            Self::Neighbours => "network.neighbours",
        })
    }
}

/// Why the ledger failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Another process has it open.
    #[error("ledger is in use by another process")]
    InUse,
    /// A later version of the program wrote it: update the program.
    #[error("ledger has format {found}, this program knows {FORMAT}")]
    NewerFormat {
        /// Its number.
        found: u32,
    },
    /// The disk failed or is full, or the file is damaged.
    #[error("ledger failed while {doing}")]
    Store {
        /// What was going on.
        doing: &'static str,
        /// What redb says.
        #[source]
        source: redb::Error,
    },
}

/// A durable ordered map. All calls block on the disk.
pub trait Ledger: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// The store failed.
    fn get(&self, table: LedgerTable, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError>;

    /// Makes all changes, or none; on disk when this returns. Takes about 5 ms: put what belongs together in one batch.
    ///
    /// # Errors
    /// The store failed; nothing was changed.
    fn commit(&self, batch: &Batch<LedgerTable>) -> Result<(), LedgerError>;

    /// Up to `limit` entries whose keys begin with `prefix`, in key order, those behind the key `after` if given.
    ///
    /// # Errors
    /// The store failed.
    fn scan(
        &self,
        table: LedgerTable,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>, LedgerError>;
}

/// The ledger on disk.
#[derive(Clone)]
pub struct RedbLedger {
    database: Arc<Database>,
}

impl RedbLedger {
    /// Opens the ledger file, or makes one.
    ///
    /// # Errors
    /// In use, of a newer format, or the store failed.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let database =
            Database::builder().set_cache_size(PAGE_CACHE_BYTES).create(path).map_err(|error| match error {
                redb::DatabaseError::DatabaseAlreadyOpen => LedgerError::InUse,
                other => failed("opening it")(other),
            })?;
        Self::with_database(Arc::new(database))
    }

    /// Uses tables in a database that other parts of the node share; all names of ours begin with `drives.`.
    ///
    /// # Errors
    /// Of a newer format, or the store failed.
    pub fn with_database(database: Arc<Database>) -> Result<Self, LedgerError> {
        let transaction = database.begin_write().map_err(failed("opening it"))?;
        {
            let mut table = transaction.open_table(FORMAT_TABLE).map_err(failed("reading its format"))?;
            let found = table.get(FORMAT_KEY).map_err(failed("reading its format"))?.map(|number| number.value());
            match found {
                Some(FORMAT) => {}
                // There is no older format yet; a lower number is migrated here, within this transaction.
                Some(found) => return Err(LedgerError::NewerFormat { found }),
                None => {
                    table.insert(FORMAT_KEY, FORMAT).map_err(failed("writing its format"))?;
                }
            }
        }
        for table in LedgerTable::ALL {
            transaction.open_table(table.definition()).map_err(failed("making its tables"))?;
        }
        transaction.commit().map_err(failed("making its tables"))?;
        Ok(Self { database })
    }
}

impl Ledger for RedbLedger {
    fn get(&self, table: LedgerTable, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        let transaction = self.database.begin_read().map_err(failed("reading"))?;
        let table = transaction.open_table(table.definition()).map_err(failed("reading"))?;
        let value = table.get(key).map_err(failed("reading"))?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    fn commit(&self, batch: &Batch<LedgerTable>) -> Result<(), LedgerError> {
        if batch.is_empty() {
            return Ok(());
        }
        let transaction = self.database.begin_write().map_err(failed("writing"))?;
        for wanted in LedgerTable::ALL {
            let mut operations = batch.iter().filter(|(table, ..)| *table == wanted).peekable();
            if operations.peek().is_none() {
                continue;
            }
            let mut table = transaction.open_table(wanted.definition()).map_err(failed("writing"))?;
            for (_, key, value) in operations {
                match value {
                    Some(value) => table.insert(key, value).map(drop),
                    None => table.remove(key).map(drop),
                }
                .map_err(failed("writing"))?;
            }
        }
        transaction.commit().map_err(failed("committing"))
    }

    fn scan(
        &self,
        table: LedgerTable,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>, LedgerError> {
        let transaction = self.database.begin_read().map_err(failed("scanning"))?;
        let table = transaction.open_table(table.definition()).map_err(failed("scanning"))?;
        let start = (scan_start(prefix, after), std::ops::Bound::Unbounded);
        let mut entries = Vec::new();
        for entry in table.range::<&[u8]>(start).map_err(failed("scanning"))?.take(limit) {
            let (key, value) = entry.map_err(failed("scanning"))?;
            if !key.value().starts_with(prefix) {
                break;
            }
            entries.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(entries)
    }
}

fn failed<E: Into<redb::Error>>(doing: &'static str) -> impl FnOnce(E) -> LedgerError {
    move |source| LedgerError::Store { doing, source: source.into() }
}

/// A ledger for tests.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    tables: Mutex<MemoryTables<LedgerTable>>,
}

impl Ledger for MemoryLedger {
    fn get(&self, table: LedgerTable, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        Ok(self.tables.lock().unwrap_or_else(PoisonError::into_inner).get(table, key))
    }

    fn commit(&self, batch: &Batch<LedgerTable>) -> Result<(), LedgerError> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).apply(batch);
        Ok(())
    }

    fn scan(
        &self,
        table: LedgerTable,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>, LedgerError> {
        Ok(self.tables.lock().unwrap_or_else(PoisonError::into_inner).scan(table, prefix, after, limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every ledger does.
    fn check(ledger: &dyn Ledger) {
        let mut batch = Batch::new();
        batch.put(LedgerTable::Drive, *b"b", *b"first").put(LedgerTable::Drive, *b"b", *b"second");
        batch.put(LedgerTable::Head, *b"b", *b"other table").delete(LedgerTable::Names, *b"absent");
        for key in [&b"a1"[..], b"a2", b"a3", b"\xff\xff"] {
            batch.put(LedgerTable::Drive, key, *b"v");
        }
        ledger.commit(&batch).expect("committed");
        assert_eq!(ledger.get(LedgerTable::Drive, b"b").expect("read"), Some(b"second".to_vec()));
        assert_eq!(ledger.get(LedgerTable::Head, b"b").expect("read"), Some(b"other table".to_vec()));
        assert_eq!(ledger.get(LedgerTable::Names, b"b").expect("read"), None);
        let keys = |prefix: &[u8], after: Option<&[u8]>, limit| -> Vec<Vec<u8>> {
            let entries = ledger.scan(LedgerTable::Drive, prefix, after, limit).expect("scanned");
            entries.into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys(b"a", None, 9), [b"a1", b"a2", b"a3"]);
        assert_eq!(keys(b"a", Some(b"a1"), 9), [b"a2", b"a3"]);
        assert_eq!(keys(b"a", Some(b"A"), 1), [b"a1"]);
        assert_eq!(keys(b"", None, 99).len(), 5);
        assert_eq!(keys(b"\xff", None, 9), [b"\xff\xff"]);
        assert!(keys(b"a", Some(b"b"), 9).is_empty());
        ledger.commit(Batch::new().delete(LedgerTable::Drive, *b"b")).expect("committed");
        assert_eq!(ledger.get(LedgerTable::Drive, b"b").expect("read"), None);
    }

    #[test]
    fn both_ledgers_behave_alike() {
        let dir = tempfile::tempdir().expect("temporary directory");
        check(&RedbLedger::open(&dir.path().join("ledger")).expect("opened"));
        check(&MemoryLedger::default());
    }

    #[test]
    fn what_was_committed_is_there_after_reopening() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("ledger");
        let ledger = RedbLedger::open(&path).expect("opened");
        ledger.commit(Batch::new().put(LedgerTable::Drive, *b"k", *b"v")).expect("committed");
        assert!(matches!(RedbLedger::open(&path), Err(LedgerError::InUse)));
        drop(ledger);
        let ledger = RedbLedger::open(&path).expect("opened again");
        assert_eq!(ledger.get(LedgerTable::Drive, b"k").expect("read"), Some(b"v".to_vec()));
    }

    #[test]
    fn a_newer_format_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("ledger");
        let ledger = RedbLedger::open(&path).expect("opened");
        let transaction = ledger.database.begin_write().expect("begun");
        transaction.open_table(FORMAT_TABLE).expect("table").insert(FORMAT_KEY, FORMAT + 1).expect("inserted");
        transaction.commit().expect("committed");
        drop(ledger);
        for _ in 0..2 {
            assert!(matches!(RedbLedger::open(&path), Err(LedgerError::NewerFormat { found: 2 })));
        }
    }
}
