//! The DHT as a behaviour: Kademlia with our store, our mode rule and our announcements around it.

mod announcing;
mod calls;
mod finding;
mod inbound;
mod reads;
mod table;
mod values;
mod walks;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::kad::{
    self, BucketInserts, Caching, GetProvidersOk, InboundRequest, Mode, QueryId, QueryResult, RecordKey, StoreInserts,
};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, ExternalAddresses, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};

use crate::admission::Admission;
use crate::announce::Announcements;
use crate::check::Checks;
use crate::config::{MAX_PACKET_BYTES, PROVIDER_TTL, QUERY_TIMEOUT, REQUEST_TIMEOUT, protocol};
use crate::pace::Pace;
use crate::quota::Quotas;
use crate::rate::{RequestRates, Trusted};
use crate::replacements::{MAX_REPLACEMENTS, Replacements};
use crate::{Config, Floods, ModeRule, Observed, Persist, RecordKind, Store};
use calls::{Ask, Calls};
use reads::Reads;
use table::Gone;
use values::Putting;
use walks::Walks;

/// Below this many peers in the table each new one may be a holder of our keys, so they are announced again.
const SMALL_NETWORK: usize = 20;
/// How often expired rows are dropped.
const CLEAN_EVERY: Duration = Duration::from_secs(600);

/// A number that ties events to the call that caused them.
pub type QueryNumber = u64;

/// What the DHT tells the engine.
#[derive(Debug)]
pub enum Event {
    /// More providers of a key. Their addresses are known to the DHT until the query is done: dial at once.
    Providers {
        /// The call.
        query: QueryNumber,
        /// Peers not told before.
        providers: Vec<PeerId>,
    },
    /// No more providers will come.
    ProvidersDone {
        /// The call.
        query: QueryNumber,
    },
    /// A key was announced to the peers there are.
    Announced {
        /// The key.
        key: Vec<u8>,
        /// Whether the lookup of the holders succeeded.
        ok: bool,
    },
    /// A value that proved itself was found.
    Value {
        /// The call.
        query: QueryNumber,
        /// Who had it; `None`: this node.
        from: Option<PeerId>,
        /// The value.
        value: Vec<u8>,
    },
    /// No more values will come.
    ValuesDone {
        /// The call.
        query: QueryNumber,
        /// Nodes that were asked.
        asked: usize,
        /// Nodes asked one after the other until the first had a value; 0: none had.
        hops: u32,
        /// Whether the whole region of the key was walked.
        is_walked: bool,
    },
    /// A value was put and read back.
    Stored {
        /// The call.
        query: QueryNumber,
        /// Other nodes that gave it back.
        holders: Vec<PeerId>,
    },
    /// What the DHT knows of a peer.
    Peer {
        /// The call.
        query: QueryNumber,
        /// Where the peer may be, as others tell; none where nobody knows it.
        addresses: Vec<Multiaddr>,
    },
    /// A value that this node put again and again is found by nobody else: somebody may be hiding it. It goes to more
    /// nodes from now on.
    Hidden {
        /// Its key.
        key: Vec<u8>,
    },
    /// This node answers queries from now on, or no longer.
    ModeChanged(Mode),
}

/// What identify and the connection say about a peer.
#[derive(Clone, Debug)]
pub struct IdentifiedPeer {
    /// Who.
    pub peer: PeerId,
    /// Protocols it speaks.
    pub protocols: Vec<StreamProtocol>,
    /// Addresses of it that we may dial, as judged by the transport's rules.
    pub addresses: Vec<Multiaddr>,
    /// Its direct connections at global addresses.
    pub global_connections: Vec<ConnectionId>,
}

/// Most peers of the routing table: 20 in each of 256 buckets.
const MAX_TABLE: usize = 20 * 256;

