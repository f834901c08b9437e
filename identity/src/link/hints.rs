//! The part of a link behind `#`: addresses that make dialling possible without asking anybody (specs/drives.md, section 9).

use data_encoding::BASE32_NOPAD;

use super::LinkError;
use crate::{ByteReader, ByteWriter, CodecError, PeerAddr};

/// Most peers in the hints of a link.
pub const MAX_HINT_PEERS: usize = 3;
/// Longest hints we parse, in characters. Three peers and a relay with IPv6 addresses need 343.
const MAX_HINT_CHARS: usize = 512;

/// Addresses in a link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// Peers that hold what the link points to. Only the first [`MAX_HINT_PEERS`] are printed.
    pub peers: Vec<PeerAddr>,
    /// A relay by which the first peer can be reached.
    pub relay: Option<PeerAddr>,
}

impl Hints {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty() && self.relay.is_none()
    }

    /// Lower-case base32 (RFC 4648, no padding) of: count of peers, the peers, 0 or 1, the relay.
    pub(crate) fn to_text(&self) -> String {
        let mut out = ByteWriter::new();
        let peers = self.peers.get(..MAX_HINT_PEERS).unwrap_or(&self.peers);
        out.count(peers.len());
        for peer in peers {
            peer.write(&mut out);
        }
        out.byte(u8::from(self.relay.is_some()));
        if let Some(relay) = &self.relay {
            relay.write(&mut out);
        }
        BASE32_NOPAD.encode(&out.into_bytes()).to_ascii_lowercase()
    }

    /// Damaged hints are no hints, since a link works without them; only too long ones are an error.
    /// Bytes behind the relay are ignored: room for more.
    pub(crate) fn from_text(text: &str) -> Result<Self, LinkError> {
        if text.len() > MAX_HINT_CHARS {
            return Err(LinkError::Malformed("the part behind # is longer than 512 characters"));
        }
        let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).unwrap_or_default();
        Ok(Self::read(&bytes).unwrap_or_default())
    }

    fn read(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = ByteReader::new(bytes);
        let count = reader.count("peers", MAX_HINT_PEERS)?;
        let peers = (0..count).map(|_| PeerAddr::read(&mut reader)).collect::<Result<_, _>>()?;
        let relay = match reader.byte()? {
            0 => None,
            1 => Some(PeerAddr::read(&mut reader)?),
            _ => return Err(CodecError::BadNumber),
        };
        Ok(Self { peers, relay })
    }
}
