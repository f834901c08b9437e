//! Reading a pack from front to back: after a crash, and for a repair.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use p2p_identity::ContentId;

use super::{HEADER_BYTES, MAX_PACK_ITEM_BYTES, PACK_BYTES};

/// Read at a time while the next item is looked for behind a damaged one.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Most bytes hashed in search of items behind damaged ones, for one pack: content that looks like headers all over must not
/// hold up a start for long.
const MAX_SEARCH_BYTES: u64 = 1024 * 1024 * 1024;

/// What opening found at the end of the newest pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackRecovery {
    /// Bytes of the pack after recovery.
    pub end: u64,
    /// Bytes cut off behind the last good item.
    pub cut_bytes: u64,
    /// Bytes of damaged items before it; they stay, so that nothing behind them is lost. A repair accounts for them.
    pub bad_bytes: u64,
}

/// What a scan found beside good items.
pub(super) struct Scan {
    /// End of the last good item, in bytes.
    pub(super) good_end: u64,
    /// Bytes of the file that belong to no good item.
    pub(super) bad_bytes: u64,
    /// Those of them that lie before `good_end`.
    bad_bytes_inside: u64,
}

/// Walks from item to item. Behind one that is damaged, be it in its bytes or in its length, the next good one is looked for
/// at every place.
pub(super) fn scan(file: &File, mut on_item: impl FnMut(ContentId, u32, u32)) -> io::Result<Scan> {
    let file_len = file.metadata()?.len();
    let mut reader =
        Reader { file, usable: file_len.min(PACK_BYTES), search_left: MAX_SEARCH_BYTES, bytes: Vec::new() };
    let (mut at, mut good_end, mut good) = (0_u64, 0, 0);
    loop {
        let found = match reader.item_at(at)? {
            Some(item) => Some((at, item)),
            None => reader.search(at.saturating_add(1))?,
        };
        let Some((start, (hash, len))) = found else { break };
        on_item(hash, start as u32, len);
        at = start + HEADER_BYTES as u64 + u64::from(len);
        good += at - start;
        good_end = at;
    }
    Ok(Scan { good_end, bad_bytes: file_len - good, bad_bytes_inside: good_end - good })
}

/// Cuts off what follows the last good item.
pub(super) fn cut_torn_end(file: &File) -> io::Result<PackRecovery> {
    let scan = scan(file, |_, _, _| {})?;
    let cut_bytes = file.metadata()?.len() - scan.good_end;
    if cut_bytes > 0 {
        file.set_len(scan.good_end)?;
    }
    Ok(PackRecovery { end: scan.good_end, cut_bytes, bad_bytes: scan.bad_bytes_inside })
}

struct Reader<'a> {
    file: &'a File,
    usable: u64,
    search_left: u64,
    bytes: Vec<u8>,
}

impl Reader<'_> {
    /// Hash and length of the good item that begins there, if one does.
    fn item_at(&mut self, at: u64) -> io::Result<Option<(ContentId, u32)>> {
        if self.usable.saturating_sub(at) < HEADER_BYTES as u64 {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES];
        self.file.read_exact_at(&mut header, at)?;
        let (hash, len) = split_header(&header);
        if !self.may_be(at, len) {
            return Ok(None);
        }
        self.bytes.resize(len as usize, 0);
        self.file.read_exact_at(&mut self.bytes, at + HEADER_BYTES as u64)?;
        Ok((ContentId::of(&self.bytes) == hash).then_some((hash, len)))
    }

    fn may_be(&self, at: u64, len: u32) -> bool {
        len as usize <= MAX_PACK_ITEM_BYTES && HEADER_BYTES as u64 + u64::from(len) <= self.usable - at
    }

    /// The first good item that begins at `from` or behind. Four bytes are seldom a length that an item can have, so few
    /// places need hashing.
    fn search(&mut self, from: u64) -> io::Result<Option<(u64, (ContentId, u32))>> {
        let mut window = vec![0; WINDOW_BYTES];
        let mut at = from;
        while self.usable.saturating_sub(at) >= HEADER_BYTES as u64 {
            let len = (self.usable - at).min(WINDOW_BYTES as u64) as usize;
            let window = window.get_mut(..len).unwrap_or_default();
            self.file.read_exact_at(window, at)?;
            for (index, header) in window.windows(HEADER_BYTES).enumerate() {
                let Some(header) = header.first_chunk::<HEADER_BYTES>() else { break };
                let (place, (_, len)) = (at + index as u64, split_header(header));
                if !self.may_be(place, len) {
                    continue;
                }
                let Some(left) = self.search_left.checked_sub(u64::from(len) + 1) else { return Ok(None) };
                self.search_left = left;
                if let Some(item) = self.item_at(place)? {
                    return Ok(Some((place, item)));
                }
            }
            at += (len - (HEADER_BYTES - 1)) as u64;
        }
        Ok(None)
    }
}

fn split_header(header: &[u8; HEADER_BYTES]) -> (ContentId, u32) {
    let (mut hash, mut len) = ([0; 32], [0; 4]);
    hash.copy_from_slice(&header[..32]);
    len.copy_from_slice(&header[32..]);
    (ContentId::from(hash), u32::from_be_bytes(len))
}
