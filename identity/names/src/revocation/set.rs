//! The revocations a node knows, and what to do with one that arrives (specs/names.md, 11.3 and 12.5).

use std::collections::BTreeMap;

use super::{Revocation, RevocationError};
use crate::{Timestamp, ZoneKey};

/// What to do with a message that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevocationVerdict {
    /// New and good: store it, and pass on these bytes.
    Accept(Vec<u8>),
    /// Known already, or of a zone that is revoked for longer: drop it silently.
    Known,
    /// Its time is over: do not pass it on.
    Stale,
    /// Not good: counts against the sender.
    Reject(RevocationError),
}

/// All revocations that hold, by zone.
#[derive(Debug, Clone, Default)]
pub struct Revocations {
    by_zone: BTreeMap<ZoneKey, Held>,
}

#[derive(Debug, Clone)]
struct Held {
    message: Vec<u8>,
    until: Timestamp,
}

impl Revocations {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the bytes are a message that is held already, or of a zone that is revoked: cheap, so it comes before
    /// [`Revocations::offer`], which costs 32 runs of Argon2id for anything else.
    pub fn knows(&self, bytes: &[u8], now: Timestamp) -> bool {
        Revocation::from_bytes(bytes).is_ok_and(|revocation| self.is_revoked(&revocation.zone, now))
    }

    /// Judges a message without looking at what is held: some 50 ms, to be run off the network loop. What it accepts
    /// goes into [`Revocations::restore`].
    pub fn judge(bytes: &[u8], difficulty: u32, now: Timestamp) -> RevocationVerdict {
        let checked = Revocation::from_bytes(bytes)
            .and_then(|revocation| revocation.check_at(difficulty, now).map(|until| (revocation, until)));
        match checked {
            Ok((mut revocation, until)) => {
                revocation.ttl_micros = until.as_micros().saturating_sub(revocation.timestamp.as_micros());
                RevocationVerdict::Accept(revocation.to_bytes())
            }
            Err(RevocationError::Expired(_)) => RevocationVerdict::Stale,
            Err(error) => RevocationVerdict::Reject(error),
        }
    }

    /// [`Revocations::knows`], [`Revocations::judge`] and [`Revocations::restore`] in one.
    pub fn offer(&mut self, bytes: &[u8], difficulty: u32, now: Timestamp) -> RevocationVerdict {
        if self.knows(bytes, now) {
            return RevocationVerdict::Known;
        }
        let verdict = Self::judge(bytes, difficulty, now);
        if let RevocationVerdict::Accept(message) = &verdict
            && let Err(error) = self.restore(message)
        {
            return RevocationVerdict::Reject(error);
        }
        verdict
    }

    /// Keeps a message that was accepted, now or before it was stored: its TTL says until when.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), RevocationError> {
        let revocation = Revocation::from_bytes(bytes)?;
        let until = revocation.timestamp.after(std::time::Duration::from_micros(revocation.ttl_micros));
        self.by_zone.insert(revocation.zone, Held { message: bytes.to_vec(), until });
        Ok(())
    }

    /// Whether the zone is revoked.
    pub fn is_revoked(&self, zone: &ZoneKey, now: Timestamp) -> bool {
        self.by_zone.get(zone).is_some_and(|held| held.until > now)
    }

    /// The message that revoked a zone.
    pub fn message(&self, zone: &ZoneKey) -> Option<&[u8]> {
        self.by_zone.get(zone).map(|held| held.message.as_slice())
    }

    /// The revoked zones, in the order of their 36 bytes.
    pub fn zones(&self) -> impl Iterator<Item = &ZoneKey> {
        self.by_zone.keys()
    }

    /// BLAKE3 of the 36 bytes of all zones in order: two nodes with the same digest need not talk.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for zone in self.by_zone.keys() {
            hasher.update(&zone.to_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// Drops those whose time is over.
    pub fn drop_expired(&mut self, now: Timestamp) {
        self.by_zone.retain(|_, held| held.until > now);
    }
}