/// The DHT.
pub struct Dht {
    me: PeerId,
    kad: kad::Behaviour<Store>,
    protocol: StreamProtocol,
    rule: ModeRule,
    mode: Mode,
    island: bool,
    listen: HashSet<Multiaddr>,
    /// Listen addresses confirmed as external because we are on an island.
    confirmed: HashSet<Multiaddr>,
    announcements: Announcements<RecordKey>,
    /// Where others reach this node: what it announces.
    external: ExternalAddresses,
    searches: HashMap<QueryId, Search>,
    walks: Walks,
    putting: HashMap<QueryId, Putting>,
    reads: Reads,
    checks: Checks,
    /// Whether values go to regions; without, experiments show what they are good for.
    has_regions: bool,
    calls: Calls,
    pace: Pace,
    admission: Admission,
    replacements: Replacements,
    quotas: Quotas,
    /// The same for what peers say that they provide, counted by itself.
    provider_quotas: Quotas,
    rates: RequestRates,
    floods: Floods,
    /// What connections said and Kademlia has not heard yet: one at a time, so that what it makes of it is known to be
    /// this peer's request.
    heard: VecDeque<(PeerId, ConnectionId, THandlerOutEvent<Self>)>,
    /// Whose word Kademlia is dealing with.
    speaker: Option<PeerId>,
    trusted: Trusted,
    /// Connected peers that answer queries.
    servers: HashSet<PeerId>,
    next_query: QueryNumber,
    rejected: Arc<AtomicU64>,
    connected_at: HashMap<PeerId, Vec<(ConnectionId, Multiaddr)>>,
    clean_at: Instant,
    outputs: VecDeque<ToSwarm<Event, THandlerInEvent<kad::Behaviour<Store>>>>,
    timer: Option<std::pin::Pin<Box<tokio::time::Sleep>>>,
    /// Judges whether a peer connected at the first address may name the second as its own.
    may_name: fn(&Multiaddr, &Multiaddr) -> bool,
    /// An address somewhere in the world: what a peer there may name is of use there.
    far_away: Multiaddr,
}

struct Search {
    number: QueryNumber,
    told: HashSet<PeerId>,
}

impl Dht {
    /// The DHT of `network` for node `me`.
    ///
    /// `may_name(connected, claimed)` judges addresses that peers name; the transport has that rule. Peers that are
    /// `trusted` have no rate and no quota.
    pub fn new(
        me: PeerId,
        network: &str,
        config: &Config,
        trusted: Trusted,
        kinds: Vec<Box<dyn RecordKind>>,
        persist: Box<dyn Persist>,
        may_name: fn(&Multiaddr, &Multiaddr) -> bool,
    ) -> Self {
        let protocol = protocol(network);
        let mut kad_config = kad::Config::new(protocol.clone());
        kad_config
            .set_query_timeout(QUERY_TIMEOUT)
            .set_substreams_timeout(REQUEST_TIMEOUT)
            .set_provider_record_ttl(Some(PROVIDER_TTL))
            // Keys are announced again at our own pace.
            .set_provider_publication_interval(None)
            // Values are put again by whoever signed them.
            .set_replication_interval(None)
            .set_publication_interval(None)
            .set_max_packet_size(MAX_PACKET_BYTES)
            .set_record_filtering(StoreInserts::FilterBoth)
            .set_kbucket_inserts(BucketInserts::Manual)
            .set_caching(Caching::Disabled)
            .disjoint_query_paths(true)
            .set_parallelism(NonZeroUsize::new(3).expect("3 is not 0"));
        let store = Store::open(me, kinds, persist);
        let mut kad = kad::Behaviour::with_config(me, store, kad_config);
        let now = Instant::now();
        let (per_peer, per_group) = (config.requests_per_second, config.requests_per_second_per_group);
        let rule = ModeRule::new(config.mode);
        let mode = rule.mode(now);
        kad.set_mode(Some(mode));
        Self {
            me,
            kad,
            protocol,
            island: rule.is_island(),
            rule,
            mode,
            listen: HashSet::new(),
            confirmed: HashSet::new(),
            announcements: Announcements::new(now),
            external: ExternalAddresses::default(),
            searches: HashMap::new(),
            walks: Walks::default(),
            putting: HashMap::new(),
            reads: Reads::default(),
            checks: Checks::default(),
            has_regions: true,
            calls: Calls::default(),
            pace: Pace::new(now),
            admission: Admission::default(),
            replacements: Replacements::default(),
            quotas: Quotas::new(),
            provider_quotas: Quotas::new(),
            rates: RequestRates::new(per_peer, per_group, trusted.clone()),
            floods: Floods::default(),
            heard: VecDeque::new(),
            speaker: None,
            trusted,
            servers: HashSet::new(),
            next_query: 0,
            rejected: Arc::default(),
            connected_at: HashMap::new(),
            clean_at: now + CLEAN_EVERY,
            outputs: VecDeque::new(),
            timer: None,
            may_name,
            far_away: Multiaddr::empty().with(Protocol::Ip4(Ipv4Addr::new(192, 0, 2, 1))),
        }
    }

