//! What two people who know each other keep of one another: a card, signed by the device it comes from.
//!
//! Records of `ByteReader`: format = 1, genesis link (<= 512), transport certificate (<= 512), name (<= 64), zone (36: type and
//! key, as RFC 9498 writes them), invite id (16), side (1), last the signature (64) by the device's key over
//! `"p2pnode card v1"` and everything before. A card belongs to one invite and one side of it: nobody can pass it on.

use thiserror::Error;

use crate::cbor::MAX_RECORD_BYTES;
use crate::{
    ByteReader, ByteWriter, ChainError, CodecError, GenesisLink, IdentityId, InviteId, SecretKey, Side,
    TransportCertificate, verify,
};

/// Longest name on a card, in bytes.
pub const MAX_CARD_NAME_BYTES: usize = 64;
/// Longest card, in bytes.
pub const MAX_CARD_BYTES: usize = 1_536;
/// A zone on a card, in bytes.
pub const CARD_ZONE_BYTES: usize = 36;
const DOMAIN: &[u8] = b"p2pnode card v1";
const FORMAT: u8 = 1;
const SAFETY_CONTEXT: &str = "p2pnode safety number v1";
const PAIR_CONTEXT: &str = "p2pnode pairwise secret v1";

/// A card, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Who.
    pub genesis: GenesisLink,
    /// By which transport key.
    pub certificate: TransportCertificate,
    /// What they call themselves: for people, never to be relied on.
    pub name: String,
    /// Their zone in the name system.
    pub zone: [u8; CARD_ZONE_BYTES],
    bytes: Vec<u8>,
}

/// Why a card is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CardError {
    /// Not the bytes of one.
    #[error("this card is damaged")]
    Malformed,
    /// Of a newer version.
    #[error("this card needs a newer version of p2pnode")]
    Newer,
    /// What is on it is wrong.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Made for another invite, or changed.
    #[error("this card is not signed by the device on it, or was made for another invite")]
    BadSignature,
}

impl From<CodecError> for CardError {
    fn from(_: CodecError) -> Self {
        Self::Malformed
    }
}

impl Card {
    /// Makes one for one side of an invite. The name is cut at [`MAX_CARD_NAME_BYTES`].
    pub fn sign(
        genesis: GenesisLink,
        certificate: TransportCertificate,
        name: &str,
        zone: [u8; CARD_ZONE_BYTES],
        (invite, side): (&InviteId, Side),
        device: &SecretKey,
    ) -> Self {
        let name = name.get(..name.floor_char_boundary(MAX_CARD_NAME_BYTES)).unwrap_or_default().to_owned();
        let mut out = ByteWriter::with_capacity(MAX_CARD_BYTES);
        out.byte(FORMAT);
        out.bytes(genesis.as_bytes());
        out.bytes(certificate.as_bytes());
        out.bytes(name.as_bytes());
        out.raw(&zone);
        out.raw(invite);
        out.byte(side as u8);
        let mut bytes = out.into_bytes();
        let signature = device.sign(&[DOMAIN, &bytes].concat());
        bytes.extend_from_slice(&signature);
        Self { genesis, certificate, name, zone, bytes }
    }

    /// Reads a card that was made for this side of this invite, and checks everything on it.
    pub fn read(bytes: &[u8], invite: &InviteId, side: Side) -> Result<Self, CardError> {
        if bytes.len() > MAX_CARD_BYTES {
            return Err(CardError::Malformed);
        }
        let (body, signature) = bytes.split_last_chunk::<64>().ok_or(CardError::Malformed)?;
        let mut reader = ByteReader::new(body);
        if reader.byte()? != FORMAT {
            return Err(CardError::Newer);
        }
        let genesis = GenesisLink::read(reader.bytes("genesis link", MAX_RECORD_BYTES)?)?;
        let certificate = TransportCertificate::read(reader.bytes("certificate", MAX_RECORD_BYTES)?, &genesis)?;
        let name = reader.text("name", MAX_CARD_NAME_BYTES)?.to_owned();
        let zone = reader.array()?;
        let made_for = (reader.array::<16>()?, reader.byte()?);
        reader.finish()?;
        let is_signed = verify(&genesis.device, &[DOMAIN, body].concat(), signature).is_ok();
        if made_for != (*invite, side as u8) || !is_signed {
            return Err(CardError::BadSignature);
        }
        Ok(Self { genesis, certificate, name, zone, bytes: bytes.to_vec() })
    }

