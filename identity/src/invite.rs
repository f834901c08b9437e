//! Invites: a one-time secret with what is needed to reach and recognise who made it (specs/overlay.md, 4.2).
//!
//! Text: `p2pn:1:` and base32 (RFC 4648, no padding); a QR code has it in upper case, and readers ignore case.
//! ```text
//! format = 1, purpose (1 contact, 2 writer), flags (bit 0: shown in person), identity id (32), secret (16),
//! expiry u32 (minutes since 1970, big-endian), peer id (32), count <= 3 of addresses as in links' hints without their peer,
//! purpose 2: drive id (32)
//! ```
//! Bytes behind that are ignored: room for a mailbox. What both sides do with the secret is derived from it; it is not sent.

use std::{fmt, str::FromStr};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use data_encoding::BASE32_NOPAD;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{ByteReader, ByteWriter, CodecError, DriveId, IdentityId, PeerAddr, PeerId, SecretKey};

/// What an invite's text begins with.
pub const INVITE_PREFIX: &str = "p2pn:1:";
/// Longest payload, in bytes: a QR code of version 10 holds it.
pub const MAX_INVITE_BYTES: usize = 180;
/// Most addresses in one.
pub const MAX_INVITE_ADDRESSES: usize = 3;
const MAX_TEXT_CHARS: usize = 512;
const SECRET_BYTES: usize = 16;
const FORMAT: u8 = 1;
const IN_PERSON: u8 = 1;

const ID_CONTEXT: &str = "p2pnode invite v1 id";
const MAC_CONTEXT: &str = "p2pnode invite v1 mac";
const MEETING_CONTEXT: &str = "p2pnode invite v1 meeting";
const RECORD_CONTEXT: &str = "p2pnode invite v1 record";
const NONCE_BYTES: usize = 24;

/// What an invite is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To know each other.
    Contact,
    /// To know each other, and to write to a drive.
    Writer(DriveId),
}

/// Which side of an invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Who made it.
    Inviter,
    /// Who accepts it.
    Accepter,
}

impl Side {
    const fn byte(self) -> u8 {
        match self {
            Self::Inviter => 0,
            Self::Accepter => 1,
        }
    }
}

/// The name of an invite that tells nothing of its secret.
pub type InviteId = [u8; 16];

/// The secret of an invite. Wiped when dropped; prints as `InviteSecret(..)`. On the heap: a secret that is moved would
/// leave a copy behind.
#[derive(Clone, PartialEq, Eq)]
pub struct InviteSecret(Box<Zeroizing<[u8; SECRET_BYTES]>>);

impl InviteSecret {
    /// A fresh one.
    ///
    /// # Panics
    /// When the operating system has no random numbers to give.
    pub fn generate() -> Self {
        let mut secret = Self(Box::default());
        getrandom::fill(secret.0.as_mut_slice()).expect("the operating system provides random numbers");
        secret
    }

    /// Of its bytes; `None` if they are not 16.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut secret = Self(Box::default());
        if bytes.len() != SECRET_BYTES {
            return None;
        }
        secret.0.copy_from_slice(bytes);
        Some(secret)
    }

    /// The bytes, for storing it.
    pub fn as_bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// By which both sides name the invite.
    pub fn id(&self) -> InviteId {
        *blake3::derive_key(ID_CONTEXT, self.0.as_slice()).first_chunk().expect("32 bytes have a first 16")
    }

    /// Proves to who knows the secret as well that `message` comes from `side`.
    pub fn mac(&self, side: Side, message: &[u8]) -> [u8; 32] {
        let key = Zeroizing::new(blake3::derive_key(MAC_CONTEXT, self.0.as_slice()));
        *blake3::Hasher::new_keyed(&key).update(&[side.byte()]).update(message).finalize().as_bytes()
    }

    /// Whether `mac` is that of `message`. Takes the same time for every wrong one.
    pub fn check_mac(&self, side: Side, message: &[u8], mac: &[u8; 32]) -> bool {
        blake3::Hash::from_bytes(self.mac(side, message)) == *mac
    }

    /// The key with which `side` signs what it leaves for the other one in this hour since 1970. Each accepter has an answer
    /// of its own: `accepter` is theirs where the inviter leaves something.
    pub fn meeting_key(&self, side: Side, hour: u64, accepter: Option<&IdentityId>) -> SecretKey {
        let mut hasher = blake3::Hasher::new_derive_key(MEETING_CONTEXT);
        hasher.update(self.0.as_slice()).update(&[side.byte()]).update(&hour.to_be_bytes());
        if let Some(accepter) = accepter {
            hasher.update(accepter.as_bytes());
        }
        SecretKey::from_seed(&Zeroizing::new(*hasher.finalize().as_bytes()))
    }

    /// Seals what `side` leaves for the other one: nonce (24), then XChaCha20-Poly1305.
    pub fn seal(&self, side: Side, bytes: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).expect("the operating system provides random numbers");
        let payload = Payload { msg: bytes, aad: &[side.byte()] };
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), payload).expect("a small message can be sealed");
        [nonce.as_slice(), &sealed].concat()
    }

    /// Opens what [`InviteSecret::seal`] made for the same side.
    pub fn open(&self, side: Side, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: sealed, aad: &[side.byte()] };
        self.cipher().decrypt(&XNonce::from(*nonce), payload).ok()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        let key = Zeroizing::new(blake3::derive_key(RECORD_CONTEXT, self.0.as_slice()));
        XChaCha20Poly1305::new(&(*key).into())
    }
}

