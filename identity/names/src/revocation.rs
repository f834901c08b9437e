//! Revocation of a zone: a signed message with a proof of work that makes flooding dear (RFC 9498, section 4.2).
//!
//! Layout: u64 timestamp, u64 TTL, 32 × u64 proofs, u32 zone type, zone key (32), signature (64): 372 bytes.

mod pow;
mod search;
mod set;

use std::{fmt, time::Duration};

use thiserror::Error;

pub use search::{PowSearch, PowStateError};
pub use set::{RevocationVerdict, Revocations};

use crate::{Timestamp, ZoneError, ZoneKey, ZoneSecret, secret, time::micros, zone::ZONE_ID_BYTES};

/// Bytes of a revocation message of either zone type.
pub const REVOCATION_BYTES: usize = 372;
/// Proofs in a message.
pub const PROOFS: usize = 32;
/// Leading zero bits that the proofs must have on average.
pub const DIFFICULTY: u32 = 22;
/// How long one step of difficulty holds: 365 days.
pub const EPOCH: Duration = Duration::from_secs(365 * 86_400);

/// GNS_REVOCATION of the registry "GNUnet Signature Purposes".
const PURPOSE_REVOCATION: u32 = 3;
/// What is signed: u32 size, u32 purpose, u64 timestamp, zone.
const SIGNED_BYTES: usize = 16 + ZONE_ID_BYTES;
/// A clock may be this far ahead of ours (specs/names.md, 11.3).
const MAX_FUTURE: Duration = Duration::from_secs(86_400);
/// New revocations are dated back by this, so that a slow clock elsewhere does not refuse them.
const BACK_DATED: Duration = Duration::from_secs(7 * 86_400);

/// Why a revocation does not count.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// The wrong number of bytes.
    #[error("a revocation has {REVOCATION_BYTES} bytes, this one {0}")]
    BadLength(usize),
    /// The zone is of an unknown type, or its key is no key.
    #[error("the revoked zone is none")]
    Zone(#[source] ZoneError),
    /// The signature is not the zone's.
    #[error("the signature of the revocation is not valid")]
    BadSignature,
    /// The proofs do not strictly increase.
    #[error("the proofs of work are not in order")]
    ProofOrder,
    /// Too little work.
    #[error("the proofs of work have {sum} leading zero bits together, {needed} are needed")]
    TooEasy {
        /// Bits of all proofs.
        sum: u32,
        /// Difficulty times the number of proofs.
        needed: u32,
    },
    /// Its time is over.
    #[error("the revocation expired at {0}")]
    Expired(Timestamp),
    /// It is dated more than a day ahead.
    #[error("the revocation is dated {0}, which is in the future")]
    Future(Timestamp),
}

/// A revocation of good shape. Whether it counts, [`Revocation::check`] says.
#[derive(Clone, PartialEq, Eq)]
pub struct Revocation {
    /// When it was made; part of the proofs and of what is signed.
    pub timestamp: Timestamp,
    /// How long it says it holds, in microseconds. Not signed: see [`Revocation::expiration`] for what counts.
    pub ttl_micros: u64,
    /// The proofs, which must strictly increase.
    pub proofs: [u64; PROOFS],
    /// The zone that is no more.
    pub zone: ZoneKey,
    /// The zone's signature.
    pub signature: [u8; 64],
}

impl Revocation {
    /// Signs a revocation whose proofs are known already; they are not checked.
    pub fn sign(secret: &ZoneSecret, timestamp: Timestamp, ttl_micros: u64, proofs: [u64; PROOFS]) -> Self {
        let zone = *secret.public();
        let signature = secret.sign(&signed_message(timestamp, &zone));
        Self { timestamp, ttl_micros, proofs, zone, signature }
    }

