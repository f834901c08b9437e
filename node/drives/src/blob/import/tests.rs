use std::io::Write;
use std::os::unix::fs::FileExt;

use bao_tree::BlockSize;
use bao_tree::io::outboard::PreOrderOutboard;
use bao_tree::io::sync::CreateOutboard;

use super::super::testing::{content, edge_sizes};
use super::*;

fn file_with(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("temporary file");
    file.write_all(bytes).expect("written");
    file
}

fn reference_outboard(bytes: &[u8]) -> PreOrderOutboard<Vec<u8>> {
    PreOrderOutboard::create(io::Cursor::new(bytes), BlockSize::from_chunk_log(4)).expect("in memory")
}

#[test]
fn hash_and_outboard_equal_those_of_blake3_and_bao_tree_at_all_edges() {
    for size in edge_sizes() {
        let bytes = content(size);
        let reference = reference_outboard(&bytes);
        let (id, outboard) = hash_bytes(&bytes);
        assert_eq!(id.as_bytes(), blake3::hash(&bytes).as_bytes(), "{size}");
        assert_eq!(outboard.clone().unwrap_or_default(), reference.data, "{size}");
        assert_eq!(outboard.is_some(), size > GROUP_BYTES, "{size}");
        let (file_id, file_outboard) = hash_file(&file_with(&bytes), size, 2).expect("hashed");
        assert_eq!((file_id, file_outboard), (id, outboard), "{size}");
    }
}

#[test]
fn many_subtrees_on_many_threads_give_one_result() {
    let size = 5 * IMPORT_SUBTREE_BYTES + 3 * GROUP_BYTES + 77;
    let bytes = content(size);
    let file = file_with(&bytes);
    let one = hash_file(&file, size, 1).expect("hashed");
    assert_eq!(one.1.as_deref(), Some(&reference_outboard(&bytes).data[..]));
    for threads in [0, 2, 7, usize::MAX] {
        assert_eq!(hash_file(&file, size, threads).expect("hashed"), one, "{threads} threads");
    }
}

#[test]
fn the_outboard_can_go_to_a_file() {
    let size = 2 * IMPORT_SUBTREE_BYTES + 1;
    let bytes = content(size);
    let sink = tempfile::tempfile().expect("temporary file");
    let id = hash_file_into(&file_with(&bytes), size, 2, &sink).expect("hashed");
    let (expected_id, expected) = hash_bytes(&bytes);
    let mut written = vec![0; outboard_len(size) as usize];
    FileExt::read_exact_at(&sink, &mut written, 0).expect("whole outboard");
    assert_eq!((id, Some(written)), (expected_id, expected));
    assert_eq!(sink.metadata().expect("stat").len(), outboard_len(size));
}

#[test]
fn a_file_of_another_length_is_refused() {
    let file = file_with(&content(100_000));
    for size in [0, 99_999, 100_001, u64::MAX] {
        let result = hash_file(&file, size, 2);
        assert!(matches!(result, Err(ImportError::ChangedWhileReading { size: given }) if given == size), "{size}");
    }
}

/// Changes the file's length when a byte at or after `at` is read.
struct Meddled {
    file: File,
    at: u64,
    len: u64,
}

impl ReadAt for Meddled {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if offset >= self.at {
            self.file.set_len(self.len)?;
        }
        FileExt::read_exact_at(&self.file, buf, offset)
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_noticed() {
    let size = 3 * IMPORT_SUBTREE_BYTES;
    let source = Meddled { file: file_with(&content(size)), at: IMPORT_SUBTREE_BYTES, len: 2 * IMPORT_SUBTREE_BYTES };
    let sink = tempfile::tempfile().expect("temporary file");
    for threads in [1, 2] {
        let result = hash_source(&source, size, threads, &sink);
        assert!(matches!(result, Err(ImportError::ChangedWhileReading { .. })), "{result:?}");
    }
}

/// Lets the file grow as soon as the first part of its outboard is written, in the middle of the import.
struct GrowOnWrite<'a>(&'a File, u64);

impl OutboardSink for GrowOnWrite<'_> {
    fn write_outboard(&self, _: &[u8], _: u64) -> io::Result<()> {
        self.0.set_len(self.1)
    }
}

#[test]
fn a_file_that_grows_while_it_is_read_is_noticed() {
    let file = file_with(&content(50_000));
    let result = hash_file_into(&file, 50_000, 1, &GrowOnWrite(&file, 50_001));
    assert!(matches!(result, Err(ImportError::ChangedWhileReading { size: 50_000 })), "{result:?}");
}

struct Full;

impl OutboardSink for Full {
    fn write_outboard(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

#[test]
fn a_full_disk_under_the_outboard_is_an_error_of_its_own() {
    let result = hash_file_into(&file_with(&content(40_000)), 40_000, 2, &Full);
    assert!(matches!(result, Err(ImportError::WriteOutboard(_))), "{result:?}");
}
