//! Small blobs and index nodes, many in one file (specs/drives.md, section 17).
//!
//! `packs/<n>.pack` are append-only and at most 64 MiB. An item is its hash (32 bytes), its length (u32, big-endian) and
//! its bytes. Only the newest pack is ever written, and it is synced before the next one begins; so only its end can be
//! torn by a crash, and opening cuts that off. What was appended before [`Packs::sync`] returned stays.

mod recovery;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::lock::lock;
use p2p_identity::ContentId;

pub use recovery::PackRecovery;

/// Most bytes of a pack.
pub const PACK_BYTES: u64 = 64 * 1024 * 1024;
/// Most bytes of an item: an index node (blobs in packs are below 64 KiB).
pub const MAX_PACK_ITEM_BYTES: usize = 192 * 1024;
/// Bytes before an item's own: hash and length.
const HEADER_BYTES: usize = 36;
/// How much is gathered before it is written, in bytes.
const WRITE_BYTES: usize = 1024 * 1024;
/// Most packs kept open for reading.
const MAX_OPEN_PACKS: usize = 16;

/// Where an item lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackLocation {
    /// Number of the pack.
    pub pack: u32,
    /// Where the item begins, in bytes: its header.
    pub offset: u32,
    /// Bytes of the item itself, without header.
    pub len: u32,
}

impl PackLocation {
    /// Bytes of the form kept in the cache.
    pub const BYTES: usize = 12;

    /// The form kept in the cache: pack, offset, length, each u32 big-endian.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&self.pack.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.offset.to_be_bytes());
        bytes[8..].copy_from_slice(&self.len.to_be_bytes());
        bytes
    }

    /// Bytes that the item takes, header included.
    pub fn item_bytes(self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.len)
    }

    /// Reads that form. Whether there is such an item shows when it is read.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        Self {
            pack: u32::from_be_bytes([a, b, c, d]),
            offset: u32::from_be_bytes([e, f, g, h]),
            len: u32::from_be_bytes([i, j, k, l]),
        }
    }
}

/// An item that a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackItem {
    /// Hash of its bytes, verified.
    pub hash: ContentId,
    /// Where it lies.
    pub location: PackLocation,
}

/// Why a pack could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The disk failed or is full.
    #[error("packs failed while {doing}")]
    Io {
        /// What was going on.
        doing: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// More bytes than an item may have: nothing of the batch was written.
    #[error("item of {0} bytes, at most {MAX_PACK_ITEM_BYTES}")]
    ItemTooLarge(usize),
    /// The bytes are not those of the hash: nothing of the batch was written.
    #[error("item does not match its hash")]
    WrongHash,
    /// There is no such item there, or it is damaged: fetch it again or run a repair.
    #[error("no good item in pack {} at {}", .0.pack, .0.offset)]
    Missing(PackLocation),
    /// The newest pack cannot be removed: it is still written.
    #[error("pack {0} is still written")]
    InUse(u32),
    /// All numbers are used up.
    #[error("no pack number is left")]
    Exhausted,
}

/// A directory of packs. May be shared between threads; calls block on the disk.
pub struct Packs {
    directory: PathBuf,
    writer: Mutex<Writer>,
    /// Packs open for reading, the last used at the back.
    open: Mutex<VecDeque<(u32, Arc<File>)>>,
}

/// The newest pack.
struct Writer {
    number: u32,
    file: Arc<File>,
    /// Where the next item goes: the end of the last good one.
    end: u64,
    /// Whether anything was written since the last sync.
    is_dirty: bool,
}

impl Packs {
    /// Opens a directory of packs, or makes one, and cuts off what a crash left unfinished at the end.
    ///
    /// # Errors
    /// The disk failed.
    pub fn open(directory: &Path) -> Result<(Self, PackRecovery), PackError> {
        fs::create_dir_all(directory).map_err(failed("making their directory"))?;
        let number = pack_numbers(directory)?.last().copied().unwrap_or(0);
        let file = open_for_writing(directory, number)?;
        let recovery = recovery::cut_torn_end(&file).map_err(failed("recovering the newest pack"))?;
        let writer = Writer { number, file: Arc::new(file), end: recovery.end, is_dirty: true };
        let packs =
            Self { directory: directory.to_owned(), writer: Mutex::new(writer), open: Mutex::new(VecDeque::new()) };
        packs.sync()?;
        Ok((packs, recovery))
    }

