//! P2PPUSH: a push subscription (specs/names.md, 13.4).

use std::fmt;

use data_encoding::HEXLOWER;
use p2p_identity::PeerId;

use super::{
    multiaddr,
    peer::{peer_from_bytes, peer_to_bytes},
    tagged,
};
use crate::{Timestamp, base32gns_encode};

const RECEIVE_KEY: u8 = 0x01;
const ROOT_KEY: u8 = 0x02;
const EPOCH: u8 = 0x03;
const TOPIC_KEY: u8 = 0x04;
const MAILBOX: u8 = 0x05;
const END: u8 = 0x06;
const QUOTA: u8 = 0x07;
const WORK: u8 = 0x08;
const REVOKED: u8 = 0x09;
const PEER: u8 = 0x81;
/// Most mailboxes in a record.
const MAX_MAILBOXES: usize = 8;
/// Most revoked capability blocks in a record.
const MAX_REVOKED: usize = 64;

/// Where messages of a subscription are left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// The slot at that peer.
    pub slot: [u8; 16],
    /// The peer.
    pub peer: PeerId,
    /// Where to dial it: binary multiaddrs of at most 255 bytes.
    pub addresses: Vec<Vec<u8>>,
}

/// The contents of a P2PPUSH record.
#[derive(Clone, PartialEq, Eq)]
pub struct PushRecord {
    /// X25519 public key for HPKE.
    pub receive_key: [u8; 32],
    /// Root key of the subscription's capabilities, Ed25519.
    pub root_key: [u8; 32],
    /// Capabilities of a smaller epoch are void.
    pub epoch: u32,
    /// For the topic tag; never given to mailboxes, never printed.
    pub topic_key: [u8; 32],
    /// One to eight, in order of preference.
    pub mailboxes: Vec<Mailbox>,
    /// End of the subscription.
    pub end: Option<Timestamp>,
    /// Messages and bytes per slot.
    pub quota: Option<(u32, u32)>,
    /// Minimal proof of work, in bits.
    pub work_bits: Option<u8>,
    /// Revoked capability blocks, at most 64.
    pub revoked: Vec<[u8; 16]>,
    /// The receiver, for direct delivery.
    pub peer: Option<PeerId>,
}

impl PushRecord {
    /// Reads the data of a record; `None` when it is unusable.
    pub fn from_data(data: &[u8]) -> Option<Self> {
        let known = [
            (RECEIVE_KEY, 1),
            (ROOT_KEY, 1),
            (EPOCH, 1),
            (TOPIC_KEY, 1),
            (MAILBOX, MAX_MAILBOXES),
            (END, 1),
            (QUOTA, 1),
            (WORK, 1),
            (REVOKED, 1),
            (PEER, 1),
        ];
        let fields = tagged::read(data, &known)?;
        let find = |tag| fields.iter().find(|(found, _)| *found == tag).map(|(_, value)| *value);
        let mailboxes: Vec<_> = fields
            .iter()
            .filter(|(tag, _)| *tag == MAILBOX)
            .map(|(_, value)| mailbox_from_bytes(value))
            .collect::<Option<_>>()?;
        Some(Self {
            receive_key: find(RECEIVE_KEY)?.try_into().ok()?,
            root_key: find(ROOT_KEY)?.try_into().ok()?,
            epoch: u32::from_be_bytes(find(EPOCH)?.try_into().ok()?),
            topic_key: find(TOPIC_KEY)?.try_into().ok()?,
            mailboxes: Some(mailboxes).filter(|mailboxes| !mailboxes.is_empty())?,
            end: optional(find(END), |value| Some(Timestamp::from_micros(u64::from_be_bytes(value.try_into().ok()?))))?,
            quota: optional(find(QUOTA), quota_from_bytes)?,
            work_bits: optional(find(WORK), |value| <[u8; 1]>::try_from(value).ok().map(|[bits]| bits))?,
            revoked: optional(find(REVOKED), revoked_from_bytes)?.unwrap_or_default(),
            peer: optional(find(PEER), peer_from_bytes)?,
        })
    }

