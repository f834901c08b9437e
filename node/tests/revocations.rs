//! Revocations between real nodes over real sockets on loopback: they flood the network, who was away catches up, and who
//! sends rubbish is refused.

mod homes;

use std::time::{Duration, Instant};

use futures::StreamExt;
use homes::{Home, PATIENCE, connected, counted, record, resolve, revoke, zone};
use libp2p::identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, StreamProtocol};
use p2p_api::{NewZone, RevokeZone};
use p2p_dht::ModeSetting;
use p2p_names::{PROOFS, Revocation, Timestamp, ZoneSecret, ZoneType};
use p2p_node::Config;
use p2p_transport::{DialGuard, GossipTopic, Parts, ProvenPeers, TrustedPeers, build_swarm};

const LEARNT: &str = "p2pnode_revocations_learnt_total";
const REFUSED: &str = "p2pnode_revocations_refused_total";
const NOW: RevokeZone = RevokeZone { message: None, compute_only: false };

/// Answers no DHT queries: nobody learns of it from others, so nobody else connects to it.
fn leaf(config: &mut Config) {
    config.dht.mode = ModeSetting::Client;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_passes_through_a_chain_within_seconds_and_who_was_away_catches_up() {
    let middle = Home::new(&[]).await;
    let owner = Home::with(&[middle.address()], leaf).await;
    let far = Home::with(&[middle.address()], leaf).await;
    for home in [&owner, &far] {
        connected(&home.node()).await;
    }
    let away = Home::with(&[middle.address()], leaf).await;
    connected(&away.node()).await;
    let away = away.stop().await;
    let alice = zone(&owner.node(), "alice").await;
    owner.node().names().set(record("www", "TXT", "here")).await.expect("set");
    let name = format!("www.{}", alice.ztld);
    assert_eq!(resolve(&far.node(), &name, false).await.expect("found").records[0].value, "here");

    let state = revoke(&owner.node(), "alice", NOW).await;
    assert!(state.revoked, "{state:?}");
    // Nobody has asked for it.
    for home in [&middle, &far] {
        let took = counted(home, LEARNT, 1).await;
        assert!(took < Duration::from_secs(5), "{took:?}");
        let error = resolve(&home.node(), &name, false).await.expect_err("revoked");
        assert!(error.message.contains("revoked"), "{error}");
    }
    let peers = far.node().peers().list().await.expect("peers");
    assert_eq!(peers.len(), 1, "it came through the middle: {peers:?}");

    // The owner is gone when the one that was away comes back, and only the far end tells it.
    owner.running.shutdown().await;
    middle.running.shutdown().await;
    let far = far.restart(&[]).await;
    let away = away.start(&[far.address()]).await;
    counted(&away, LEARNT, 1).await;
    let late = Home::with(&[], leaf).await;
    let dialled = late.node().peers().dial(&away.address(), PATIENCE).await;
    dialled.expect("dials");
    counted(&late, LEARNT, 1).await;
    for home in [far, away, late] {
        home.running.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_a_new_connection_learn() {
    let (left, right) = (Home::new(&[]).await, Home::new(&[]).await);
    for (home, names) in [(&left, ["a", "b", "c"].as_slice()), (&right, &["d", "e"])] {
        for name in names {
            home.node()
                .names()
                .create_zone(NewZone { name: (*name).into(), kind: Default::default(), key: None })
                .await
                .expect("a zone");
            assert!(revoke(&home.node(), name, NOW).await.revoked);
        }
    }
    left.node().peers().dial(&right.address(), PATIENCE).await.expect("dials");
    counted(&left, LEARNT, 2).await;
    counted(&right, LEARNT, 3).await;
    // A third one gets all of it from either.
    let third = Home::new(&[right.address()]).await;
    counted(&third, LEARNT, 5).await;
    assert_eq!(third.count(REFUSED).await, 0);
    for home in [left, right, third] {
        home.running.shutdown().await;
    }
}

/// Announces what it likes to a node, until that closes the connection; how many it sent.
async fn announce_all(target: &Home, messages: Vec<Vec<u8>>) -> usize {
    let keypair = Keypair::generate_ed25519();
    let config = Config::default();
    let mut transport = config.transport;
    transport.mdns = false;
    transport.port_mapping = false;
    let Parts { behaviour, relays, .. } = Parts::new(
        &keypair,
        &transport,
        &config.network,
        std::iter::empty::<(StreamProtocol, usize)>(),
        &TrustedPeers::default(),
    );
    let (guard, proven) = (DialGuard::default(), ProvenPeers::default());
    let address: Multiaddr = target.address().parse().expect("an address");
    guard.give(&address);
    let mut swarm = build_swarm(&keypair, &transport, &guard, &proven, relays, behaviour).expect("a swarm");
    let topic = GossipTopic::new(format!("/p2pnode/{}/gns-revocation/1", config.network));
    swarm.behaviour_mut().gossip.subscribe(&topic).expect("subscribes");
    swarm.dial(address).expect("dials");
    let mut messages = messages.into_iter();
    let mut sent = 0;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut pace = tokio::time::interval(Duration::from_millis(30));
    loop {
        tokio::select! {
            event = swarm.select_next_some() => {
                if matches!(event, SwarmEvent::ConnectionClosed { num_established: 0, .. }) {
                    return sent;
                }
            }
            _ = pace.tick() => {
                let is_heard = swarm.behaviour().gossip.all_peers().any(|(_, topics)| topics.contains(&&topic.hash()));
                if is_heard && let Some(message) = messages.next() {
                    swarm.behaviour_mut().gossip.publish(topic.clone(), message).expect("published");
                    sent += 1;
                }
            }
            () = tokio::time::sleep_until(deadline) => panic!("still connected after {sent} messages"),
        }
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp::from_secs(since.as_secs())
}

/// Well signed, and without any work.
fn idle(seed: u8) -> Vec<u8> {
    let secret = ZoneSecret::from_random(ZoneType::Edkey, &[seed; 32]);
    let proofs: [u64; PROOFS] = std::array::from_fn(|at| at as u64);
    Revocation::sign(&secret, now(), 1 << 50, proofs).to_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_announces_rubbish_is_disconnected_and_nobody_else_hears_it() {
    let target = Home::new(&[]).await;
    let behind = Home::new(&[target.address()]).await;
    connected(&behind.node()).await;
    // Not signed by the zone, too short, and without work: all of it is unknown, and all of it is charged.
    let mut messages: Vec<Vec<u8>> = (1..6).map(idle).collect();
    messages.extend((6..9).map(|seed| {
        let mut forged = idle(seed);
        forged[371] ^= 1;
        forged
    }));
    messages.extend((9..40).map(|seed| vec![seed; 371]));
    let started = Instant::now();
    let sent = announce_all(&target, messages).await;
    assert!((11..=39).contains(&sent), "{sent} messages in {:?}", started.elapsed());
    counted(&target, "p2pnode_revocations_refused_total{reason=\"invalid\"}", 10).await;
    assert_eq!(target.count("p2pnode_revocations_refused_total{reason=\"invalid\"}").await, 10, "ten are looked at");
    assert!(target.count("p2pnode_revocations_refused_total{reason=\"too_many\"}").await >= 1);
    assert_eq!(target.count(LEARNT).await, 0);
    assert_eq!((behind.count(REFUSED).await, behind.count(LEARNT).await), (0, 0), "nothing was passed on");
    // The network goes on: a real one is believed at once.
    zone(&behind.node(), "alice").await;
    assert!(revoke(&behind.node(), "alice", NOW).await.revoked);
    counted(&target, LEARNT, 1).await;
    for home in [target, behind] {
        home.running.shutdown().await;
    }
}
