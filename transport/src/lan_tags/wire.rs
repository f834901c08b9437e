//! One announcement: an mDNS answer (RFC 6762) with one TXT record, so that it passes where mDNS does and other responders
//! know what to make of it: nothing.
//!
//! The text is entries of 12 bytes: tag (8), then the TCP and the QUIC port as two u16 (big-endian), hidden with the tag's
//! mask; 0 for none. Entries of nobody fill it up, so that the number of contacts does not show.

use p2p_identity::{LAN_HIDDEN_BYTES, LAN_TAG_BYTES, LanTag};

/// Most entries of an announcement.
pub const MAX_LAN_TAGS: usize = 64;
/// The number of entries is a multiple of this.
const PADDED_TO: usize = 8;
const ENTRY_BYTES: usize = LAN_TAG_BYTES + LAN_HIDDEN_BYTES;
/// Entries in one character string, which has at most 255 bytes.
const ENTRIES_PER_STRING: usize = 21;
/// Before the length of the text: header of an answer with one record, name, type TXT, class IN, a TTL of two minutes.
const HEAD: &[u8] =
    b"\x00\x00\x84\x00\x00\x00\x00\x01\x00\x00\x00\x00\x05_p2pn\x04_udp\x05local\x00\x00\x10\x00\x01\x00\x00\x00\x78";
/// Largest announcement, in bytes.
pub(super) const MAX_BYTES: usize =
    HEAD.len() + 2 + MAX_LAN_TAGS * ENTRY_BYTES + MAX_LAN_TAGS.div_ceil(ENTRIES_PER_STRING);

/// Where the announcer listens; `None` for not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LanPorts {
    /// For TCP.
    pub tcp: Option<u16>,
    /// For QUIC, over UDP.
    pub quic: Option<u16>,
}

impl LanPorts {
    fn bytes(self) -> [u8; LAN_HIDDEN_BYTES] {
        let [a, b] = self.tcp.unwrap_or(0).to_be_bytes();
        let [c, d] = self.quic.unwrap_or(0).to_be_bytes();
        [a, b, c, d]
    }

    fn read([a, b, c, d]: [u8; LAN_HIDDEN_BYTES]) -> Self {
        let port = |bytes| Some(u16::from_be_bytes(bytes)).filter(|port| *port != 0);
        Self { tcp: port([a, b]), quic: port([c, d]) }
    }
}

/// One entry as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) tag: [u8; LAN_TAG_BYTES],
    hidden: [u8; LAN_HIDDEN_BYTES],
}

impl Entry {
    /// What it says to who knows its mask.
    pub(super) fn ports(&self, known: &LanTag) -> LanPorts {
        LanPorts::read(known.hidden(self.hidden))
    }
}

/// The bytes of an announcement with at most [`MAX_LAN_TAGS`] tags. `random` fills up the entries of nobody.
pub(super) fn encode(tags: &[LanTag], ports: LanPorts, mut random: impl FnMut(&mut [u8])) -> Vec<u8> {
    let tags = tags.get(..MAX_LAN_TAGS).unwrap_or(tags);
    let count = tags.len().next_multiple_of(PADDED_TO).clamp(PADDED_TO, MAX_LAN_TAGS);
    let mut entries: Vec<[u8; ENTRY_BYTES]> = Vec::with_capacity(count);
    for tag in tags {
        let mut entry = [0; ENTRY_BYTES];
        let (first, last) = entry.split_at_mut(LAN_TAG_BYTES);
        first.copy_from_slice(&tag.tag);
        last.copy_from_slice(&tag.hidden(ports.bytes()));
        entries.push(entry);
    }
    while entries.len() < count {
        let mut entry = [0; ENTRY_BYTES];
        random(&mut entry);
        entries.push(entry);
    }
    // In an order that says nothing about whose they are.
    entries.sort_unstable();
    let mut text = Vec::with_capacity(MAX_BYTES);
    for entries in entries.chunks(ENTRIES_PER_STRING) {
        text.push((entries.len() * ENTRY_BYTES) as u8);
        entries.iter().for_each(|entry| text.extend_from_slice(entry));
    }
    let mut packet = Vec::with_capacity(MAX_BYTES);
    packet.extend_from_slice(HEAD);
    packet.extend_from_slice(&(text.len() as u16).to_be_bytes());
    packet.extend_from_slice(&text);
    packet
}

