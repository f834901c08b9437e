//! P2PPEER: a node, or a device on it (specs/names.md, 13.2).

use p2p_identity::PeerId;

use super::{multiaddr, tagged};
use crate::{base32gns_decode, base32gns_encode};

const PEER: u8 = 0x01;
const DEVICE: u8 = 0x02;
const THING: u8 = 0x03;
const ADDRESS: u8 = 0x81;
/// Most address hints in a record.
const MAX_ADDRESSES: usize = 8;
/// Longest thing id, in bytes.
const MAX_THING_BYTES: usize = 64;
/// Bytes before the key in a binary Ed25519 peer id: identity multihash of 36 bytes, key type 1, 32 bytes.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// The contents of a P2PPEER record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRecord {
    /// The node.
    pub peer: PeerId,
    /// The key that is the subject of capabilities, if it is not that of the peer.
    pub device: Option<[u8; 32]>,
    /// Which device on the node: 1 to 64 letters, digits, `-` and `_`.
    pub thing: Option<String>,
    /// Where to dial: at most eight binary multiaddrs, without the peer id at the end.
    pub addresses: Vec<Vec<u8>>,
}

impl PeerRecord {
    /// Reads the data of a record; `None` when it is unusable.
    pub fn from_data(data: &[u8]) -> Option<Self> {
        let fields = tagged::read(data, &[(PEER, 1), (DEVICE, 1), (THING, 1), (ADDRESS, MAX_ADDRESSES)])?;
        let (mut peer, mut device, mut thing, mut addresses) = (None, None, None, Vec::new());
        for (tag, value) in fields {
            match tag {
                PEER => peer = Some(peer_from_bytes(value)?),
                DEVICE => device = Some(value.try_into().ok()?),
                THING => thing = Some(std::str::from_utf8(value).ok().filter(|thing| is_thing(thing))?.to_owned()),
                _ => addresses.push(value.to_vec()),
            }
        }
        Some(Self { peer: peer?, device, thing, addresses })
    }

    /// The data of the record.
    pub fn to_data(&self) -> Vec<u8> {
        let mut out = tagged::Writer::new();
        out.field(PEER, &peer_to_bytes(&self.peer));
        if let Some(device) = &self.device {
            out.field(DEVICE, device);
        }
        if let Some(thing) = &self.thing {
            out.field(THING, thing.as_bytes());
        }
        for address in &self.addresses {
            out.field(ADDRESS, address);
        }
        out.finish()
    }

    /// The text, if every address has one.
    pub(super) fn to_text(&self) -> Option<String> {
        let mut out = self.peer.to_string();
        if let Some(device) = &self.device {
            out.push_str(&format!(" device={}", base32gns_encode(device)));
        }
        if let Some(thing) = &self.thing {
            out.push_str(&format!(" thing={thing}"));
        }
        for address in &self.addresses {
            out.push_str(&format!(" addr={}", multiaddr::to_text(address)?));
        }
        Some(out)
    }

    /// Reads the text form.
    pub(super) fn from_text(text: &str) -> Result<Self, &'static str> {
        let mut words = text.split_whitespace();
        let peer = words.next().and_then(|word| word.parse().ok()).ok_or("it does not begin with a peer id")?;
        let mut record = Self { peer, device: None, thing: None, addresses: Vec::new() };
        for word in words {
            let (name, value) = word.split_once('=').ok_or("a part has no =")?;
            match name {
                "device" if record.device.is_none() => {
                    let key = base32gns_decode(value).ok().and_then(|bytes| bytes.try_into().ok());
                    record.device = Some(key.ok_or("device is not a key")?);
                }
                "thing" if record.thing.is_none() => {
                    let good = is_thing(value).then(|| value.to_owned());
                    record.thing = Some(good.ok_or("thing has 1 to 64 letters, digits, - and _")?);
                }
                "addr" if record.addresses.len() < MAX_ADDRESSES => {
                    record
                        .addresses
                        .push(multiaddr::from_text(value).ok_or("addr is not an address like /ip4/…/tcp/…")?);
                }
                _ => return Err("a part is unknown or given too often"),
            }
        }
        if tagged::fits(&record.to_data()) { Ok(record) } else { Err("it is longer than 4096 bytes") }
    }
}

fn is_thing(text: &str) -> bool {
    (1..=MAX_THING_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// The binary multihash form of an Ed25519 peer id.
pub(super) fn peer_to_bytes(peer: &PeerId) -> Vec<u8> {
    [&PEER_ID_PREFIX[..], peer.as_bytes()].concat()
}

pub(super) fn peer_from_bytes(bytes: &[u8]) -> Option<PeerId> {
    let key: [u8; 32] = bytes.strip_prefix(&PEER_ID_PREFIX)?.try_into().ok()?;
    Some(PeerId::from(key))
}
