//! A network of real DHT nodes in one process, over the in-memory transport: honest ones, silent ones, and a crowd of
//! hostile ones beside a key.
#![allow(dead_code, reason = "each program that uses it uses a part")]

mod delay;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use delay::Delayed;
use futures::StreamExt;
use libp2p::core::transport::{MemoryTransport, Transport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::kad::store::MemoryStore;
use libp2p::kad::{self, BucketInserts, KBucketKey, Mode, StoreInserts};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, noise, yamux};
use p2p_dht::{Checked, Config, Dht, Event, IdentifiedPeer, MemoryPersist, RecordKind, Reject};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

const NETWORK: &str = "simulated";
const PROTOCOL: &str = "/p2pnode/simulated/kad/1";
/// Idle connections are closed after this, as in a node.
const IDLE: Duration = Duration::from_secs(60);

/// Values whose first byte is their order and the second 1.
struct Toy;

impl RecordKind for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn matches(&self, key: &[u8]) -> bool {
        key.len() == 32
    }

    fn check(&self, _: &[u8], value: &[u8], _: Option<&[u8]>, now: SystemTime) -> Result<Checked, Reject> {
        match value {
            [order, 1, ..] => Ok(Checked { expires: now + Duration::from_secs(3_600), order: u64::from(*order) }),
            _ => Err(Reject::BadSignature),
        }
    }
}

/// What a lookup came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Got {
    /// The newest value that another node gave.
    pub(crate) value: Option<Vec<u8>>,
    /// Until the first answer; the whole time if there was none.
    pub(crate) first: Duration,
    pub(crate) asked: usize,
    pub(crate) hops: u32,
    pub(crate) is_walked: bool,
}

enum Command {
    Put { key: [u8; 32], value: Vec<u8>, reply: oneshot::Sender<usize> },
    Get { key: [u8; 32], reply: oneshot::Sender<Got> },
    Find { peer: PeerId, reply: oneshot::Sender<Vec<Multiaddr>> },
    Provide { key: [u8; 32], reply: oneshot::Sender<bool> },
    Providers { key: [u8; 32], reply: oneshot::Sender<HashSet<PeerId>> },
    Dial(Multiaddr),
    TableSize(oneshot::Sender<(usize, f64)>),
}

/// Whether the honest nodes use regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Regions {
    With,
    Without,
}

/// One honest node.
pub(crate) struct Node {
    pub(crate) id: PeerId,
    pub(crate) address: Multiaddr,
    commands: mpsc::Sender<Command>,
    silence: watch::Sender<bool>,
}

/// Everybody's address, as identify would tell it.
type Addresses = Arc<Mutex<HashMap<PeerId, Multiaddr>>>;

pub(crate) struct Network {
    pub(crate) nodes: Vec<Node>,
    /// Those of them that were replaced.
    pub(crate) gone: HashSet<PeerId>,
    addresses: Addresses,
    tasks: JoinSet<()>,
    hostile: JoinSet<()>,
    /// How long a message to a node takes, by its number.
    delay: fn(usize) -> Duration,
    keys: Keys,
}

/// Keys that are the same in each run, so that nodes lie where they lay the last time: how many honest ones are near a key is
/// chance, and would fail a test in twenty.
#[derive(Default)]
struct Keys(u64);

impl Keys {
    fn next(&mut self) -> Keypair {
        self.0 += 1;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.0.to_le_bytes());
        Keypair::ed25519_from_bytes(seed).expect("32 bytes are a key")
    }
}

impl Network {
    /// So many nodes that know each other as well as those of a real network do.
    pub(crate) async fn new(count: usize, regions: Regions) -> Self {
        Self::with_delay(count, regions, |_| Duration::ZERO).await
    }

    /// The same, where messages take time.
    pub(crate) async fn with_delay(count: usize, regions: Regions, delay: fn(usize) -> Duration) -> Self {
        let (tasks, hostile) = (JoinSet::new(), JoinSet::new());
        let mut network = Self {
            nodes: Vec::new(),
            gone: HashSet::new(),
            addresses: Addresses::default(),
            tasks,
            hostile,
            delay,
            keys: Keys::default(),
        };
        for n in 0..count {
            network.add_node(regions).await;
            // Each knows three of those before it and finds the rest by itself.
            for step in [1, 7, 31] {
                if n > 0 {
                    let other = (n * 31 + step * 17) % n;
                    let address = network.nodes[other].address.clone();
                    let _ = network.nodes[n].commands.send(Command::Dial(address)).await;
                }
            }
            if n % 10 == 9 {
                network.until_settled(n).await;
            }
        }
        network.until_settled(0).await;
        network
    }