/// The entries of an announcement; `None` for everything else that comes to the group of mDNS.
pub(super) fn decode(packet: &[u8]) -> Option<Vec<Entry>> {
    let (length, mut text) = packet.strip_prefix(HEAD)?.split_first_chunk::<2>()?;
    if packet.len() > MAX_BYTES || usize::from(u16::from_be_bytes(*length)) != text.len() {
        return None;
    }
    let mut entries = Vec::new();
    while let Some((length, rest)) = text.split_first() {
        let (string, rest) = rest.split_at_checked(usize::from(*length))?;
        let (whole, cut) = string.as_chunks::<ENTRY_BYTES>();
        if !cut.is_empty() || entries.len() + whole.len() > MAX_LAN_TAGS {
            return None;
        }
        for entry in whole {
            let (tag, hidden) = entry.split_first_chunk()?;
            entries.push(Entry { tag: *tag, hidden: *hidden.first_chunk()? });
        }
        text = rest;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use p2p_identity::IdentityId;

    use super::*;

    fn tags(count: u8) -> Vec<LanTag> {
        (0..count).map(|n| LanTag::new(&[n; 32], 5, &IdentityId::from([1; 32]))).collect()
    }

    const PORTS: LanPorts = LanPorts { tcp: Some(4001), quic: None };

    #[test]
    fn a_contact_reads_the_ports_and_the_number_of_contacts_does_not_show() {
        for (count, padded) in [(1, 8), (8, 8), (9, 16), (64, 64)] {
            let packet = encode(&tags(count), PORTS, |bytes| bytes.fill(0xee));
            assert!(packet.len() <= MAX_BYTES);
            let entries = decode(&packet).expect("an announcement");
            assert_eq!(entries.len(), padded);
            for tag in tags(count) {
                let entry = entries.iter().find(|entry| entry.tag == tag.tag).expect("it is there");
                assert_eq!(entry.ports(&tag), PORTS);
                assert_ne!(entry.hidden, PORTS.bytes(), "a port that is always the same is a name as well");
            }
        }
        assert_eq!(decode(&encode(&tags(70), PORTS, |_| {})).expect("cut").len(), MAX_LAN_TAGS);
    }

    #[test]
    fn it_is_an_answer_of_dns_with_one_text() {
        let packet = encode(&tags(30), PORTS, |bytes| bytes.fill(1));
        let (header, rest) = packet.split_at(12);
        assert_eq!(header, [0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
        assert!(rest.starts_with(b"\x05_p2pn\x04_udp\x05local\x00\x00\x10\x00\x01"));
        assert_eq!(packet.len(), HEAD.len() + 2 + 32 * ENTRY_BYTES + 2, "two strings");
    }

    #[test]
    fn any_bytes_behind_the_head_are_read_or_refused() {
        let mut hasher = blake3::Hasher::new();
        let mut read = 0;
        for n in 0..2_000u32 {
            hasher.update(&n.to_be_bytes());
            let mut noise = [0; 64];
            hasher.finalize_xof().fill(&mut noise);
            let [first, ..] = noise;
            let noise = &noise[..usize::from(first % 64)];
            let framed = [HEAD, &(noise.len() as u16).to_be_bytes(), noise].concat();
            read += usize::from(decode(&framed).is_some());
            let _ = decode(&[HEAD, noise].concat());
            assert!(decode(noise).is_none());
        }
        assert!(read > 0, "an announcement of nobody is one");
    }

    #[test]
    fn all_else_is_refused() {
        let good = encode(&tags(30), PORTS, |bytes| bytes.fill(1));
        for len in 0..good.len() {
            assert!(decode(&good[..len]).is_none(), "{len}");
        }
        let mut longer = good.clone();
        longer.push(0);
        assert!(decode(&longer).is_none());
        // Bits of the frame; those of the entries make other entries.
        for bit in 0..(HEAD.len() + 3) * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad).is_none(), "bit {bit}");
        }
        let many = [HEAD, &(4u16 * 241).to_be_bytes(), &[[240].as_slice(), &[7; 240]].concat().repeat(4)].concat();
        assert!(decode(&many).is_none(), "80 entries");
    }
}
