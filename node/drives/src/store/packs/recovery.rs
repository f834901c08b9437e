//! Reading a pack from front to back: after a crash, and for a repair.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use p2p_identity::ContentId;

use super::{HEADER_BYTES, MAX_PACK_ITEM_BYTES, PACK_BYTES};

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

/// Walks from item to item. An item whose bytes do not match its hash is stepped over, by its length; where no
/// item can be (too long, or beyond the end) the walk ends.
pub(super) fn scan(file: &File, mut on_item: impl FnMut(ContentId, u32, u32)) -> io::Result<Scan> {
    let file_len = file.metadata()?.len();
    let usable = file_len.min(PACK_BYTES);
    let (mut at, mut good_end, mut bad, mut bad_inside) = (0_u64, 0, 0, 0);
    let mut bytes = Vec::new();
    while usable - at >= HEADER_BYTES as u64 {
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, at)?;
        let (hash, len) = split_header(&header);
        let item_bytes = HEADER_BYTES as u64 + u64::from(len);
        if len as usize > MAX_PACK_ITEM_BYTES || item_bytes > usable - at {
            break;
        }
        bytes.resize(len as usize, 0);
        file.read_exact_at(&mut bytes, at + HEADER_BYTES as u64)?;
        if ContentId::of(&bytes) == hash {
            on_item(hash, at as u32, len);
            good_end = at + item_bytes;
            bad_inside = bad;
        } else {
            bad += item_bytes;
        }
        at += item_bytes;
    }
    Ok(Scan { good_end, bad_bytes: bad + (file_len - at), bad_bytes_inside: bad_inside })
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

fn split_header(header: &[u8; HEADER_BYTES]) -> (ContentId, u32) {
    let (mut hash, mut len) = ([0; 32], [0; 4]);
    hash.copy_from_slice(&header[..32]);
    len.copy_from_slice(&header[32..]);
    (ContentId::from(hash), u32::from_be_bytes(len))
}