    /// The data of the record.
    pub fn to_data(&self) -> Vec<u8> {
        let mut out = tagged::Writer::new();
        out.field(RECEIVE_KEY, &self.receive_key);
        out.field(ROOT_KEY, &self.root_key);
        out.field(EPOCH, &self.epoch.to_be_bytes());
        out.field(TOPIC_KEY, &self.topic_key);
        for mailbox in &self.mailboxes {
            out.field(MAILBOX, &mailbox_to_bytes(mailbox));
        }
        if let Some(end) = self.end {
            out.field(END, &end.as_micros().to_be_bytes());
        }
        if let Some((messages, bytes)) = self.quota {
            out.field(QUOTA, &[messages.to_be_bytes(), bytes.to_be_bytes()].concat());
        }
        if let Some(bits) = self.work_bits {
            out.field(WORK, &[bits]);
        }
        if !self.revoked.is_empty() {
            out.field(REVOKED, &self.revoked.concat());
        }
        if let Some(peer) = &self.peer {
            out.field(PEER, &peer_to_bytes(peer));
        }
        out.finish()
    }

    /// The text for the owner's list. It leaves the topic key out, so it cannot be read back.
    pub(super) fn to_text(&self) -> Option<String> {
        let mut words = vec![
            format!("key={}", base32gns_encode(&self.receive_key)),
            format!("root={}", base32gns_encode(&self.root_key)),
            format!("epoch={}", self.epoch),
        ];
        for mailbox in &self.mailboxes {
            let mut word = format!("mailbox={},{}", mailbox.peer, HEXLOWER.encode(&mailbox.slot));
            for address in &mailbox.addresses {
                word.push(',');
                word.push_str(&multiaddr::to_text(address)?);
            }
            words.push(word);
        }
        words.extend(self.end.map(|end| format!("expires={end}")));
        words.extend(self.quota.map(|(messages, bytes)| format!("quota={messages},{bytes}")));
        words.extend(self.work_bits.map(|bits| format!("pow={bits}")));
        Some(words.join(" "))
    }
}

/// The topic key stays out.
impl fmt::Debug for PushRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushRecord")
            .field("epoch", &self.epoch)
            .field("mailboxes", &self.mailboxes)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// `Some(None)` for a field that is not there, `None` for one that is wrong.
#[expect(clippy::option_option, reason = "a field may be absent, and the record may be unusable")]
fn optional<'a, T>(value: Option<&'a [u8]>, read: impl Fn(&'a [u8]) -> Option<T>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(value) => read(value).map(Some),
    }
}

fn quota_from_bytes(bytes: &[u8]) -> Option<(u32, u32)> {
    let (messages, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*messages), u32::from_be_bytes(rest.try_into().ok()?)))
}

fn revoked_from_bytes(bytes: &[u8]) -> Option<Vec<[u8; 16]>> {
    let (blocks, rest) = bytes.as_chunks::<16>();
    ((1..=MAX_REVOKED).contains(&blocks.len()) && rest.is_empty()).then(|| blocks.to_vec())
}

/// Slot (16), u8 length and peer id, then any number of u8 length and multiaddr.
fn mailbox_from_bytes(bytes: &[u8]) -> Option<Mailbox> {
    let (slot, rest) = bytes.split_first_chunk::<16>()?;
    let (peer, mut rest) = take_counted(rest)?;
    let mut addresses = Vec::new();
    while !rest.is_empty() {
        let (address, behind) = take_counted(rest)?;
        addresses.push(address.to_vec());
        rest = behind;
    }
    Some(Mailbox { slot: *slot, peer: peer_from_bytes(peer)?, addresses })
}

fn mailbox_to_bytes(mailbox: &Mailbox) -> Vec<u8> {
    let mut out = mailbox.slot.to_vec();
    let peer = peer_to_bytes(&mailbox.peer);
    for part in std::iter::once(&peer).chain(&mailbox.addresses) {
        // A longer address cannot be said; a mailbox is still found by its peer id.
        if let Ok(len) = u8::try_from(part.len()) {
            out.push(len);
            out.extend_from_slice(part);
        }
    }
    out
}

fn take_counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*len))
}
