use super::super::cache::{MAX_BATCH_OPERATIONS, MAX_BITMAP_BYTES, MAX_ROW_BYTES, MAX_SMALL_VALUE_BYTES, MemoryCache};
use super::*;

fn open(directory: &Path) -> (SledCache, CacheOpened) {
    SledCache::open(directory, DEFAULT_CACHE_BYTES).expect("opened")
}

fn put(cache: &dyn Cache, key: &[u8], value: &[u8]) {
    cache.apply(Batch::new().put(CacheTable::Node, key, value)).expect("applied");
}

/// What every cache does.
fn check(cache: &dyn Cache) {
    let mut batch = Batch::new();
    batch.put(CacheTable::Blob, *b"b", *b"first").put(CacheTable::Blob, *b"b", *b"second");
    batch.put(CacheTable::Node, *b"b", *b"other table").delete(CacheTable::Gc, *b"absent");
    for key in [&b"a1"[..], b"a2", b"a3", b"\xff\xff"] {
        batch.put(CacheTable::Blob, key, *b"v");
    }
    cache.apply(&batch).expect("applied");
    assert_eq!(cache.get(CacheTable::Blob, b"b").expect("read"), Some(b"second".to_vec()));
    assert_eq!(cache.get(CacheTable::Node, b"b").expect("read"), Some(b"other table".to_vec()));
    let keys = |prefix: &[u8], after: Option<&[u8]>, limit| -> Vec<Vec<u8>> {
        let entries = cache.scan(CacheTable::Blob, prefix, after, limit).expect("scanned");
        entries.into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(keys(b"a", None, 9), [b"a1", b"a2", b"a3"]);
    assert_eq!(keys(b"a", Some(b"a1"), 9), [b"a2", b"a3"]);
    assert_eq!(keys(b"a", Some(b"A"), 1), [b"a1"]);
    assert_eq!(keys(b"", None, 99).len(), 5);
    assert_eq!(keys(b"\xff", None, 9), [b"\xff\xff"]);
    assert!(keys(b"a", Some(b"b"), 9).is_empty());
    cache.remove(CacheTable::Blob, b"b").expect("removed");
    assert_eq!(cache.get(CacheTable::Blob, b"b").expect("read"), None);
    cache.flush().expect("flushed");
    check_bounds(cache);
}

fn check_bounds(cache: &dyn Cache) {
    for (table, max) in [
        (CacheTable::Node, MAX_SMALL_VALUE_BYTES),
        (CacheTable::Bitmap, MAX_BITMAP_BYTES),
        (CacheTable::Leaf, MAX_ROW_BYTES),
    ] {
        cache.apply(Batch::new().put(table, *b"most", vec![1; max])).expect("fits");
        let mut batch = Batch::new();
        batch.put(table, *b"before", *b"x").put(table, *b"more", vec![1; max + 1]);
        assert!(matches!(cache.apply(&batch), Err(CacheError::ValueTooLarge { .. })));
        assert_eq!(cache.get(table, b"before").expect("read"), None);
    }
    let mut batch = Batch::new();
    for number in 0..=MAX_BATCH_OPERATIONS as u32 {
        batch.put(CacheTable::Gc, number.to_be_bytes(), *b"");
    }
    assert!(matches!(cache.apply(&batch), Err(CacheError::BatchTooLong(1001))));
}

#[test]
fn both_caches_behave_alike() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (cache, opened) = open(&dir.path().join("deep/cache"));
    assert_eq!(opened, CacheOpened::Fresh);
    check(&cache);
    check(&MemoryCache::default());
}

#[test]
fn what_was_applied_is_there_after_reopening() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("cache");
    let (cache, _) = open(&path);
    put(&cache, b"k", b"v");
    cache.flush().expect("flushed");
    assert!(matches!(SledCache::open(&path, DEFAULT_CACHE_BYTES), Err(CacheError::InUse)));
    drop(cache);
    let (cache, opened) = open(&path);
    assert_eq!(opened, CacheOpened::Kept);
    assert_eq!(cache.get(CacheTable::Node, b"k").expect("read"), Some(b"v".to_vec()));
}

#[test]
fn a_cache_of_another_or_no_format_is_moved_aside() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("cache");
    let (cache, _) = open(&path);
    put(&cache, b"k", b"v");
    drop(cache);
    for (number, text) in [(1, Some("2\n")), (2, Some("\u{0}\u{7}")), (3, None)] {
        let format = dir.path().join("cache.format");
        match text {
            Some(text) => fs::write(&format, text).expect("written"),
            None => fs::remove_file(&format).expect("removed"),
        }
        let (cache, opened) = open(&path);
        let expected = dir.path().join(format!("cache.damaged-{number}"));
        assert!(matches!(&opened, CacheOpened::Rebuilt { moved_to, .. } if *moved_to == expected), "{opened:?}");
        assert!(expected.join("db").exists());
        assert_eq!(cache.get(CacheTable::Node, b"k").expect("read"), None);
        drop(cache);
        assert_eq!(open(&path).1, CacheOpened::Kept);
    }
}

