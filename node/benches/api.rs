//! What the local socket costs: round trips, requests a second, readers of events, bytes through a stream.
//!
//! `cargo bench -p p2p-node --bench api`. One process is node and callers, so the figures are of both together. Beside
//! each stands the target of specs/overlay.md, section 10. On two cores of an AMD EPYC, release build:
//!
//! | what | measured | target |
//! |---|---|---|
//! | `GET /v1/_ping`, p50 / p99 | 51 us / 67 us | 100 us / 1 ms |
//! | requests a second, 8 connections | 140,800 | 10,000 |
//! | memory of 1,000 readers of events | 26 MiB | 100 MiB |
//! | a stream between two apps of the node | 28 Gbit/s | 4 Gbit/s |

use std::path::Path;
use std::time::{Duration, Instant};

use p2p_api::{DialStream, EventQuery, StreamPath};
use p2p_client::Client;
use p2p_node::{Config, NodeOptions, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

const PING: &[u8] = b"GET /v1/_ping HTTP/1.1\r\nhost: x\r\n\r\n";
const ANSWER_END: &[u8] = b"\r\n\r\n";

async fn ping(stream: &mut BufReader<UnixStream>, answer: &mut Vec<u8>) {
    stream.get_mut().write_all(PING).await.expect("write");
    answer.clear();
    while !answer.ends_with(ANSWER_END) {
        answer.push(stream.read_u8().await.expect("an answer"));
    }
}

async fn round_trips(socket: &Path) {
    let mut stream = BufReader::new(UnixStream::connect(socket).await.expect("connect"));
    let mut answer = Vec::new();
    let mut times = Vec::new();
    for _ in 0..20_000 {
        let start = Instant::now();
        ping(&mut stream, &mut answer).await;
        times.push(start.elapsed());
    }
    times.sort();
    println!("ping: p50 {:?}, p99 {:?}", times[times.len() / 2], times[times.len() * 99 / 100]);
}

async fn requests(socket: &Path) {
    let start = Instant::now();
    let each = 10_000;
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let socket = socket.to_owned();
            tokio::spawn(async move {
                let mut stream = BufReader::new(UnixStream::connect(socket).await.expect("connect"));
                let mut answer = Vec::new();
                for _ in 0..each {
                    ping(&mut stream, &mut answer).await;
                }
            })
        })
        .collect();
    let count = callers.len() * each;
    for caller in callers {
        caller.await.expect("no panic");
    }
    println!("requests: {:.0} a second", count as f64 / start.elapsed().as_secs_f64());
}

fn resident_mib() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("statm");
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).expect("a number") * 4096.0 / 1048576.0
}

async fn readers(client: &Client) {
    let before = resident_mib();
    let mut readers = Vec::new();
    for _ in 0..1_000 {
        readers.push(client.node().events(EventQuery::default()).await.expect("events"));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("1,000 readers of events: {:.0} MiB, node and readers together", resident_mib() - before);
}

async fn stream(client: &Client) {
    const PROTOCOL: &str = "/app/bench/1";
    const BYTES: usize = 2 << 30;
    let node = client.node();
    let peer = node.info().await.expect("info").peer_id;
    let accepting = {
        let node = node.clone();
        tokio::spawn(async move {
            let mut stream = node.streams().accept(PROTOCOL).await.expect("accept");
            let mut buffer = vec![0; 256 * 1024];
            let mut left = BYTES;
            while left > 0 {
                left -= stream.read(&mut buffer).await.expect("bytes");
            }
        })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    let dial = DialStream { peer, protocol: PROTOCOL.into(), path: StreamPath::Any, timeout_s: None };
    let mut stream = node.streams().open(dial).await.expect("open");
    let piece = vec![7; 256 * 1024];
    let start = Instant::now();
    for _ in 0..BYTES / piece.len() {
        stream.write_all(&piece).await.expect("write");
    }
    stream.flush().await.expect("flush");
    accepting.await.expect("no panic");
    println!(
        "a stream through the socket twice: {:.1} Gbit/s",
        BYTES as f64 * 8.0 / 1e9 / start.elapsed().as_secs_f64()
    );
}

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut config = Config::default();
    config.transport.mdns = false;
    config.transport.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
    let home = dir.path().join("home");
    let options = NodeOptions {
        home,
        api: None,
        config,
        gateway: None,
        apps: Vec::new(),
        bootstrap: Vec::new(),
        notices: Vec::new(),
    };
    let running = start(options).await.expect("starts");
    let client = Client::connect(running.socket()).await.expect("it answers");
    round_trips(running.socket()).await;
    requests(running.socket()).await;
    stream(&client).await;
    readers(&client).await;
    running.shutdown().await;
}