impl fmt::Debug for InviteSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteSecret(..)")
    }
}

/// An invite. Whoever has it can use it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// What for.
    pub purpose: Purpose,
    /// Whether it is shown in person: then both sides are sure of each other.
    pub in_person: bool,
    /// Who made it.
    pub identity: IdentityId,
    /// The secret.
    pub secret: InviteSecret,
    /// Minutes since 1970.
    pub expires_minute: u32,
    /// The node of who made it.
    pub peer: PeerId,
    /// Where that node can be dialled. At most [`MAX_INVITE_ADDRESSES`] are printed (one less beside a drive), and only
    /// those of `peer`.
    pub addresses: Vec<PeerAddr>,
}

/// Why a text is not an invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InviteError {
    /// It does not begin like one.
    #[error("this is not an invite: they begin with {INVITE_PREFIX}")]
    NotAnInvite,
    /// It does, but a part is missing or mistyped.
    #[error("this invite is damaged: a character is wrong or missing; copy it again")]
    Damaged,
    /// Of a newer version.
    #[error("this invite needs a newer version of p2pnode")]
    Newer,
}

impl From<CodecError> for InviteError {
    fn from(_: CodecError) -> Self {
        Self::Damaged
    }
}

impl Invite {
    /// The text in upper case, which a QR code holds in fewer dots.
    pub fn qr_text(&self) -> Zeroizing<String> {
        Zeroizing::new(self.to_string().to_ascii_uppercase())
    }

    fn payload(&self) -> Zeroizing<Vec<u8>> {
        let mut addresses: Vec<&PeerAddr> = self.addresses.iter().filter(|address| address.peer == self.peer).collect();
        // One less beside a drive: a QR code of version 10 is to hold it.
        let room = if self.purpose == Purpose::Contact { MAX_INVITE_ADDRESSES } else { MAX_INVITE_ADDRESSES - 1 };
        addresses.truncate(room);
        let mut out = ByteWriter::with_capacity(MAX_INVITE_BYTES + 8);
        out.byte(FORMAT);
        out.byte(match self.purpose {
            Purpose::Contact => 1,
            Purpose::Writer(_) => 2,
        });
        out.byte(if self.in_person { IN_PERSON } else { 0 });
        out.raw(self.identity.as_bytes());
        out.raw(self.secret.as_bytes());
        out.raw(&self.expires_minute.to_be_bytes());
        out.raw(self.peer.as_bytes());
        out.count(addresses.len());
        for address in addresses {
            address.write_place(&mut out);
        }
        if let Purpose::Writer(drive) = &self.purpose {
            out.raw(drive.as_bytes());
        }
        // Two bytes more find nearly every mistyped character. A buffer that grows would leave the secret behind.
        let payload = Zeroizing::new(out.into_bytes());
        let mut checked = Zeroizing::new(Vec::with_capacity(payload.len() + 2));
        checked.extend_from_slice(&payload);
        checked.extend_from_slice(&checksum(&payload));
        checked
    }

    fn read(bytes: &[u8]) -> Result<Self, InviteError> {
        let (payload, sum) = bytes.split_last_chunk::<2>().ok_or(InviteError::Damaged)?;
        if checksum(payload) != *sum {
            return Err(InviteError::Damaged);
        }
        let mut reader = ByteReader::new(payload);
        if reader.byte()? != FORMAT {
            return Err(InviteError::Newer);
        }
        let (purpose, flags) = (reader.byte()?, reader.byte()?);
        let identity = IdentityId::from(reader.array::<32>()?);
        let secret = InviteSecret::from_bytes(reader.raw(SECRET_BYTES)?).ok_or(InviteError::Damaged)?;
        let expires_minute = u32::from_be_bytes(reader.array()?);
        let peer = PeerId::from(reader.array::<32>()?);
        let count = reader.count("addresses", MAX_INVITE_ADDRESSES)?;
        let addresses = (0..count).map(|_| PeerAddr::read_place(peer, &mut reader)).collect::<Result<Vec<_>, _>>()?;
        let purpose = match purpose {
            1 => Purpose::Contact,
            2 => Purpose::Writer(DriveId::from(reader.array::<32>()?)),
            _ => return Err(InviteError::Newer),
        };
        let in_person = flags & IN_PERSON != 0;
        Ok(Self { purpose, in_person, identity, secret, expires_minute, peer, addresses })
    }
}

fn checksum(payload: &[u8]) -> [u8; 2] {
    *blake3::hash(payload).as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// The whole text; it holds the secret.
impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Zeroizing::new(BASE32_NOPAD.encode(&self.payload()).to_ascii_lowercase());
        write!(f, "{INVITE_PREFIX}{}", *text)
    }
}