#[test]
fn a_cache_that_will_not_open_is_moved_aside_and_made_anew() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("cache");
    let (cache, _) = open(&path);
    put(&cache, b"k", b"v");
    drop(cache);
    fs::write(path.join("conf"), b"neither a number nor a name").expect("written");
    let (cache, opened) = open(&path);
    assert!(matches!(&opened, CacheOpened::Rebuilt { moved_to, .. } if moved_to.join("conf").exists()), "{opened:?}");
    put(&cache, b"k", b"new");
    drop(cache);
    let (cache, opened) = open(&path);
    assert_eq!(opened, CacheOpened::Kept);
    assert_eq!(cache.get(CacheTable::Node, b"k").expect("read"), Some(b"new".to_vec()));
}

#[test]
fn whatever_is_damaged_the_cache_opens_and_works() {
    for (name, damage) in [
        ("db", &(|bytes: &mut Vec<u8>| bytes.iter_mut().for_each(|byte| *byte ^= 0x5a)) as &dyn Fn(&mut Vec<u8>)),
        ("db", &|bytes| bytes.truncate(bytes.len() / 3)),
        ("db", &|bytes| bytes.truncate(0)),
        ("db", &|bytes| bytes.iter_mut().skip(100).step_by(97).for_each(|byte| *byte = !*byte)),
        ("conf", &|bytes| bytes.truncate(0)),
    ] {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("cache");
        let (cache, _) = open(&path);
        for number in 0..300_u32 {
            put(&cache, &number.to_be_bytes(), &[number as u8; 200]);
        }
        cache.flush().expect("flushed");
        drop(cache);
        let file = path.join(name);
        let mut bytes = fs::read(&file).expect("read");
        damage(&mut bytes);
        fs::write(&file, bytes).expect("written");
        let (cache, opened) = open(&path);
        // Either all is well, or something was lost; what matters is that work goes on, at the latest after a restart.
        let works = cache.apply(Batch::new().put(CacheTable::Node, *b"k", *b"v")).is_ok()
            && cache.get(CacheTable::Node, b"k").is_ok_and(|value| value.is_some());
        if !works {
            drop(cache);
            let (cache, opened) = open(&path);
            assert!(matches!(opened, CacheOpened::Rebuilt { .. }), "{name}: {opened:?}");
            put(&cache, b"k", b"v");
        } else {
            assert_ne!(opened, CacheOpened::Fresh, "{name}");
        }
    }
}

#[test]
fn a_panic_is_an_error_and_the_next_start_makes_a_new_cache() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("cache");
    let (cache, _) = open(&path);
    let result: Result<(), _> = cache.guarded(|_| panic!("index out of bounds, as damaged pages cause"));
    assert!(matches!(result, Err(CacheError::Damaged { reason }) if reason.starts_with("index")));
    assert!(matches!(cache.get(CacheTable::Node, b"k"), Err(CacheError::Damaged { .. })));
    drop(cache);
    assert!(matches!(open(&path).1, CacheOpened::Rebuilt { .. }));
}

#[test]
fn a_cache_that_failed_is_replaced_while_it_is_in_use() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (cache, _) = SledCache::open(&dir.path().join("cache"), DEFAULT_CACHE_BYTES).expect("opened");
    cache.apply(Batch::new().put(CacheTable::Blob, *b"k", *b"old")).expect("applied");
    assert_eq!(cache.renew().expect("works"), None);
    let result: Result<(), _> = cache.guarded(|_| panic!("index out of bounds, as damaged pages cause"));
    assert!(result.is_err() && cache.get(CacheTable::Blob, b"k").is_err());
    assert_eq!(cache.renew().expect("renewed"), Some(dir.path().join("cache.damaged-1")));
    assert_eq!(cache.get(CacheTable::Blob, b"k").expect("read"), None);
    cache.apply(Batch::new().put(CacheTable::Blob, *b"k", *b"new")).expect("applied");
    cache.flush().expect("flushed");
    drop(cache);
    let (cache, opened) = SledCache::open(&dir.path().join("cache"), DEFAULT_CACHE_BYTES).expect("opened");
    assert_eq!((opened, cache.get(CacheTable::Blob, b"k").expect("read")), (CacheOpened::Kept, Some(b"new".to_vec())));
}
