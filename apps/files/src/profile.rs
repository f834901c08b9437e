//! Which files a site's entry page needs, written into the site's manifest as its prefetch list (`/.p2p/site.json`), so
//! that whoever opens the site gets them together with the page.
//!
//! The entry page's own links are read: style sheets and scripts first, as nothing is painted without them, then icons
//! and pictures, each in the order of the page. What lies elsewhere, is missing or does not fit is left out.

use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind as IoErrorKind, Read, Write};
use std::path::Path;

use html5gum::{DefaultEmitter, Token, Tokenizer};
use p2p_api::{ApiError, ErrorKind, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};

/// The page that is read.
const ENTRY_PAGE: &str = "index.html";
/// Where the list goes.
const MANIFEST: &str = ".p2p/site.json";
/// Largest entry page, and largest sum of the page and what the list names, in bytes: as much as comes with the first
/// answer of a peer.
const MAX_BYTES: u64 = 1024 * 1024;
/// Largest manifest, in bytes.
const MAX_MANIFEST_BYTES: u64 = 64 * 1024;
/// Most files in the list.
const MAX_FILES: usize = 64;
/// What a path keeps as it is in a URL.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// What was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    /// Paths in the site, as they stand in the list.
    pub(crate) files: Vec<String>,
    /// Their bytes, and those of the page.
    pub(crate) bytes: u64,
}

/// Reads the entry page of a folder and writes the list into its manifest; all else in the manifest stays. Blocks.
///
/// # Errors
/// There is no entry page, or the manifest is no JSON object, or cannot be written. Nothing is changed then.
pub(crate) fn write(folder: &Path) -> Result<Profile> {
    let page = read(folder, ENTRY_PAGE, MAX_BYTES)?.ok_or_else(|| {
        ApiError::not_found(format!("{} has no {ENTRY_PAGE} to read the list from", folder.display()))
            .with_hint("share it without --profile, or write \"prefetch\" in .p2p/site.json by hand")
    })?;
    let mut manifest = match read(folder, MANIFEST, MAX_MANIFEST_BYTES)? {
        None => Map::new(),
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            ApiError::invalid(format!("{MANIFEST} is no JSON object: {error}"))
                .with_hint("mend it first; it was left alone")
        })?,
    };
    let mut profile = Profile { files: Vec::new(), bytes: page.len() as u64 };
    let mut seen = HashSet::from([ENTRY_PAGE.to_owned()]);
    for path in links(&page) {
        if profile.files.len() == MAX_FILES || !seen.insert(path.clone()) {
            continue;
        }
        let is_plain = is_plain(folder, &path).unwrap_or(false);
        let size = is_plain.then(|| fs::metadata(folder.join(&path)).ok().map(|file| file.len())).flatten();
        if let Some(size) = size.filter(|size| profile.bytes + size <= MAX_BYTES) {
            profile.bytes += size;
            profile.files.push(format!("/{}", utf8_percent_encode(&path, IN_PATH)));
        }
    }
    let list = Value::from(profile.files.clone());
    if manifest.get("prefetch") != Some(&list) {
        manifest.insert("prefetch".into(), list);
        let mut text = serde_json::to_vec_pretty(&manifest).map_err(|error| ApiError::internal(error.to_string()))?;
        text.push(b'\n');
        if text.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(ApiError::invalid(format!(
                "with the list {MANIFEST} would have {} bytes, and more than {MAX_MANIFEST_BYTES} are not read",
                text.len()
            )));
        }
        put(folder, &text).map_err(|error| cannot("write", MANIFEST, &error))?;
    }
    Ok(profile)
}

/// A file of the folder, if it is there and not too large.
fn read(folder: &Path, path: &str, most: u64) -> Result<Option<Vec<u8>>> {
    if !is_plain(folder, path)? {
        return Ok(None);
    }
    let file = fs::File::open(folder.join(path)).map_err(|error| cannot("read", path, &error))?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| cannot("read", path, &error))?;
    if bytes.len() as u64 > most {
        return Err(ApiError::invalid(format!("{path} has more than {most} bytes")));
    }
    Ok(Some(bytes))
}

/// Whether a path is a file, in folders, all the way: a link may lead out of the folder, and a pipe has no end. False where
/// nothing is there.
fn is_plain(folder: &Path, path: &str) -> Result<bool> {
    let (mut at, mut parts) = (folder.to_owned(), path.split('/').peekable());
    while let Some(part) = parts.next() {
        at.push(part);
        let found = match fs::symlink_metadata(&at) {
            Ok(found) => found,
            Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(cannot("read", path, &error)),
        };
        let is_last = parts.peek().is_none();
        if is_last != found.is_file() || is_last == found.is_dir() {
            let kind = if is_last { "file" } else { "folder" };
            return Err(ApiError::invalid(format!("{} is no plain {kind}", at.display()))
                .with_hint("the list is written into .p2p/site.json, and neither it nor the page may be a link"));
        }
    }
    Ok(true)
}

