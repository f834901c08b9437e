use proptest::prelude::*;

use super::*;

pub(crate) fn key(path: &str) -> PathKey {
    PathKey::from_path(path).unwrap()
}

pub(crate) fn file(writer: u8, counter: u64, hlc: u64, content: &[u8]) -> Version {
    Version::with_content(
        Dot { writer: [writer; 8], counter },
        Kind::File,
        0o644,
        1_700_000_000_000_000_000,
        hlc,
        content,
    )
}

/// Any version, of a few writers and contents so that equal ones meet.
pub(crate) fn any_version() -> impl Strategy<Value = Version> {
    let kind = prop_oneof![4 => Just(Kind::File), 1 => Just(Kind::Directory), 1 => Just(Kind::Symlink)];
    let content = prop_oneof![Just(vec![]), Just(b"same".to_vec()), proptest::collection::vec(any::<u8>(), 0..100)];
    let dot = (0..5u8, 1..50u64).prop_map(|(writer, counter)| Dot { writer: [writer; 8], counter });
    let times = prop_oneof![Just((5i64, 7u64)), any::<(i64, u64)>()];
    (dot, kind, content, 0..=MODE_MASK, times, proptest::option::weighted(0.1, any::<[u8; 32]>()), any::<bool>())
        .prop_map(|(dot, kind, content, mode, (mtime_ns, hlc), extra, outside)| {
            let mut version = match kind {
                Kind::Directory => Version::directory(dot, mode, mtime_ns, hlc),
                _ => Version::with_content(dot, kind, mode, mtime_ns, hlc, &content),
            };
            if outside {
                version.inline = None;
            }
            version.xattr = extra.map(ContentId::from);
            version.cipher_root = extra.filter(|extra| extra[0] & 1 == 0).map(ContentId::from);
            version
        })
}

/// Any entry of this key.
pub(crate) fn any_entry(key: PathKey) -> impl Strategy<Value = Entry> {
    proptest::collection::vec(any_version(), 1..4).prop_map(move |mut versions| {
        versions.sort_by_key(|version| version.dot);
        versions.dedup_by_key(|version| version.dot);
        Entry::new(key.clone(), versions).unwrap()
    })
}

#[test]
fn the_greatest_clock_is_shown_then_the_greatest_writer() {
    let old = file(9, 1, 10, b"old");
    let new = file(1, 7, 11, b"new");
    let entry = Entry::new(key("a"), vec![old.clone(), new.clone()]).unwrap();
    assert_eq!(entry.shown(), &new);
    let tie = file(8, 1, 11, b"tie");
    let entry = Entry::new(key("a"), vec![tie.clone(), new, old]).unwrap();
    assert_eq!(entry.shown(), &tie);
    assert_eq!(entry.hidden().len(), 2);
}

#[test]
fn equal_values_of_two_writers_are_no_conflict() {
    let entry = Entry::new(key("a"), vec![file(1, 1, 5, b"x"), file(2, 3, 6, b"x")]).unwrap();
    assert!(!entry.is_conflict());
    assert!(entry.hidden().is_empty());
    let entry = Entry::new(key("a"), vec![file(1, 1, 5, b"x"), file(2, 3, 6, b"y"), file(3, 1, 4, b"x")]).unwrap();
    assert!(entry.is_conflict());
    assert_eq!(entry.hidden(), [&file(1, 1, 5, b"x")]);
}

#[test]
fn entries_that_cannot_be_are_refused() {
    let refused = |versions| Entry::new(key("a"), versions).unwrap_err();
    assert_eq!(refused(vec![]), EntryError::VersionCount(0));
    assert_eq!(refused((1..=129).map(|counter| file(1, counter, 1, b"")).collect()), EntryError::VersionCount(129));
    assert_eq!(refused(vec![file(1, 1, 1, b"a"), file(1, 1, 2, b"b")]), EntryError::SameDot);
    assert_eq!(refused(vec![file(1, 0, 1, b"a")]), EntryError::CounterZero);
    let mut setuid = file(1, 1, 1, b"a");
    setuid.mode = 0o4755;
    assert_eq!(refused(vec![setuid]), EntryError::Mode(0o4755));
    let mut lie = file(1, 1, 1, b"a");
    lie.inline = Inline::new(b"b");
    assert_eq!(refused(vec![lie]), EntryError::InlineMismatch);
    let mut directory = file(1, 1, 1, b"a");
    directory.kind = Kind::Directory;
    assert_eq!(refused(vec![directory]), EntryError::DirectoryContent);
    assert!(Inline::new(&[0; 65]).is_none());
}