    /// Appends items and tells where each went. They can be read at once, but are safe only after [`Packs::sync`].
    ///
    /// # Errors
    /// An item is too large or not what its hash says (nothing was written), or the disk failed; then some may have been
    /// written, and may be appended again.
    pub fn append(&self, items: &[(ContentId, &[u8])]) -> Result<Vec<PackLocation>, PackError> {
        for (hash, bytes) in items {
            if bytes.len() > MAX_PACK_ITEM_BYTES {
                return Err(PackError::ItemTooLarge(bytes.len()));
            }
            if ContentId::of(bytes) != *hash {
                return Err(PackError::WrongHash);
            }
        }
        let mut writer = lock(&self.writer);
        let mut locations = Vec::with_capacity(items.len());
        let mut gathered = Vec::new();
        for (hash, bytes) in items {
            let item_bytes = HEADER_BYTES + bytes.len();
            if writer.end + (gathered.len() + item_bytes) as u64 > PACK_BYTES {
                writer.write(&mut gathered)?;
                self.begin_pack(&mut writer)?;
            }
            let offset = writer.end as u32 + gathered.len() as u32;
            locations.push(PackLocation { pack: writer.number, offset, len: bytes.len() as u32 });
            gathered.extend_from_slice(hash.as_bytes());
            gathered.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
            gathered.extend_from_slice(bytes);
            if gathered.len() >= WRITE_BYTES {
                writer.write(&mut gathered)?;
            }
        }
        writer.write(&mut gathered)?;
        Ok(locations)
    }