    /// Stores and looks for values at the twenty nearest nodes only, as Kademlia alone does: for experiments, to have
    /// something to compare with.
    #[must_use]
    pub fn without_regions(mut self) -> Self {
        self.has_regions = false;
        self
    }

    /// Looks for providers of a key; answers come as events with this number.
    pub fn find_providers(&mut self, key: &[u8]) -> QueryNumber {
        self.ask(Ask::Providers(RecordKey::from(key.to_vec())))
    }

    /// Ends a search; no more events come for it.
    pub fn stop_search(&mut self, query: QueryNumber) {
        self.calls.forget(query);
        let Some(id) = self.searches.iter().find(|(_, s)| s.number == query).map(|(id, _)| *id) else { return };
        self.searches.remove(&id);
        if let Some(mut running) = self.kad.query_mut(&id) {
            running.finish();
        }
    }

    /// Says that this node provides a key, now and again until [`Self::stop_providing`].
    pub fn provide(&mut self, key: &[u8]) {
        self.announcements.on_provide(RecordKey::from(key.to_vec()));
    }

    /// Stops saying so. What others have stored expires by itself.
    pub fn stop_providing(&mut self, key: &[u8]) {
        let key = RecordKey::from(key.to_vec());
        self.announcements.on_stop(&key);
        self.kad.stop_providing(&key);
    }

    /// A peer at a global address reached us at this global address, not through a relay.
    pub fn on_reached(&mut self, address: Multiaddr) {
        let now = Instant::now();
        self.rule.on_observed(now, Observed::DialledAt(address));
        self.apply_rule(now);
    }

    /// Whether this node answers queries.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether no DHT server is connected at a global address.
    pub fn is_island(&self) -> bool {
        self.island
    }

    /// Values and provider records from peers that were not stored.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Peers that were disconnected because they sent too many requests.
    pub fn floods(&self) -> Floods {
        self.floods.clone()
    }

    /// What may grow here: its name, how much it holds, the most that it will hold.
    pub fn rooms(&mut self) -> Vec<(&'static str, usize, usize)> {
        let table = ("peers in the routing table", self.table_size(), MAX_TABLE);
        let waiting = ("peers that wait for a place in it", self.replacements.len(), MAX_REPLACEMENTS);
        let store = self.kad.store_mut();
        let (keys, values) = store.sizes();
        let mut rooms = vec![
            table,
            waiting,
            ("values of others and own ones", values, crate::store::MAX_RECORDS),
            ("keys that somebody provides", keys, crate::store::MAX_KEYS),
        ];
        rooms.extend(self.quotas.rooms(["peers with a quota of values", "address groups with a quota of values"]));
        rooms.extend(
            self.provider_quotas
                .rooms(["peers with a quota of announcements", "address groups with a quota of announcements"]),
        );
        rooms.extend(self.rates.rooms());
        rooms.push(self.checks.room());
        rooms
    }

    /// The same of what is counted in bytes.
    pub fn byte_room(&mut self) -> (&'static str, usize, usize) {
        ("values in the DHT's store", self.kad.store_mut().record_bytes(), crate::store::MAX_RECORD_BYTES)
    }