/// Beside its place first, so that there is always a whole one.
fn put(folder: &Path, manifest: &[u8]) -> std::io::Result<()> {
    let target = folder.join(MANIFEST);
    let parent = target.parent().unwrap_or(folder);
    fs::create_dir_all(parent)?;
    // A name that sharing ignores.
    let beside = parent.join(".517e0000517e0000.p2ptmp");
    let _ = fs::remove_file(&beside);
    let mut file = fs::File::create_new(&beside)?;
    file.write_all(manifest)?;
    if let Ok(old) = fs::metadata(&target) {
        file.set_permissions(old.permissions())?;
    }
    file.sync_all()?;
    fs::rename(beside, target)
}

fn cannot(what: &str, path: &str, error: &std::io::Error) -> ApiError {
    ApiError::new(ErrorKind::Io, format!("cannot {what} {path}: {error}"))
}

/// Paths in the site that its entry page links to, the urgent ones first.
fn links(page: &[u8]) -> Vec<String> {
    let (mut urgent, mut others, mut base) = (Vec::new(), Vec::new(), String::new());
    let mut tokens = DefaultEmitter::default();
    // Else the text of a script would be read as tags.
    tokens.naively_switch_states(true);
    for token in Tokenizer::new_with_emitter(page, tokens) {
        let Ok(Token::StartTag(tag)) = token else { continue };
        let value = |name: &[u8]| {
            let value =
                tag.attributes.iter().find(|(key, _)| key.as_slice() == name).map(|(_, value)| value.as_slice());
            value.and_then(|value| std::str::from_utf8(value).ok())
        };
        let is = |word: &str| {
            value(b"rel").is_some_and(|rel| rel.split_ascii_whitespace().any(|r| r.eq_ignore_ascii_case(word)))
        };
        let (link, list) = match tag.name.as_slice() {
            b"base" => {
                // Only the folder of it counts.
                let href = value(b"href").and_then(|href| path_of(href, "")).unwrap_or_default();
                base = href.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
                continue;
            }
            b"link" if is("stylesheet") || is("preload") || is("modulepreload") => (value(b"href"), &mut urgent),
            b"link" if is("icon") => (value(b"href"), &mut others),
            b"script" => (value(b"src"), &mut urgent),
            b"img" => (value(b"src"), &mut others),
            _ => continue,
        };
        list.extend(link.and_then(|link| path_of(link, &base)));
    }
    urgent.append(&mut others);
    urgent
}

