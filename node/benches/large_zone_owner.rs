//! What a zone of 100,000 labels costs its owner: memory, blocks, restarts, publishing again; see `large_zone.md`.
//!
//! `cargo bench --workspace --profile dev --bench large_zone_owner [LABELS]`. First the name system by itself, on one core;
//! then one node without peers, whose rows lie in its ledger.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use p2p_api::{ImportZoneFile, NewZone, ResolveName};
use p2p_names::{
    Label, MemoryNamestore, Namestore, Publish, PublishQueue, RecordType, StoredRecord, Timestamp, ZoneSecret, ZoneType,
};
use p2p_node::{Config, NodeOptions, RunningNode, start};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
/// By then every label is to be published again, and no record is so old that its block has to be made anew.
const AGAIN: Duration = Duration::from_secs(14 * 3_600);
/// How long a restarted node is watched.
const WATCHED: Duration = Duration::from_secs(20);

fn resident_mib() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("pages");
    (pages * rustix::param::page_size() as u64) as f64 / (1024.0 * 1024.0)
}

/// Processor time of this process so far.
fn processor() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // Behind the name, which may hold anything: field 3 is the first, user and system time are 14 and 15.
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second())
}

fn per_label(time: Duration, labels: usize) -> f64 {
    time.as_secs_f64() * 1e6 / labels as f64
}

fn library(labels: usize) {
    let before = resident_mib();
    let secret = ZoneSecret::from_random(ZoneType::Edkey, &[7; 32]);
    let zone = *secret.public();
    let mut store = Namestore::new(MemoryNamestore::new());
    store.create_zone("big".parse().expect("a label"), zone).expect("memory does not fail");
    let names: Vec<Label> = (0..labels).map(|n| format!("l{n}").parse().expect("a label")).collect();
    for (n, label) in names.iter().enumerate() {
        let record = StoredRecord::new(RecordType::A, (n as u32).to_be_bytes().to_vec());
        store.set(&zone, label, vec![record]).expect("one record");
    }
    println!("{labels} labels in memory: {:.0} MiB", resident_mib() - before);
    let begun = Instant::now();
    for label in &names {
        let block = store.build(&secret, label, NOW).expect("a good label").expect("a public record");
        store.published(&zone, label, &block, NOW).expect("memory does not fail");
    }
    let took = begun.elapsed();
    let of_each = per_label(took, labels);
    println!(
        "all blocks made and noted: {took:.2?} on one core, {of_each:.0} us each; {:.0} MiB",
        resident_mib() - before
    );
    let begun = Instant::now();
    let mut queue = PublishQueue::new();
    let filled = store.for_each_label(&zone, |label, entry| queue.schedule(zone, label.clone(), entry.due(NOW)));
    filled.expect("memory does not fail");
    println!("the queue of a restart filled: {:.2?}", begun.elapsed());
    let (begun, later, mut again) = (Instant::now(), NOW.after(AGAIN), 0);
    while let Some((zone, label)) = queue.pop_due(later) {
        let entry = store.entry(&zone, &label).expect("memory does not fail").expect("it is there");
        let Publish::AsItIs(block) = entry.publish(later) else { panic!("a block has to be made anew") };
        store.published(&zone, &label, &block, later).expect("memory does not fail");
        again += 1;
    }
    assert_eq!(again, labels, "all of them are due");
    let took = begun.elapsed();
    println!("all published again as they are: {took:.2?}, {:.0} us each", per_label(took, labels));
}

async fn node(home: &Path) -> RunningNode {
    let mut config = Config::default();
    config.transport.mdns = false;
    config.transport.port_mapping = false;
    config.transport.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
    let options = NodeOptions {
        home: home.to_owned(),
        api: None,
        config,
        gateway: None,
        apps: Vec::new(),
        bootstrap: Vec::new(),
        notices: Vec::new(),
    };
    start(options).await.expect("starts")
}

async fn owner(dir: &Path, labels: usize) {
    let home = dir.join("owner");
    let running = node(&home).await;
    let before = resident_mib();
    println!("a node without zones: {before:.0} MiB");
    let names = running.node().names();
    names.create_zone(NewZone { name: "big".into(), kind: Default::default(), key: None }).await.expect("a zone");
    let mut text = String::from("$ORIGIN big.example.\n$TTL 604800\n");
    for n in 0..labels {
        writeln!(text, "l{n} IN A 192.0.2.{}", n % 250).expect("into memory");
    }
    let path = dir.join("big.zone");
    std::fs::write(&path, text).expect("written");
    let begun = Instant::now();
    let taken = names.import_zone_file("big", ImportZoneFile { path, origin: String::new() }).await.expect("taken");
    println!("{} labels taken in: {:.2?}; {:.0} MiB more", taken.labels, begun.elapsed(), resident_mib() - before);
    // A handle keeps the ledger open.
    drop(names);
    running.shutdown().await;
    let ledger = std::fs::metadata(home.join("ledger.redb")).expect("there").len();
    println!("the ledger: {} MiB", ledger / (1024 * 1024));
}

async fn restart(dir: &Path, labels: usize) {
    let begun = Instant::now();
    let running = node(&dir.join("owner")).await;
    println!("restart, until the socket answers: {:.2?}", begun.elapsed());
    let resolve = ResolveName { name: format!("l{}.big", labels / 2), ..ResolveName::default() };
    running.node().names().resolve(resolve).await.expect("found");
    println!("until a name of the zone is resolved: {:.2?}", begun.elapsed());
    tokio::time::sleep(WATCHED).await;
    println!(
        "after {} s: {:.2?} of processor time in all, {:.0} MiB resident",
        WATCHED.as_secs(),
        processor(),
        resident_mib()
    );
    running.shutdown().await;
}

fn main() {
    let labels = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(100_000);
    let home = std::env::var_os("LARGE_ZONE_HOME").map(PathBuf::from);
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match (std::env::var("LARGE_ZONE_PART").as_deref(), home) {
        (Ok("library"), _) => library(labels),
        (Ok("owner"), Some(home)) => runtime().block_on(owner(&home, labels)),
        (Ok("restart"), Some(home)) => runtime().block_on(restart(&home, labels)),
        // Each in a process of its own: memory that was used before does not count.
        _ => {
            let home = tempfile::tempdir().expect("a directory");
            for part in ["library", "owner", "restart"] {
                let mut program = std::process::Command::new(std::env::current_exe().expect("this program"));
                program.arg(labels.to_string()).env("LARGE_ZONE_PART", part).env("LARGE_ZONE_HOME", home.path());
                assert!(program.status().expect("it runs").success(), "{part}");
            }
        }
    }
}
