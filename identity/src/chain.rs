//! The genesis link of an identity, and the certificate of a transport key (specs/overlay.md, 4.1).
//!
//! ```text
//! genesis link      { 1: format = 1, 2: number = 0, 3: operation = 0 (genesis), 4: root key, 5: BLAKE3 of the next root key,
//!                     6: device's signing key, 7: device's agreement key, 8: seconds since 1970,
//!                     9: signature by the root key, 10: signature by the device's key }
//! certificate       { 1: format = 1, 2: identity id, 3: device's signing key, 4: transport key, 5: seconds since 1970,
//!                     6: signature by the device's key }
//! ```
//! Deterministic CBOR; a signature covers a domain and the map without its signatures. The id of an identity is the BLAKE3
//! hash of its genesis link. Chains of length one are all there is yet; a longer one needs a newer version.

use thiserror::Error;

use crate::cbor::{CborError, Field, Fields, encode};
use crate::{IdentityId, PeerId, SecretKey, verify};

const LINK_DOMAIN: &[u8] = b"p2pnode identity link v1";
const CERTIFICATE_DOMAIN: &[u8] = b"p2pnode transport certificate v1";
const FORMAT: u64 = 1;
const OP_GENESIS: u64 = 0;

/// Why a link or certificate is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChainError {
    /// Not the bytes of one.
    #[error("this is not an identity, or it is damaged")]
    Malformed,
    /// Written by a newer version, or a chain that has grown.
    #[error("this identity needs a newer version of p2pnode")]
    Newer,
    /// Signed by somebody else, or changed.
    #[error("a signature of this identity is wrong")]
    BadSignature,
    /// A good certificate, of another identity or device.
    #[error("this certificate belongs to another identity or device")]
    OtherIdentity,
}

impl From<CborError> for ChainError {
    fn from(error: CborError) -> Self {
        match error {
            CborError::Malformed => Self::Malformed,
            CborError::Newer => Self::Newer,
        }
    }
}

/// The first link of an identity, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisLink {
    /// The root key.
    pub root: [u8; 32],
    /// BLAKE3 of the root key that may replace it.
    pub next_root_hash: [u8; 32],
    /// The device's signing key (Ed25519).
    pub device: [u8; 32],
    /// The device's agreement key (X25519).
    pub agreement: [u8; 32],
    /// Seconds since 1970.
    pub time: u64,
    bytes: Vec<u8>,
}

impl GenesisLink {
    /// Makes one. The root keys are wiped by their owner afterwards.
    pub fn sign(root: &SecretKey, next_root: &[u8; 32], device: &SecretKey, agreement: [u8; 32], time: u64) -> Self {
        let (root_key, device_key) = (root.public(), device.public());
        let next_root_hash = *blake3::hash(next_root).as_bytes();
        let body = body(&root_key, &next_root_hash, &device_key, &agreement, time);
        let signed = [LINK_DOMAIN, &encode(&body)].concat();
        let (by_root, by_device) = (root.sign(&signed), device.sign(&signed));
        let bytes = with_signatures(&body, &by_root, &by_device);
        Self { root: root_key, next_root_hash, device: device_key, agreement, time, bytes }
    }

    /// Reads one and checks both signatures.
    pub fn read(bytes: &[u8]) -> Result<Self, ChainError> {
        let mut fields = Fields::new(bytes, 10, FORMAT)?;
        if fields.number()? != 0 || fields.number()? != OP_GENESIS {
            return Err(ChainError::Newer);
        }
        let (root, next_root_hash) = (fields.array()?, fields.array()?);
        let (device, agreement, time) = (fields.array()?, fields.array()?, fields.number()?);
        let (by_root, by_device) = (fields.array()?, fields.array()?);
        fields.finish()?;
        let body = body(&root, &next_root_hash, &device, &agreement, time);
        if with_signatures(&body, &by_root, &by_device) != bytes {
            return Err(ChainError::Malformed);
        }
        let signed = [LINK_DOMAIN, &encode(&body)].concat();
        for (key, signature) in [(&root, &by_root), (&device, &by_device)] {
            verify(key, &signed, signature).map_err(|_| ChainError::BadSignature)?;
        }
        Ok(Self { root, next_root_hash, device, agreement, time, bytes: bytes.to_vec() })
    }

    /// Its bytes, at most 300.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The identity.
    pub fn id(&self) -> IdentityId {
        IdentityId::from(*blake3::hash(&self.bytes).as_bytes())
    }
}

fn body<'a>(
    root: &'a [u8; 32],
    next_root_hash: &'a [u8; 32],
    device: &'a [u8; 32],
    agreement: &'a [u8; 32],
    time: u64,
) -> Vec<Field<'a>> {
    vec![
        Field::Number(FORMAT),
        Field::Number(0),
        Field::Number(OP_GENESIS),
        Field::Bytes(root),
        Field::Bytes(next_root_hash),
        Field::Bytes(device),
        Field::Bytes(agreement),
        Field::Number(time),
    ]
}

fn with_signatures(body: &[Field<'_>], by_root: &[u8; 64], by_device: &[u8; 64]) -> Vec<u8> {
    encode(&[body, &[Field::Bytes(by_root), Field::Bytes(by_device)]].concat())
}

/// A device's word that a transport key is its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportCertificate {
    /// The identity.
    pub identity: IdentityId,
    /// The device's signing key.
    pub device: [u8; 32],
    /// The key by which the network knows the device.
    pub peer: PeerId,
    /// Seconds since 1970; a later one replaces an earlier one.
    pub time: u64,
    bytes: Vec<u8>,
}