/// The path in the site that a link of a page in the folder `base` leads to; `None` if it leads out of the site.
fn path_of(link: &str, base: &str) -> Option<String> {
    let link = link.trim();
    let path = link.split(['#', '?']).next().unwrap_or_default();
    let has_scheme = path.split('/').next().is_some_and(|first| first.contains(':'));
    if path.is_empty() || path.starts_with("//") || has_scheme {
        return None;
    }
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    let mut parts: Vec<&str> =
        if decoded.starts_with('/') { Vec::new() } else { base.split('/').filter(|part| !part.is_empty()).collect() };
    for part in decoded.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part if part.contains(['\\', '\0']) => return None,
            part => parts.push(part),
        }
    }
    let is_folder = decoded.ends_with('/');
    Some(if is_folder { format!("{}/", parts.join("/")) } else { parts.join("/") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(page: &str, files: &[(&str, usize)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(ENTRY_PAGE), page).expect("a page");
        for (path, len) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, vec![b'x'; *len]).expect("a file");
        }
        folder
    }

    #[test]
    fn what_paints_comes_first_and_only_what_is_there() {
        let page = r#"<!doctype html><link rel="icon" href="i.png"><img src=big.jpg><IMG SRC="a%20b.png?x#y">
            <link rel=stylesheet href="/css/main.css"><script src="js/../app.js"></script><script>let x = '<img src=no>'</script>
            <link rel="stylesheet" href="https://example.org/far.css"><img src="//example.org/x.png"><img src="../up.png">
            <img src="data:image/png;base64,AAAA"><img src="gone.png"><!-- <img src=i2.png> --><a href="page.html">x</a>"#;
        let files = [
            ("i.png", 5),
            ("big.jpg", 2 << 20),
            ("a b.png", 7),
            ("css/main.css", 11),
            ("app.js", 13),
            ("i2.png", 1),
            ("no", 1),
        ];
        let folder = site(page, &files);
        let profile = write(folder.path()).expect("a list");
        assert_eq!(profile.files, ["/css/main.css", "/app.js", "/i.png", "/a%20b.png"]);
        assert_eq!(profile.bytes, page.len() as u64 + 11 + 13 + 5 + 7);
        let manifest: Value =
            serde_json::from_slice(&fs::read(folder.path().join(MANIFEST)).expect("it")).expect("JSON");
        assert_eq!(manifest["prefetch"], Value::from(profile.files.clone()));
        assert_eq!(fs::read_dir(folder.path().join(".p2p")).expect("it").count(), 1, "nothing is left lying");
        assert_eq!(write(folder.path()).expect("again"), profile);
    }

    #[test]
    fn the_rest_of_a_manifest_stays_and_a_broken_one_is_left_alone() {
        let folder = site("<script src=a.js></script>", &[("a.js", 1), (".p2p/x", 0)]);
        let manifest = folder.path().join(MANIFEST);
        fs::write(&manifest, r#"{"spa": true, "prefetch": ["/old"], "new": [1]}"#).expect("written");
        write(folder.path()).expect("a list");
        let read: Value = serde_json::from_slice(&fs::read(&manifest).expect("it")).expect("JSON");
        assert_eq!(read, serde_json::json!({"spa": true, "prefetch": ["/a.js"], "new": [1]}));
        for broken in ["{", "[]", "3"] {
            fs::write(&manifest, broken).expect("written");
            assert_eq!(write(folder.path()).expect_err("broken").kind, ErrorKind::InvalidInput, "{broken}");
            assert_eq!(fs::read_to_string(&manifest).expect("it"), broken);
        }
    }

    #[test]
    fn links_and_pipes_are_refused_and_nothing_is_written_elsewhere() {
        let elsewhere = tempfile::tempdir().expect("a folder");
        let folder = site("<img src=a.png><img src=sub/b.png>", &[("a.png", 1)]);
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join(".p2p")).expect("a link");
        assert_eq!(write(folder.path()).expect_err("a link").kind, ErrorKind::InvalidInput);
        assert_eq!(fs::read_dir(elsewhere.path()).expect("it").count(), 0);
        fs::remove_file(folder.path().join(".p2p")).expect("removed");
        fs::write(elsewhere.path().join("b.png"), "b").expect("written");
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("sub")).expect("a link");
        assert_eq!(write(folder.path()).expect("a list").files, ["/a.png"], "what lies behind a link is not shared");
        fs::create_dir(folder.path().join("index")).expect("a folder");
        fs::remove_file(folder.path().join(ENTRY_PAGE)).expect("removed");
        fs::rename(folder.path().join("index"), folder.path().join(ENTRY_PAGE)).expect("renamed");
        assert_eq!(write(folder.path()).expect_err("a folder").kind, ErrorKind::InvalidInput);
    }

    #[test]
    fn a_manifest_that_would_be_too_large_is_left_as_it_is() {
        let folder = site("<img src=a.png>", &[("a.png", 1)]);
        fs::create_dir(folder.path().join(".p2p")).expect("a folder");
        let text = serde_json::json!({ "title": "x".repeat(MAX_MANIFEST_BYTES as usize - 20) }).to_string();
        fs::write(folder.path().join(MANIFEST), &text).expect("written");
        assert_eq!(write(folder.path()).expect_err("too large").kind, ErrorKind::InvalidInput);
        assert_eq!(fs::read_to_string(folder.path().join(MANIFEST)).expect("it"), text);
    }

    #[test]
    fn a_base_is_followed_and_nothing_leads_out() {
        let page =
            "<base href='/docs/index.html'><img src=a.png><img src=../b.png><img src=../../c.png><img src=/d.png>";
        let files = [("docs/a.png", 1), ("b.png", 1), ("c.png", 1), ("d.png", 1)];
        assert_eq!(write(site(page, &files).path()).expect("a list").files, ["/docs/a.png", "/b.png", "/d.png"]);
    }

    #[test]
    fn it_is_bounded_and_says_what_is_missing() {
        let page: String = (0..200).map(|n| format!("<img src={n}>")).collect();
        let names: Vec<String> = (0..200).map(|n| n.to_string()).collect();
        let files: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        assert_eq!(write(site(&page, &files).path()).expect("a list").files.len(), MAX_FILES);
        let empty = tempfile::tempdir().expect("a folder");
        assert_eq!(write(empty.path()).expect_err("no page").kind, ErrorKind::NotFound);
        let large = site(&"x".repeat(MAX_BYTES as usize + 1), &[]);
        assert_eq!(write(large.path()).expect_err("too large").kind, ErrorKind::InvalidInput);
    }
}
