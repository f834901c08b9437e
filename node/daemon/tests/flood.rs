//! A real daemon under a flood of everything that strangers can send (specs/overlay.md, 7): its memory stays within the bound
//! that it states, a peer that it trusts is served all the while, and its counters say what was refused.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail it")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::{AsyncWriteExt as _, StreamExt};
use libp2p::{Multiaddr, StreamProtocol};
use p2p_api::Node;
use p2p_client::Client;
use p2p_identity::SecretKey;
use p2p_node::{Config, NodeOptions, RunningNode};
use p2p_transport::{DialGuard, Parts, Preference, ProvenPeers, StreamControl, TrustedPeers, build_swarm, keypair};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Above this no node goes, whatever comes: the bound of overlay.md, 7, on a computer with 2 GiB or more.
const MEMORY_BYTES: u64 = 256 * 1024 * 1024;
/// Connections that are begun, and how many of them at a time.
const CONNECTIONS: u32 = 10_000;
const AT_A_TIME: u32 = 200;
/// Streams that one stranger opens.
const STREAMS: u32 = 10_000;
/// Values that nobody signed, and how many strangers send them.
const VALUES: u32 = 10_000;
const SPAMMERS: u8 = 20;
const PATIENCE: Duration = Duration::from_secs(30);
const DRIVES: StreamProtocol = StreamProtocol::new("/p2pnode/drives/1");
const KAD: StreamProtocol = StreamProtocol::new("/p2pnode/main/kad/1");

/// The daemon, which ends with its test, also where that fails.
struct Daemon {
    child: Child,
    id: libp2p::PeerId,
    at: Multiaddr,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    fn start(home: &Path, config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_p2pnode"));
        command.args(["start", "--json", "--no-mdns", "--no-port-mapping", "--gateway", "off"]);
        command.args(["--listen", "/ip4/127.0.0.1/tcp/0", "--home"]).arg(home).arg("--config").arg(config);
        let spawned = command.env_remove("P2PNODE_API").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = spawned.unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        let id = ready["peer_id"].as_str().unwrap().parse().unwrap();
        let at = ready["listen"][0].as_str().unwrap().parse().unwrap();
        Self { child, id, at }
    }

    /// The most memory that it ever had, in bytes.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    fn socket_address(&self) -> SocketAddr {
        let text = self.at.to_string();
        let port = text.rsplit('/').next().unwrap().parse().unwrap();
        SocketAddr::from(([127, 0, 0, 1], port))
    }
}

/// A peer that speaks our protocols and keeps no rule.
async fn stranger(seed: u8, host: &Daemon) -> StreamControl {
    let keypair = keypair(&SecretKey::from_seed(&[seed; 32])).unwrap();
    let config = p2p_transport::Config { mdns: false, port_mapping: false, ..Default::default() };
    let Parts { behaviour, control, relays, .. } = Parts::new(&keypair, &config, "main", [], &TrustedPeers::default());
    let (guard, proven) = (DialGuard::default(), ProvenPeers::default());
    let mut swarm = build_swarm(&keypair, &config, &guard, &proven, relays, behaviour).unwrap();
    guard.give(&host.at);
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    control.add_address(host.id, host.at.clone()).await.unwrap();
    control
}

async fn open(control: &StreamControl, host: &Daemon, protocol: StreamProtocol) -> Option<p2p_transport::ByteStream> {
    let opened = control.open(host.id, protocol, Preference::Any, Duration::from_secs(2)).await;
    opened.ok().map(|opened| opened.stream)
}