    /// Keys with providers, and values, in the store.
    pub fn store_sizes(&mut self) -> (usize, usize) {
        self.kad.store_mut().sizes()
    }

    fn apply_rule(&mut self, now: Instant) {
        let servers = self.table_size();
        self.rule.on_observed(now, Observed::Servers(servers));
        let island = self.rule.is_island();
        if island != self.island {
            self.island = island;
            self.announcements.on_change(now);
        }
        // On an island everything we listen on is as good as tested; elsewhere only what a stranger dialled.
        let wanted: HashSet<Multiaddr> =
            if island { self.listen.clone() } else { self.rule.reachable().cloned().collect() };
        for gone in self.confirmed.difference(&wanted) {
            self.outputs.push_back(ToSwarm::ExternalAddrExpired(gone.clone()));
            // No longer as good as tested, but worth a test, and worth being told to whom wants to punch a hole.
            if self.listen.contains(gone) && (self.may_name)(&self.far_away, gone) {
                self.outputs.push_back(ToSwarm::NewExternalAddrCandidate(gone.clone()));
            }
        }
        for new in wanted.difference(&self.confirmed) {
            self.outputs.push_back(ToSwarm::ExternalAddrConfirmed(new.clone()));
        }
        self.confirmed = wanted;
        let mode = self.rule.mode(now);
        if mode != self.mode {
            self.mode = mode;
            self.kad.set_mode(Some(mode));
            self.outputs.push_back(ToSwarm::GenerateEvent(Event::ModeChanged(mode)));
        }
    }

    fn on_kad_event(&mut self, event: kad::Event) {
        if matches!(event, kad::Event::InboundRequest { .. }) {
            self.on_request(Instant::now());
        }
        match event {
            kad::Event::InboundRequest { request: InboundRequest::AddProvider { record: Some(record) } } => {
                self.on_provided(record);
            }
            kad::Event::InboundRequest { request: InboundRequest::PutRecord { source, record: Some(record), .. } } => {
                self.on_put_by_peer(source, record);
            }
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => self.on_progress(id, result, step.last),
            _ => {}
        }
    }