impl FromStr for Invite {
    type Err = InviteError;

    fn from_str(text: &str) -> Result<Self, InviteError> {
        let text = text.trim();
        if text.len() > MAX_TEXT_CHARS {
            return Err(InviteError::NotAnInvite);
        }
        let upper = Zeroizing::new(text.to_ascii_uppercase());
        let Some(rest) = upper.strip_prefix("P2PN:") else { return Err(InviteError::NotAnInvite) };
        let Some(base32) = rest.strip_prefix("1:") else { return Err(InviteError::Newer) };
        let bytes = Zeroizing::new(BASE32_NOPAD.decode(base32.as_bytes()).map_err(|_| InviteError::Damaged)?);
        Self::read(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::tests::any_address;
    use proptest::prelude::*;

    fn any_invite() -> impl Strategy<Value = Invite> {
        let fields = (any::<Option<[u8; 32]>>(), any::<bool>(), any::<[u8; 32]>(), any::<[u8; 16]>(), any::<u32>());
        let addresses = proptest::collection::vec(any_address(), 0..=MAX_INVITE_ADDRESSES);
        (fields, any::<[u8; 32]>(), addresses).prop_map(
            |((drive, in_person, id, secret, minute), peer, mut addresses)| {
                let peer = PeerId::from(peer);
                addresses.truncate(if drive.is_some() { 2 } else { 3 });
                addresses.iter_mut().for_each(|address| address.peer = peer);
                Invite {
                    purpose: drive.map_or(Purpose::Contact, |drive| Purpose::Writer(drive.into())),
                    in_person,
                    identity: id.into(),
                    secret: InviteSecret::from_bytes(&secret).unwrap(),
                    expires_minute: minute,
                    peer,
                    addresses,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn an_invite_survives_its_text_in_either_case(invite in any_invite()) {
            let text = invite.to_string();
            prop_assert!(text.len() <= INVITE_PREFIX.len() + (MAX_INVITE_BYTES * 8).div_ceil(5), "{}", text.len());
            prop_assert_eq!(text.parse(), Ok(invite.clone()));
            prop_assert_eq!(invite.qr_text().parse(), Ok(invite));
        }

        #[test]
        fn a_mistyped_character_is_noticed(invite in any_invite(), at: prop::sample::Index, by in 1..31usize) {
            const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
            let mut text = invite.to_string().into_bytes();
            let at = INVITE_PREFIX.len() + at.index(text.len() - INVITE_PREFIX.len());
            let place = ALPHABET.iter().position(|symbol| *symbol == text[at]).unwrap();
            text[at] = ALPHABET[(place + by) % 32];
            let read = String::from_utf8(text).unwrap().parse::<Invite>();
            // Two bytes of checksum: one in 65,536 passes, and is then refused by the other side.
            prop_assert!(read.is_err() || read != Ok(invite));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,80}|p2pn:[0-9]?:?[a-z2-7]{0,400}") {
            let _ = text.parse::<Invite>();
        }
    }

    #[test]
    fn each_mistake_has_its_own_sentence() {
        for (text, error) in [
            ("", InviteError::NotAnInvite),
            ("p2p://abc/", InviteError::NotAnInvite),
            ("p2pn:2:aaaa", InviteError::Newer),
            ("p2pn:1:", InviteError::Damaged),
            ("p2pn:1:a!", InviteError::Damaged),
        ] {
            assert_eq!(text.parse::<Invite>(), Err(error), "{text}");
        }
    }

    #[test]
    fn what_is_derived_differs_by_secret_side_and_hour_and_does_not_drift() {
        let (one, other) = (InviteSecret::from_bytes(&[1; 16]).unwrap(), InviteSecret::from_bytes(&[2; 16]).unwrap());
        assert_ne!(one.id(), other.id());
        assert_ne!(one.mac(Side::Inviter, b"x"), one.mac(Side::Accepter, b"x"));
        assert!(one.check_mac(Side::Inviter, b"x", &one.mac(Side::Inviter, b"x")));
        assert!(!one.check_mac(Side::Inviter, b"y", &one.mac(Side::Inviter, b"x")));
        let key = |secret: &InviteSecret, side, hour| secret.meeting_key(side, hour, None).public();
        assert_ne!(key(&one, Side::Inviter, 1), key(&one, Side::Accepter, 1));
        assert_ne!(key(&one, Side::Inviter, 1), key(&one, Side::Inviter, 2));
        let answer = one.meeting_key(Side::Inviter, 1, Some(&IdentityId::from([7; 32]))).public();
        assert_ne!(answer, key(&one, Side::Inviter, 1));
        let sealed = one.seal(Side::Inviter, b"a card");
        assert_eq!(one.open(Side::Inviter, &sealed).as_deref(), Some(&b"a card"[..]));
        assert!(one.open(Side::Accepter, &sealed).is_none() && other.open(Side::Inviter, &sealed).is_none());
        assert_eq!(format!("{one:?}"), "InviteSecret(..)");
    }
}
