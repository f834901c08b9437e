//! Keys of the index: paths whose components are joined by `0x01` (specs/drives.md, 4.1).
//!
//! `0x01` sorts below every other byte that a path may have, so the subtree of a directory is contiguous and follows the
//! directory's own entry at once.

use std::fmt;

use thiserror::Error;
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 4096;
/// Longest component of a key, in bytes.
pub const MAX_COMPONENT_BYTES: usize = 255;
/// What separates components in a key.
pub(crate) const SEPARATOR: u8 = 0x01;
/// The first byte above [`SEPARATOR`]: a key followed by it is above everything under that key.
pub(crate) const AFTER_SEPARATOR: u8 = 0x02;

/// The path of an entry: one or more components, each NFC UTF-8 of 1 to 255 bytes, 4,096 bytes in all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathKey(Box<[u8]>);

/// Why something is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PathKeyError {
    /// More than [`MAX_KEY_BYTES`].
    #[error("path is {0} bytes, at most {MAX_KEY_BYTES}")]
    TooLong(usize),
    /// A component of more than [`MAX_COMPONENT_BYTES`].
    #[error("a name in the path is {0} bytes, at most {MAX_COMPONENT_BYTES}")]
    ComponentTooLong(usize),
    /// The path begins with a separator.
    #[error("the path is absolute")]
    Absolute,
    /// Nothing at all, or nothing between two separators.
    #[error("the path has an empty name")]
    EmptyComponent,
    /// `.` or `..`.
    #[error("the path has `.` or `..` in it")]
    Dots,
    /// A byte that no name may have.
    #[error("a name in the path has byte {0:#04x} in it")]
    ForbiddenByte(u8),
    /// Not text.
    #[error("the path is not UTF-8")]
    NotUtf8,
    /// Text in another normal form.
    #[error("the path is not in Unicode normal form C")]
    NotNormal,
}

impl PathKey {
    /// From a path with `/`, as people write it. Other normal forms of Unicode are brought to NFC.
    pub fn from_path(path: &str) -> Result<Self, PathKeyError> {
        // Normalising may lengthen text, at most threefold: the bound comes first.
        if path.len() > MAX_KEY_BYTES * 3 {
            return Err(PathKeyError::TooLong(path.len()));
        }
        if let Some(byte) = path.bytes().find(|byte| matches!(byte, 0 | 1)) {
            return Err(PathKeyError::ForbiddenByte(byte));
        }
        let normal: String = if is_nfc(path) { path.to_owned() } else { path.nfc().collect() };
        Self::from_bytes(normal.replace('/', "\u{1}").as_bytes())
    }

    /// From the bytes of a key, which must be right in every respect.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PathKeyError> {
        check(bytes)?;
        Ok(Self(bytes.into()))
    }

    /// The bytes, with `0x01` between components.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path with `/` between components.
    pub fn to_path(&self) -> String {
        self.components().collect::<Vec<_>>().join("/")
    }

    /// The components from the root downwards; never empty.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        let parts = self.0.split(|byte| *byte == SEPARATOR);
        parts.map(|part| std::str::from_utf8(part).expect("keys are UTF-8, checked when made"))
    }

    /// The last component.
    pub fn name(&self) -> &str {
        self.components().last().expect("a key has at least one component")
    }

    /// The directory it is in; `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        let end = self.0.iter().rposition(|byte| *byte == SEPARATOR)?;
        Some(Self(self.0.get(..end)?.into()))
    }

    /// The key of `name` inside this directory.
    pub fn join(&self, name: &str) -> Result<Self, PathKeyError> {
        Self::from_path(&format!("{}/{name}", self.to_path()))
    }

    /// Whether it is `prefix` itself or lies under it.
    pub fn is_under(&self, prefix: &Self) -> bool {
        let rest = self.0.strip_prefix(prefix.as_bytes());
        rest.is_some_and(|rest| rest.first().is_none_or(|byte| *byte == SEPARATOR))
    }

    /// The smallest byte string above the key and all that lies under it, for seeking.
    pub fn after_subtree(&self) -> Vec<u8> {
        [self.as_bytes(), &[AFTER_SEPARATOR]].concat()
    }
}

impl AsRef<[u8]> for PathKey {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for PathKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_path())
    }
}

impl fmt::Debug for PathKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PathKey({:?})", self.to_path())
    }
}

