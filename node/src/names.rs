//! The name system in the node: zones in the ledger, their keys in the keystore, blocks in the DHT.
//!
//! What decides is in `p2p-names`; here it meets clock, disk and network. Everything that touches the disk runs off the
//! loops, and nothing runs while nothing is due.

mod blocks;
mod change;
mod config;
mod dns;
mod flood;
mod kinds;
mod ledger;
mod pace;
mod publish;
mod publisher;
mod remove;
mod resolve;
mod revoke;
mod zones;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use p2p_api::{ApiError, ErrorKind, Result};
use p2p_drives::Ledger;
use p2p_identity::SecretKind;
use p2p_names::{
    DEFAULT_CACHE_BYTES, DnsClient, Label, LocalState, LocalZones, Name, NamestoreError, RecordCache, Resolver,
    SuffixMap, Timestamp, ZoneEntry, ZoneKey, ZoneSecret,
};
use tokio::sync::mpsc;

use self::blocks::DhtBlocks;
use self::flood::Judging;
use self::ledger::{NameRows, Row};
use self::publisher::Note;
use crate::keys::{Keys, key_error};
use crate::network::Network;

pub use config::{NamesConfig, NamesInDns};
pub(crate) use flood::Flood;
pub(crate) use kinds::record_kinds;
pub(crate) use publisher::Publisher;

/// A record set is believed until it expires. Who uses one older than this has it looked up again in the background: a change
/// by its owner is to be seen within two seconds, also where the new block does not come by.
const REFRESH_AFTER: Duration = Duration::from_secs(1);
/// Notes to the publisher that wait.
const NOTES: usize = 256;

/// What names need of the node.
pub(crate) struct NamesParts {
    pub(crate) config: NamesConfig,
    /// The name of the network.
    pub(crate) network_name: String,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) keys: Keys,
    pub(crate) network: Network,
    /// The one that [`record_kinds`] tells.
    pub(crate) cache: Arc<RecordCache>,
}

/// Record sets that were resolved.
pub(crate) fn record_cache() -> Arc<RecordCache> {
    Arc::new(RecordCache::new(DEFAULT_CACHE_BYTES).with_refresh_after(REFRESH_AFTER))
}

/// The handle. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Names {
    inner: Arc<Inner>,
}

/// What handle, publisher and jobs share.
struct Inner {
    state: Arc<Mutex<LocalState<NameRows>>>,
    keys: Keys,
    network: Network,
    /// Suffixes of the settings, without the contacts.
    configured: SuffixMap,
    blocks: Arc<DhtBlocks>,
    resolver: Resolver,
    notes: mpsc::Sender<Note>,
    difficulty: u32,
    judging: Judging,
    /// When the DHT was last asked whether a zone is revoked.
    asked_revoked: Mutex<HashMap<ZoneKey, Instant>>,
    /// Zones whose revocation is being computed.
    searching: Mutex<HashSet<ZoneKey>>,
}

impl Names {
    /// Reads what the ledger has. The two tasks have to be run.
    pub(crate) fn open(parts: NamesParts) -> Result<(Self, Publisher, Flood), String> {
        let NamesParts { config, network_name, ledger, keys, network, cache } = parts;
        let rows = NameRows::open(ledger).map_err(|error| error.to_string())?;
        let revocations = rows.all(Row::Revocation).map_err(|error| error.to_string())?;
        let mut state = LocalState::new(rows);
        for message in revocations {
            if let Err(error) = state.revocations.restore(&message) {
                tracing::warn!(%error, "a stored revocation cannot be read");
            }
        }
        state.suffixes = config.suffix_map()?;
        let configured = state.suffixes.clone();
        let state = Arc::new(Mutex::new(state));
        let blocks = Arc::new(DhtBlocks::new(network.clone()));
        let local: Arc<dyn LocalZones> = state.clone();
        let dns = config.dns_client()?.map(|client| Arc::new(client) as Arc<dyn DnsClient>);
        let resolver = Resolver::new(blocks.clone(), local, dns).with_cache(cache);
        let (notes, received) = mpsc::channel(NOTES);
        let inner = Arc::new(Inner {
            state,
            keys,
            configured,
            network,
            blocks,
            resolver,
            notes,
            difficulty: config.revocation_difficulty,
            judging: Judging::new(&network_name),
            asked_revoked: Mutex::default(),
            searching: Mutex::default(),
        });
        Ok((Self { inner: inner.clone() }, Publisher::new(inner.clone(), received), Flood::new(inner)))
    }

    /// What was counted so far, by name.
    pub(crate) fn counters(&self) -> Vec<(String, u64)> {
        self.inner.judging.counters()
    }

    /// Labels whose new blocks waited for keys are published now.
    pub(crate) async fn look_again(&self) {
        let zones = self.inner.state().namestore.zones().unwrap_or_default();
        for zone in zones {
            let _ = self.inner.notes.send(Note::Reload(zone.zone)).await;
        }
    }