    /// Waits until nodes know as many others as they will.
    async fn until_settled(&self, from: usize) {
        let wanted = (self.nodes.len() - 1).min(20);
        for node in &self.nodes[from..] {
            while node.table().await.0 < wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn add_node(&mut self, regions: Regions) {
        let keypair = self.keys.next();
        let id = keypair.public().to_peer_id();
        let dht = Dht::new(
            id,
            NETWORK,
            &Config::default(),
            Arc::new(|_| false),
            vec![Box::new(Toy)],
            Box::<MemoryPersist>::default(),
            |_, _| true,
        );
        let dht = if regions == Regions::With { dht } else { dht.without_regions() };
        let mut swarm = swarm(&keypair, Honest { dht }, (self.delay)(self.nodes.len()));
        let address = listen(&mut swarm).await;
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).insert(id, address.clone());
        let (commands, receiver) = mpsc::channel(64);
        let (silence, is_silent) = watch::channel(false);
        self.tasks.spawn(run_honest(swarm, receiver, is_silent, self.addresses.clone()));
        self.nodes.push(Node { id, address, commands, silence });
    }

    /// Hostile nodes whose ids were ground until they lie nearer to the key than any honest one. They answer lookups with
    /// each other, say that they store what is put, and do not.
    pub(crate) async fn crowd(&mut self, key: &[u8], count: usize) {
        let target = KBucketKey::new(key.to_vec());
        let nearest = self.nearest(key);
        // Beside a node: nearer than any other.
        let nearest: Vec<PeerId> = nearest.into_iter().filter(|id| KBucketKey::from(*id) != target).collect();
        let first = KBucketKey::from(nearest[0]).distance(&target);
        let is_nearer = |keypair: &Keypair| KBucketKey::from(keypair.public().to_peer_id()).distance(&target) < first;
        let keypairs = std::iter::repeat_with(|| self.keys.next()).filter(is_nearer).take(count).collect();
        // Each makes itself known to the neighbours of the key, and to others here and there.
        let known_to = |at: usize| {
            let others = nearest.iter().skip(30 + at % 5).step_by(5);
            nearest.iter().take(30).chain(others).copied().collect()
        };
        self.add_hostile(keypairs, known_to).await;
    }

    /// Hostile nodes anywhere, known to every second node.
    pub(crate) async fn liars(&mut self, count: usize) {
        let keypairs = std::iter::repeat_with(|| self.keys.next()).take(count).collect();
        let ids: Vec<PeerId> = self.nodes.iter().map(|node| node.id).collect();
        self.add_hostile(keypairs, |at| ids.iter().skip(at % 2).step_by(2).copied().collect()).await;
    }

    async fn add_hostile(&mut self, keypairs: Vec<Keypair>, known_to: impl Fn(usize) -> Vec<PeerId>) {
        let mut swarms = Vec::new();
        for keypair in &keypairs {
            let me = keypair.public().to_peer_id();
            let mut config = kad::Config::new(StreamProtocol::new(PROTOCOL));
            config.set_kbucket_inserts(BucketInserts::Manual).set_record_filtering(StoreInserts::FilterBoth);
            config.set_periodic_bootstrap_interval(None);
            let mut kad = kad::Behaviour::with_config(me, MemoryStore::new(me), config);
            kad.set_mode(Some(Mode::Server));
            let mut swarm = swarm(keypair, Hostile { kad }, Duration::ZERO);
            let address = listen(&mut swarm).await;
            self.addresses.lock().unwrap_or_else(PoisonError::into_inner).insert(me, address.clone());
            swarms.push((me, address, swarm));
        }
        let all: Vec<(PeerId, Multiaddr)> = swarms.iter().map(|(id, address, _)| (*id, address.clone())).collect();
        let (met, mut meetings) = mpsc::channel(65_536);
        let mut expected = 0;
        for (at, (me, _, mut swarm)) in swarms.into_iter().enumerate() {
            for (other, address) in all.iter().filter(|(other, _)| *other != me) {
                swarm.behaviour_mut().kad.add_address(other, address.clone());
            }
            for honest in known_to(at) {
                let node = self.nodes.iter().find(|node| node.id == honest).expect("it is one of ours");
                swarm.dial(node.address.clone()).expect("dials");
                expected += 1;
            }
            let met = met.clone();
            self.hostile.spawn(async move {
                loop {
                    if let SwarmEvent::ConnectionEstablished { .. } = swarm.select_next_some().await {
                        let _ = met.try_send(());
                    }
                }
            });
        }
        // Those next to the key have them in their tables then: they come up in lookups.
        for _ in 0..expected {
            meetings.recv().await;
        }
    }

    /// The hostile nodes are gone.
    pub(crate) async fn disperse(&mut self) {
        self.hostile.shutdown().await;
    }

    /// This part of the nodes, every so many, falls silent; some are spared.
    pub(crate) fn silence(&self, count: usize, spared: &HashSet<PeerId>) {
        let mut victims: Vec<&Node> = self.nodes.iter().filter(|node| !spared.contains(&node.id)).collect();
        victims.sort_by_key(|node| node.id);
        victims.iter().take(count).for_each(|node| node.fall_silent());
    }

    /// So many nodes fall silent for good, and as many new ones join, each by three of those that are left.
    pub(crate) async fn replace(&mut self, count: usize, regions: Regions) {
        let mut living: Vec<(PeerId, Multiaddr)> =
            self.nodes.iter().map(|node| (node.id, node.address.clone())).collect();
        living.retain(|(id, _)| !self.gone.contains(id));
        // An id says nothing of where its node lies among the keys.
        living.sort();
        self.gone.extend(living.drain(..count.min(living.len())).map(|(id, _)| id));
        self.nodes.iter().filter(|node| self.gone.contains(&node.id)).for_each(Node::fall_silent);
        let first = self.nodes.len();
        for n in 0..count {
            self.add_node(regions).await;
            for step in [1, 7, 31] {
                let (_, address) = &living[(n * 31 + step * 17) % living.len()];
                let _ = self.nodes[first + n].commands.send(Command::Dial(address.clone())).await;
            }
        }
        self.until_settled(first).await;
    }

    /// The honest nodes, nearest to a key first.
    pub(crate) fn nearest(&self, key: &[u8]) -> Vec<PeerId> {
        let target = KBucketKey::new(key.to_vec());
        let mut nearest: Vec<PeerId> = self.nodes.iter().map(|node| node.id).collect();
        nearest.sort_by_cached_key(|id| KBucketKey::from(*id).distance(&target));
        nearest
    }

    /// A node by its rank in distance from a key.
    pub(crate) fn by_rank(&self, key: &[u8; 32], rank: usize) -> &Node {
        let id = self.nearest(key)[rank];
        self.nodes.iter().find(|node| node.id == id).expect("it is one of ours")
    }
}

impl Node {
    /// How many other nodes store it.
    pub(crate) async fn put(&self, key: [u8; 32], value: Vec<u8>) -> usize {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Put { key, value, reply }).await;
        answer.await.unwrap_or(0)
    }

