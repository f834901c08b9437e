//! Neighbours that are found again where multicast is dropped (overlay.md, section 5, rung 3): peers that were met in a local
//! network are dialled where they were met, once at the start, when the network changes, and while they are not heard of.

mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use p2p_drives::{Ledger, LedgerError};
use p2p_identity::PeerId;
use p2p_transport::{
    LanNetwork, NetworkId, lan_networks, libp2p_peer_id, our_peer_id, virtual_interfaces, wake_gateway,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::rows::{MAX_ADDRESSES, Met, NearRows};
use super::Network;

/// News of one moment are looked at together.
const GATHER: Duration = Duration::from_millis(200);
/// How long a gateway has to tell its hardware address, and how often it is looked.
const GATEWAY_WAIT: Duration = Duration::from_millis(300);
const GATEWAY_LOOK: Duration = Duration::from_millis(20);
/// Who is not there is asked for again after so long, then after twice as long, and so on.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// Remembered neighbours that are dialled in one go.
const MAX_PROBES: usize = 32;

/// What the rungs of remembered addresses have done, for whoever asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct NearState {
    /// Networks this computer is in: the interface, its address and prefix.
    pub(crate) networks: Vec<LanNetwork>,
    /// Interfaces behind which no other computer is.
    pub(crate) virtual_interfaces: Vec<String>,
    /// Peers remembered in them.
    pub(crate) remembered: BTreeSet<PeerId>,
    /// When they were last asked for, and how many.
    pub(crate) asked: Option<(std::time::Instant, usize)>,
    /// Addresses in local networks that links told.
    pub(crate) linked: u32,
    /// Friends that were found to be behind the same router.
    pub(crate) same_router: u32,
}

/// Runs until `stop`.
pub(crate) async fn run(network: Network, ledger: Arc<dyn Ledger>, stop: CancellationToken) {
    let opened = tokio::task::spawn_blocking(move || NearRows::open(ledger, now_ms())).await;
    let rows = match opened {
        Ok(Ok(rows)) => rows,
        Ok(Err(error)) => {
            tracing::warn!(%error, "neighbours of earlier are not known");
            return;
        }
        Err(_) => return,
    };
    let keeper = Keeper {
        network,
        rows: Arc::new(Mutex::new(rows)),
        networks: Vec::new(),
        virtual_interfaces: Vec::new(),
        pause: FIRST_PAUSE,
    };
    stop.run_until_cancelled_owned(keeper.run()).await;
}

struct Keeper {
    network: Network,
    rows: Arc<Mutex<NearRows>>,
    networks: Vec<LanNetwork>,
    virtual_interfaces: Vec<String>,
    /// Before the next look for who is not there.
    pause: Duration,
}