    /// Its bytes, at most [`MAX_CARD_BYTES`].
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whose it is.
    pub fn identity(&self) -> IdentityId {
        self.genesis.id()
    }
}

/// What two people compare to be sure of each other: 60 digits in groups of five, the same on both sides.
pub fn safety_number(one: &IdentityId, other: &IdentityId) -> String {
    let mut hasher = blake3::Hasher::new_derive_key(SAFETY_CONTEXT);
    hasher.update(one.min(other).as_bytes()).update(one.max(other).as_bytes());
    let mut bytes = [0; 12 * 8];
    hasher.finalize_xof().fill(&mut bytes);
    let (groups, _) = bytes.as_chunks::<8>();
    let digits: Vec<String> =
        groups.iter().map(|group| format!("{:05}", u64::from_be_bytes(*group) % 100_000)).collect();
    digits.join(" ")
}

/// The secret of two contacts, from what their agreement keys give.
pub fn pairwise_secret(agreed: &[u8; 32], one: &IdentityId, other: &IdentityId) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(PAIR_CONTEXT);
    hasher.update(agreed).update(one.min(other).as_bytes()).update(one.max(other).as_bytes());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PeerId;
    use crate::chain::tests::genesis;
    use proptest::prelude::*;

    const INVITE: InviteId = [3; 16];

    fn card(seed: u8) -> Card {
        let (link, device) = genesis(seed);
        let certificate = TransportCertificate::sign(link.id(), &device, PeerId::from([9; 32]), 5);
        Card::sign(link, certificate, "Änne", [4; 36], (&INVITE, Side::Accepter), &device)
    }

    #[test]
    fn a_card_is_believed_for_its_invite_and_side_only() {
        let card = card(7);
        assert_eq!(Card::read(card.as_bytes(), &INVITE, Side::Accepter), Ok(card.clone()));
        assert_eq!(Card::read(card.as_bytes(), &INVITE, Side::Inviter), Err(CardError::BadSignature));
        assert_eq!(Card::read(card.as_bytes(), &[0; 16], Side::Accepter), Err(CardError::BadSignature));
        assert!(card.as_bytes().len() <= MAX_CARD_BYTES);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let card = card(7);
        for bit in 0..card.as_bytes().len() * 8 {
            let mut bad = card.as_bytes().to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Card::read(&bad, &INVITE, Side::Accepter).is_err(), "bit {bit}");
        }
        for len in 0..card.as_bytes().len() {
            assert!(Card::read(&card.as_bytes()[..len], &INVITE, Side::Accepter).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let (link, device) = genesis(7);
        let certificate = TransportCertificate::sign(link.id(), &device, PeerId::from([9; 32]), 5);
        let long = Card::sign(link, certificate, &"€".repeat(40), [4; 36], (&INVITE, Side::Inviter), &device);
        assert_eq!(long.name, "€".repeat(21));
        assert!(Card::read(long.as_bytes(), &INVITE, Side::Inviter).is_ok());
    }

    #[test]
    fn both_sides_see_one_number_and_have_one_secret() {
        let (one, other) = (IdentityId::from([1; 32]), IdentityId::from([2; 32]));
        let number = safety_number(&one, &other);
        assert_eq!(number, safety_number(&other, &one));
        assert_eq!(number.split(' ').map(str::len).collect::<Vec<_>>(), [5; 12]);
        assert_ne!(number, safety_number(&one, &IdentityId::from([3; 32])));
        assert_eq!(pairwise_secret(&[5; 32], &one, &other), pairwise_secret(&[5; 32], &other, &one));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..1600), keep in 0..700usize) {
            let _ = Card::read(&bytes, &INVITE, Side::Accepter);
            let mut mixed = card(7).as_bytes().to_vec();
            mixed.truncate(keep);
            mixed.extend(&bytes);
            prop_assert!(Card::read(&mixed, &INVITE, Side::Accepter).is_err() || bytes.is_empty() || keep >= 700);
        }
    }
}
