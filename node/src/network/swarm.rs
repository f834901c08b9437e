//! The loop itself.

mod dials;
mod gossip;
mod holes;
mod mapping;
mod moving;
mod nat;
mod peers;
mod relays;
mod remembered;
mod shed;
mod topics;
mod values;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::PortUse;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, identify, mdns, relay};
use p2p_dht::{Dht, Mode, RecordKind};
use p2p_drives::Cache;
use p2p_transport::{
    AddressScope, DialGuard, IncomingStream, Parts, PathKind, ProvenPeers, RelayMode, TrustedPeers, dialable_from,
    path_kind, remote_address, scope, with_peer,
};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::handle::{Command, ConnectionInfo, MAX_FOUND, Measuring, Network, Snapshot};
use crate::Config;
use crate::events::EventLog;
use crate::rows::{DhtRows, load_peers};

/// Commands waiting for the loop.
const COMMANDS: usize = 256;
/// Inbound drive streams waiting to be taken; the taker only spawns, so more than this is a flood.
const ACCEPT_QUEUE: usize = 128;
/// How often the snapshot's slow parts are refreshed, bootstrap peers are redialled and so on. Long, so that an idle
/// node sleeps.
const TICK: Duration = Duration::from_secs(15);
/// LAN peers dialled unasked.
const MAX_LAN_PEERS: usize = 32;

/// What the loop needs.
pub(crate) struct NetworkConfig {
    pub(crate) keypair: Keypair,
    pub(crate) config: Config,
    pub(crate) bootstrap: Vec<String>,
    /// Which values the DHT takes.
    pub(crate) kinds: Vec<Box<dyn RecordKind>>,
    pub(crate) cache: Arc<dyn Cache>,
    pub(crate) events: EventLog,
    pub(crate) stop: CancellationToken,
}

#[allow(missing_docs, reason = "the derive makes an event type whose variants are named after the fields")]
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    transport: p2p_transport::Behaviour,
    dht: Dht,
}

struct Actor {
    guard: DialGuard,
    proven: ProvenPeers,
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    snapshot: Arc<Mutex<Snapshot>>,
    events: EventLog,
    cache: Arc<dyn Cache>,
    stop: CancellationToken,
    network: String,
    bootstrap: Vec<Multiaddr>,
    searches: HashMap<u64, mpsc::Sender<(PeerId, Vec<Multiaddr>)>>,
    values: values::Waiting,
    topics: topics::Readers,
    judges: gossip::Judges,
    remembered: remembered::Remembered,
    relays: relays::Relays,
    mappings: mapping::Mappings,
    moving: moving::Moving,
    measured: nat::Measured,
    holes: holes::Holes,
    /// Connections that were found dead.
    dead: mpsc::Receiver<ConnectionId>,
    dht_peers: watch::Sender<usize>,
    /// Changes with every connection that opens or closes.
    connected: watch::Sender<u64>,
    measuring: watch::Sender<Measuring>,
    near_news: Arc<Notify>,
    /// Neighbours that are dialled; at most as many as there are dials.
    near_dials: HashMap<ConnectionId, PeerId>,
    dials: dials::Dials,
    shed: shed::Shed,
    is_short_of_memory: bool,
    /// Before that memory is not looked at again.
    memory_at: Instant,
}