    fn on_progress(&mut self, id: QueryId, result: QueryResult, last: bool) {
        match result {
            QueryResult::GetProviders(result) => {
                if let (Some(search), Ok(GetProvidersOk::FoundProviders { providers, .. })) =
                    (self.searches.get_mut(&id), result)
                {
                    let new: Vec<PeerId> = providers.into_iter().filter(|peer| search.told.insert(*peer)).collect();
                    if !new.is_empty() {
                        let event = Event::Providers { query: search.number, providers: new };
                        self.outputs.push_back(ToSwarm::GenerateEvent(event));
                    }
                }
                if last && let Some(search) = self.searches.remove(&id) {
                    self.outputs.push_back(ToSwarm::GenerateEvent(Event::ProvidersDone { query: search.number }));
                }
            }
            QueryResult::PutRecord(_) if last => self.on_put(id),
            _ => {}
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        self.announcements.on_timeout(now);
        self.apply_rule(now);
        if now >= self.clean_at {
            self.clean_at = now + CLEAN_EVERY;
            self.kad.store_mut().remove_expired(now);
        }
    }

    fn next_timeout(&self) -> Instant {
        let now = Instant::now();
        let timeouts = [
            self.announcements.next_timeout(),
            self.next_call_at(),
            self.rule.next_timeout(now),
            self.reads.next_timeout(),
        ];
        timeouts.into_iter().flatten().min().map_or(self.clean_at, |at| at.min(self.clean_at))
    }
}

fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

impl NetworkBehaviour for Dht {
    type ConnectionHandler = <kad::Behaviour<Store> as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kad.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.kad.handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kad.handle_established_outbound_connection(id, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let now = Instant::now();
        let mut gone = None;
        self.external.on_swarm_event(&event);
        match &event {
            FromSwarm::NewListenAddr(new) if !is_relayed(new.addr) => {
                self.listen.insert(new.addr.clone());
                self.apply_rule(now);
                self.announcements.on_change(now);
            }
            FromSwarm::ExpiredListenAddr(old) => {
                self.listen.remove(old.addr);
                self.rule.on_observed(now, Observed::AddressLost(old.addr.clone()));
                self.apply_rule(now);
            }
            FromSwarm::ConnectionEstablished(new) => {
                let at = (new.connection_id, new.endpoint.get_remote_address().clone());
                self.connected_at.entry(new.peer_id).or_default().push(at);
                self.on_read_connected(new.peer_id);
            }
            FromSwarm::ConnectionClosed(old) => {
                // Kademlia takes nothing in from connections that are gone.
                while let Some((peer, id, event)) = self.heard.pop_front() {
                    if self.is_read_answer(&event) {
                        self.on_read_answer(peer, event);
                        continue;
                    }
                    self.kad.on_connection_handler_event(peer, id, event);
                }
                self.speaker = None;
                if let Some(known) = self.connected_at.get_mut(&old.peer_id) {
                    known.retain(|(id, _)| *id != old.connection_id);
                    if known.is_empty() {
                        self.connected_at.remove(&old.peer_id);
                        self.servers.remove(&old.peer_id);
                        self.on_read_disconnected(&old.peer_id);
                        gone = Some((old.peer_id, Gone::Closed));
                    }
                }
                self.rule.on_observed(now, Observed::Closed(old.connection_id));
                self.apply_rule(now);
            }
            FromSwarm::DialFailure(failed) => {
                if let Some(peer) = failed.peer_id {
                    self.on_read_undialled(&peer, failed.error);
                    // Not one that is connected, and was called at one more address, or for somebody who had it tested.
                    if table::is_silence(failed.error) && !self.connected_at.contains_key(&peer) {
                        gone = Some((peer, Gone::Silent));
                    }
                }
            }
            FromSwarm::ExternalAddrConfirmed(_) => self.announcements.on_new_addresses(now),
            FromSwarm::ExternalAddrExpired(old) => {
                // Also where it was not this rule that gave it up: the router did, or this computer moved.
                self.confirmed.remove(old.addr);
                self.rule.on_observed(now, Observed::AddressLost(old.addr.clone()));
                self.apply_rule(now);
                self.announcements.on_new_addresses(now);
            }
            _ => {}
        }
        self.kad.on_swarm_event(event);
        // After Kademlia has heard of it: before, whoever is gone holds its place.
        if let Some((peer, how)) = gone {
            self.on_table_peer_gone(&peer, how);
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.heard.push_back((peer, id, event));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        loop {
            self.start_calls(Instant::now());
            self.drive_reads(Instant::now());
            if let Some(output) = self.outputs.pop_front() {
                return Poll::Ready(output);
            }
            match self.kad.poll(cx) {
                Poll::Ready(ToSwarm::GenerateEvent(event)) => {
                    self.on_kad_event(event);
                    continue;
                }
                Poll::Ready(other) => {
                    let other = other.map_out(|_| unreachable!("events were handled above"));
                    return Poll::Ready(other);
                }
                // Kademlia has nothing more to say of what it heard last.
                Poll::Pending => {
                    self.speaker = None;
                    if let Some((peer, id, event)) = self.heard.pop_front() {
                        if self.is_read_answer(&event) {
                            self.on_read_answer(peer, event);
                            continue;
                        }
                        self.speaker = Some(peer);
                        self.kad.on_connection_handler_event(peer, id, event);
                        continue;
                    }
                }
            }
            if self.walks.is_searching() {
                if self.search_made_up() {
                    continue;
                }
                cx.waker().wake_by_ref();
            }
            // Before the next time is set: what is due now is in no timeout any more, and would be passed over.
            let now = Instant::now();
            if self.timer.as_ref().is_some_and(|timer| timer.deadline().into_std() <= now) {
                self.timer = None;
                self.on_timeout(now);
                continue;
            }
            let at = tokio::time::Instant::from_std(self.next_timeout());
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            if timer.poll_unpin(cx).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
            self.on_timeout(Instant::now());
        }
    }
}