    /// Reads a message. An error when its length is wrong or the zone is none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RevocationError> {
        let bytes: &[u8; REVOCATION_BYTES] = bytes.try_into().map_err(|_| RevocationError::BadLength(bytes.len()))?;
        let short = || RevocationError::BadLength(bytes.len());
        let (words, rest) = bytes.split_first_chunk::<{ 8 * (2 + PROOFS) }>().ok_or_else(short)?;
        let (zone, signature) = rest.split_first_chunk::<ZONE_ID_BYTES>().ok_or_else(short)?;
        let mut words = words.as_chunks::<8>().0.iter().map(|word| u64::from_be_bytes(*word));
        let mut next = || words.next().unwrap_or_default();
        let (timestamp, ttl_micros) = (Timestamp::from_micros(next()), next());
        Ok(Self {
            timestamp,
            ttl_micros,
            proofs: std::array::from_fn(|_| next()),
            zone: ZoneKey::from_bytes(zone).map_err(RevocationError::Zone)?,
            signature: signature.try_into().map_err(|_| short())?,
        })
    }

    /// The 372 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(REVOCATION_BYTES);
        out.extend(self.timestamp.as_micros().to_be_bytes());
        out.extend(self.ttl_micros.to_be_bytes());
        out.extend(self.proofs.iter().flat_map(|proof| proof.to_be_bytes()));
        out.extend(self.zone.to_bytes());
        out.extend(self.signature);
        out
    }

    /// Whether the zone itself signed it.
    pub fn is_signature_valid(&self) -> bool {
        let message = signed_message(self.timestamp, &self.zone);
        secret::verify(self.zone.zone_type(), self.zone.zkey(), &message, &self.signature)
    }

    /// Leading zero bits of each proof, in order. Costs 32 runs of Argon2id with 1 MiB: some 50 ms.
    pub fn scores(&self) -> [u32; PROOFS] {
        let mut hasher = pow::Hasher::new(self.timestamp, &self.zone);
        self.proofs.map(|proof| hasher.score(proof))
    }

    /// Checks signature, order and work, in this order, cheapest first; the time is not judged. Returns the bits of all
    /// proofs together, for [`Revocation::expiration`].
    pub fn check(&self, difficulty: u32) -> Result<u32, RevocationError> {
        if !self.is_signature_valid() {
            return Err(RevocationError::BadSignature);
        }
        if !self.proofs.is_sorted_by(|a, b| a < b) {
            return Err(RevocationError::ProofOrder);
        }
        let sum = self.scores().iter().sum();
        let needed = difficulty.saturating_mul(PROOFS as u32);
        if sum < needed { Err(RevocationError::TooEasy { sum, needed }) } else { Ok(sum) }
    }

    /// Checks everything, also that it holds now; early if its own TTL says it does not. Returns until when it holds.
    pub fn check_at(&self, difficulty: u32, now: Timestamp) -> Result<Timestamp, RevocationError> {
        let claimed_end = self.timestamp.after(Duration::from_micros(self.ttl_micros));
        if claimed_end <= now {
            return Err(RevocationError::Expired(claimed_end));
        }
        if self.timestamp > now.after(MAX_FUTURE) {
            return Err(RevocationError::Future(self.timestamp));
        }
        let end = self.expiration(self.check(difficulty)?, difficulty);
        if end <= now { Err(RevocationError::Expired(end)) } else { Ok(end) }
    }

    /// Until when a revocation with these bits of work holds: `timestamp + (D' - D + 1) * EPOCH * 1.1`, exactly.
    pub fn expiration(&self, bits: u32, difficulty: u32) -> Timestamp {
        self.timestamp.after(lifetime(bits, difficulty))
    }

    /// The message as it is passed on: with the TTL that its work buys.
    #[must_use]
    pub fn with_computed_ttl(mut self, bits: u32, difficulty: u32) -> Self {
        self.ttl_micros = micros(lifetime(bits, difficulty));
        self
    }
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revocation({:?} at {})", self.zone, self.timestamp)
    }
}

/// `(average - difficulty + 1) * EPOCH * 1.1` in whole microseconds, without rounding the average.
fn lifetime(bits: u32, difficulty: u32) -> Duration {
    let proofs = PROOFS as u128;
    let steps = (u128::from(bits) + proofs).saturating_sub(u128::from(difficulty) * proofs);
    let total = steps * EPOCH.as_micros() * 11 / (10 * proofs);
    Duration::from_micros(u64::try_from(total).unwrap_or(u64::MAX))
}

fn signed_message(timestamp: Timestamp, zone: &ZoneKey) -> [u8; SIGNED_BYTES] {
    let mut out = [0; SIGNED_BYTES];
    let parts: [&[u8]; 4] = [
        &(SIGNED_BYTES as u32).to_be_bytes(),
        &PURPOSE_REVOCATION.to_be_bytes(),
        &timestamp.as_micros().to_be_bytes(),
        &zone.to_bytes(),
    ];
    for (to, from) in out.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests;