/// Starts the loop. The receiver yields the streams that peers open.
pub(crate) async fn spawn(
    config: NetworkConfig,
) -> Result<(Network, mpsc::Receiver<IncomingStream>, tokio::task::JoinHandle<()>), String> {
    let NetworkConfig { keypair, config, bootstrap, kinds, cache, events, stop } = config;
    let me = keypair.public().to_peer_id();
    let protocol = StreamProtocol::new(p2p_drives::wire::PROTOCOL);
    let protocols = [(protocol.clone(), ACCEPT_QUEUE)];
    let trusted = TrustedPeers::new(config.transport.limits.trusted());
    let Parts { behaviour: transport, control: streams, mut incoming, relays } =
        Parts::new(&keypair, &config.transport, &config.network, protocols, &trusted);
    let rows = DhtRows::new(cache.clone()).map_err(|error| error.to_string())?;
    let friends = trusted.clone();
    let is_trusted = Arc::new(move |peer: &PeerId| friends.contains(peer));
    let dht = Dht::new(me, &config.network, &config.dht, is_trusted, kinds, Box::new(rows), dialable_from);
    let guard = DialGuard::new(&config.transport.limits, trusted.clone());
    let proven = ProvenPeers::new(trusted.clone());
    let mut behaviour = Behaviour { transport, dht };
    behaviour.transport.limits.heed(guard.clone());
    let swarm = p2p_transport::build_swarm(&keypair, &config.transport, &guard, &proven, relays, behaviour)
        .map_err(|error| error.to_string())?;
    let (tx, commands) = mpsc::channel(COMMANDS);
    let (found_dead, dead) = mpsc::channel(moving::DEAD);
    let (dht_peers, seen_dht_peers) = watch::channel(0);
    let (connected, seen_connected) = watch::channel(0);
    let (measuring, seen_measuring) = watch::channel(Measuring::default());
    let near_news = Arc::new(Notify::new());
    let is_server = swarm.behaviour().dht.mode() == Mode::Server;
    let mdns = swarm.behaviour().transport.mdns.is_enabled();
    let snapshot = Arc::new(Mutex::new(Snapshot { is_server, mdns, ..Snapshot::default() }));
    let addresses = parsed(config.dht.bootstrap.iter().chain(&bootstrap))?;
    let own_relays = parsed(&config.transport.relays)?;
    let remembered = load_peers(&*cache);
    let mut actor = Actor {
        guard: guard.clone(),
        proven: proven.clone(),
        swarm,
        commands,
        snapshot: snapshot.clone(),
        events,
        cache,
        stop,
        network: config.network.clone(),
        bootstrap: addresses,
        searches: HashMap::new(),
        values: values::Waiting::default(),
        topics: topics::Readers::default(),
        judges: gossip::Judges::default(),
        remembered: remembered::Remembered::new(remembered),
        relays: relays::Relays::new(own_relays),
        mappings: mapping::Mappings::new(config.transport.port_mapping),
        moving: moving::Moving::new(streams.clone(), found_dead),
        measured: nat::Measured::default(),
        holes: holes::Holes::default(),
        dead,
        dht_peers,
        connected,
        measuring,
        near_news: near_news.clone(),
        near_dials: HashMap::new(),
        dials: dials::Dials::default(),
        shed: shed::Shed::default(),
        is_short_of_memory: false,
        memory_at: Instant::now(),
    };
    actor.listen(&config.transport.listen)?;
    actor.first_addresses().await;
    if config.transport.relay == RelayMode::Public {
        actor.offer_relay();
    }
    actor.dial_bootstrap(PeerCondition::DisconnectedAndNotDialing);
    actor.dial_remembered();
    let incoming = incoming.remove(&protocol).ok_or("no queue for the drives protocol")?;
    let me = p2p_transport::our_peer_id(&me).ok_or("not an Ed25519 key")?;
    let task = tokio::spawn(actor.run());
    let network = Network {
        me,
        commands: tx,
        streams,
        guard,
        proven,
        trusted,
        snapshot,
        dht_peers: seen_dht_peers,
        connected: seen_connected,
        measuring: seen_measuring,
        near_news,
        near: Arc::default(),
    };
    Ok((network, incoming, task))
}

impl Actor {
    /// A taken port is a warning: another one is picked. A family that the machine has not got is not worth a word.
    fn listen(&mut self, addresses: &[String]) -> Result<(), String> {
        let mut last = None;
        let mut listening = false;
        for text in addresses {
            let address: Multiaddr =
                text.parse().map_err(|error| format!("{text:?} is not a multiaddr to listen on: {error}"))?;
            match self.swarm.listen_on(address.clone()) {
                Ok(_) => listening = true,
                Err(error) => {
                    let other = any_port(&address);
                    let again = (other != address).then(|| self.swarm.listen_on(other));
                    match again {
                        Some(Ok(_)) => {
                            tracing::warn!(%address, "cannot listen here, another port is used this time");
                            listening = true;
                        }
                        _ => {
                            tracing::debug!(%address, %error, "cannot listen");
                            last = Some(format!("{address}: {error}"));
                        }
                    }
                }
            }
        }
        match last {
            Some(error) if !listening => Err(format!("cannot listen anywhere; last tried {error}")),
            _ => Ok(()),
        }
    }

