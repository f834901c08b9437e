//! No packet goes to a local address that a stranger named (overlay.md, section 7, "dialling"): counted by the kernel.
//!
//! The test runs itself again in a network namespace of its own, with two addresses that are global and a default route
//! behind which nobody is. A hostile peer at one address claims local ones for itself, in identify and in provider records; the
//! node at the other address is then made to look for that peer in every way there is. Skipped with a sentence where no
//! namespace can be made.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use futures::StreamExt;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, Swarm, identify};
use p2p_api::{DialStream, StreamPath};
use p2p_dht::{Dht, IdentifiedPeer, MemoryPersist};
use p2p_identity::SecretKey;
use p2p_node::{Config, NodeOptions, start};
use p2p_transport::{DialGuard, ProvenPeers};

const INSIDE: &str = "P2P_LOCAL_ADDRESSES_INSIDE";
const VICTIM: &str = "198.51.100.1";
const HOSTILE: &str = "198.51.100.2";
/// What the hostile peer claims to be reached at.
const CLAIMED: [&str; 8] = [
    "/ip4/10.9.9.9/tcp/22",
    "/ip4/192.168.77.7/tcp/80",
    "/ip4/172.20.1.1/udp/53/quic-v1",
    "/ip4/100.64.3.3/tcp/443",
    "/ip4/169.254.9.9/tcp/80",
    "/ip4/127.0.0.1/tcp/22",
    "/ip4/127.0.0.1/udp/22/quic-v1",
    "/dns4/localhost/tcp/22",
];

fn sh(script: &str) -> String {
    let done = Command::new("sh").args(["-c", script]).output().expect("a shell");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{script}: {said}{}", String::from_utf8_lossy(&done.stderr));
    said
}

/// Packets to the local networks, and to the loopback port that was claimed.
fn counted() -> u64 {
    let listed = sh("nft -n list table inet strangers");
    let counts = listed.split("packets ").skip(1).filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    counts.sum()
}

#[allow(missing_docs, reason = "the derive makes an event type whose variants are named after the fields")]
#[derive(NetworkBehaviour)]
struct Behaviour {
    transport: p2p_transport::Behaviour,
    dht: Dht,
}

/// A peer that speaks our protocols and lies about where it is.
fn hostile(key: &SecretKey) -> Swarm<Behaviour> {
    let keypair = p2p_transport::keypair(key).expect("a key");
    let mut config = p2p_transport::Config { mdns: false, port_mapping: false, ..Default::default() };
    config.idle_timeout_s = 600;
    let p2p_transport::Parts { behaviour: transport, relays, .. } =
        p2p_transport::Parts::new(&keypair, &config, "main", [], &p2p_transport::TrustedPeers::default());
    let me = keypair.public().to_peer_id();
    let persist = Box::new(MemoryPersist::default());
    let dht = Dht::new(
        me,
        "main",
        &p2p_dht::Config::default(),
        std::sync::Arc::new(|_| false),
        Vec::new(),
        persist,
        |_, _| true,
    );
    let behaviour = Behaviour { transport, dht };
    let (guard, proven) = (DialGuard::default(), ProvenPeers::default());
    let mut swarm = p2p_transport::build_swarm(&keypair, &config, &guard, &proven, relays, behaviour).expect("a swarm");
    swarm.listen_on(format!("/ip4/{HOSTILE}/tcp/4002").parse().expect("a multiaddr")).expect("listens");
    for claimed in CLAIMED {
        swarm.add_external_address(claimed.parse().expect("a multiaddr"));
    }
    swarm
}

