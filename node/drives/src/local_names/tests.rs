use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use p2p_identity::{NameRules, is_cut_name, local_name};

use super::*;
use crate::hostile_tests::network::Net;
use crate::hostile_tests::party::Member;
use crate::registry::{DriveRow, Role};

/// Names that Windows cannot hold, or not beside each other, and such as look like what is made of them.
fn stored_paths() -> Vec<String> {
    let mut paths: Vec<String> = [
        "plain",
        "a:b.txt",
        "a%3Ab~p2p.txt",
        "CON",
        "nul.txt",
        "end.",
        "end ",
        "what?/in|side",
        "what?/README",
        "what?/readme",
        "README",
        "readme",
        "Readme",
        "x~p2p",
        "x",
        "100%",
        "dir/Straße",
        "dir/STRASSE",
        "DIR/other",
        "caf%E9~p2p",
        "é",
    ]
    .map(str::to_owned)
    .into();
    // So long that its escape has no room.
    paths.push(format!("{}:{}", "n".repeat(250), "ab"));
    paths.push(format!("{}:{}", "n".repeat(250), "ac"));
    paths
}

/// Where a path lies on a file system that holds everything.
fn on_unix(path: &str) -> String {
    path.split('/').map(|name| local_name(name, &NameRules::UNIX)).collect::<Vec<_>>().join("/")
}