/// Half of them say nothing, the others nonsense.
async fn connections(at: SocketAddr) -> u32 {
    let made = Arc::new(AtomicU32::new(0));
    let tasks = (0..AT_A_TIME).map(|task| {
        let made = made.clone();
        tokio::spawn(async move {
            for number in 0..CONNECTIONS / AT_A_TIME {
                let Ok(Ok(mut stream)) = tokio::time::timeout(Duration::from_secs(5), TcpStream::connect(at)).await
                else {
                    continue;
                };
                made.fetch_add(1, Ordering::Relaxed);
                if (task + number) % 2 == 0 {
                    let _ = stream.write_all(&[0xa5; 4_096]).await;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    });
    futures::future::join_all(tasks.collect::<Vec<_>>()).await;
    made.load(Ordering::Relaxed)
}

/// More streams than anybody needs, of which the last hundreds stay open and say nothing more.
async fn streams(host: &Daemon) {
    let control = stranger(1, host).await;
    let mut held = std::collections::VecDeque::new();
    for _ in 0..STREAMS {
        let Some(mut stream) = open(&control, host, DRIVES).await else { continue };
        let _ = stream.write_all(b"x").await;
        let _ = stream.flush().await;
        held.push_back(stream);
        if held.len() > 200 {
            held.pop_front();
        }
    }
}

/// Lengths of four gigabytes, and much behind them.
async fn oversized(host: &Daemon) {
    let control = stranger(2, host).await;
    for (protocol, prefix) in [(DRIVES, &[0xff_u8; 4][..]), (KAD, &[0xff, 0xff, 0xff, 0xff, 0x0f][..])] {
        for _ in 0..50 {
            let Some(mut stream) = open(&control, host, protocol.clone()).await else { continue };
            let _ = stream.write_all(prefix).await;
            let body = vec![0x5a_u8; 1024 * 1024];
            let _ = tokio::time::timeout(Duration::from_millis(200), stream.write_all(&body)).await;
        }
    }
}

/// A message of Kademlia with its length before it; the fields of its protobuf are type (1), key (2), record (3).
fn kad_message(kind: u8, key: &[u8; 32], record: Option<&[u8]>) -> Vec<u8> {
    let mut body = vec![0x08, kind, 0x12, 32];
    body.extend_from_slice(key);
    if let Some(value) = record {
        let mut inner = vec![0x0a, 32];
        inner.extend_from_slice(key);
        inner.extend_from_slice(&[0x12, value.len() as u8]);
        inner.extend_from_slice(value);
        body.extend_from_slice(&[0x1a, inner.len() as u8]);
        body.extend_from_slice(&inner);
    }
    let mut message = vec![body.len() as u8];
    message.extend_from_slice(&body);
    message
}

/// Asks and asks, and never reads an answer.
async fn slow_readers(host: &Daemon) {
    const FIND_NODE: u8 = 4;
    let control = stranger(3, host).await;
    let mut held = Vec::new();
    for number in 0..16_u8 {
        let Some(mut stream) = open(&control, host, KAD).await else { continue };
        let ask = kad_message(FIND_NODE, &[number; 32], None).repeat(1_000);
        let _ = tokio::time::timeout(Duration::from_millis(500), stream.write_all(&ask)).await;
        held.push(stream);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
}

/// Values that prove nothing.
async fn record_spam(host: &Daemon) {
    const PUT_VALUE: u8 = 0;
    for seed in 0..SPAMMERS {
        let control = stranger(10 + seed, host).await;
        let Some(mut stream) = open(&control, host, KAD).await else { continue };
        for number in 0..VALUES / u32::from(SPAMMERS) {
            let mut key = [seed; 32];
            key[..4].copy_from_slice(&number.to_be_bytes());
            let message = kad_message(PUT_VALUE, &key, Some(&[7; 64]));
            if stream.write_all(&message).await.is_err() || stream.flush().await.is_err() {
                break;
            }
        }
    }
}

async fn counter(node: &Node, name: &str) -> u64 {
    let text = node.metrics().await.unwrap();
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

async fn friend(home: &Path) -> RunningNode {
    let mut config = Config::default();
    config.transport.mdns = false;
    config.transport.port_mapping = false;
    config.transport.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
    // It shares a process with all the strangers.
    config.transport.limits.memory_mib = 8_192;
    let options = NodeOptions {
        home: home.to_owned(),
        api: None,
        config,
        gateway: None,
        apps: Vec::new(),
        bootstrap: Vec::new(),
        notices: Vec::new(),
    };
    p2p_node::start(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_everything_stays_within_the_memory_and_a_friend_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let friend = friend(&dir.path().join("friend")).await;
    let config = dir.path().join("config.toml");
    std::fs::write(&config, format!("[transport.limits]\ntrusted_peers = [\"{}\"]\n", friend.peer_id())).unwrap();
    let host = Daemon::start(&dir.path().join("home"), &config);
    let node = Client::connect(&dir.path().join("home/api.sock")).await.unwrap().node();
    friend.node().peers().dial(&format!("{}/p2p/{}", host.at, host.id), PATIENCE).await.unwrap();
    let before = host.peak();

    let is_over = Arc::new(AtomicBool::new(false));
    let (asking, over) = (friend.node(), is_over.clone());
    let served = tokio::spawn(async move {
        let mut times = Vec::new();
        while !over.load(Ordering::Relaxed) {
            // A stream of its own each time, and an answer on it.
            let begun = Instant::now();
            let clock = asking.health().await.unwrap().clock;
            assert_eq!(clock.peers, 1, "a friend is served while strangers flood");
            times.push(begun.elapsed().as_secs_f64() * 1_000.0);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        times
    });

    let made = connections(host.socket_address()).await;
    assert!(made >= CONNECTIONS / 2, "the flood itself: {made} connections");
    let after_connections = host.peak();
    streams(&host).await;
    let after_streams = host.peak();
    oversized(&host).await;
    slow_readers(&host).await;
    record_spam(&host).await;
    is_over.store(true, Ordering::Relaxed);
    let mut times = served.await.unwrap();
    times.sort_by(f64::total_cmp);

    let peak = host.peak();
    let mib = |bytes: u64| bytes / 1024 / 1024;
    println!(
        "memory: {} MiB before, {} after {made} connections, {} after {STREAMS} streams, {} at most; a friend was told the time {} times, \
         within {:.1} ms in the median, {:.1} at most",
        mib(before),
        mib(after_connections),
        mib(after_streams),
        mib(peak),
        times.len(),
        times[times.len() / 2],
        times[times.len() - 1]
    );
    assert!(peak < MEMORY_BYTES, "{} MiB", mib(peak));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    for name in [
        "p2pnode_connections_refused_total",
        "p2pnode_streams_refused_total{reason=\"unproven\"}",
        "p2pnode_dht_floods_total{reason=\"peer_rate\"}",
    ] {
        loop {
            let count = counter(&node, name).await;
            if count > 0 {
                println!("{name} {count}");
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{name} counted nothing");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    node.stop().await.unwrap();
    friend.shutdown().await;
}