impl TransportCertificate {
    /// Makes one.
    pub fn sign(identity: IdentityId, device: &SecretKey, peer: PeerId, time: u64) -> Self {
        let key = device.public();
        let body = certificate_body(&identity, &key, &peer, time);
        let signature = device.sign(&[CERTIFICATE_DOMAIN, &encode(&body)].concat());
        let bytes = encode(&[&body[..], &[Field::Bytes(&signature)]].concat());
        Self { identity, device: key, peer, time, bytes }
    }

    /// Reads one and checks that a device of `genesis` signed it.
    pub fn read(bytes: &[u8], genesis: &GenesisLink) -> Result<Self, ChainError> {
        let mut fields = Fields::new(bytes, 6, FORMAT)?;
        let (identity, device) = (IdentityId::from(fields.array::<32>()?), fields.array()?);
        let (peer, time) = (PeerId::from(fields.array::<32>()?), fields.number()?);
        let signature = fields.array()?;
        fields.finish()?;
        let body = certificate_body(&identity, &device, &peer, time);
        if encode(&[&body[..], &[Field::Bytes(&signature)]].concat()) != bytes {
            return Err(ChainError::Malformed);
        }
        if identity != genesis.id() || device != genesis.device {
            return Err(ChainError::OtherIdentity);
        }
        let signed = [CERTIFICATE_DOMAIN, &encode(&body)].concat();
        verify(&device, &signed, &signature).map_err(|_| ChainError::BadSignature)?;
        Ok(Self { identity, device, peer, time, bytes: bytes.to_vec() })
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn certificate_body<'a>(identity: &'a IdentityId, device: &'a [u8; 32], peer: &'a PeerId, time: u64) -> Vec<Field<'a>> {
    vec![
        Field::Number(FORMAT),
        Field::Bytes(identity.as_bytes()),
        Field::Bytes(device),
        Field::Bytes(peer.as_bytes()),
        Field::Number(time),
    ]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    pub(crate) fn genesis(seed: u8) -> (GenesisLink, SecretKey) {
        let (root, device) = (SecretKey::from_seed(&[seed; 32]), SecretKey::from_seed(&[seed ^ 0xff; 32]));
        let next = SecretKey::from_seed(&[seed.wrapping_add(1); 32]).public();
        (GenesisLink::sign(&root, &next, &device, [seed; 32], 1_800_000_000), device)
    }

    #[test]
    fn a_genesis_link_is_small_and_never_changes_its_form() {
        let (link, device) = genesis(7);
        assert!(link.as_bytes().len() <= 300, "{}", link.as_bytes().len());
        assert_eq!(GenesisLink::read(link.as_bytes()), Ok(link.clone()));
        assert_eq!(
            HEXLOWER.encode(link.id().as_bytes()),
            "e528f5f59fb99b0662c8c7ac8cd6e24bdedd94eab6c37a228900eb3769cd6744"
        );
        let certificate = TransportCertificate::sign(link.id(), &device, PeerId::from([9; 32]), 5);
        assert_eq!(TransportCertificate::read(certificate.as_bytes(), &link), Ok(certificate.clone()));
        assert_eq!(
            HEXLOWER.encode(blake3::hash(certificate.as_bytes()).as_bytes()),
            "ba8b900add6f681119c2ab3912a9a1479c8312064f63ac205b863f83aa90b720"
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (link, device) = genesis(7);
        let certificate = TransportCertificate::sign(link.id(), &device, PeerId::from([9; 32]), 5);
        for bit in 0..link.as_bytes().len() * 8 {
            let mut bad = link.as_bytes().to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(GenesisLink::read(&bad).is_err(), "bit {bit}");
        }
        for bit in 0..certificate.as_bytes().len() * 8 {
            let mut bad = certificate.as_bytes().to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(TransportCertificate::read(&bad, &link).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_grown_chain_and_a_newer_format_say_what_they_need() {
        let (link, _) = genesis(7);
        let newer = |at: usize, value: u8| {
            let mut bytes = link.as_bytes().to_vec();
            bytes[at] = value;
            GenesisLink::read(&bytes)
        };
        assert_eq!(newer(2, 2), Err(ChainError::Newer), "format");
        assert_eq!(newer(4, 1), Err(ChainError::Newer), "number");
        assert_eq!(newer(6, 1), Err(ChainError::Newer), "operation");
    }

    #[test]
    fn a_certificate_of_another_identity_is_refused() {
        let ((mine, _), (other, device)) = (genesis(7), genesis(8));
        let certificate = TransportCertificate::sign(other.id(), &device, PeerId::from([9; 32]), 5);
        assert_eq!(TransportCertificate::read(certificate.as_bytes(), &mine), Err(ChainError::OtherIdentity));
        let forged = TransportCertificate::sign(mine.id(), &device, PeerId::from([9; 32]), 5);
        assert_eq!(TransportCertificate::read(forged.as_bytes(), &mine), Err(ChainError::OtherIdentity));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600), keep in 0..330usize) {
            let (link, _) = genesis(7);
            let _ = GenesisLink::read(&bytes);
            let _ = TransportCertificate::read(&bytes, &link);
            let mut mixed = link.as_bytes().to_vec();
            mixed.truncate(keep);
            mixed.extend(&bytes);
            prop_assert!(GenesisLink::read(&mixed).is_err() || mixed == link.as_bytes());
        }
    }
}
