//! What publishing a zone of 100,000 labels costs somebody who clones meanwhile; see `large_zone.md`.
//!
//! `cargo bench --workspace --profile dev --bench large_zone [LABELS]`. Three nodes in one process, over loopback.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::StreamExt;
use p2p_api::{Change, Follow, Import, ImportZoneFile, NewDrive, NewZone, Node, TransferEvent};
use p2p_node::{Config, NodeOptions, RunningNode, start};

const FILES: usize = 32;
const FILE_BYTES: usize = 4 * 1024 * 1024;
const CLONES: usize = 7;

async fn node(home: &Path, bootstrap: Vec<String>) -> RunningNode {
    let mut config = Config::default();
    config.transport.mdns = false;
    config.transport.port_mapping = false;
    config.transport.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
    // All nodes are in this process, and each counts all of it.
    config.transport.limits.memory_mib = 4_096;
    let options = NodeOptions {
        home: home.to_owned(),
        api: None,
        config,
        gateway: None,
        apps: Vec::new(),
        bootstrap,
        notices: Vec::new(),
    };
    start(options).await.expect("starts")
}

fn resident_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("pages");
    pages * rustix::param::page_size() as u64 / (1024 * 1024)
}

/// The median time of some clones, each into a new folder of a new node's drive.
async fn clones(from: &Node, link: &str, at: &Path, what: &str) -> Duration {
    let mut times = Vec::new();
    for turn in 0..CLONES {
        let dir = at.join(format!("{what}-{turn}"));
        let other = node(&dir.join("home"), vec![]).await;
        other.node().peers().dial(&address(from).await, Duration::from_secs(10)).await.expect("dials");
        let begun = Instant::now();
        let follow = Follow {
            link: link.to_owned(),
            target: dir.join("copy"),
            allow_external_links: false,
            stay: false,
            timeout: Some(Duration::from_secs(60)),
        };
        let events: Vec<_> = other.node().drives().follow(follow).await.expect("follows").collect().await;
        assert!(matches!(events.last(), Some(Ok(TransferEvent::Done { .. }))), "{:?}", events.last());
        times.push(begun.elapsed());
        other.shutdown().await;
        std::fs::remove_dir_all(&dir).expect("removed");
    }
    times.sort();
    println!(
        "clone of 128 MiB, {what}: median {:?}, from {:?} to {:?}",
        times[CLONES / 2],
        times[0],
        times[CLONES - 1]
    );
    times[CLONES / 2]
}

async fn address(node: &Node) -> String {
    let info = node.info().await.expect("info");
    format!("{}/p2p/{}", info.listen.first().expect("listens"), info.peer_id)
}

async fn run(labels: usize) {
    let dir = tempfile::tempdir().expect("a directory");
    let owner = node(&dir.path().join("owner"), Vec::new()).await;
    let other = node(&dir.path().join("other"), vec![address(&owner.node()).await]).await;
    let folder = dir.path().join("folder");
    std::fs::create_dir(&folder).expect("made");
    let mut changes = Vec::new();
    for n in 0..FILES {
        let mut bytes = vec![0; FILE_BYTES];
        getrandom::fill(&mut bytes).expect("random");
        std::fs::write(folder.join(format!("{n:02}")), bytes).expect("written");
        changes.push(Ok(Change { path: format!("{n:02}"), ..Change::default() }));
    }
    let drives = owner.node().drives();
    let drive = drives.create(NewDrive { path: Some(folder), title: "b".into() }).await.expect("made");
    let changes = futures::stream::iter(changes).boxed();
    let imported = drives.import(drive.drive, Import::default(), changes).await.expect("imports");
    let imported: Vec<_> = imported.collect().await;
    assert!(imported.iter().all(Result::is_ok), "{imported:?}");
    let link = format!("p2p://{}/", drive.drive);
    let before = clones(&owner.node(), &link, dir.path(), "without").await;
    let resident = resident_mib();

    let names = owner.node().names();
    names.create_zone(NewZone { name: "big".into(), kind: Default::default(), key: None }).await.expect("a zone");
    let mut text = String::from("$ORIGIN big.example.\n$TTL 604800\n");
    for n in 0..labels {
        writeln!(text, "l{n} IN A 192.0.2.{}", n % 250).expect("into memory");
    }
    let path = dir.path().join("big.zone");
    std::fs::write(&path, text).expect("written");
    let begun = Instant::now();
    let taken = names.import_zone_file("big", ImportZoneFile { path, origin: String::new() }).await.expect("taken");
    println!("{} labels taken in: {:?}, {} MiB resident", taken.labels, begun.elapsed(), resident_mib());
    let begun = Instant::now();
    let during = clones(&owner.node(), &link, dir.path(), "while the zone is published").await;
    // Past the first labels, which go out at once.
    tokio::time::sleep(Duration::from_secs(25)).await;
    let later = clones(&owner.node(), &link, dir.path(), "half a minute later").await;
    println!("ratio {:.2} at the pace of a large zone", later.as_secs_f64() / before.as_secs_f64());
    let text = other.node().metrics().await.expect("metrics");
    let rejected = text.lines().find(|line| line.starts_with("p2pnode_dht_records_rejected")).unwrap_or_default();
    println!("ratio {:.2} at the beginning; {rejected}", during.as_secs_f64() / before.as_secs_f64());
    println!("resident: {resident} MiB before, {} MiB after {:?}, all nodes together", resident_mib(), begun.elapsed());
    owner.shutdown().await;
    other.shutdown().await;
}

fn main() {
    let labels = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(100_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(labels));
}
