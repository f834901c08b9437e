//! Names among nodes that do not keep to the rules: a third node that offers what is forged or old, and one that puts whatever
//! it likes at others.

mod homes;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use homes::{Home, PATIENCE, connected, record, resolve, three, value, zone};
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, RecordStore};
use libp2p::kad::{self, Mode, Quorum, Record, RecordKey};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm};
use p2p_api::SetRecord;
use p2p_names::{Block, Label, LabelKeys, Timestamp, ZoneKey, ZoneSecret};
use p2p_transport::{DialGuard, Parts, ProvenPeers, TrustedPeers, build_swarm};

/// A node that answers and puts whatever it likes.
#[derive(NetworkBehaviour)]
struct Lawless {
    transport: p2p_transport::Behaviour,
    kad: kad::Behaviour<MemoryStore>,
}

struct Hostile {
    swarm: Swarm<Lawless>,
    target: PeerId,
}

impl Hostile {
    /// Connected to a node, and known to it as a server of the DHT.
    async fn beside(target: &Home) -> Self {
        let keypair = Keypair::generate_ed25519();
        let me = keypair.public().to_peer_id();
        let config = p2p_node::Config::default();
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
        let protocol = StreamProtocol::try_from_owned(format!("/p2pnode/{}/kad/1", config.network)).expect("a name");
        let mut kad = kad::Behaviour::with_config(me, MemoryStore::new(me), kad::Config::new(protocol));
        kad.set_mode(Some(Mode::Server));
        let (guard, proven) = (DialGuard::default(), ProvenPeers::default());
        let address: Multiaddr = target.address().parse().expect("an address");
        guard.give(&address);
        let behaviour = Lawless { transport: behaviour, kad };
        let mut swarm = build_swarm(&keypair, &transport, &guard, &proven, relays, behaviour).expect("a swarm");
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("an address")).expect("listens");
        let target: PeerId = target.running.peer_id().to_string().parse().expect("a peer id");
        swarm.behaviour_mut().kad.add_address(&target, address.clone());
        let mut hostile = Self { swarm, target };
        hostile.until(|event| matches!(event, SwarmEvent::NewListenAddr { .. }).then_some(())).await;
        let own = hostile.swarm.listeners().next().expect("listens").clone();
        hostile.swarm.add_external_address(own);
        hostile.swarm.dial(address).expect("dials");
        hostile.until(|event| matches!(event, SwarmEvent::ConnectionEstablished { .. }).then_some(())).await;
        hostile
    }

    async fn until<T>(&mut self, found: impl Fn(SwarmEvent<LawlessEvent>) -> Option<T>) -> T {
        let look = async {
            loop {
                if let Some(found) = found(self.swarm.select_next_some().await) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect("it happens in time")
    }

    /// Goes on answering while something else is done.
    async fn beneath<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = self.swarm.select_next_some() => {}
            }
        }
    }

    /// Gives this to whoever asks for the key.
    fn offer(&mut self, key: &[u8], value: Vec<u8>) {
        let record = Record::new(key.to_vec(), value);
        self.swarm.behaviour_mut().kad.store_mut().put(record).expect("its own store takes all");
    }

    /// Puts a value at the node, which may take it or not.
    async fn put(&mut self, key: &[u8], value: Vec<u8>) {
        let record = Record::new(key.to_vec(), value);
        let target = self.target;
        let kad = &mut self.swarm.behaviour_mut().kad;
        let query = kad.put_record_to(record, std::iter::once(target), Quorum::One);
        self.until(|event| match event {
            SwarmEvent::Behaviour(LawlessEvent::Kad(kad::Event::OutboundQueryProgressed { id, step, .. })) => {
                (id == query && step.last).then_some(())
            }
            _ => None,
        })
        .await;
    }

    /// What the node itself has under a key.
    async fn stored(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let key = RecordKey::from(key.to_vec());
        self.swarm.behaviour_mut().kad.store_mut().remove(&key);
        let query = self.swarm.behaviour_mut().kad.get_record(key);
        let (target, mut found) = (self.target, None);
        loop {
            let (value, is_last) = self
                .until(|event| match event {
                    SwarmEvent::Behaviour(LawlessEvent::Kad(kad::Event::OutboundQueryProgressed {
                        id,
                        result: kad::QueryResult::GetRecord(result),
                        step,
                        ..
                    })) if id == query => {
                        let value = match result {
                            Ok(kad::GetRecordOk::FoundRecord(found)) if found.peer == Some(target) => {
                                Some(found.record.value)
                            }
                            _ => None,
                        };
                        Some((value, step.last))
                    }
                    _ => None,
                })
                .await;
            found = found.or(value);
            if is_last {
                return found;
            }
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    Timestamp::from_secs(since.as_secs())
}

fn key_of(zone: &str, label: &str) -> [u8; 64] {
    let (zone, label): (ZoneKey, Label) = (zone.parse().expect("a zTLD"), label.parse().expect("a label"));
    *LabelKeys::of(&zone, &label).storage_key().as_bytes()
}

/// Blocks that must not be stored, by what is wrong with them.
fn negative(secret: &ZoneSecret, label: &str, held: &[u8]) -> BTreeMap<&'static str, Vec<u8>> {
    let label: Label = label.parse().expect("a label");
    let held_until = Block::parse(held).expect("a block").expiration();
    let make = |expiration| Block::make(secret, &label, expiration, &[7; 64]).expect("a block").as_bytes().to_vec();
    let good = make(held_until.after(Duration::from_secs(60)));
    let flipped = |at: usize| {
        let mut block = good.clone();
        block[at] ^= 1;
        block
    };
    let mut long = good.clone();
    long.push(0);
    let other = ZoneSecret::from_random(secret.public().zone_type(), &[9; 32]);
    let foreign = Block::make(&other, &label, held_until.after(Duration::from_secs(60)), &[7; 64]).expect("a block");
    BTreeMap::from([
        ("size too small", flipped(3)),
        ("longer than its size", long),
        ("shorter than its size", good[..good.len() - 1].to_vec()),
        ("shorter than a header", good[..100].to_vec()),
        ("empty", Vec::new()),
        ("unknown type of zone", flipped(4)),
        ("bit flipped in the key", flipped(20)),
        ("bit flipped in the signature", flipped(60)),
        ("bit flipped in the expiration", flipped(111)),
        ("bit flipped in the data", flipped(120)),
        ("of another zone", foreign.as_bytes().to_vec()),
        ("expired", make(now().before(Duration::from_secs(10)))),
        ("older", make(held_until.before(Duration::from_secs(60)))),
        ("other bytes under the same expiration", make(held_until)),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn no_negative_block_of_a_peer_is_stored() {
    let owner = Home::new(&[]).await;
    let target = Home::new(&[owner.address()]).await;
    for home in [&owner, &target] {
        connected(&home.node()).await;
    }
    let alice = zone(&owner.node(), "alice").await;
    owner.node().names().set(record("www", "TXT", "here")).await.expect("set");
    let key = key_of(&alice.ztld, "www");
    let secret = owner.node().names().export_zone("alice").await.expect("the key").key;
    let secret = ZoneSecret::from_gnunet_text(&secret).expect("a key");
    let mut hostile = Hostile::beside(&target).await;
    let held = hostile.stored(&key).await.expect("the target stores the block");
    let bad = negative(&secret, "www", &held);
    for (what, block) in bad {
        hostile.put(&key, block).await;
        assert_eq!(hostile.stored(&key).await.as_deref(), Some(held.as_slice()), "{what}");
    }
    // The same block again, and a newer one, are taken.
    hostile.put(&key, held.clone()).await;
    assert_eq!(hostile.stored(&key).await.as_deref(), Some(held.as_slice()));
    let later = Block::parse(&held).expect("a block").expiration().after(Duration::from_secs(60));
    let newer = Block::make(&secret, &"www".parse().expect("a label"), later, &[]).expect("a block");
    hostile.put(&key, newer.as_bytes().to_vec()).await;
    assert_eq!(hostile.stored(&key).await.as_deref(), Some(newer.as_bytes()));
    for home in [owner, target] {
        home.running.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forged_or_old_changes_nothing_also_without_the_owner_and_after_restarts() {
    let (owner, middle, stranger) = three().await;
    let alice = zone(&owner.node(), "alice").await;
    let name = format!("www.{}", alice.ztld);
    owner.node().names().set(record("www", "TXT", "old")).await.expect("set");
    let key = key_of(&alice.ztld, "www");
    let mut hostile = Hostile::beside(&middle).await;
    let old = hostile.stored(&key).await.expect("the middle stores the block");
    hostile.beneath(owner.node().names().set(record("www", "TXT", "new"))).await.expect("set");
    let new = hostile.stored(&key).await.expect("the middle stores the next one");
    assert_ne!(old, new);
    let mut forged = new.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    // It claims to live longest.
    forged[104..112].copy_from_slice(&u64::MAX.to_be_bytes());
    for offered in [old.clone(), forged.clone()] {
        hostile.offer(&key, offered.clone());
        hostile.put(&key, offered).await;
        let late = Home::new(&[middle.address()]).await;
        hostile.beneath(connected(&late.node())).await;
        let nodes = [&late, &stranger, &middle].map(Home::node);
        let asked = futures::future::join_all(nodes.iter().map(|node| resolve(node, &name, true)));
        for found in hostile.beneath(asked).await {
            assert_eq!(found.expect("found").records[0].value, "new");
        }
        late.running.shutdown().await;
    }

    // The owner goes, every other node restarts, and the hostile one stays.
    owner.running.shutdown().await;
    let middle = hostile.beneath(middle.restart(&[stranger.address()])).await;
    let stranger = hostile.beneath(stranger.restart(&[middle.address()])).await;
    let mut hostile = Hostile::beside(&middle).await;
    for offered in [old, forged] {
        hostile.offer(&key, offered);
        let nodes = [&stranger, &middle].map(Home::node);
        let asked = futures::future::join_all(nodes.iter().map(async |node| {
            connected(node).await;
            value(node, &name).await
        }));
        assert_eq!(hostile.beneath(asked).await, ["new", "new"]);
    }
    for home in [middle, stranger] {
        home.running.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_publishes_holds_no_private_record() {
    let owner = Home::new(&[]).await;
    let mut watcher = Hostile::beside(&owner).await;
    watcher.beneath(connected(&owner.node())).await;
    let alice = zone(&owner.node(), "alice").await;
    let private = |label: &str| SetRecord { private: true, ..record(label, "TXT", "for nobody else") };
    for set in [
        private("hidden"),
        record("both", "A", "192.0.2.7"),
        private("both"),
        private("was"),
        record("was", "TXT", "for everybody"),
        private("was"),
        private("@"),
    ] {
        watcher.beneath(owner.node().names().set(set)).await.expect("set");
    }
    watcher.beneath(owner.node().names().publish(None)).await.expect("published");
    let kept: Vec<(Vec<u8>, Vec<u8>)> = {
        let store = watcher.swarm.behaviour_mut().kad.store_mut();
        store.records().map(|record| (record.key.to_vec(), record.value.clone())).collect()
    };
    let zone: ZoneKey = alice.ztld.parse().expect("a zTLD");
    let labels = ["hidden", "both", "was", "@"].map(|label| label.parse::<Label>().expect("a label"));
    let mut seen = Vec::new();
    for (key, value) in kept.iter().filter(|(key, _)| key.len() == 64) {
        let label = labels.iter().find(|label| LabelKeys::of(&zone, label).storage_key().as_bytes().as_slice() == key);
        let label = label.expect("one of these labels");
        let block = Block::parse(value).expect("a block");
        let rdata = block.open(&LabelKeys::of(&zone, label)).expect("the zone's");
        for record in p2p_names::decode_rdata(&rdata).expect("records") {
            assert_ne!(record.value(), "for nobody else", "under {label}");
            seen.push(format!("{label} {}", record.value()));
        }
    }
    seen.sort();
    assert!(seen.contains(&"both 192.0.2.7".to_owned()), "the watcher saw what is public: {seen:?}");
    owner.running.shutdown().await;
}
