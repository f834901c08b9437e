//! Finding a drive without naming it, and proving that one may read it (specs/drives.md, section 8).

use std::fmt;

use p2p_identity::{DriveId, PeerId};

const READ_CONTEXT: &str = "p2p-drives read v1";
const TOPIC_LABEL: &[u8] = b"p2p-drives topic v1";
const PROOF_CONTEXT: &str = "p2p-drives proof v1";
const PROOF_LABEL: &[u8] = b"p2p-drives proof v1";
const SECONDS_PER_DAY: u64 = 86_400;

/// What readers of a drive know. Of a public drive it follows from the link. Prints as `ReadKey(..)`.
#[derive(Clone, PartialEq, Eq)]
pub struct ReadKey(blake3::Hash);

/// Under what a drive is announced on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic([u8; 32]);

/// A proof that its maker knows the read key. Comparing takes the same time wherever two proofs differ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Proof(blake3::Hash);

/// Which side proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Who opened the control stream.
    Opener,
    /// Who accepted it.
    Acceptor,
}

/// What a proof is bound to: both peers as the channel authenticated them, both fresh nonces, and the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Nonce of the opener.
    pub opener_nonce: [u8; 16],
    /// Nonce of the acceptor.
    pub acceptor_nonce: [u8; 16],
    /// Who opened the control stream.
    pub opener: PeerId,
    /// Who accepted it.
    pub acceptor: PeerId,
    /// The topic the opener asked for.
    pub topic: Topic,
}

/// Days since 1970-01-01 UTC of a time in seconds since then.
pub fn day_of(unix_seconds: u64) -> u32 {
    u32::try_from(unix_seconds / SECONDS_PER_DAY).unwrap_or(u32::MAX)
}

impl ReadKey {
    /// The read key of a public drive.
    pub fn of_public(drive: &DriveId) -> Self {
        Self(blake3::Hash::from_bytes(blake3::derive_key(READ_CONTEXT, drive.as_bytes())))
    }

    /// The topic of a day, as [`day_of`] counts them.
    pub fn topic(&self, day: u32) -> Topic {
        let mut hasher = blake3::Hasher::new_keyed(self.0.as_bytes());
        hasher.update(TOPIC_LABEL).update(&day.to_be_bytes());
        Topic(*hasher.finalize().as_bytes())
    }

    /// The proof of one side.
    pub fn proof(&self, side: Side, session: &Session) -> Proof {
        let proof_key = blake3::derive_key(PROOF_CONTEXT, self.0.as_bytes());
        let side = match side {
            Side::Opener => 0,
            Side::Acceptor => 1,
        };
        let mut hasher = blake3::Hasher::new_keyed(&proof_key);
        hasher.update(PROOF_LABEL).update(&[side]);
        hasher.update(&session.opener_nonce).update(&session.acceptor_nonce);
        hasher.update(session.opener.as_bytes()).update(session.acceptor.as_bytes());
        hasher.update(session.topic.as_bytes());
        Proof(hasher.finalize())
    }
}

impl Topic {
    /// The 32 bytes: the key of the provider record.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Topic {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl Proof {
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl From<[u8; 32]> for Proof {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for ReadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadKey(..)")
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session {
            opener_nonce: [1; 16],
            acceptor_nonce: [2; 16],
            opener: [3; 32].into(),
            acceptor: [4; 32].into(),
            topic: [5; 32].into(),
        }
    }

    #[test]
    fn the_topic_is_the_keyed_hash_of_the_day() {
        let drive = DriveId::from([7; 32]);
        let read_key = blake3::derive_key("p2p-drives read v1", &[7; 32]);
        let expected = blake3::keyed_hash(&read_key, b"p2p-drives topic v1\x00\x00\x50\x00");
        assert_eq!(ReadKey::of_public(&drive).topic(0x5000).as_bytes(), expected.as_bytes());
    }

    #[test]
    fn the_proof_hashes_all_parts_in_their_order() {
        let key = ReadKey::of_public(&DriveId::from([7; 32]));
        let read_key = blake3::derive_key("p2p-drives read v1", &[7; 32]);
        let proof_key = blake3::derive_key("p2p-drives proof v1", &read_key);
        let mut message = b"p2p-drives proof v1\x01".to_vec();
        for (byte, len) in [(1, 16), (2, 16), (3, 32), (4, 32), (5, 32)] {
            message.extend(vec![byte; len]);
        }
        let expected = blake3::keyed_hash(&proof_key, &message);
        assert_eq!(key.proof(Side::Acceptor, &session()), Proof::from(*expected.as_bytes()));
    }

    #[test]
    fn a_proof_fits_one_side_one_session_and_one_drive() {
        let key = ReadKey::of_public(&DriveId::from([7; 32]));
        let good = key.proof(Side::Opener, &session());
        assert_ne!(good, key.proof(Side::Acceptor, &session()));
        assert_ne!(good, ReadKey::of_public(&DriveId::from([8; 32])).proof(Side::Opener, &session()));
        let swapped = Session { opener: session().acceptor, acceptor: session().opener, ..session() };
        let fresh = Session { opener_nonce: [9; 16], ..session() };
        let answered = Session { acceptor_nonce: [9; 16], ..session() };
        let elsewhere = Session { topic: [9; 32].into(), ..session() };
        for other in [swapped, fresh, answered, elsewhere] {
            assert_ne!(good, key.proof(Side::Opener, &other));
        }
    }

    #[test]
    fn a_day_begins_at_midnight_utc() {
        assert_eq!((day_of(0), day_of(86_399), day_of(86_400)), (0, 0, 1));
        assert_eq!(day_of(u64::MAX), u32::MAX);
    }

    #[test]
    fn keys_and_proofs_do_not_show() {
        let key = ReadKey::of_public(&DriveId::from([7; 32]));
        assert_eq!(format!("{key:?} {:?}", key.proof(Side::Opener, &session())), "ReadKey(..) Proof(..)");
    }
}