async fn owner(net: &Arc<Net>) -> Member {
    let files: Vec<(String, String)> =
        stored_paths().into_iter().map(|path| (on_unix(&path), format!("text of {path}"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let owner = Member::owner(net, &files).await;
    let known = owner.node.drives.known(&owner.id).unwrap().snapshot().unwrap();
    // Folders besides: `what?`, `dir`, `DIR`.
    assert_eq!(known.entries, stored_paths().len() as u64 + 3);
    owner
}

/// Where the files of a drive lie in a member's folder, by path.
fn places(member: &Member) -> BTreeMap<String, PathBuf> {
    let folder = member.node.drives.shared().folder_of(&member.node.drives.known(&member.id).unwrap()).unwrap();
    let place = |path: &String| {
        let mut on_disk = member.folder.clone();
        let mut end = 0;
        for part in path.split('/') {
            end += part.len();
            let at = on_disk.clone();
            on_disk.push(folder.names().local(&path[..end], part, |name| at.join(name).symlink_metadata().is_ok()));
            end += 1;
        }
        on_disk
    };
    stored_paths().into_iter().map(|path| (path.clone(), place(&path))).collect()
}

fn check_files(member: &Member) {
    for (path, place) in places(member) {
        let text = std::fs::read_to_string(&place).unwrap_or_else(|error| panic!("{path} at {place:?}: {error}"));
        assert_eq!(text, format!("text of {path}"), "{place:?}");
    }
}

/// A drive with all sorts of names goes to `folder` and back: same root, edits to either of two names that differ in case
/// go where they belong, also after a restart and without what the ledger knew.
async fn there_and_back(folder: Option<&Path>, forced: Option<Traits>) {
    let net = Arc::new(Net::default());
    let owner = owner(&net).await;
    let mut writer = Member::writer(&net, 2, &owner, folder).await;
    let force = |member: &Member| {
        let Some(traits) = &forced else { return };
        let registry = &member.node.drives.shared().registry;
        let drive = registry.get(&member.id);
        let row = || DriveRow::new(Role::Mirror, Some(&member.folder), String::new());
        let drive = drive.unwrap_or_else(|| registry.insert(member.id, row()).unwrap());
        drive.names.force(traits.clone());
    };
    force(&writer);
    writer.sync().await;
    check_files(&writer);
    let root = owner.root();
    assert_eq!(writer.root(), root);
    let mapped = writer.node.drives.local_names(&writer.id).unwrap();
    for path in ["a:b.txt", "what?", "what?/in|side", "x~p2p"] {
        assert!(mapped.iter().any(|name| name.path == path), "{path} in {mapped:?}");
    }
    let cut = |name: &&MappedName| is_cut_name(name.local.rsplit('/').next().unwrap());
    assert_eq!(mapped.iter().filter(cut).count(), 2, "{mapped:?}");
    let traits = writer.node.drives.known(&writer.id).unwrap().names.known_traits().unwrap();
    let apart = |name: &&MappedName| name.path.eq_ignore_ascii_case("readme");
    // Two of three.
    assert_eq!(mapped.iter().filter(apart).count(), if traits.rules.folds_case { 2 } else { 0 }, "{mapped:?}");
    assert_eq!(mapped.iter().any(|name| name.path == "CON"), traits.rules.has_devices, "{mapped:?}");

    // Coming back as it went: nothing changed, and nothing is renamed.
    let published = writer.publish().await.unwrap();
    assert!(!published.changed && published.left_out.is_empty(), "{:?}", published.left_out);
    let mut number = 0;
    for lost in [false, true] {
        let ledger = if lost { writer.ledger_without_names() } else { writer.saved_ledger() };
        writer = writer.restarted(&net, 2, Some(ledger));
        force(&writer);
        let published = writer.publish().await.unwrap();
        assert!(!published.changed && published.left_out.is_empty(), "lost: {lost}, {:?}", published.left_out);
        assert_eq!(writer.root(), owner.root(), "lost: {lost}");
        let mut again = writer.node.drives.local_names(&writer.id).unwrap();
        again.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(again, mapped, "lost: {lost}");
        check_files(&writer);
        // Edits go to the right one, and back.
        for path in ["readme", "README", "a:b.txt", "what?/readme"] {
            number += 1;
            let text = format!("edit {number}");
            std::fs::write(&places(&writer)[path], &text).unwrap();
            assert!(writer.publish().await.unwrap().changed);
            owner.until_text(&on_unix(path), Some(&text)).await;
            std::fs::write(owner.folder.join(on_unix(path)), format!("text of {path}")).unwrap();
            owner.publish().await.unwrap();
            let place = places(&writer)[path].clone();
            let original = format!("text of {path}");
            writer.until(path, |_| std::fs::read_to_string(&place).is_ok_and(|text| text == original)).await;
        }
        check_files(&writer);
        let root = owner.root();
        writer.until("the same state", |writer| writer.root() == root).await;
    }
    // A name that comes later beside one that is there, and goes again.
    owner.write("PLAIN", "loud");
    owner.publish().await.unwrap();
    let folder = writer.node.drives.shared().folder_of(&writer.node.drives.known(&writer.id).unwrap()).unwrap();
    writer.until("PLAIN", |_| folder.open_file("PLAIN").is_ok_and(|(_, status)| status.fingerprint.size == 4)).await;
    assert_eq!(writer.read("plain").as_deref(), Some("text of plain"));
    owner.remove("PLAIN");
    owner.publish().await.unwrap();
    let root = owner.root();
    writer.until("the state without PLAIN", |writer| writer.root() == root).await;
    assert_eq!(writer.read("plain").as_deref(), Some("text of plain"));
    assert!(!writer.publish().await.unwrap().changed);
    writer.node.drives.stop();
    owner.node.drives.stop();
}

#[tokio::test(start_paused = true)]
async fn a_drive_survives_a_folder_that_holds_what_windows_holds() {
    there_and_back(None, Some(Traits { rules: NameRules::windows(), ..Traits::ALL })).await;
}

/// A file system of another kind in a file, until dropped.
struct Mounted {
    dir: tempfile::TempDir,
    device: Option<String>,
}

impl Mounted {
    /// exFAT, which does not look at case and keeps no modes; `None` where this computer, or its user, cannot mount it.
    fn exfat() -> Option<Self> {
        Self::with(|image, mounted| {
            let output = Command::new("losetup").args(["--find", "--show"]).arg(image).output().ok()?;
            let device = String::from_utf8(output.stdout).ok()?.trim().to_owned();
            mounted.device = Some(device.clone());
            let is_made = run(Command::new("mkfs.exfat").arg(&device));
            (is_made && run(Command::new("mount.exfat-fuse").arg(&device).arg(mounted.path()))).then_some(())
        })
    }

    /// NTFS with the names that Windows allows.
    fn ntfs() -> Option<Self> {
        Self::with(|image, mounted| {
            let is_made = run(Command::new("mkfs.ntfs").args(["-q", "-F", "-Q"]).arg(image));
            let mut mount = Command::new("ntfs-3g");
            (is_made && run(mount.arg(image).arg(mounted.path()).args(["-o", "windows_names"]))).then_some(())
        })
    }

    fn with(mount: impl FnOnce(&Path, &mut Self) -> Option<()>) -> Option<Self> {
        let can_mount = rustix::process::geteuid().is_root() && Path::new("/dev/fuse").exists();
        let mut mounted = Self { dir: tempfile::tempdir().unwrap(), device: None };
        let image = mounted.dir.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        std::fs::create_dir(mounted.path()).unwrap();
        let is_there = can_mount && mount(&image, &mut mounted).is_some();
        if !is_there {
            eprintln!("skipped: it needs root, /dev/fuse, and losetup with exfat-fuse, or ntfs-3g");
        }
        is_there.then_some(mounted)
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("mount")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Tasks of the test may hold folders a little longer.
        run(Command::new("umount").arg("-l").arg(self.path()));
        if let Some(device) = &self.device {
            run(Command::new("losetup").args(["-d", device]));
        }
    }
}

fn run(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

#[tokio::test(start_paused = true)]
async fn a_drive_survives_a_real_file_system_that_does_not_look_at_case() {
    let Some(mounted) = Mounted::exfat() else { return };
    there_and_back(Some(&mounted.path().join("folder")), None).await;
}

#[tokio::test(start_paused = true)]
async fn a_drive_survives_a_real_file_system_of_windows() {
    let Some(mounted) = Mounted::ntfs() else { return };
    there_and_back(Some(&mounted.path().join("folder")), None).await;
}

#[test]
fn a_file_system_is_found_out_by_trying() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let found = probe::probe(&folder).unwrap();
    assert_eq!(found.rules, NameRules::UNIX, "the directory for temporary files holds everything");
    assert!(found.keeps_modes);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left");
    let refuses = |found: &Traits| b"<>:\"|?*\\".iter().all(|byte| found.rules.refused >> byte & 1 == 1);
    if let Some(mounted) = Mounted::exfat() {
        let found = probe::probe(&Folder::open(&mounted.path()).unwrap()).unwrap();
        assert!(found.rules.folds_case && refuses(&found) && !found.keeps_modes, "{found:?}");
        assert!(found.mtime_grain_ns >= 10_000_000, "{found:?}");
    }
    if let Some(mounted) = Mounted::ntfs() {
        let found = probe::probe(&Folder::open(&mounted.path()).unwrap()).unwrap();
        assert!(found.rules.has_devices && found.rules.refuses_ends && refuses(&found), "{found:?}");
        assert_eq!((found.rules.max_bytes, found.mtime_grain_ns), (255, 100), "{found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn names_that_no_drive_can_hold_are_served_from_where_they_lie() {
    let net = Arc::new(Net::default());
    let owner = Member::owner(&net, &[("e\u{301}te\u{301}/n\u{303}", "composed"), ("plain", "p")]).await;
    // Of one that is no text the scan tells only the escape.
    std::fs::write(owner.folder.join(OsStr::from_bytes(b"caf\xe9")), "bytes").unwrap();
    let paths = ["caf%E9~p2p", "plain", "été", "été/ñ"];
    let at = [None, None, Some("e\u{301}te\u{301}"), Some("e\u{301}te\u{301}/n\u{303}")];
    let paths = paths.into_iter().zip(at).map(|(path, at)| {
        Ok(LocalPath { key: PathKey::from_path(path).unwrap(), at: at.map(str::to_owned), named: crate::Named::Entry })
    });
    let paths = futures::StreamExt::boxed(futures::stream::iter(paths));
    let published = owner
        .node
        .drives
        .import(&owner.id, paths, crate::Extent::Everything, String::new(), Arc::default())
        .await
        .unwrap();
    assert_eq!((published.files, published.left_out.len()), (3, 0), "{:?}", published.left_out);
    let reader = Member::writer(&net, 2, &owner, None).await;
    reader.sync().await;
    assert_eq!(reader.read("été/ñ").as_deref(), Some("composed"), "in the form of the drive");
    assert_eq!(reader.read("caf%E9~p2p").as_deref(), Some("bytes"));
    assert!(!reader.publish().await.unwrap().changed);
    // What is edited there finds its way to the file it came from.
    reader.write("été/ñ", "decomposed");
    reader.write("caf%E9~p2p", "more bytes");
    reader.publish().await.unwrap();
    owner.until_text("e\u{301}te\u{301}/n\u{303}", Some("decomposed")).await;
    let foreign = owner.folder.join(OsStr::from_bytes(b"caf\xe9"));
    owner.until("the bytes", |_| std::fs::read_to_string(&foreign).is_ok_and(|text| text == "more bytes")).await;
    assert_eq!(std::fs::read_dir(&owner.folder).unwrap().count(), 3, "nothing was placed beside them");
    reader.node.drives.stop();
    owner.node.drives.stop();
}

#[test]
fn two_names_of_a_folder_never_lie_at_one_place() {
    let names = Names::default();
    *lock(&names.traits) = Some(Arc::new(Traits { rules: NameRules::windows(), ..Traits::ALL }));
    let all: Vec<String> =
        ["A", "a", "a~p2p", "A~P2P", "%61~p2p", "Å", "å", "a:", "A:", "a%3A~p2p"].map(str::to_owned).into();
    names.set_apart(None, &all[1..2], &all);
    let mut seen = HashSet::new();
    for name in &all {
        let key = PathKey::from_path(name).unwrap();
        names.assign(&key);
        let local = names.local(name, name, |_| false).to_string_lossy().into_owned();
        assert!(seen.insert(folded_name(&local)), "{name} at {local}");
    }
    assert_eq!(&*names.local("a", "a", |_| false), OsStr::new("a"), "what was there stays where it is");
}
