//! Locking the keys of a running daemon: afterwards no key byte is left in its memory; and closing all of it.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail it")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use memchr::memmem::Finder;
use p2p_api::files::ShareRequest;
use p2p_api::{ErrorKind, NewIdentity, NewInvite, PutValue, SetRecord, routes};
use p2p_client::Client;
use p2p_identity::{Keystore, SecretKind};
use rustix::process::{Pid, Signal, kill_process};

const PASSPHRASE: &str = "a passphrase that is nowhere else in this program's memory";
/// Memory is looked through in pieces of this size.
const PIECE_BYTES: usize = 4 * 1024 * 1024;

/// A daemon, which ends with its test, also where that fails.
struct Daemon(Child);

impl Deref for Daemon {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Daemon {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(home: &Path) -> Daemon {
    start_until(home, "ready")
}

/// Starts a daemon and waits for the line that says how far it has come.
fn start_until(home: &Path, event: &str) -> Daemon {
    let mut command = Command::new(env!("CARGO_BIN_EXE_p2pnode"));
    command.args(["start", "--json", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0", "--gateway", "off", "--home"]);
    command.arg(home).env_remove("P2PNODE_API").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = Daemon(command.spawn().unwrap());
    let line = next_line(&mut child);
    assert_eq!(line["event"], event, "{line}");
    child
}

/// The next line of its output, which has nothing behind it yet.
fn next_line(child: &mut Child) -> serde_json::Value {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

/// All secrets in a keystore of these kinds, with what they are.
fn secrets(home: &Path, kinds: &[(&str, SecretKind)]) -> Vec<(String, Vec<u8>)> {
    let copy = tempfile::tempdir().unwrap();
    fs::copy(home.join("keystore"), copy.path().join("keystore")).unwrap();
    let mut keystore = Keystore::open_or_create(copy.path()).unwrap();
    let key = keystore.passphrase_slot().unwrap().unwrap().open(PASSPHRASE.as_bytes()).unwrap();
    keystore.unlock(&key).unwrap();
    let mut found = vec![("data key".to_owned(), key.expose().to_vec())];
    for (name, kind) in kinds.iter().copied() {
        let ids = keystore.ids(kind).unwrap();
        assert!(!ids.is_empty(), "no {name}");
        for id in ids {
            let secret = keystore.get_bytes(kind, &id).unwrap().unwrap();
            // A zone's secret begins with its type; a device has two keys.
            let secret = if kind == SecretKind::ZONE { &secret[4..] } else { &secret[..] };
            found.extend(secret.chunks(32).map(|part| (name.to_owned(), part.to_vec())));
        }
    }
    found.push(("passphrase".to_owned(), PASSPHRASE.as_bytes().to_vec()));
    found
}

/// Every kind of key that a user's node has.
const KINDS: [(&str, SecretKind); 5] = [
    ("drive", SecretKind::DRIVE),
    ("zone", SecretKind::ZONE),
    ("app root", SecretKind::APP_ROOT),
    ("device", SecretKind::DEVICE),
    ("invite", SecretKind::INVITE),
];

/// Which of them are somewhere in the memory of a process; `None` if it cannot be read.
fn found_in(pid: u32, secrets: &[(String, Vec<u8>)]) -> Option<Vec<String>> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let finders: Vec<(String, Finder<'_>)> =
        secrets.iter().map(|(name, secret)| (name.clone(), Finder::new(secret))).collect();
    let mut found = Vec::new();
    let mut buffer = vec![0; PIECE_BYTES];
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next()?, words.next()?);
        if !rights.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-')?;
        let (mut at, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
        while at < end {
            let length = usize::try_from(end - at).unwrap().min(PIECE_BYTES);
            let Ok(read) = memory.read_at(&mut buffer[..length], at) else { break };
            if read == 0 {
                break;
            }
            for (name, finder) in &finders {
                for place in finder.find_iter(&buffer[..read]) {
                    found.push(format!("{name} at {:x} in {line}", at + place as u64));
                }
            }
            // A secret may lie across two pieces.
            at += if read == length && at + (read as u64) < end { read as u64 - 128 } else { read as u64 };
        }
    }
    Some(found)
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[tokio::test]
async fn after_locking_no_key_is_left_in_the_memory_of_the_daemon() {
    let home = tempfile::tempdir().unwrap();
    let mut child = start(home.path());
    let client = Client::connect(home.path().join("api.sock")).await.unwrap();
    let node = client.node();
    // Every kind of key is made and used.
    node.people().create_identity(NewIdentity { name: "Alice".into(), zone: None }).await.unwrap();
    node.people().invite(NewInvite::default()).await.unwrap();
    let record = SetRecord { label: "x".into(), record_type: "TXT".into(), value: "y".into(), ..SetRecord::default() };
    node.names().set(record).await.unwrap();
    let put = PutValue { app: None, name: "status".into(), value: "here".into(), expires_s: None };
    node.dht().put(put).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "content").unwrap();
    let share = ShareRequest { path: folder.path().to_owned(), title: String::new(), once: false, profile: false };
    client.post(routes::SHARES, &share).await.unwrap().bytes().await.unwrap();
    node.keystore().set_passphrase(None, Some(PASSPHRASE)).await.unwrap();
    // Once round, so that the passphrase was typed in both ways.
    node.keystore().lock().await.unwrap();
    node.keystore().unlock(PASSPHRASE).await.unwrap();
    fs::write(folder.path().join("file"), "other content").unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while node.drives().list().await.unwrap()[0].version < 2 {
        assert!(Instant::now() < deadline, "the change was not published");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let secrets = secrets(home.path(), &KINDS);
    let Some(before) = found_in(child.id(), &secrets) else {
        eprintln!("skipped: the memory of another process can be read by root only");
        signal(&child, Signal::TERM);
        child.wait().unwrap();
        return;
    };
    assert!(before.iter().any(|found| found.starts_with("data key")), "the search itself does not work: {before:?}");

    // As somebody does who closes a laptop.
    signal(&child, Signal::USR1);
    let deadline = Instant::now() + Duration::from_secs(5);
    while !node.info().await.unwrap().locked {
        assert!(Instant::now() < deadline, "not locked by the signal");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    signal(&child, Signal::STOP);
    let after = found_in(child.id(), &secrets);
    signal(&child, Signal::CONT);
    assert_eq!(after.unwrap(), Vec::<String>::new());

    // What is edited meanwhile is published when the keys are there again.
    fs::write(folder.path().join("file"), "third content").unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(node.drives().list().await.unwrap()[0].version, 2);
    node.keystore().unlock(PASSPHRASE).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while node.drives().list().await.unwrap()[0].version < 3 {
        assert!(Instant::now() < deadline, "the change was not published");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    signal(&child, Signal::TERM);
    child.wait().unwrap();
}

/// The sockets of the network that a process has open, and other files of its home.
fn open_things(pid: u32, home: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let tables: Vec<(&str, String)> = ["tcp", "tcp6", "udp", "udp6", "raw", "raw6", "netlink", "packet"]
        .into_iter()
        .map(|name| (name, fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default()))
        .collect();
    for file in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let Ok(target) = fs::read_link(file.unwrap().path()) else { continue };
        if let Some(inode) = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')) {
            let table = tables.iter().find(|(_, table)| table.split_whitespace().any(|word| word == inode));
            found.extend(table.map(|(name, _)| (*name).to_owned()));
        } else if target.starts_with(home) && target.file_name().is_none_or(|name| name != "lock") {
            found.push(target.display().to_string());
        }
    }
    found
}

/// What a command prints that succeeds.
async fn p2p(home: &Path, arguments: &[&str]) -> serde_json::Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_p2p"));
    command.args(arguments).arg("--json").arg("--home").arg(home).env_remove("P2PNODE_API");
    let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

async fn until_closed(client: &Client) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !client.node().keystore().info().await.is_ok_and(|info| info.closed) {
        assert!(Instant::now() < deadline, "it does not close");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_closed_daemon_has_no_connection_no_store_and_no_key_and_opens_as_the_node_it_was() {
    let home = tempfile::tempdir().unwrap();
    let key_file = home.path().join("transport.key");
    let mut child = start(home.path());
    let client = Client::connect(home.path().join("api.sock")).await.unwrap();
    let node = client.node();
    let peer = node.info().await.unwrap().peer_id;
    node.people().create_identity(NewIdentity { name: "Alice".into(), zone: None }).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "content").unwrap();
    let share = ShareRequest { path: folder.path().to_owned(), title: String::new(), once: false, profile: false };
    client.post(routes::SHARES, &share).await.unwrap().bytes().await.unwrap();
    assert_eq!(node.keystore().lock_all().await.unwrap_err().kind, ErrorKind::Conflict, "there is no passphrase");
    node.keystore().set_passphrase(None, Some(PASSPHRASE)).await.unwrap();

    // Once, by a call: its transport key stays in its file, and it begins again in the same process.
    assert!(key_file.exists());
    assert!(!open_things(child.id(), home.path()).is_empty(), "the search itself does not work");
    let locked = p2p(home.path(), &["lock", "--full"]).await;
    assert_eq!((&locked["locked"], &locked["closed"]), (&true.into(), &true.into()));
    until_closed(&client).await;
    assert_eq!(next_line(&mut child)["event"], "closed");
    assert_eq!(open_things(child.id(), home.path()), Vec::<String>::new());
    assert_eq!(node.info().await.unwrap_err().kind, ErrorKind::Locked);
    assert_eq!(node.drives().list().await.unwrap_err().kind, ErrorKind::Locked);
    assert_eq!(client.get("/v1/apps/files/shares").await.err().unwrap().kind, ErrorKind::Locked);
    assert_eq!(node.keystore().unlock("wrong").await.unwrap_err().kind, ErrorKind::NotAllowed);
    // A signal to lock what is locked changes nothing.
    signal(&child, Signal::USR1);
    tokio::time::sleep(Duration::from_millis(600)).await;
    let passphrase = home.path().join("passphrase");
    fs::write(&passphrase, PASSPHRASE).unwrap();
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).unwrap();
    let opened = p2p(home.path(), &["unlock", "--passphrase-file", passphrase.to_str().unwrap()]).await;
    fs::remove_file(&passphrase).unwrap();
    assert_eq!((&opened["locked"], &opened["closed"]), (&false.into(), &false.into()));
    assert_eq!(node.info().await.unwrap().peer_id, peer, "it waits at the socket until the node is there");
    assert_eq!(next_line(&mut child)["event"], "ready");
    assert!(!node.keystore().info().await.unwrap().locked);

    // By the setting: also after a start, and nothing on the disk tells the transport key.
    signal(&child, Signal::TERM);
    child.wait().unwrap();
    let config = home.path().join("config.toml");
    // Addresses that are told by flags are kept in no file.
    let settings = fs::read_to_string(&config).unwrap_or_default();
    fs::write(&config, format!("lock = \"full\"\n{settings}")).unwrap();
    let mut child = start_until(home.path(), "closed");
    let client = Client::connect(home.path().join("api.sock")).await.unwrap();
    let node = client.node();
    assert_eq!(open_things(child.id(), home.path()), Vec::<String>::new());
    node.keystore().unlock(PASSPHRASE).await.unwrap();
    assert_eq!(node.info().await.unwrap().peer_id, peer);
    assert_eq!(next_line(&mut child)["event"], "ready");
    assert!(!key_file.exists(), "the transport key lies in the keystore");
    let deadline = Instant::now() + Duration::from_secs(20);
    while node.drives().list().await.unwrap()[0].version != 1 {
        assert!(Instant::now() < deadline, "the share does not resume");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let kinds =
        [("transport key", SecretKind::TRANSPORT), ("device", SecretKind::DEVICE), ("drive", SecretKind::DRIVE)];
    let secrets = secrets(home.path(), &kinds);
    let before = found_in(child.id(), &secrets);
    signal(&child, Signal::USR1);
    until_closed(&client).await;
    assert_eq!(next_line(&mut child)["event"], "closed");
    assert_eq!(open_things(child.id(), home.path()), Vec::<String>::new());
    if let Some(before) = before {
        assert!(before.iter().any(|found| found.starts_with("transport key")), "{before:?}");
        signal(&child, Signal::STOP);
        let after = found_in(child.id(), &secrets);
        signal(&child, Signal::CONT);
        assert_eq!(after.unwrap(), Vec::<String>::new());
    }
    // It can be stopped while it waits.
    node.stop().await.unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!home.path().join("api.sock").exists());

    // Back in its file, when the setting says so and the passphrase was told.
    fs::write(&config, settings).unwrap();
    let mut child = start_until(home.path(), "closed");
    let client = Client::connect(home.path().join("api.sock")).await.unwrap();
    client.node().keystore().unlock(PASSPHRASE).await.unwrap();
    assert_eq!(client.node().info().await.unwrap().peer_id, peer);
    assert!(key_file.exists());
    signal(&child, Signal::TERM);
    child.wait().unwrap();
}
