//! How long the queue of streams that wait to be accepted has to be: bursts of streams from one peer over TCP on loopback,
//! how many of them each length refuses, and how long an answer takes. `cargo bench --workspace --bench accept_queue`
//! prints the table; `accept_queue.md` beside this file has one.

use std::time::{Duration, Instant};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm};
use p2p_identity::SecretKey;
use p2p_transport::{
    Behaviour, Config, DialGuard, IncomingStream, Parts, Preference, ProvenPeers, StreamControl, TrustedPeers,
    build_swarm, keypair,
};
use tokio::sync::mpsc;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/bench/1");
const BURSTS: usize = 100;
const TIME: Duration = Duration::from_secs(10);

struct Node {
    swarm: Swarm<Behaviour>,
    control: StreamControl,
    incoming: mpsc::Receiver<IncomingStream>,
}

fn node(seed: u8, queue: usize, friend: PeerId) -> Node {
    let keypair = key(seed);
    let config = Config { mdns: false, port_mapping: false, ..Config::default() };
    let trusted = TrustedPeers::new([friend]);
    let Parts { behaviour, control, mut incoming, relays } =
        Parts::new(&keypair, &config, "bench", [(PROTOCOL, queue)], &trusted);
    let proven = ProvenPeers::new(trusted);
    let swarm = build_swarm(&keypair, &config, &DialGuard::default(), &proven, relays, behaviour).expect("a swarm");
    Node { swarm, control, incoming: incoming.remove(&PROTOCOL).expect("a queue") }
}

fn key(seed: u8) -> libp2p::identity::Keypair {
    keypair(&SecretKey::from_seed(&[seed; 32])).expect("a key")
}

fn run(mut swarm: Swarm<Behaviour>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    })
}

/// One stream, from opening it to its answer; `None` where it was refused.
async fn ask(control: &StreamControl, host: PeerId) -> Option<Duration> {
    let begun = Instant::now();
    let mut stream = control.open(host, PROTOCOL, Preference::Any, TIME).await.ok()?.stream;
    stream.write_all(b"x").await.ok()?;
    stream.flush().await.ok()?;
    let mut answer = [0; 1];
    stream.read_exact(&mut answer).await.ok()?;
    Some(begun.elapsed())
}

async fn measure(queue: usize, burst: usize) {
    let ids = [1, 2].map(|seed| key(seed).public().to_peer_id());
    let (mut host, guest) = (node(1, queue, ids[1]), node(2, queue, ids[0]));
    host.swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("a multiaddr")).expect("listens");
    let address: Multiaddr = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = host.swarm.select_next_some().await {
            break address;
        }
    };
    let mut incoming = host.incoming;
    let tasks = [
        run(host.swarm),
        run(guest.swarm),
        // As a node does it: a task for each.
        tokio::spawn(async move {
            while let Some(mut incoming) = incoming.recv().await {
                tokio::spawn(async move {
                    let mut byte = [0; 1];
                    if incoming.stream.read_exact(&mut byte).await.is_ok() {
                        let _ = incoming.stream.write_all(&byte).await;
                        let _ = incoming.stream.close().await;
                    }
                });
            }
        }),
    ];
    let control = guest.control;
    control.add_address(ids[0], address).await.expect("it runs");
    ask(&control, ids[0]).await.expect("a connection");
    let (mut times, mut refused) = (Vec::new(), 0);
    for _ in 0..BURSTS {
        for answer in futures::future::join_all((0..burst).map(|_| ask(&control, ids[0]))).await {
            match answer {
                Some(time) => times.push(time.as_micros()),
                None => refused += 1,
            }
        }
    }
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    println!("| {queue} | {burst} | {refused} of {} | {} | {} |", burst * BURSTS, at(50), at(99));
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    println!("| queue | streams at once | refused | p50, us | p99, us |");
    println!("|---|---|---|---|---|");
    for burst in [8, 32, 64, 200] {
        for queue in [1, 8, 32, 128, 256] {
            runtime.block_on(measure(queue, burst));
        }
    }
}