impl Keeper {
    async fn run(mut self) {
        let mut probe_at = Instant::now();
        loop {
            let has_changed = self.look().await;
            self.learn().await;
            if has_changed {
                self.network.on_other_network();
            }
            if has_changed || Instant::now() >= probe_at {
                self.pause = if has_changed { FIRST_PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
                self.probe().await;
                probe_at = Instant::now() + self.pause;
            }
            self.tell();
            tokio::select! {
                () = self.network.near_news.notified() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep_until(probe_at) => {}
            }
        }
    }

    /// Looks which networks this computer is in; whether they are others than before.
    async fn look(&mut self) -> bool {
        let begun = Instant::now();
        let mut is_first = true;
        let networks = loop {
            let networks = tokio::task::spawn_blocking(lan_networks).await.unwrap_or_default();
            let pending: Vec<_> = networks.iter().filter(|known| known.is_pending).filter_map(|n| n.gateway).collect();
            if pending.is_empty() || begun.elapsed() >= GATEWAY_WAIT {
                break networks;
            }
            if std::mem::take(&mut is_first) {
                pending.into_iter().for_each(wake_gateway);
            }
            tokio::time::sleep(GATEWAY_LOOK).await;
        };
        // Another address in the same network ends connections as well.
        let places =
            |networks: &[LanNetwork]| networks.iter().map(|known| (known.id, known.ip)).collect::<BTreeSet<_>>();
        let has_changed = places(&networks) != places(&self.networks);
        self.networks = networks;
        self.virtual_interfaces = tokio::task::spawn_blocking(virtual_interfaces).await.unwrap_or_default();
        has_changed
    }

    /// Remembers who is connected within one of these networks, as far as it is more than a stranger.
    async fn learn(&mut self) {
        let mut met: Vec<(NetworkId, PeerId, Vec<String>, bool)> = Vec::new();
        for (peer, addresses) in self.network.snapshot().near {
            let (is_friend, is_proven) = (self.network.trusted.contains(&peer), self.network.proven.contains(&peer));
            let place = addresses.iter().find_map(|address| self.network_of(address));
            if let (Some(place), Some(id)) = (place, our_peer_id(&peer))
                && (is_friend || is_proven)
            {
                let texts = addresses.iter().take(MAX_ADDRESSES).map(ToString::to_string).collect();
                met.push((place, id, texts, is_proven && !is_friend));
            }
        }
        if met.is_empty() {
            return;
        }
        let trusted = self.network.trusted.clone();
        let written = self.with_rows(move |rows| {
            let met: Vec<Met<'_>> = met
                .iter()
                .map(|(network, peer, addresses, of_drives)| Met {
                    network: *network,
                    peer: *peer,
                    addresses,
                    of_drives: *of_drives,
                })
                .collect();
            let is_friend = |peer: &PeerId| libp2p_peer_id(peer).is_some_and(|peer| trusted.contains(&peer));
            rows.remember(&met, is_friend, now_ms())
        });
        if let Some(Err(error)) = written.await {
            tracing::warn!(%error, "neighbours are not remembered");
        }
    }

    fn network_of(&self, address: &Multiaddr) -> Option<NetworkId> {
        let ip = match address.iter().next()? {
            Protocol::Ip4(ip) => IpAddr::V4(ip),
            _ => return None,
        };
        self.networks.iter().find(|network| network.has_neighbour(ip)).map(|network| network.id)
    }

    /// Neighbours that may be dialled where they were met: friends first, then who was met last.
    fn remembered(&self) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let rows = lock(&self.rows);
        let mut peers: BTreeMap<PeerId, (bool, u64, Vec<Multiaddr>)> = BTreeMap::new();
        for network in &self.networks {
            for (peer, row) in rows.of(network.id) {
                let is_friend = libp2p_peer_id(&peer).is_some_and(|peer| self.network.trusted.contains(&peer));
                if is_friend || row.of_drives {
                    // The newest first.
                    let addresses = row.addresses.iter().rev().filter_map(|text| text.parse().ok());
                    let inside = addresses.filter(|address| self.network_of(address) == Some(network.id));
                    let known = peers.entry(peer).or_insert((is_friend, row.met, Vec::new()));
                    known.1 = known.1.max(row.met);
                    known.2.extend(inside);
                }
            }
        }
        let mut peers: Vec<_> = peers.into_iter().collect();
        peers.sort_by_key(|(_, (is_friend, met, _))| (!is_friend, std::cmp::Reverse(*met)));
        peers.into_iter().map(|(peer, (_, _, addresses))| (peer, addresses)).collect()
    }

    async fn probe(&self) {
        let near: BTreeSet<PeerId> = self.network.near_peers();
        let absent = self.remembered().into_iter().filter(|(peer, _)| !near.contains(peer));
        let mut asked = 0;
        for (peer, addresses) in absent.take(MAX_PROBES) {
            let Some(peer) = libp2p_peer_id(&peer) else { continue };
            tracing::debug!(%peer, addresses = addresses.len(), "a neighbour of earlier is looked for");
            self.network.on_lan_contact(peer, addresses).await;
            asked += 1;
        }
        if asked > 0 {
            self.network.with_near(|near| near.asked = Some((std::time::Instant::now(), asked)));
        }
    }

    fn tell(&self) {
        let remembered = self.remembered().into_iter().map(|(peer, _)| peer).collect();
        self.network.with_near(|near| {
            near.networks.clone_from(&self.networks);
            near.virtual_interfaces.clone_from(&self.virtual_interfaces);
            near.remembered = remembered;
        });
    }

    async fn with_rows<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut NearRows) -> Result<T, LedgerError> + Send + 'static,
    ) -> Option<Result<T, LedgerError>> {
        let rows = self.rows.clone();
        tokio::task::spawn_blocking(move || work(&mut lock(&rows))).await.ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
