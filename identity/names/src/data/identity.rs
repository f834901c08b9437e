//! P2PIDENTITY: who speaks for the zone: the head of their chain, its first link, and the certificates of their nodes.
//! Stands under the apex.
//!
//! | tag | count | value |
//! |---|---|---|
//! | 0x01 | 1 | head: number of the last link (u64), its BLAKE3 hash (32) |
//! | 0x02 | 1 | the genesis link, at most 512 bytes |
//! | 0x81 | 0..4 | certificate of a transport key, at most 512 bytes |
//!
//! What is in link and certificates is not looked into here: who uses them checks their signatures.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};

use super::tagged;

const HEAD: u8 = 0x01;
const GENESIS: u8 = 0x02;
const CERTIFICATE: u8 = 0x81;
/// Most certificates in a record.
const MAX_CERTIFICATES: usize = 4;
/// Longest link or certificate, in bytes.
const MAX_PART_BYTES: usize = 512;

/// The contents of a P2PIDENTITY record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityRecord {
    /// Number of the last link of the chain; 0 is the genesis link.
    pub number: u64,
    /// BLAKE3 hash of that link.
    pub head: [u8; 32],
    /// The genesis link; its hash is the identity.
    pub genesis: Vec<u8>,
    /// Certificates of transport keys.
    pub certificates: Vec<Vec<u8>>,
}

impl IdentityRecord {
    /// Reads the data of a record; `None` when it is unusable.
    pub fn from_data(data: &[u8]) -> Option<Self> {
        let fields = tagged::read(data, &[(HEAD, 1), (GENESIS, 1), (CERTIFICATE, MAX_CERTIFICATES)])?;
        let (mut head, mut genesis, mut certificates) = (None, None, Vec::new());
        for (tag, value) in fields {
            if value.is_empty() || value.len() > MAX_PART_BYTES {
                return None;
            }
            match tag {
                HEAD => {
                    let (number, hash) = value.split_first_chunk()?;
                    head = Some((u64::from_be_bytes(*number), hash.try_into().ok()?));
                }
                GENESIS => genesis = Some(value.to_vec()),
                _ => certificates.push(value.to_vec()),
            }
        }
        let (number, head) = head?;
        Some(Self { number, head, genesis: genesis?, certificates })
    }

    /// The data of the record.
    pub fn to_data(&self) -> Vec<u8> {
        let mut out = tagged::Writer::new();
        out.field(HEAD, &[self.number.to_be_bytes().as_slice(), &self.head].concat());
        out.field(GENESIS, &self.genesis);
        for certificate in &self.certificates {
            out.field(CERTIFICATE, certificate);
        }
        out.finish()
    }

    /// `NUMBER:HASH`, then base64url of the genesis link and of each certificate, separated by spaces.
    pub fn to_text(&self) -> String {
        let head = format!("{}:{}", self.number, HEXLOWER.encode(&self.head));
        let parts = std::iter::once(&self.genesis).chain(&self.certificates).map(|part| BASE64URL_NOPAD.encode(part));
        std::iter::once(head).chain(parts).collect::<Vec<_>>().join(" ")
    }

    /// Reads the text form.
    pub fn from_text(text: &str) -> Result<Self, &'static str> {
        let mut words = text.split_whitespace();
        let head = words.next().and_then(|word| word.split_once(':')).ok_or("it does not begin with NUMBER:HASH")?;
        let number = head.0.parse().map_err(|_| "the number of the head is no number")?;
        let hash = HEXLOWER.decode(head.1.as_bytes()).ok().and_then(|hash| hash.try_into().ok());
        let hash = hash.ok_or("the hash of the head has not 64 hexadecimal digits")?;
        let parts: Result<Vec<_>, _> = words.map(|word| BASE64URL_NOPAD.decode(word.as_bytes())).collect();
        let mut parts = parts.map_err(|_| "not base64url")?.into_iter();
        let genesis = parts.next().ok_or("the genesis link is missing")?;
        let record = Self { number, head: hash, genesis, certificates: parts.collect() };
        Self::from_data(&record.to_data()).ok_or("a genesis link and up to four certificates fit, of 512 bytes each")
    }
}
