//! Looking for proofs of work, a few at a time, with a state that outlives the process.

use std::collections::BTreeMap;

use p2p_identity::{ByteReader, ByteWriter, CodecError};
use thiserror::Error;

use super::{BACK_DATED, PROOFS, Revocation, pow};
use crate::{Timestamp, ZoneKey, ZoneSecret, zone::ZONE_ID_BYTES};

/// First byte of a stored state; raised when its layout changes.
const STATE_FORMAT: u8 = 1;

/// Why a stored search cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PowStateError {
    /// The bytes end early or are damaged.
    #[error("the stored search is damaged")]
    Damaged(#[source] CodecError),
    /// Written by another version, or inconsistent.
    #[error("the stored search is not of this format")]
    Format,
}

/// A search for the 32 proofs of a revocation. It holds the signature already, so the zone's key is needed only to
/// begin. At difficulty 22 a search takes about 32 * 2^22 hashes: run it on request only, at low priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowSearch {
    zone: ZoneKey,
    timestamp: Timestamp,
    signature: [u8; 64],
    difficulty: u32,
    next: u64,
    /// The best proofs so far, with their scores.
    best: BTreeMap<u64, u32>,
}

impl PowSearch {
    /// Begins at a random number, so that two searches share no work. The revocation is dated one week before `now`.
    pub fn new(secret: &ZoneSecret, now: Timestamp, difficulty: u32, random_start: u64) -> Self {
        // Signed now, so that the key is not needed when the work is done.
        let Revocation { timestamp, zone, signature, .. } =
            Revocation::sign(secret, now.before(BACK_DATED), 0, [0; PROOFS]);
        Self { zone, timestamp, signature, difficulty, next: random_start, best: BTreeMap::new() }
    }

    /// Tries `count` more numbers; the revocation once its work suffices. Some 2 ms each: call it off the network loop.
    pub fn step(&mut self, count: u32) -> Option<Revocation> {
        let mut hasher = pow::Hasher::new(self.timestamp, &self.zone);
        for _ in 0..count {
            if self.is_done() {
                break;
            }
            let proof = self.next;
            self.next = self.next.wrapping_add(1);
            self.keep(proof, hasher.score(proof));
        }
        self.result()
    }

    /// Average leading zero bits of the best proofs so far; the search ends when it reaches the difficulty.
    pub fn average(&self) -> f64 {
        f64::from(self.bits()) / PROOFS as f64
    }

    /// The difficulty it was begun with.
    pub fn difficulty(&self) -> u32 {
        self.difficulty
    }

    /// The state, for a file. It gives nobody the power to revoke before the work is done, but then it does: keep it
    /// as safe as a key.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = ByteWriter::new();
        out.byte(STATE_FORMAT);
        out.raw(&self.zone.to_bytes());
        out.u64(self.timestamp.as_micros());
        out.raw(&self.signature);
        out.u64(u64::from(self.difficulty));
        out.u64(self.next);
        out.count(self.best.len());
        for (proof, score) in &self.best {
            out.u64(*proof);
            out.u64(u64::from(*score));
        }
        out.into_bytes()
    }

    /// Reads what [`PowSearch::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PowStateError> {
        let damaged = PowStateError::Damaged;
        let mut reader = ByteReader::new(bytes);
        if reader.byte().map_err(damaged)? != STATE_FORMAT {
            return Err(PowStateError::Format);
        }
        let id = reader.array::<ZONE_ID_BYTES>().map_err(damaged)?;
        let zone = ZoneKey::from_bytes(&id).map_err(|_| PowStateError::Format)?;
        let timestamp = Timestamp::from_micros(reader.u64().map_err(damaged)?);
        let signature = reader.array().map_err(damaged)?;
        let difficulty = reader.u32().map_err(damaged)?;
        let next = reader.u64().map_err(damaged)?;
        let mut best = BTreeMap::new();
        for _ in 0..reader.count("proofs", PROOFS).map_err(damaged)? {
            best.insert(reader.u64().map_err(damaged)?, reader.u32().map_err(damaged)?.min(512));
        }
        reader.finish().map_err(damaged)?;
        Ok(Self { zone, timestamp, signature, difficulty, next, best })
    }

    fn bits(&self) -> u32 {
        self.best.values().sum()
    }

    fn is_done(&self) -> bool {
        self.best.len() == PROOFS && self.bits() >= self.difficulty.saturating_mul(PROOFS as u32)
    }

    fn keep(&mut self, proof: u64, score: u32) {
        self.best.insert(proof, score);
        if self.best.len() > PROOFS {
            let worst = self.best.iter().min_by_key(|(_, score)| **score).map(|(proof, _)| *proof);
            worst.and_then(|worst| self.best.remove(&worst));
        }
    }

    fn result(&self) -> Option<Revocation> {
        if !self.is_done() {
            return None;
        }
        let mut proofs = self.best.keys().copied();
        let revocation = Revocation {
            timestamp: self.timestamp,
            ttl_micros: 0,
            proofs: std::array::from_fn(|_| proofs.next().unwrap_or_default()),
            zone: self.zone,
            signature: self.signature,
        };
        Some(revocation.with_computed_ttl(self.bits(), self.difficulty))
    }
}