    /// The name everywhere of a zone of this node.
    pub(crate) fn ztld_of(&self, zone: &str) -> Result<String> {
        self.inner.zone(Some(zone)).map(|entry| entry.zone.to_string())
    }

    /// The names of zones of this node, which contacts cannot have.
    pub(crate) fn zone_names(&self) -> Vec<String> {
        let zones = self.inner.state().namestore.zones().unwrap_or_default();
        zones.into_iter().map(|zone| zone.name.to_string()).collect()
    }

    /// What the user calls people stands for their zones, unless a setting or a zone of this node has that name.
    pub(crate) fn set_contacts(&self, contacts: Vec<(String, String)>) {
        let mut suffixes = self.inner.configured.clone();
        let mut state = self.inner.state();
        for (name, ztld) in contacts {
            let (Ok(name), Ok(zone)) = (name.parse::<Name>(), ztld.parse::<ZoneKey>()) else { continue };
            let is_zone =
                matches!(name.labels(), [label] if state.namestore.zone_named(label).is_ok_and(|zone| zone.is_some()));
            if suffixes.get(&name).is_none() && !is_zone {
                suffixes.insert(name, zone);
            }
        }
        state.suffixes = suffixes;
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, LocalState<NameRows>> {
        // Every change is written before it is kept in memory, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The zone of a name or zTLD; without one, the only zone there is.
    fn zone(&self, wanted: Option<&str>) -> Result<ZoneEntry> {
        let zones = self.state().namestore.zones().map_err(|error| failed(&error))?;
        let Some(wanted) = wanted else {
            return match zones.as_slice() {
                [one] => Ok(one.clone()),
                [] => Err(ApiError::not_found("there is no zone yet").with_hint("make one: p2p name zone create NAME")),
                _ => Err(ApiError::invalid("there are several zones").with_hint("say which: --zone NAME")),
            };
        };
        let key = wanted.parse::<ZoneKey>().ok();
        let found = zones.into_iter().find(|zone| zone.name.as_str() == wanted || Some(zone.zone) == key);
        found.ok_or_else(|| {
            ApiError::not_found(format!("there is no zone {wanted:?} here")).with_hint("see them: p2p name zone ls")
        })
    }

    /// The secret key of a zone. [`ErrorKind::Locked`] while the keys are locked.
    fn secret(&self, zone: &ZoneKey) -> Result<ZoneSecret> {
        let bytes =
            self.keys.open().get_bytes(SecretKind::ZONE, &zone.to_bytes()).map_err(|error| key_error(&error))?;
        let secret = bytes.and_then(|bytes| ZoneSecret::from_gnunet_bytes(&bytes).ok());
        secret.ok_or_else(|| ApiError::not_found("the zone's key is not here"))
    }

    fn nodes(&self) -> u32 {
        u32::try_from(*self.network.dht_peers().borrow()).unwrap_or(u32::MAX)
    }

    fn row(&self, row: Row, zone: &ZoneKey) -> Result<Option<Vec<u8>>> {
        let state = self.state();
        state.namestore.storage().get(row, zone).map_err(|error| failed(&NamestoreError::Storage(error)))
    }

    fn put_row(&self, row: Row, zone: &ZoneKey, value: &[u8]) -> Result<()> {
        let state = self.state();
        state.namestore.storage().put(row, zone, value).map_err(|error| failed(&NamestoreError::Storage(error)))
    }
}

/// Runs what blocks on the disk, or computes for long, off the async threads.
async fn blocking<T: Send + 'static>(
    inner: &Arc<Inner>,
    work: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
) -> Result<T> {
    let inner = inner.clone();
    let done = tokio::task::spawn_blocking(move || work(&inner)).await;
    done.map_err(|error| ApiError::internal(format!("a job of the name system failed: {error}")))?
}

fn now() -> Timestamp {
    kinds::timestamp(SystemTime::now())
}

/// What went wrong in the namestore, with its causes.
fn failed(error: &NamestoreError) -> ApiError {
    let kind = match error {
        NamestoreError::Rule { .. } | NamestoreError::Rdata(_) | NamestoreError::Block(_) => ErrorKind::InvalidInput,
        NamestoreError::ZoneExists(_) | NamestoreError::Exhausted(_) => ErrorKind::Conflict,
        NamestoreError::UnknownZone(_) => ErrorKind::NotFound,
        NamestoreError::WrongSecret => ErrorKind::NotAllowed,
        _ => ErrorKind::Io,
    };
    ApiError::new(kind, chain(error))
}

/// An error and its causes in one sentence.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn label(text: &str) -> Result<Label> {
    text.parse().map_err(|error| ApiError::invalid(format!("{text:?} is no label: {}", chain(&error))))
}