    /// Lets the listeners come up, so that links carry addresses from the beginning.
    async fn first_addresses(&mut self) {
        /// An address comes within microseconds; this only bounds the wait where there is none.
        const WAIT: Duration = Duration::from_millis(100);
        let deadline = tokio::time::Instant::now() + WAIT;
        let quiet = Duration::from_millis(5);
        while let Ok(event) =
            tokio::time::timeout_at(deadline.min(tokio::time::Instant::now() + quiet), self.swarm.select_next_some())
                .await
        {
            self.on_event(event);
        }
        self.moving.settle();
        self.refresh();
    }

    async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let moving_at = self.moving.next_wake();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                event = self.swarm.select_next_some() => {
                    self.on_event(event);
                    // Whatever takes memory makes itself heard here, so an idle node need not wake up for this.
                    self.watch_memory(Instant::now());
                }
                _ = tick.tick() => self.on_tick(),
                Some(id) = self.dead.recv() => self.on_dead_connection(id),
                () = tokio::time::sleep_until(moving_at.unwrap_or_else(Instant::now).into()), if moving_at.is_some() => {
                    self.on_moving_time();
                }
                () = tokio::time::sleep_until(self.memory_at.into()), if self.is_short_of_memory => {
                    self.watch_memory(Instant::now());
                }
            }
        }
        self.give_ports_back().await;
        let _ = self.save_peers().await;
    }

    fn on_tick(&mut self) {
        self.searches.retain(|_, found| !found.is_closed());
        self.drop_abandoned();
        self.dials.drop_abandoned();
        self.drop_unread_topics();
        self.keep_relays();
        self.watch_memory(Instant::now());
        self.dial_bootstrap(PeerCondition::DisconnectedAndNotDialing);
        self.dial_remembered();
        self.save_peers_in_time();
        self.probe_router();
        self.refresh();
    }

    /// Dials those of the bootstrap nodes that are not connected, at all their addresses at once. One that is being dialled is
    /// so again only where the condition says so: a second connection to one place cannot go out from the port listened on.
    fn dial_bootstrap(&mut self, condition: PeerCondition) {
        let connected: HashSet<PeerId> = self.swarm.connected_peers().copied().collect();
        let (named, nameless): (Vec<_>, Vec<_>) = self.bootstrap.iter().cloned().partition(|at| peer_of(at).is_some());
        let missing = named.into_iter().filter_map(|address| Some((peer_of(&address)?, address)));
        let missing: Vec<_> = missing.filter(|(peer, _)| !connected.contains(peer)).collect();
        for (peer, address) in &missing {
            self.guard.give(address);
            self.swarm.behaviour_mut().transport.streams.book_mut().add(*peer, address.clone());
        }
        let missing: HashSet<PeerId> = missing.into_iter().map(|(peer, _)| peer).collect();
        let dial = |peer: PeerId| DialOpts::peer_id(peer).condition(condition).build();
        let mut dials: Vec<DialOpts> = missing.into_iter().map(dial).collect();
        if connected.is_empty() {
            nameless.iter().for_each(|address| self.guard.give(address));
            dials.extend(nameless.into_iter().map(DialOpts::from));
        }
        for opts in dials {
            if let Err(error) = self.swarm.dial(opts) {
                tracing::debug!(%error, "a bootstrap node is not dialled");
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Dial { target, reply } => self.dial(target, reply),
            Command::Find { key, found } => {
                let query = self.swarm.behaviour_mut().dht.find_providers(&key);
                self.searches.insert(query, found);
            }
            Command::Provide(key) => self.swarm.behaviour_mut().dht.provide(&key),
            Command::GetValues { key, found } => self.get_values(&key, found),
            Command::PutValue { key, value, reply } => self.put_value(&key, value, reply),
            Command::Subscribe { topic, reply } => self.subscribe(topic, reply),
            Command::Publish { topic, data, reply } => self.publish(&topic, data, reply),
            Command::JudgeTopic { topic, reply } => drop(reply.send(self.judge_topic(&topic))),
            Command::Judged(judged) => self.on_judged(judged),
            Command::Announce { topic, data } => self.announce(&topic, data),
            Command::LanContact { peer, addresses } => {
                self.on_lan_peers(addresses.into_iter().map(|address| (peer, with_peer(address, peer))).collect());
            }
            Command::Disconnect(peer) => drop(self.swarm.disconnect_peer_id(peer)),
            Command::ProbeRouter(reply) => {
                self.probe_router();
                self.refresh();
                let _ = reply.send(());
            }
            Command::StopProviding(key) => self.swarm.behaviour_mut().dht.stop_providing(&key),
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Dht(event)) => self.on_dht(event),
            SwarmEvent::Behaviour(BehaviourEvent::Transport(event)) => self.on_transport(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                self.on_end_closed(connection_id);
                self.measured.on_closed(connection_id);
                self.with_snapshot(|snapshot| {
                    snapshot.connections.remove(&connection_id);
                    if num_established == 0 {
                        snapshot.agents.remove(&peer_id);
                        snapshot.near.remove(&peer_id);
                        snapshot.nat_of.remove(&peer_id);
                    }
                });
                self.connected.send_modify(|count| *count = count.wrapping_add(1));
                if num_established == 0 {
                    self.proven.forget(&peer_id);
                    self.topics.on_disconnected(&peer_id);
                    self.holes.on_disconnected(&peer_id);
                    self.event("peer.disconnected", &peer_id, serde_json::Value::Null);
                }
            }
            SwarmEvent::OutgoingConnectionError { peer_id, connection_id, error } => {
                if let Some(peer) = peer_id {
                    self.on_undialled(&peer, &error);
                }
                if let Some(peer) = self.near_dials.remove(&connection_id) {
                    self.on_no_neighbour(peer, &error);
                }
                self.on_probe_failed(connection_id);
                self.on_dial_failed(connection_id, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::debug!(%address, "listening");
                self.on_own_address(&address);
                self.refresh();
                self.near_news.notify_one();
                self.events.push("network", "listen.changed", serde_json::json!({ "address": address.to_string() }));
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                self.on_listener_closed(listener_id, reason.is_err());
            }
            SwarmEvent::ExternalAddrConfirmed { address } => {
                self.check_external(&address);
                self.tell_relayed(&address);
                self.refresh();
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.on_own_address(&address);
                self.refresh();
                self.near_news.notify_one();
            }
            SwarmEvent::ExternalAddrExpired { .. } => self.refresh(),
            _ => {}
        }
    }

    fn on_connected(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let address = remote_address(endpoint, peer);
        self.near_dials.remove(&id);
        self.on_probe_answered(id);
        if let ConnectedPoint::Listener { send_back_addr, .. } = endpoint {
            self.on_came_in(send_back_addr);
        }
        if let ConnectedPoint::Listener { local_addr, send_back_addr } = endpoint
            && scope(local_addr) == AddressScope::Global
            && path_kind(local_addr) == PathKind::Direct
            && self.is_from_outside(send_back_addr)
        {
            self.swarm.behaviour_mut().dht.on_reached(local_addr.clone());
            self.with_snapshot(|snapshot| snapshot.reached = true);
        }
        let is_new = self.with_snapshot(|snapshot| {
            let is_new = !snapshot.connections.values().any(|known| known.peer == peer);
            let outbound = endpoint.is_dialer();
            let since = Instant::now();
            let from_new_port = matches!(endpoint, ConnectedPoint::Dialer { port_use: PortUse::New, .. });
            let (address, punched) = (address.clone(), false);
            let info = ConnectionInfo { peer, address, outbound, from_new_port, punched, rtt: None, since };
            snapshot.connections.insert(id, info);
            snapshot.silent.remove(&peer);
            snapshot.refusing.remove(&peer);
            is_new
        });
        self.on_new_end(peer, id, endpoint);
        self.connected.send_modify(|count| *count = count.wrapping_add(1));
        if is_new {
            self.event("peer.connected", &peer, serde_json::json!({ "kind": kind_word(&address) }));
        }
        // Last: whoever asked for it finds it among the peers then.
        self.dials.on_connected(id, peer, &address);
    }

    fn on_dht(&mut self, event: p2p_dht::Event) {
        match event {
            p2p_dht::Event::Providers { query, providers } => {
                let me = *self.swarm.local_peer_id();
                for peer in providers.into_iter().filter(|peer| *peer != me) {
                    // Their addresses are known only while the query runs.
                    if !self.swarm.is_connected(&peer) {
                        let _ = self.swarm.dial(peer);
                    }
                    let addresses = self.swarm.behaviour_mut().transport.streams.book().of(&peer).to_vec();
                    let Some(found) = self.searches.get(&query) else { continue };
                    if found.try_send((peer, addresses)).is_err() && found.is_closed() {
                        self.searches.remove(&query);
                        self.swarm.behaviour_mut().dht.stop_search(query);
                        break;
                    }
                }
            }
            p2p_dht::Event::Peer { query, addresses } => self.on_peer_found(query, addresses),
            p2p_dht::Event::ProvidersDone { query } => drop(self.searches.remove(&query)),
            p2p_dht::Event::Value { query, from, value } => self.on_value(query, from, value),
            p2p_dht::Event::ValuesDone { query, .. } => self.values.on_done(query),
            p2p_dht::Event::Stored { query, holders } => self.values.on_stored(query, holders.len()),
            p2p_dht::Event::Announced { ok, .. } => tracing::debug!(ok, "announced"),
            p2p_dht::Event::Hidden { key } => {
                let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
                tracing::warn!(%key, "nobody else finds what this node published: someone may be hiding it");
                self.events.push("network", "value.hidden", serde_json::json!({ "key": key }));
            }
            p2p_dht::Event::ModeChanged(mode) => {
                self.with_snapshot(|snapshot| snapshot.is_server = mode == Mode::Server);
            }
        }
    }

    fn on_transport(&mut self, event: p2p_transport::BehaviourEvent) {
        use p2p_transport::BehaviourEvent;
        match event {
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, connection_id }) => {
                self.on_identified(peer_id, info, connection_id);
            }
            BehaviourEvent::Ping(event) => {
                if let Ok(rtt) = event.result {
                    self.with_snapshot(|snapshot| {
                        if let Some(connection) = snapshot.connections.get_mut(&event.connection) {
                            connection.rtt = Some(rtt);
                        }
                    });
                }
            }
            BehaviourEvent::RelayClient(relay::client::Event::ReservationReqAccepted {
                relay_peer_id,
                renewal,
                ..
            }) => {
                self.on_reservation(relay_peer_id, renewal);
            }
            BehaviourEvent::Tested(event) => self.on_tested(event),
            BehaviourEvent::Punching(event) => self.on_punched(&event),
            BehaviourEvent::RelayServer(event) => self.relays.on_served(&event),
            BehaviourEvent::Upnp(event) => self.on_upnp(event),
            BehaviourEvent::PortMapping(event) => self.on_port_mapping(event),
            BehaviourEvent::Topics(event) => self.on_topics(event),
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                self.with_snapshot(|snapshot| {
                    let room = MAX_FOUND.saturating_sub(snapshot.mdns_found.len());
                    snapshot.mdns_found.extend(found.iter().map(|(peer, _)| *peer).take(room));
                });
                self.on_lan_peers(found);
            }
            _ => {}
        }
    }

    /// Brings the parts of the snapshot up to date that no single event carries.
    fn refresh(&mut self) {
        let listen: Vec<Multiaddr> = self.swarm.listeners().cloned().collect();
        let external: Vec<Multiaddr> = self.swarm.external_addresses().cloned().collect();
        // Of its own interface: behind a router that maps a port this is still somebody's home.
        let is_public = listen.iter().any(|own| {
            scope(own) == AddressScope::Global && path_kind(own) == PathKind::Direct && external.contains(own)
        });
        let behaviour = self.swarm.behaviour_mut();
        behaviour.transport.limits.on_public(is_public);
        let dht_peers = behaviour.dht.table_size();
        let hidden_values = behaviour.dht.hidden_values();
        let mut counters: Vec<(String, u64)> = behaviour
            .transport
            .limits
            .refusals()
            .counts()
            .map(|(reason, count)| (format!("connections_refused{{reason=\"{reason}\"}}"), count))
            .collect();
        counters.push(("dials_refused{reason=\"local\"}".into(), self.guard.refused()));
        counters.push(("dials_refused{reason=\"rate\"}".into(), self.guard.too_many()));
        counters.push(("streams_refused{reason=\"queue_full\"}".into(), behaviour.transport.streams.refused()));
        counters.push(("streams_refused{reason=\"unproven\"}".into(), self.proven.refused()));
        counters.push(("topic_messages_lost".into(), self.topics.lost));
        counters.push(("topic_floods".into(), self.topics.floods));
        counters.push(("announcements_lost".into(), self.judges.lost));
        counters.push(("dht_records_rejected".into(), behaviour.dht.rejected()));
        counters.push(("dht_peers_refused{reason=\"crowded\"}".into(), behaviour.dht.kept_out()));
        counters.push(("network_changes".into(), self.moving.changes()));
        counters.extend(self.mappings.counters());
        counters.extend(self.relays.counters());
        for (reason, count) in self.shed.counts() {
            counters.push((format!("connections_shed{{reason=\"{reason}\"}}"), count));
        }
        for (reason, count) in behaviour.dht.floods().counts() {
            counters.push((format!("dht_floods{{reason=\"{reason}\"}}"), count));
        }
        self.dht_peers.send_if_modified(|known| std::mem::replace(known, dht_peers) != dht_peers);
        let transport = &behaviour.transport;
        let mut rooms = transport.limits.rooms();
        rooms.push(transport.streams.book().room());
        rooms.extend(self.guard.rooms());
        rooms.extend(behaviour.dht.rooms());
        rooms.extend([self.values.room(), self.topics.room()]);
        let byte_rooms = vec![behaviour.dht.byte_room()];
        let port_mapping = self.mappings.told();
        let nat = self.nat();
        let measuring = self.measured.measuring(nat.is_known());
        self.measuring.send_if_modified(|known| std::mem::replace(known, measuring) != measuring);
        let relays = self.relays.in_use();
        let was_reached = self.with_snapshot(|snapshot| snapshot.reached);
        let reachability = self.relays.reachability(was_reached, Instant::now());
        self.with_snapshot(|snapshot| {
            snapshot.relays = relays;
            snapshot.port_mapping = Some(port_mapping);
            snapshot.nat = nat;
            snapshot.reachability = Some(reachability);
            snapshot.listen = listen;
            snapshot.external = external;
            snapshot.dht_peers = dht_peers;
            snapshot.hidden_values = hidden_values;
            snapshot.counters = counters;
            snapshot.rooms = rooms;
            snapshot.byte_rooms = byte_rooms;
        });
    }

    fn with_snapshot<T>(&self, change: impl FnOnce(&mut Snapshot) -> T) -> T {
        change(&mut self.snapshot.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn event(&self, name: &str, peer: &PeerId, more: serde_json::Value) {
        let mut data = serde_json::json!({ "peer": peer.to_string() });
        if let (Some(data), serde_json::Value::Object(more)) = (data.as_object_mut(), more) {
            data.extend(more);
        }
        self.events.push("network", name, data);
    }
}

/// Whom an address leads to, if it says so.
fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

fn kind_word(address: &Multiaddr) -> &'static str {
    match path_kind(address) {
        PathKind::Lan => "lan",
        PathKind::Direct => "direct",
        PathKind::Relayed => "relayed",
    }
}

fn parsed<'a>(texts: impl IntoIterator<Item = &'a String>) -> Result<Vec<Multiaddr>, String> {
    let parse = |text: &String| text.parse().map_err(|error| format!("{text:?} is not a multiaddr: {error}"));
    texts.into_iter().map(parse).collect()
}

/// The same address with port 0.
fn any_port(address: &Multiaddr) -> Multiaddr {
    address
        .iter()
        .map(|part| match part {
            Protocol::Tcp(_) => Protocol::Tcp(0),
            Protocol::Udp(_) => Protocol::Udp(0),
            other => other,
        })
        .collect()
}
