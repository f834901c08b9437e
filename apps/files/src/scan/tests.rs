use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::sync::Weak;

use futures::TryStreamExt;
use p2p_api::{Result, Skipped};
use proptest::prelude::*;
use tempfile::TempDir;
use unicode_normalization::is_nfc;

use super::*;

async fn scan(root: &Path) -> Result<(Vec<Change>, Vec<Skipped>)> {
    let report = Report::default();
    let changes = Scan::spawn(root.to_owned(), HashMap::new(), report.clone()).try_collect().await?;
    Ok((changes, report.skipped()))
}

async fn paths(root: &Path) -> Vec<String> {
    scan(root).await.unwrap().0.into_iter().map(|change| change.path).collect()
}

/// A folder with these files (with `/` at the end: folders), each with its path as content.
fn folder(files: &[&str]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        write(root.path(), file, file);
    }
    root
}

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    if file.ends_with('/') {
        fs::create_dir_all(path).unwrap();
    } else {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[tokio::test]
async fn a_folder_comes_before_what_is_in_it_and_siblings_in_byte_order() {
    let root = folder(&["b", "a/z", "a/y/x", "a.txt", "a-b", "empty/", "Z", ".hidden", "é"]);
    assert_eq!(
        paths(root.path()).await,
        [".hidden", "Z", "a", "a/y", "a/y/x", "a/z", "a-b", "a.txt", "b", "empty", "é"]
    );
}

#[tokio::test]
async fn an_empty_folder_has_no_lines() {
    assert_eq!(scan(folder(&[]).path()).await.unwrap(), (vec![], vec![]));
}

#[tokio::test]
async fn symlinks_are_named_and_not_followed() {
    let root = folder(&["real/file"]);
    symlink("real", root.path().join("to-folder")).unwrap();
    symlink("nowhere", root.path().join("to-nothing")).unwrap();
    symlink("/etc", root.path().join("out")).unwrap();
    assert_eq!(paths(root.path()).await, ["out", "real", "real/file", "to-folder", "to-nothing"]);
}

#[tokio::test]
async fn pipes_and_sockets_are_left_out_with_a_word() {
    let root = folder(&["file"]);
    let pipe = root.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let _socket = UnixListener::bind(root.path().join("socket")).unwrap();
    let (changes, skipped) = scan(root.path()).await.unwrap();
    assert_eq!(changes.len(), 1);
    let told: Vec<_> = skipped.iter().map(|s| (s.path.as_str(), s.reason.as_str())).collect();
    assert!(told[0].0 == "pipe" && told[0].1.contains("a pipe"), "{told:?}");
    assert!(told[1].0 == "socket" && told[1].1.contains("a socket"), "{told:?}");
}

#[tokio::test]
async fn names_that_no_drive_can_hold_are_shared_as_what_stands_for_them() {
    let root = folder(&["ok", "with\u{1}byte", "with\u{2}byte"]);
    fs::write(root.path().join(OsStr::from_bytes(b"latin\xe9.txt")), "x").unwrap();
    fs::create_dir(root.path().join(OsStr::from_bytes(b"folder\xe9"))).unwrap();
    fs::write(root.path().join(OsStr::from_bytes(b"folder\xe9/inside")), "x").unwrap();
    let (changes, skipped) = scan(root.path()).await.unwrap();
    let seen: Vec<_> = changes.iter().map(|c| (c.path.as_str(), c.at.as_deref())).collect();
    assert_eq!(
        seen,
        [
            // The name says by itself what it is on disk.
            ("folder%E9~p2p", None),
            ("folder%E9~p2p/inside", None),
            ("latin%E9~p2p.txt", None),
            ("ok", None),
            ("with\u{2}byte", None),
            ("with%01byte~p2p", None),
        ]
    );
    assert!(skipped.is_empty(), "{skipped:?}");
}

#[tokio::test]
async fn an_escape_is_what_it_stands_for_and_a_cut_name_what_the_node_says() {
    let cut = "long%~0123456789abcdef~p2p";
    let root = folder(&["a%3Ab~p2p.txt", "d%3F~p2p/x~p2p~p2p", "d%3F~p2p/plain", &format!("d%3F~p2p/{cut}")]);
    let long = "longer than it looks";
    let known = HashMap::from([(format!("d%3F~p2p/{cut}"), format!("d?/{long}"))]);
    let report = Report::default();
    let changes: Vec<_> =
        Scan::spawn(root.path().to_owned(), known, report.clone()).try_collect::<Vec<_>>().await.unwrap();
    let seen: Vec<_> = changes.iter().map(|c| (c.path.as_str(), c.at.as_deref().and_then(Path::to_str))).collect();
    assert_eq!(
        seen,
        [
            ("a:b.txt", Some("a%3Ab~p2p.txt")),
            ("d?", Some("d%3F~p2p")),
            ("d?/longer than it looks", Some("d%3F~p2p/long%~0123456789abcdef~p2p")),
            ("d?/plain", Some("d%3F~p2p/plain")),
            ("d?/x~p2p", Some("d%3F~p2p/x~p2p~p2p")),
        ]
    );
    assert!(report.skipped().is_empty());
}

#[tokio::test]
async fn of_an_escape_and_the_name_it_stands_for_the_second_is_reported() {
    let root = folder(&["a:b", "a%3Ab~p2p", "caf%E9~p2p"]);
    fs::write(root.path().join(OsStr::from_bytes(b"caf\xe9")), "x").unwrap();
    let (changes, skipped) = scan(root.path()).await.unwrap();
    assert_eq!(
        changes.iter().map(|c| (c.path.as_str(), c.at.is_some())).collect::<Vec<_>>(),
        [("a:b", false), ("caf%E9~p2p", false)]
    );
    assert_eq!(skipped.iter().map(|s| s.path.as_str()).collect::<Vec<_>>(), ["a:b", "caf%E9~p2p"]);
}

#[tokio::test]
async fn decomposed_names_are_sent_composed_with_their_path_on_disk() {
    let root = folder(&["cafe\u{301}/plain", "cafe\u{301}/e\u{301}", "x/plain"]);
    let (changes, skipped) = scan(root.path()).await.unwrap();
    let seen: Vec<_> = changes.iter().map(|c| (c.path.as_str(), c.at.as_deref())).collect();
    assert_eq!(
        seen,
        [
            ("café", Some(Path::new("cafe\u{301}"))),
            ("café/plain", Some(Path::new("cafe\u{301}/plain"))),
            ("café/é", Some(Path::new("cafe\u{301}/e\u{301}"))),
            ("x", None),
            ("x/plain", None),
        ]
    );
    assert!(skipped.is_empty());
}

#[tokio::test]
async fn of_two_names_with_one_composed_form_the_composed_one_is_shared() {
    let root = folder(&["cafe\u{301}/one", "café/two"]);
    let (changes, skipped) = scan(root.path()).await.unwrap();
    let seen: Vec<_> = changes.iter().map(|c| (c.path.as_str(), &c.at)).collect();
    assert_eq!(seen, [("café", &None), ("café/two", &None)]);
    assert_eq!(skipped.len(), 1);
    assert!(skipped[0].path == "café" && skipped[0].reason.contains("stands for the same one"), "{skipped:?}");
}

#[tokio::test]
async fn a_name_that_grows_beyond_the_limit_is_left_out() {
    // U+1D15E composes to more bytes than it has: 4 become 8.
    let root = folder(&[]);
    write(root.path(), &"\u{1d15e}".repeat(60), "x");
    let (changes, skipped) = scan(root.path()).await.unwrap();
    assert!(changes.is_empty(), "{changes:?}");
    assert!(skipped[0].reason.contains("at most 255"), "{skipped:?}");
}

#[tokio::test]
async fn the_rules_file_leaves_things_out_as_git_would() {
    let root = folder(&["a.log", "keep.log", "build/out", "src/build/deep", "src/a.log", "src/main", "notes.txt"]);
    write(root.path(), ".p2pignore", "# comment\n*.log\n!keep.log\n/build/\n");
    assert_eq!(
        paths(root.path()).await,
        [".p2pignore", "keep.log", "notes.txt", "src", "src/build", "src/build/deep", "src/main"]
    );
}

#[tokio::test]
async fn rules_nearer_to_a_file_win() {
    let root = folder(&["a.log", "sub/a.log", "sub/secret", "secret"]);
    write(root.path(), ".p2pignore", "*.log\n");
    write(root.path(), "sub/.p2pignore", "!a.log\nsecret\n");
    assert_eq!(paths(root.path()).await, [".p2pignore", "secret", "sub", "sub/.p2pignore", "sub/a.log"]);
}

#[tokio::test]
async fn git_rules_do_not_count() {
    let root = folder(&["a.log", ".git/config"]);
    write(root.path(), ".gitignore", "*.log\n");
    assert_eq!(paths(root.path()).await, [".git", ".git/config", ".gitignore", "a.log"]);
}

#[tokio::test]
async fn unfinished_downloads_are_always_left_out_silently() {
    let root = folder(&[".x.p2ptmp", "sub/.y.p2ptmp", "x.p2ptmp"]);
    write(root.path(), ".p2pignore", "!.x.p2ptmp\n");
    let (changes, skipped) = scan(root.path()).await.unwrap();
    assert_eq!(changes.iter().map(|c| c.path.as_str()).collect::<Vec<_>>(), [".p2pignore", "sub", "x.p2ptmp"]);
    assert!(skipped.is_empty());
}

#[tokio::test]
async fn a_rule_without_sense_is_told_and_the_others_hold() {
    let root = folder(&["a.log", "b"]);
    write(root.path(), ".p2pignore", "{a,b\n*.log\n");
    let (changes, skipped) = scan(root.path()).await.unwrap();
    assert_eq!(changes.iter().map(|c| c.path.as_str()).collect::<Vec<_>>(), [".p2pignore", "b"]);
    assert!(skipped[0].path == ".p2pignore" && skipped[0].reason.contains("line 1"), "{skipped:?}");
}

#[tokio::test]
async fn rules_too_large_to_read_fail_the_scan_instead_of_sharing_everything() {
    let root = folder(&["secret"]);
    write(root.path(), ".p2pignore", &"x\n".repeat(600_000));
    let error = scan(root.path()).await.unwrap_err();
    assert!(error.message.contains(".p2pignore"), "{error}");
}

#[tokio::test]
async fn a_folder_that_is_gone_is_an_error_and_not_an_empty_folder() {
    let root = folder(&["a"]);
    let path = root.path().join("missing");
    assert_eq!(scan(&path).await.unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn only_a_fault_of_the_disk_ends_the_scan() {
    assert!(matches!(after(&io::ErrorKind::PermissionDenied.into()), After::Skip(_)));
    assert!(matches!(after(&io::Error::from_raw_os_error(36)), After::Skip(_)), "ENAMETOOLONG");
    assert_eq!(after(&io::ErrorKind::NotFound.into()), After::Forget);
    assert_eq!(after(&io::ErrorKind::NotADirectory.into()), After::Forget);
    assert_eq!(after(&io::ErrorKind::Other.into()), After::Fail);
}

#[tokio::test]
async fn a_dropped_scan_ends_its_thread() {
    let root = folder(&[]);
    for number in 0..LINES_AHEAD * 2 {
        write(root.path(), &number.to_string(), "");
    }
    let report = Report::default();
    let walk = report.downgrade();
    drop(Scan::spawn(root.path().to_owned(), HashMap::new(), report));
    // The walk holds the last clone of the report.
    let ended = async {
        while Weak::upgrade(&walk).is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), ended).await.expect("the thread goes on");
}

#[tokio::test]
async fn more_folders_in_each_other_than_a_stack_has_room_for() {
    let root = folder(&[]);
    write(root.path(), &format!("{}/", ["d"; 1500].join("/")), "");
    let found = paths(root.path()).await;
    assert_eq!(found.len(), 1500);
    assert_eq!(found[1499].len(), 2999);
}

fn names() -> impl Strategy<Value = String> {
    // Bytes around the separator and `/`, and letters with two Unicode forms.
    proptest::collection::vec(
        prop_oneof![
            Just("a"),
            Just("b"),
            Just("-"),
            Just("."),
            Just(" "),
            Just("!"),
            Just("\u{2}"),
            Just("0"),
            Just("é"),
            Just("e\u{301}"),
            Just("\u{1f600}"),
            Just("~"),
        ],
        1..4,
    )
    .prop_map(|parts| parts.concat())
    .prop_filter("names of their own", |name| name != "." && name != "..")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lines_come_in_the_order_of_the_index(files in proptest::collection::vec(proptest::collection::vec(names(), 1..4), 1..24)) {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path: PathBuf = file.iter().collect();
            // A name may be a file here and a folder there: the first one stays.
            let made = path.parent().map(|parent| fs::create_dir_all(root.path().join(parent)));
            if made.is_some_and(|made| made.is_ok()) {
                let _ = fs::File::create_new(root.path().join(path));
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (changes, _) = runtime.block_on(scan(root.path())).unwrap();
        let keys: Vec<_> = changes.iter().map(|change| change.path.replace('/', "\u{1}").into_bytes()).collect();
        prop_assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", changes);
        prop_assert!(!changes.is_empty());
        for change in changes {
            prop_assert!(is_nfc(&change.path));
            let disk = change.at.unwrap_or_else(|| change.path.into());
            prop_assert!(fs::symlink_metadata(root.path().join(disk)).is_ok());
        }
    }
}
