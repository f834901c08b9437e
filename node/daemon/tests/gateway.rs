//! Two daemons: one shares a video of 2 GiB, the other shows it in a browser's way, from any place, while most of it is
//! not there; then to a thousand readers that are slow; then without the first.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail it")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde_json::Value;

const MIB: u64 = 1024 * 1024;
/// Size of the video.
const VIDEO_BYTES: u64 = 2 * 1024 * MIB;
/// How long one answer may take to its end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Beside what was asked for: proofs, index nodes, and what is fetched ahead.
const LOOK_AHEAD_BYTES: u64 = 32 * MIB;

/// A daemon on this computer only, in a home of its own; ends with the test.
struct Daemon {
    child: Child,
    home: tempfile::TempDir,
    ready: Value,
}

impl Daemon {
    fn start(home: tempfile::TempDir, bootstrap: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_p2pnode"));
        command.args(["start", "--json", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0", "--gateway", "127.0.0.1:0"]);
        command.arg("--home").arg(home.path()).env_remove("P2PNODE_API").env_remove("P2PNODE_LOG");
        command.args(bootstrap.iter().flat_map(|address| ["--bootstrap", address]));
        std::fs::write(home.path().join("config.toml"), "dns = \"off\"\n").unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).expect("a ready line");
        Self { child, home, ready }
    }

    fn address(&self) -> String {
        format!("{}/p2p/{}", self.ready["listen"][0].as_str().unwrap(), self.ready["peer_id"].as_str().unwrap())
    }

    fn port(&self) -> u16 {
        let gateway = self.ready["gateway"].as_str().unwrap().trim_end_matches('/');
        gateway.rsplit(':').next().unwrap().parse().unwrap()
    }

    fn p2p(&self, args: &[&str]) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_p2p"));
        command.args(args).arg("--home").arg(self.home.path()).env_remove("P2PNODE_API");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(text.lines().last().unwrap_or("null")).unwrap_or(Value::Null)
    }

    /// Bytes that came from other nodes for drives.
    fn received(&self) -> u64 {
        let traffic = self.p2p(&["api", "GET", "/v1/drives/traffic"]);
        traffic["flows"].as_array().unwrap().iter().map(|flow| flow["received_bytes"].as_u64().unwrap()).sum()
    }

    fn resident_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }

    /// Ends it well and hands back its home.
    fn stop(mut self) -> tempfile::TempDir {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        std::mem::replace(&mut self.home, tempfile::tempdir().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(daemon: &Daemon, drive: &str, path: &str, range: &str) -> TcpStream {
    let port = daemon.port();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let host = format!("{drive}.p2p.localhost:{port}");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nrange: bytes={range}\r\nconnection: close\r\n\r\n").unwrap();
    stream
}

/// Status line with headers, and the start of the body.
fn head(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "it ended in its headers: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&piece[..count]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return (String::from_utf8(bytes).unwrap(), body);
        }
    }
}

fn read(daemon: &Daemon, drive: &str, start: u64, len: u64) -> Vec<u8> {
    let mut stream = ask(daemon, drive, "/video.webm", &format!("{start}-{}", start + len - 1));
    let (headers, mut body) = head(&mut stream);
    assert!(headers.starts_with("HTTP/1.1 206"), "{headers}");
    assert!(headers.contains(&format!("bytes {start}-{}/{VIDEO_BYTES}", start + len - 1)), "{headers}");
    stream.read_to_end(&mut body).unwrap();
    assert_eq!(body.len() as u64, len);
    body
}

/// Different bytes at every place where the test looks; holes elsewhere.
fn make_video(path: &Path, places: &[u64]) {
    let file = File::create(path).unwrap();
    file.set_len(VIDEO_BYTES).unwrap();
    for place in places {
        let bytes: Vec<u8> = (0..2 * MIB).map(|at| (at * 31 + at / 251 + place / MIB) as u8).collect();
        file.write_all_at(&bytes, *place).unwrap();
    }
}

fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(8_192).min(8_192);
    if limit.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }).unwrap();
    }
}