    pub(crate) async fn get(&self, key: [u8; 32]) -> Got {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Get { key, reply }).await;
        answer.await.unwrap_or_default()
    }

    /// Whether enough others know now that this node provides the key.
    pub(crate) async fn provide(&self, key: [u8; 32]) -> bool {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Provide { key, reply }).await;
        answer.await.unwrap_or(false)
    }

    /// Who provides the key.
    pub(crate) async fn providers(&self, key: [u8; 32]) -> HashSet<PeerId> {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Providers { key, reply }).await;
        answer.await.unwrap_or_default()
    }

    /// Where a peer is, as the DHT knows.
    pub(crate) async fn find(&self, peer: PeerId) -> Vec<Multiaddr> {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Find { peer, reply }).await;
        answer.await.unwrap_or_default()
    }

    /// Peers in the table, and nodes in the network as this one estimates them.
    pub(crate) async fn table(&self) -> (usize, f64) {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::TableSize(reply)).await;
        answer.await.unwrap_or_default()
    }

    /// From now on it answers nothing and closes nothing.
    pub(crate) fn fall_silent(&self) {
        let _ = self.silence.send(true);
    }
}

#[allow(missing_docs, reason = "the derive makes an event type whose variants are named after the fields")]
#[derive(NetworkBehaviour)]
struct Honest {
    dht: Dht,
}

#[allow(missing_docs, reason = "the derive makes an event type whose variants are named after the fields")]
#[derive(NetworkBehaviour)]
struct Hostile {
    kad: kad::Behaviour<MemoryStore>,
}

