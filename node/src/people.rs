//! People: who the user is, whom they know, and how two people come to know each other (specs/overlay.md, section 4).
//!
//! What is public lies in the ledger, what is secret in the keystore. An invite is met either over a stream between the two
//! nodes, or, when one of them is away, through sealed values that both leave in the DHT.

mod contacts;
mod identity;
mod invites;
mod keeper;
mod lan;
mod meet;
mod meeting;
mod picks;
mod refresh;
mod rows;
mod wire;
mod writer_keys;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use p2p_api::{ApiError, ErrorKind, Result};
use p2p_drives::{Drives, Ledger, LedgerError};
use p2p_identity::{
    AgreementKey, GenesisLink, IdentityId, InviteId, PeerId, SecretKey, SecretKind, TransportCertificate,
};
use tokio::sync::{Notify, watch};
use zeroize::Zeroizing;

pub(crate) use self::keeper::Keeper;
use self::rows::Rows;
use crate::events::EventLog;
use crate::keys::{Keys, key_error};
use crate::names::Names;
use crate::network::Network;

/// What people need of the node.
pub(crate) struct PeopleParts {
    pub(crate) me: PeerId,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) keys: Keys,
    pub(crate) names: Names,
    pub(crate) network: Network,
    pub(crate) drives: Drives,
    pub(crate) events: EventLog,
}

/// The handle. Cheap to clone.
#[derive(Clone)]
pub(crate) struct People {
    inner: Arc<Inner>,
}

struct Inner {
    me: PeerId,
    rows: Mutex<Rows>,
    /// Held while it is decided what becomes of an invite: it works once, also when two come at the same moment.
    deciding: Mutex<()>,
    keys: Keys,
    names: Names,
    network: Network,
    drives: Drives,
    events: EventLog,
    /// On how many other nodes something lies for the other side of an invite.
    left: Mutex<BTreeMap<InviteId, u32>>,
    picks: picks::Picks,
    /// Changes whenever contacts come or go.
    contacts_changed: watch::Sender<u64>,
    /// Something about an invite changed: the keeper looks again, and callers that wait.
    changed: Notify,
}

/// Keys of this device, read for one use.
struct Device {
    signing: SecretKey,
    agreement: AgreementKey,
}

impl People {
    /// Reads what the ledger has. The keeper has to be run.
    pub(crate) fn open(parts: PeopleParts) -> Result<(Self, Keeper), String> {
        let PeopleParts { me, ledger, keys, names, network, drives, events } = parts;
        let rows = Rows::open(ledger).map_err(|error| error.to_string())?;
        let rows = Mutex::new(rows);
        let inner = Arc::new(Inner {
            me,
            rows,
            deciding: Mutex::default(),
            keys,
            names,
            network,
            drives,
            events,
            left: Mutex::default(),
            picks: picks::Picks::default(),
            contacts_changed: watch::Sender::new(0),
            changed: Notify::new(),
        });
        inner.tell_contacts();
        Ok((Self { inner: inner.clone() }, Keeper::new(inner)))
    }

    /// Whether a peer is the node of a contact.
    pub(crate) fn is_contact(&self, peer: &PeerId) -> bool {
        self.inner.contact_of(peer).is_some()
    }
}

impl Inner {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        // What is changed is written before it is kept in memory, so a poisoned state is still whole.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The user's identity, as far as it is public.
    fn own(&self) -> Result<(GenesisLink, TransportCertificate, rows::IdentityRow)> {
        let row = self.rows().identity().cloned();
        let row = row.ok_or_else(|| {
            ApiError::not_found("there is no identity yet").with_hint("make one: p2p identity create")
        })?;
        let damaged = |_| ApiError::new(ErrorKind::Corrupt, "what the ledger has of the identity is damaged");
        let genesis = GenesisLink::read(&row.genesis).map_err(damaged)?;
        let certificate = TransportCertificate::read(&row.certificate, &genesis).map_err(damaged)?;
        Ok((genesis, certificate, row))
    }

    /// The keys of this device.
    fn device(&self, identity: &IdentityId) -> Result<Device> {
        let stored = self.keys.open().get_bytes(SecretKind::DEVICE, identity.as_bytes());
        let stored = stored.map_err(|error| key_error(&error))?;
        let both = stored.as_ref().and_then(|bytes| {
            let (signing, agreement) = bytes.split_first_chunk::<32>()?;
            Some((signing, <&[u8; 32]>::try_from(agreement).ok()?))
        });
        let (signing, agreement) =
            both.ok_or_else(|| ApiError::new(ErrorKind::Corrupt, "the keys of this device are not in the keystore"))?;
        Ok(Device { signing: SecretKey::from_seed(signing), agreement: AgreementKey::from_bytes(agreement) })
    }

    fn deciding(&self) -> MutexGuard<'_, ()> {
        self.deciding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self) -> MutexGuard<'_, BTreeMap<InviteId, u32>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The contact whose node this is, unless another identity now speaks for them.
    fn contact_of(&self, peer: &PeerId) -> Option<IdentityId> {
        let rows = self.rows();
        let found = rows.contacts().iter().find(|(_, row)| row.changed.is_none() && row.peer() == Some(*peer));
        found.map(|(id, _)| *id)
    }

    /// Tells the parts of the node that treat contacts differently who they are.
    fn tell_contacts(&self) {
        let (peers, zones): (Vec<PeerId>, Vec<(String, String)>) = {
            let rows = self.rows();
            let known = rows.contacts().values().filter(|row| row.changed.is_none());
            known.filter_map(|row| Some((row.peer()?, (row.name.clone(), row.ztld.clone())))).unzip()
        };
        self.network.trust(&peers);
        self.names.set_contacts(zones);
        self.contacts_changed.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Runs what blocks on the disk off the async threads.
async fn blocking<T: Send + 'static>(
    inner: &Arc<Inner>,
    work: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
) -> Result<T> {
    let inner = inner.clone();
    let done = tokio::task::spawn_blocking(move || work(&inner)).await;
    done.map_err(|error| ApiError::internal(format!("a job failed: {error}")))?
}

fn ledger_error(error: &LedgerError) -> ApiError {
    ApiError::new(ErrorKind::Io, format!("the ledger failed: {error}"))
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| ApiError::internal(format!("no random numbers: {error}")))?;
    Ok(bytes)
}

/// The device's two keys as the keystore has them.
fn device_bytes(signing: &SecretKey, agreement: &AgreementKey) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(64));
    bytes.extend_from_slice(signing.seed().as_slice());
    bytes.extend_from_slice(agreement.to_bytes().as_slice());
    bytes
}