async fn attack() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut config = Config::default();
    config.transport.mdns = false;
    config.transport.listen = vec![format!("/ip4/{VICTIM}/tcp/4001"), format!("/ip4/{VICTIM}/udp/4001/quic-v1")];
    let options = NodeOptions {
        home: dir.path().join("home"),
        api: None,
        config,
        gateway: None,
        apps: Vec::new(),
        bootstrap: Vec::new(),
        notices: Vec::new(),
    };
    let victim = start(options).await.expect("starts");
    let node = victim.node();
    let key = SecretKey::from_seed(&[66; 32]);
    let peer = p2p_identity::PeerId::from(key.public());
    let mut swarm = hostile(&key);
    let at: Multiaddr = format!("/ip4/{VICTIM}/tcp/4001").parse().expect("a multiaddr");
    // From the address it listens at, so that it is a stranger from outside.
    while !matches!(swarm.select_next_some().await, SwarmEvent::NewListenAddr { .. }) {}
    swarm.dial(at).expect("dials");
    let (key, wanted) = ([5; 32], [5u8; 32]);
    let lying = tokio::spawn(async move {
        swarm.behaviour_mut().dht.provide(&key);
        loop {
            let event = swarm.select_next_some().await;
            let SwarmEvent::Behaviour(BehaviourEvent::Transport(event)) = event else { continue };
            if let p2p_transport::BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) = event {
                swarm.behaviour_mut().dht.on_identified(&IdentifiedPeer {
                    peer: peer_id,
                    protocols: info.protocols,
                    addresses: info.listen_addrs,
                    global_connections: Vec::new(),
                });
            }
        }
    });
    // Until the lies have arrived: the peer is known, and as the provider of the key.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let providers = node.dht().find_providers(wanted, Duration::from_secs(2)).await.expect("an answer");
        if providers.iter().any(|provider| provider.peer == peer) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the provider record does not arrive");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The peer is gone; whoever wants it has only what it claimed.
    lying.abort();
    while node.info().await.expect("info").peers > 0 {
        assert!(tokio::time::Instant::now() < deadline, "the connection does not end");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for _ in 0..3 {
        let _ = node.peers().dial(&peer.to_string(), Duration::from_secs(3)).await;
        let _ = node.dht().find_providers(wanted, Duration::from_secs(2)).await;
        let protocol = "/app/x/1".to_owned();
        let dial = DialStream { peer, protocol, path: StreamPath::Any, timeout_s: Some(3.0) };
        let _ = node.streams().open(dial).await;
    }
    victim.shutdown().await;
}

#[test]
fn strangers_cannot_make_a_node_knock_at_local_doors() {
    if std::env::var_os(INSIDE).is_none() {
        let me = std::env::current_exe().expect("this program");
        // Without the right to make a namespace, try as the root of a user namespace.
        let way = [&["--net"][..], &["--net", "--map-root-user"][..]].into_iter().find(|way| {
            let probe = "ip link set lo up && ip link add name a0 type veth peer name b0 && nft add table inet probe";
            Command::new("unshare")
                .args(*way)
                .args(["sh", "-c", probe])
                .output()
                .is_ok_and(|done| done.status.success())
        });
        let Some(way) = way else {
            eprintln!("skipped: no network namespace with ip and nft can be made here");
            return;
        };
        let test = "strangers_cannot_make_a_node_knock_at_local_doors";
        let mut inside = Command::new("unshare");
        inside.args(way).arg(me).args([test, "--exact", "--nocapture"]).env(INSIDE, "1");
        assert!(inside.status().expect("it runs").success());
        return;
    }
    sh(&format!(
        "set -e
         ip link set lo up
         ip link add name far type veth peer name nobody
         ip link set far up
         ip link set nobody up
         ip addr add {VICTIM}/32 dev far
         ip addr add {HOSTILE}/32 dev far
         ip route add default dev far
         nft add table inet strangers
         nft 'add chain inet strangers out {{ type filter hook output priority 0; }}'
         nft 'add rule inet strangers out ip daddr {{ 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, 169.254.0.0/16 }} counter'
         nft 'add rule inet strangers out ip daddr 127.0.0.0/8 tcp dport 22 counter'
         nft 'add rule inet strangers out ip daddr 127.0.0.0/8 udp dport 22 counter'"
    ));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(attack());
    let listed = sh("nft -n list table inet strangers");
    assert_eq!(counted(), 0, "packets went to local addresses that a stranger named: {listed}");
    // The counters do count.
    for address in ["10.9.9.9:22", "127.0.0.1:22"] {
        let address: SocketAddr = address.parse().expect("an address");
        let _ = TcpStream::connect_timeout(&address, Duration::from_millis(300));
    }
    assert!(counted() >= 2, "the counters are blind");
}