    /// The bytes of an item, verified.
    ///
    /// # Errors
    /// [`PackError::Missing`] if there is no item of this hash, or it is damaged; or the disk failed.
    pub fn read(&self, hash: &ContentId, location: PackLocation) -> Result<Vec<u8>, PackError> {
        if location.len as usize > MAX_PACK_ITEM_BYTES {
            return Err(PackError::Missing(location));
        }
        let mut item = vec![0; HEADER_BYTES + location.len as usize];
        let read = self.reader(location.pack).and_then(|file| file.read_exact_at(&mut item, location.offset.into()));
        match read {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
                return Err(PackError::Missing(location));
            }
            Err(error) => return Err(failed("reading an item")(error)),
        }
        let bytes = item.split_off(HEADER_BYTES);
        let is_right = item[..32] == hash.as_bytes()[..] && item[32..] == location.len.to_be_bytes();
        if is_right && ContentId::of(&bytes) == *hash { Ok(bytes) } else { Err(PackError::Missing(location)) }
    }

    /// Brings everything appended so far to the disk.
    ///
    /// # Errors
    /// The disk failed: nothing appended since the last sync is safe.
    pub fn sync(&self) -> Result<(), PackError> {
        lock(&self.writer).sync()
    }

    /// Begins a new pack if the newest is `damaged`: opening it would cut off what follows an item whose length is damaged.
    ///
    /// # Errors
    /// The disk failed.
    pub fn turn_from(&self, damaged: u32) -> Result<(), PackError> {
        let mut writer = lock(&self.writer);
        if writer.number == damaged { self.begin_pack(&mut writer) } else { Ok(()) }
    }

    /// Numbers of all packs, ascending. The last one is still written.
    ///
    /// # Errors
    /// The disk failed.
    pub fn numbers(&self) -> Result<Vec<u32>, PackError> {
        pack_numbers(&self.directory)
    }

    /// Bytes of a pack in use, headers included; 0 if there is none of this number.
    ///
    /// # Errors
    /// The disk failed.
    pub fn pack_len(&self, number: u32) -> Result<u64, PackError> {
        match fs::metadata(pack_path(&self.directory, number)) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(failed("measuring a pack")(error)),
        }
    }

    /// Removes a pack whose live items were appended again, and their new locations committed (section 12, rule 6).
    ///
    /// # Errors
    /// It is the newest, or the disk failed. One that is not there is no error.
    pub fn remove(&self, number: u32) -> Result<(), PackError> {
        if lock(&self.writer).number == number {
            return Err(PackError::InUse(number));
        }
        lock(&self.open).retain(|(open, _)| *open != number);
        match fs::remove_file(pack_path(&self.directory, number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removing a pack")(error)),
            _ => Ok(()),
        }
    }

    /// Reads every item of every pack, in order, and hands over the good ones; damaged ones are stepped over. Returns
    /// how many bytes belong to no good item. Memory: one item.
    ///
    /// # Errors
    /// The disk failed.
    pub fn scan_all(&self, mut on_item: impl FnMut(PackItem)) -> Result<u64, PackError> {
        let mut bad_bytes = 0;
        for number in self.numbers()? {
            let file = match self.reader(number) {
                Ok(file) => file,
                // Removed since we looked.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("opening a pack")(error)),
            };
            let scan = recovery::scan(&file, |hash, offset, len| {
                on_item(PackItem { hash, location: PackLocation { pack: number, offset, len } });
            });
            bad_bytes += scan.map_err(failed("scanning a pack"))?.bad_bytes;
        }
        Ok(bad_bytes)
    }

    /// Syncs the newest pack and begins the next.
    fn begin_pack(&self, writer: &mut Writer) -> Result<(), PackError> {
        writer.sync()?;
        let number = writer.number.checked_add(1).ok_or(PackError::Exhausted)?;
        let file = open_for_writing(&self.directory, number)?;
        *writer = Writer { number, file: Arc::new(file), end: 0, is_dirty: true };
        Ok(())
    }

    /// The pack, open for reading.
    fn reader(&self, number: u32) -> io::Result<Arc<File>> {
        let mut open = lock(&self.open);
        if let Some(at) = open.iter().position(|(other, _)| *other == number)
            && let Some((_, file)) = open.remove(at)
        {
            open.push_back((number, Arc::clone(&file)));
            return Ok(file);
        }
        let file = Arc::new(File::open(pack_path(&self.directory, number))?);
        if open.len() >= MAX_OPEN_PACKS {
            open.pop_front();
        }
        open.push_back((number, Arc::clone(&file)));
        Ok(file)
    }
}

impl Writer {
    /// Writes and empties `gathered`. On failure `end` stays, so the next write goes over what was half written.
    fn write(&mut self, gathered: &mut Vec<u8>) -> Result<(), PackError> {
        if gathered.is_empty() {
            return Ok(());
        }
        self.is_dirty = true;
        self.file.write_all_at(gathered, self.end).map_err(failed("appending"))?;
        self.end += gathered.len() as u64;
        gathered.clear();
        Ok(())
    }

    fn sync(&mut self) -> Result<(), PackError> {
        if self.is_dirty {
            self.file.sync_data().map_err(failed("syncing a pack"))?;
            self.is_dirty = false;
        }
        Ok(())
    }
}

fn pack_path(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number}.pack"))
}

/// Opens or makes a pack; a new one's name is on disk when this returns.
fn open_for_writing(directory: &Path, number: u32) -> Result<File, PackError> {
    let path = pack_path(directory, number);
    let file = File::options().create(true).truncate(false).read(true).write(true).open(path);
    let file = file.map_err(failed("opening the newest pack"))?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed("syncing their directory"))?;
    Ok(file)
}

/// Numbers of the packs in a directory, ascending; other names are left alone.
fn pack_numbers(directory: &Path) -> Result<Vec<u32>, PackError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed("listing packs"))? {
        let name = entry.map_err(failed("listing packs"))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".pack")?.parse::<u32>().ok());
        // Only names that we would give: `07.pack` or `+7.pack` are none.
        numbers.extend(number.filter(|number| name == *format!("{number}.pack")));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> PackError {
    move |source| PackError::Io { doing, source }
}

#[cfg(test)]
mod tests;