fn swarm<B: NetworkBehaviour>(keypair: &Keypair, behaviour: B, delay: Duration) -> Swarm<B> {
    let builder = SwarmBuilder::with_existing_identity(keypair.clone()).with_tokio();
    let builder = builder.with_other_transport(move |keypair| {
        let noise = noise::Config::new(keypair).expect("a key signs");
        let transport = MemoryTransport::default().map(move |channel, _| Delayed::new(channel, delay));
        transport.upgrade(Version::V1Lazy).authenticate(noise).multiplex(yamux::Config::default())
    });
    let builder = builder.expect("a transport").with_behaviour(|_| behaviour).expect("a behaviour");
    builder.with_swarm_config(|config| config.with_idle_connection_timeout(IDLE)).build()
}

async fn listen<B: NetworkBehaviour>(swarm: &mut Swarm<B>) -> Multiaddr {
    swarm.listen_on("/memory/0".parse().expect("an address")).expect("listens");
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return address;
        }
    }
}

async fn run_honest(
    mut swarm: Swarm<Honest>,
    mut commands: mpsc::Receiver<Command>,
    mut is_silent: watch::Receiver<bool>,
    addresses: Addresses,
) {
    let mut puts: HashMap<u64, oneshot::Sender<usize>> = HashMap::new();
    let mut finds: HashMap<u64, oneshot::Sender<Vec<Multiaddr>>> = HashMap::new();
    let mut provided: HashMap<Vec<u8>, oneshot::Sender<bool>> = HashMap::new();
    let mut searches: HashMap<u64, (oneshot::Sender<HashSet<PeerId>>, HashSet<PeerId>)> = HashMap::new();
    let mut gets: HashMap<u64, (oneshot::Sender<Got>, Instant, Got)> = HashMap::new();
    loop {
        tokio::select! {
            command = commands.recv() => {
                let dht = &mut swarm.behaviour_mut().dht;
                match command {
                    Some(Command::Put { key, value, reply }) => {
                        if let Ok(number) = dht.put_value(&key, value) {
                            puts.insert(number, reply);
                        }
                    }
                    Some(Command::Get { key, reply }) => {
                        let number = dht.get_values(&key);
                        gets.insert(number, (reply, Instant::now(), Got::default()));
                    }
                    Some(Command::Find { peer, reply }) => drop(finds.insert(dht.find_peer(peer), reply)),
                    Some(Command::Provide { key, reply }) => {
                        provided.insert(key.to_vec(), reply);
                        dht.provide(&key);
                    }
                    Some(Command::Providers { key, reply }) => {
                        searches.insert(dht.find_providers(&key), (reply, HashSet::new()));
                    }
                    Some(Command::Dial(address)) => drop(swarm.dial(address)),
                    Some(Command::TableSize(reply)) => drop(reply.send((dht.table_size(), dht.network_size()))),
                    None => return,
                }
            }
            _ = is_silent.changed() => std::future::pending().await,
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionEstablished { peer_id, connection_id: _, .. } => {
                    let address = addresses.lock().unwrap_or_else(PoisonError::into_inner).get(&peer_id).cloned();
                    swarm.behaviour_mut().dht.on_identified(&IdentifiedPeer {
                        peer: peer_id,
                        protocols: vec![StreamProtocol::new(PROTOCOL)],
                        addresses: address.into_iter().collect(),
                        global_connections: Vec::new(),
                    });
                }
                SwarmEvent::Behaviour(HonestEvent::Dht(event)) => match event {
                    Event::Stored { query, holders } => {
                        puts.remove(&query).map(|reply| reply.send(holders.len()));
                    }
                    Event::Peer { query, addresses } => {
                        finds.remove(&query).map(|reply| reply.send(addresses));
                    }
                    Event::Announced { key, ok } => drop(provided.remove(&key).map(|reply| reply.send(ok))),
                    Event::Providers { query, providers } => {
                        if let Some((_, found)) = searches.get_mut(&query) {
                            found.extend(providers);
                        }
                    }
                    Event::ProvidersDone { query } => {
                        if let Some((reply, found)) = searches.remove(&query) {
                            let _ = reply.send(found);
                        }
                    }
                    Event::Value { query, from: Some(_), value } => {
                        if let Some((_, since, got)) = gets.get_mut(&query) {
                            if got.value.is_none() {
                                got.first = since.elapsed();
                            }
                            got.value = got.value.take().into_iter().chain([value]).max();
                        }
                    }
                    Event::ValuesDone { query, asked, hops, is_walked } => {
                        if let Some((reply, since, got)) = gets.remove(&query) {
                            let first = if got.value.is_some() { got.first } else { since.elapsed() };
                            let _ = reply.send(Got { asked, hops, is_walked, first, ..got });
                        }
                    }
                    _ => {}
                },
                _ => {}
            },
        }
    }
}
