//! The part of a folder that somebody says has changed.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use p2p_api::Named;
use unicode_normalization::is_nfc;

use super::rules;

/// Paths to look at, with what lies below them.
pub(super) struct Wanted {
    /// In the drive's form.
    paths: BTreeSet<String>,
    seen: BTreeSet<String>,
}

impl Wanted {
    /// `None` where more than these paths must be looked at: rules changed, or a name is not in the drive what it is on
    /// disk.
    pub(super) fn new(root: &Path, paths: &BTreeSet<PathBuf>) -> Option<Self> {
        let mut wanted = BTreeSet::new();
        for path in paths {
            let below = path.strip_prefix(root).ok()?;
            let names = below.components().map(|component| match component {
                Component::Normal(name) => name.to_str().filter(|name| is_plain(name)),
                _ => None,
            });
            let names: Vec<&str> = names.collect::<Option<_>>()?;
            if names.is_empty() || names.last() == Some(&rules::FILE) {
                return None;
            }
            if !names.iter().any(|name| rules::is_temporary(Path::new(name))) {
                wanted.insert(names.join("/"));
            }
        }
        Some(Self { paths: wanted, seen: BTreeSet::new() })
    }

    /// Whether a path is wanted, lies below one that is, or leads to one.
    pub(super) fn has(&self, path: &str) -> bool {
        let above = path.match_indices('/').map(|(at, _)| path.get(..at).unwrap_or_default());
        let below = format!("{path}/");
        let leads_there = || self.paths.range(below.clone()..).next().is_some_and(|next| next.starts_with(&below));
        self.paths.contains(path) || above.into_iter().any(|above| self.paths.contains(above)) || leads_there()
    }

    /// A path is there; what its line stands for.
    pub(super) fn see(&mut self, path: &str) -> Named {
        match self.paths.get(path) {
            Some(path) => {
                self.seen.insert(path.clone());
                Named::Everything
            }
            None => Named::Entry,
        }
    }

    /// Wanted paths that were not seen.
    pub(super) fn unseen(&self) -> impl Iterator<Item = &String> {
        self.paths.difference(&self.seen)
    }
}

/// Whether a name is the same in a drive and on disk.
fn is_plain(name: &str) -> bool {
    is_nfc(name) && !name.contains("~p2p") && !name.bytes().any(|byte| byte < b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(paths: &[&str]) -> Option<Wanted> {
        Wanted::new(Path::new("/home/ada"), &paths.iter().map(PathBuf::from).collect())
    }

    #[test]
    fn what_lies_below_and_above_is_had_and_nothing_else() {
        let wanted = wanted(&["/home/ada/a/b/c", "/home/ada/d"]).unwrap();
        for path in ["a", "a/b", "a/b/c", "a/b/c/x", "d", "d/e/f"] {
            assert!(wanted.has(path), "{path}");
        }
        for path in ["a/b/d", "a/c", "ab", "a/b/cc", "dd", "e"] {
            assert!(!wanted.has(path), "{path}");
        }
    }

    #[test]
    fn where_more_must_be_looked_at_nothing_is_guessed() {
        for path in ["/home/ada", "/home/ada/x/.p2pignore", "/home/eve/a", "/home/ada/e\u{301}", "/home/ada/a\u{1}b"] {
            assert!(wanted(&[path]).is_none(), "{path:?}");
        }
        let empty = wanted(&["/home/ada/.0123456789abcdef.p2ptmp"]).unwrap();
        assert_eq!(empty.unseen().count(), 0, "files that are being written are nobody's");
    }
}
