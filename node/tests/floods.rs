//! What a peer can do to a node by asking for too much, over real connections.

use std::time::Duration;

use futures::StreamExt;
use libp2p::kad::store::MemoryStore;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, identify, kad, noise, tcp, yamux};
use p2p_node::{Config, NodeOptions, RunningNode, start};

/// Longest wait for what has to happen.
const DEADLINE: Duration = Duration::from_secs(30);

struct Home {
    _dir: tempfile::TempDir,
    node: RunningNode,
}

async fn node(change: impl FnOnce(&mut Config), bootstrap: &[String]) -> Home {
    let dir = tempfile::tempdir().expect("a directory");
    let mut config = Config::default();
    config.transport.mdns = false;
    config.transport.port_mapping = false;
    config.transport.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
    change(&mut config);
    let options = NodeOptions {
        home: dir.path().join("home"),
        api: None,
        config,
        gateway: None,
        apps: Vec::new(),
        bootstrap: bootstrap.to_vec(),
        notices: Vec::new(),
    };
    Home { node: start(options).await.expect("starts"), _dir: dir }
}

fn address(node: &RunningNode) -> String {
    let listen = node.listen().into_iter().next().expect("listens");
    format!("{listen}/p2p/{}", node.peer_id())
}

/// The value of a counter. The loop writes them down every 15 s and when a peer shows itself.
async fn counter(home: &Home, name: &str) -> u64 {
    let text = home.node.node().metrics().await.expect("metrics");
    let line = text.lines().find(|line| line.starts_with(&format!("p2pnode_{name}")));
    let line = line.unwrap_or_else(|| panic!("no counter {name} in {text}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !is_so().await {
        assert!(tokio::time::Instant::now() < deadline, "{what} does not happen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[derive(libp2p::swarm::NetworkBehaviour)]
struct Asking {
    kad: kad::Behaviour<MemoryStore>,
    identify: identify::Behaviour,
}

/// A peer that speaks our protocols and asks as fast as it can.
fn asking() -> Swarm<Asking> {
    let builder = SwarmBuilder::with_new_identity().with_tokio();
    let builder = builder.with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default).expect("TCP");
    let builder = builder.with_behaviour(|key| {
        let me = key.public().to_peer_id();
        let config = kad::Config::new(StreamProtocol::new("/p2pnode/main/kad/1"));
        let identify = identify::Config::new("p2pnode/main/1".into(), key.public());
        Asking {
            kad: kad::Behaviour::with_config(me, MemoryStore::new(me), config),
            identify: identify::Behaviour::new(identify),
        }
    });
    builder.expect("behaviours").with_swarm_config(|c| c.with_idle_connection_timeout(DEADLINE)).build()
}

/// Asks `requests` times a second; whether the other side ended the connection within the time.
async fn is_disconnected(
    swarm: &mut Swarm<Asking>,
    host: PeerId,
    at: &Multiaddr,
    every: Duration,
    until: Duration,
) -> bool {
    swarm.behaviour_mut().kad.add_address(&host, at.clone());
    swarm.dial(at.clone()).expect("dials");
    let mut tick = tokio::time::interval(every);
    let end = tokio::time::sleep(until);
    tokio::pin!(end);
    loop {
        tokio::select! {
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionClosed { .. } => return true,
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                _ => {}
            },
            _ = tick.tick() => if swarm.is_connected(&host) {
                // One request each: there is nobody else to ask.
                swarm.behaviour_mut().kad.get_closest_peers(PeerId::random());
            },
            () = &mut end => return false,
        }
    }
}

#[tokio::test]
async fn a_peer_that_floods_the_dht_is_disconnected_and_a_trusted_one_is_not() {
    let mut friend = asking();
    let friend_id = *friend.local_peer_id();
    let home = node(|config| config.transport.limits.trusted_peers = vec![friend_id.to_string()], &[]).await;
    let at: Multiaddr = address(&home.node).parse().expect("an address");
    let host = home.node.peer_id().to_string().parse().expect("a peer id");
    let fast = Duration::from_millis(2);

    let mut stranger = asking();
    assert!(is_disconnected(&mut stranger, host, &at, fast, DEADLINE).await, "500 requests a second are too many");
    // What it used up is remembered: there is no second burst.
    let asked = std::time::Instant::now();
    assert!(is_disconnected(&mut stranger, host, &at, fast, DEADLINE).await);
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());

    let long = Duration::from_secs(3);
    assert!(!is_disconnected(&mut friend, host, &at, fast, long).await, "whom the user trusts may ask");
    let mut steady = asking();
    let slow = Duration::from_millis(70);
    assert!(!is_disconnected(&mut steady, host, &at, slow, long).await, "14 a second are not too many");
    // A peer that shows itself has the counters written down.
    assert_eq!(counter(&home, "dht_floods_total{reason=\"peer_rate\"}").await, 2);
    assert_eq!(counter(&home, "dht_floods_total{reason=\"group_rate\"}").await, 0);
    home.node.shutdown().await;
}

#[tokio::test]
async fn a_node_that_is_given_much_to_look_up_stays_below_the_rate_of_others() {
    let other = node(|_| {}, &[]).await;
    let busy = node(|_| {}, &[address(&other.node)]).await;
    until("a connection", async || busy.node.node().info().await.expect("info").dht_peers > 0).await;
    let dht = busy.node.node();
    // More than the other takes at once, and for some seconds.
    let lookups = (0..200u8).map(|n| {
        let dht = dht.clone();
        async move { dht.dht().get([n; 32], Duration::from_secs(20)).await.expect_err("nobody has it").kind }
    });
    let started = std::time::Instant::now();
    let kinds = futures::future::join_all(lookups).await;
    assert!(kinds.iter().all(|kind| *kind == p2p_api::ErrorKind::NotFound), "{kinds:?}");
    assert!(started.elapsed() > Duration::from_secs(5), "200 requests at 15 a second: {:?}", started.elapsed());
    assert_eq!(dht.info().await.expect("info").peers, 1, "still connected");
    assert_eq!(counter(&other, "dht_floods_total{reason=\"peer_rate\"}").await, 0);
    busy.node.shutdown().await;
    other.node.shutdown().await;
}

#[tokio::test]
async fn with_too_little_memory_idle_strangers_are_let_go_and_friends_are_not() {
    let client = |config: &mut Config| config.dht.mode = p2p_dht::ModeSetting::Client;
    let (stranger, friend) = (node(client, &[]).await, node(client, &[]).await);
    let friend_id = friend.node.peer_id().to_string();
    let home = node(
        |config| {
            config.transport.limits.memory_mib = 1;
            config.transport.limits.trusted_peers = vec![friend_id.clone()];
        },
        &[],
    )
    .await;
    let dialling = home.node.node();
    for other in [&stranger, &friend] {
        dialling.peers().dial(&address(&other.node), DEADLINE).await.expect("what the user asks for is dialled");
    }
    assert_eq!(dialling.info().await.expect("info").peers, 2);
    until("the stranger goes", async || dialling.info().await.expect("info").peers == 1).await;
    let left = dialling.peers().list().await.expect("peers");
    assert_eq!(left.iter().map(|peer| peer.peer.to_string()).collect::<Vec<_>>(), [friend_id]);
    until("it is counted", async || counter(&home, "connections_shed_total{reason=\"dht_client\"}").await == 1).await;

    // New ones do not get in: the dial ends in a refusal, before or after the handshake is over on this side.
    let _ = stranger.node.node().peers().dial(&address(&home.node), DEADLINE).await;
    until("it is refused", async || counter(&home, "connections_refused_total{reason=\"memory\"}").await >= 1).await;
    for home in [home, stranger, friend] {
        home.node.shutdown().await;
    }
}
