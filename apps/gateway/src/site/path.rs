//! From the path of a URL to a path in a drive.

use percent_encoding::percent_decode_str;

/// Longest path in a drive, in bytes (specs/drives.md, 4.1).
const MAX_PATH_BYTES: usize = 4096;

/// A path as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SitePath {
    /// Components joined by `/`, decoded; empty for the root.
    pub(crate) path: String,
    /// Whether the URL named a folder: it is the root or ends with a slash.
    pub(crate) is_folder: bool,
}

impl SitePath {
    /// `None` for what no file of a drive can be called: a broken code, bytes that are no text, an empty component, a
    /// step up, or a code that hides a separator.
    pub(crate) fn of_url(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        if path.is_empty() {
            return Some(Self { path: String::new(), is_folder: true });
        }
        let (path, is_folder) = match path.strip_suffix('/') {
            Some(folder) => (folder, true),
            None => (path, false),
        };
        let mut decoded = String::with_capacity(path.len());
        for part in path.split('/') {
            if !decoded.is_empty() {
                decoded.push('/');
            }
            let part = percent_decode_str(part).decode_utf8().ok()?;
            if matches!(&*part, "" | "." | "..") || part.contains(['/', '\0', '\u{1}']) {
                return None;
            }
            decoded.push_str(&part);
        }
        (decoded.len() <= MAX_PATH_BYTES).then_some(Self { path: decoded, is_folder })
    }

    /// A file in this folder.
    pub(crate) fn child(&self, name: &str) -> String {
        join(&self.path, name)
    }
}

/// `folder/name`, also for the root.
pub(crate) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Where a symlink at `link` with this target leads inside the drive; `None` if it leaves it.
pub(crate) fn resolve_link(link: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = link.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/")).filter(|path| !path.is_empty())
}

#[cfg(test)]
mod tests {
    use p2p_api::wire::encode_path;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_become_paths() {
        for (url, path, is_folder) in [
            ("/", "", true),
            ("/a", "a", false),
            ("/a/", "a", true),
            ("/a%20b/%C3%BC.html", "a b/ü.html", false),
            ("/a+b", "a+b", false),
            ("/.p2p/site.json", ".p2p/site.json", false),
        ] {
            assert_eq!(SitePath::of_url(url), Some(SitePath { path: path.to_owned(), is_folder }), "{url}");
        }
    }

    #[test]
    fn what_no_file_is_called_is_refused() {
        for url in ["", "a", "//", "//a", "/a//b", "/a/../b", "/%2e%2e/b", "/a%2Fb", "/a%00", "/a%01", "/%ff", "/./a"] {
            assert_eq!(SitePath::of_url(url), None, "{url}");
        }
        assert_eq!(SitePath::of_url(&format!("/{}", "a".repeat(4097))), None);
    }

    #[test]
    fn links_stay_inside() {
        assert_eq!(resolve_link("a/b/link", "../c.html").as_deref(), Some("a/c.html"));
        assert_eq!(resolve_link("link", "./b//c").as_deref(), Some("b/c"));
        for (link, target) in [("link", "../x"), ("a/link", "../../x"), ("a", "/etc/passwd"), ("a/b", "..")] {
            assert_eq!(resolve_link(link, target), None, "{link} -> {target}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_read_or_refused(url in "/\\PC{0,60}|/[a%0-9f/.]{0,60}") {
            if let Some(path) = SitePath::of_url(&url) {
                prop_assert!(path.path.split('/').all(|part| part != ".."));
            }
        }

        #[test]
        fn a_path_survives_its_url(path in "[^/\\x00\\x01.]{1,20}(/[^/\\x00\\x01.]{1,20}){0,3}") {
            let read = SitePath::of_url(&format!("/{}", encode_path(&path)));
            prop_assert_eq!(read, Some(SitePath { path, is_folder: false }));
        }

        #[test]
        fn no_link_leaves_its_drive(link in "[a-c/]{1,12}", target in "[a-c./]{0,24}") {
            if let Some(path) = resolve_link(&link, &target) {
                prop_assert!(path.split('/').all(|part| part != ".." && part != "."));
            }
        }
    }
}