#[test]
fn a_large_video_plays_from_anywhere_to_many_and_is_kept() {
    let begun = Instant::now();
    let folder = tempfile::tempdir().unwrap();
    let places = [0, VIDEO_BYTES / 2 - MIB, VIDEO_BYTES - 2 * MIB];
    make_video(&folder.path().join("video.webm"), &places);
    std::fs::write(folder.path().join("quick.txt"), "quick").unwrap();
    let video = File::open(folder.path().join("video.webm")).unwrap();
    let a = Daemon::start(tempfile::tempdir().unwrap(), None);
    let shared = a.p2p(&["share", "--json", folder.path().to_str().unwrap()]);
    let drive = shared["drive"].as_str().unwrap().to_owned();
    let b = Daemon::start(tempfile::tempdir().unwrap(), Some(&a.address()));

    // A player looks at the start, then at the end, then jumps.
    let mut asked = 0;
    for start in [places[0], places[2], places[1], places[1] + 12_345] {
        let len = 2 * MIB - 12_345;
        let mut expected = vec![0; len as usize];
        video.read_exact_at(&mut expected, start).unwrap();
        assert!(read(&b, &drive, start, len) == expected, "other bytes at {start}");
        asked += len;
    }
    let moved = b.received();
    println!("asked for {asked} bytes of {VIDEO_BYTES}, {moved} moved; {:?}", begun.elapsed());
    assert!(moved <= asked + asked / 20 + LOOK_AHEAD_BYTES, "{moved} moved for {asked}");

    // It reads to the end, as players say, and goes away after a MiB.
    let mut stream = ask(&b, &drive, "/video.webm", &format!("{}-", 512 * MIB));
    head(&mut stream);
    stream.read_exact(&mut vec![0; MIB as usize]).unwrap();
    drop(stream);
    std::thread::sleep(Duration::from_secs(1));
    let after = b.received();
    println!("a reader that went away after 1 MiB: {} bytes moved", after - moved);
    assert!(after - moved <= LOOK_AHEAD_BYTES, "{} moved for nobody", after - moved);

    slow_readers(&b, &drive);
    let in_all = b.received();
    println!("they made {} bytes move", in_all - after);
    assert!(in_all - after <= 3 * LOOK_AHEAD_BYTES, "{in_all} in all");

    // What was read is kept: now without whom it came from, after a new start.
    let usage = b.p2p(&["du", "--json"]);
    let kept = usage["browsed"]["used_bytes"].as_u64().unwrap();
    assert!(kept >= 6 * MIB, "{usage}");
    assert!(kept <= in_all + in_all / 10 + MIB, "more than ever came: {usage}");
    let home = b.stop();
    drop(a);
    let b = Daemon::start(home, None);
    for start in places {
        let mut expected = vec![0; MIB as usize];
        video.read_exact_at(&mut expected, start).unwrap();
        assert!(read(&b, &drive, start, MIB) == expected, "other bytes at {start}, from the disk");
    }
    assert_eq!(b.received(), 0);
    let freed = b.p2p(&["gc", "--json"]);
    assert!(freed["drives"] == 1 && freed["bytes"].as_u64().unwrap() >= 6 * MIB, "{freed}");
    assert_eq!(b.p2p(&["du", "--json"])["browsed"]["used_bytes"], 0);
    b.stop();
}

/// A thousand readers that take 1 KiB and wait: others are served, and memory stays bounded.
fn slow_readers(daemon: &Daemon, drive: &str) {
    const READERS: usize = 1_000;
    raise_open_files();
    let before = daemon.resident_bytes();
    let begun = Instant::now();
    let mut slow: Vec<TcpStream> = (0..READERS).map(|_| ask(daemon, drive, "/video.webm", "0-")).collect();
    for stream in &mut slow {
        stream.read_exact(&mut [0; 1024]).unwrap();
    }
    let all_begun = begun.elapsed();
    let quick = Instant::now();
    let mut stream = ask(daemon, drive, "/quick.txt", "0-");
    let (headers, mut body) = head(&mut stream);
    stream.read_to_end(&mut body).unwrap();
    assert!(headers.starts_with("HTTP/1.1 206") && body == b"quick", "{headers}");
    let quick = quick.elapsed();
    let grown = daemon.resident_bytes().saturating_sub(before);
    println!(
        "{READERS} slow readers: begun in {all_begun:?}, another one served in {quick:?}, {} MiB more",
        grown / MIB
    );
    assert!(quick < Duration::from_secs(5), "{quick:?}");
    assert!(grown < 384 * MIB, "{} MiB more", grown / MIB);
}