fn check(bytes: &[u8]) -> Result<(), PathKeyError> {
    if bytes.len() > MAX_KEY_BYTES {
        return Err(PathKeyError::TooLong(bytes.len()));
    }
    if bytes.first() == Some(&SEPARATOR) {
        return Err(PathKeyError::Absolute);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| PathKeyError::NotUtf8)?;
    for part in bytes.split(|byte| *byte == SEPARATOR) {
        match part {
            [] => return Err(PathKeyError::EmptyComponent),
            b"." | b".." => return Err(PathKeyError::Dots),
            _ if part.len() > MAX_COMPONENT_BYTES => {
                return Err(PathKeyError::ComponentTooLong(part.len()));
            }
            _ => {}
        }
        if let Some(byte) = part.iter().find(|byte| matches!(byte, 0 | b'/')) {
            return Err(PathKeyError::ForbiddenByte(*byte));
        }
    }
    if text.is_ascii() || is_nfc(text) { Ok(()) } else { Err(PathKeyError::NotNormal) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(path: &str) -> PathKey {
        PathKey::from_path(path).unwrap()
    }

    #[test]
    fn paths_become_keys_and_back() {
        assert_eq!(key("a/b c/ü.txt").as_bytes(), "a\u{1}b c\u{1}ü.txt".as_bytes());
        assert_eq!(key("a/b").to_path(), "a/b");
        assert_eq!(key("a/b").name(), "b");
        assert_eq!(key("a/b").parent(), Some(key("a")));
        assert_eq!(key("a").parent(), None);
        assert_eq!(key("a").join("b").unwrap(), key("a/b"));
        assert_eq!(key("cafe\u{301}"), key("caf\u{e9}"), "other normal forms are normalised");
    }

    #[test]
    fn each_wrong_path_is_refused_for_its_reason() {
        let long = "a".repeat(256);
        for (path, error) in [
            ("", PathKeyError::EmptyComponent),
            ("/a", PathKeyError::Absolute),
            ("a/", PathKeyError::EmptyComponent),
            ("a//b", PathKeyError::EmptyComponent),
            (".", PathKeyError::Dots),
            ("a/../b", PathKeyError::Dots),
            ("a\0", PathKeyError::ForbiddenByte(0)),
            ("a\u{1}b", PathKeyError::ForbiddenByte(1)),
            (&long, PathKeyError::ComponentTooLong(256)),
            (&"a/".repeat(2049), PathKeyError::TooLong(4098)),
        ] {
            assert_eq!(PathKey::from_path(path), Err(error), "{path:?}");
        }
        assert_eq!(PathKey::from_bytes(b"a/b"), Err(PathKeyError::ForbiddenByte(b'/')));
        assert_eq!(PathKey::from_bytes(b"\xff"), Err(PathKeyError::NotUtf8));
        assert_eq!(PathKey::from_bytes("cafe\u{301}".as_bytes()), Err(PathKeyError::NotNormal));
        assert!(PathKey::from_path(&format!("{}a", "a/".repeat(2047))).is_ok());
    }

    #[test]
    fn a_subtree_follows_its_directory_at_once() {
        let mut keys: Vec<_> = ["a!", "a/z", "a", "a b", "b", "a/b/c", "a/b", "a\u{2}"].map(key).into();
        keys.sort();
        assert_eq!(keys, ["a", "a/b", "a/b/c", "a/z", "a\u{2}", "a b", "a!", "b"].map(key));
        assert!(key("a/z").as_bytes() < key("a").after_subtree().as_slice());
        assert!(key("a\u{2}").as_bytes() >= key("a").after_subtree().as_slice());
        assert!(key("a/b").is_under(&key("a")) && key("a").is_under(&key("a")));
        assert!(!key("ab").is_under(&key("a")) && !key("a").is_under(&key("a/b")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_key_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(key) = PathKey::from_bytes(&bytes) {
                prop_assert_eq!(key.as_bytes(), &bytes[..]);
                prop_assert_eq!(PathKey::from_path(&key.to_path()), Ok(key));
            }
        }

        #[test]
        fn any_path_that_is_taken_survives(path in "\\PC{0,30}(/\\PC{0,10}){0,3}") {
            if let Ok(key) = PathKey::from_path(&path) {
                prop_assert_eq!(PathKey::from_bytes(key.as_bytes()), Ok(key.clone()));
                prop_assert_eq!(PathKey::from_path(&key.to_path()), Ok(key));
            }
        }
    }
}
