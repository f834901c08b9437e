//! What a peer that proved nothing can hold open, over real connections.

use std::time::Duration;

use futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, StreamProtocol, Swarm};
use p2p_identity::SecretKey;
use p2p_transport::{
    Behaviour, Config, DialGuard, IncomingStream, Parts, Preference, ProvenPeers, StreamControl, TrustedPeers,
    build_swarm, keypair,
};
use tokio::sync::mpsc;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/test/1");
/// What a stranger may have open (overlay.md, section 7).
const MAX_UNPROVEN: usize = 16;

struct Node {
    swarm: Swarm<Behaviour>,
    control: StreamControl,
    incoming: mpsc::Receiver<IncomingStream>,
    proven: ProvenPeers,
}

fn node(seed: u8) -> Node {
    let keypair = keypair(&SecretKey::from_seed(&[seed; 32])).expect("a key");
    let config = Config { mdns: false, port_mapping: false, ..Config::default() };
    let Parts { behaviour, control, mut incoming, relays } =
        Parts::new(&keypair, &config, "test", [(PROTOCOL, 256)], &TrustedPeers::default());
    let proven = ProvenPeers::default();
    let swarm = build_swarm(&keypair, &config, &DialGuard::default(), &proven, relays, behaviour).expect("a swarm");
    Node { swarm, control, incoming: incoming.remove(&PROTOCOL).expect("a queue"), proven }
}

async fn listening(node: &mut Node, at: &str) -> Multiaddr {
    node.swarm.listen_on(at.parse().expect("a multiaddr")).expect("listens");
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = node.swarm.select_next_some().await {
            return address;
        }
    }
}

fn run(mut swarm: Swarm<Behaviour>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    })
}

/// Streams that arrive until none has for a while.
async fn arrived(incoming: &mut mpsc::Receiver<IncomingStream>) -> Vec<IncomingStream> {
    let mut all = Vec::new();
    while let Ok(Some(stream)) = tokio::time::timeout(Duration::from_millis(500), incoming.recv()).await {
        all.push(stream);
    }
    all
}

async fn a_stranger_holds_few_streams(listen: &str) {
    let (mut host, guest) = (node(1), node(2));
    let address = listening(&mut host, listen).await;
    let (host_id, guest_id) = (*host.swarm.local_peer_id(), *guest.swarm.local_peer_id());
    let Node { swarm, mut incoming, proven, .. } = host;
    let tasks = [run(swarm), run(guest.swarm)];
    let control = guest.control;
    control.add_address(host_id, address).await.expect("it runs");
    let open = async || {
        use futures::AsyncWriteExt;
        let mut opened = Vec::new();
        for _ in 0..40 {
            let stream = control.open(host_id, PROTOCOL, Preference::Any, Duration::from_secs(5)).await;
            let mut stream = stream.expect("its first bytes go out before anybody answers").stream;
            // A stream is seen when something is written to it.
            let _ = stream.write_all(b"x").await;
            let _ = stream.flush().await;
            opened.push(stream);
        }
        opened
    };
    let mine = open().await;
    let held = arrived(&mut incoming).await;
    // identify and ping may have a stream of their own open.
    assert!((MAX_UNPROVEN - 3..=MAX_UNPROVEN).contains(&held.len()), "{} streams", held.len());
    assert!(proven.refused() >= (40 - MAX_UNPROVEN) as u64);
    drop((mine, held));
    tokio::time::sleep(Duration::from_millis(200)).await;
    proven.prove(guest_id);
    let mine = open().await;
    assert_eq!(arrived(&mut incoming).await.len(), 40, "who proved something is no stranger");
    drop(mine);
    for task in tasks {
        task.abort();
    }
}

#[tokio::test]
async fn over_tcp() {
    a_stranger_holds_few_streams("/ip4/127.0.0.1/tcp/0").await;
}

#[tokio::test]
async fn over_quic() {
    a_stranger_holds_few_streams("/ip4/127.0.0.1/udp/0/quic-v1").await;
}
