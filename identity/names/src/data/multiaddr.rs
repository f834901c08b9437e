//! Multiaddrs between text and bytes: the protocols that address hints use (specs/names.md, 13.2).

use std::net::{Ipv4Addr, Ipv6Addr};

use p2p_identity::PeerId;

use super::peer::{peer_from_bytes, peer_to_bytes};

/// Longest multiaddr we read, in bytes or characters.
const MAX_MULTIADDR_BYTES: usize = 512;

/// What follows the code of a protocol.
#[derive(Debug, Clone, Copy)]
enum Argument {
    None,
    Ip4,
    Ip6,
    Port,
    Memory,
    Text,
    Peer,
}

/// Protocols by their code in the multicodec table.
const PROTOCOLS: [(u32, &str, Argument); 20] = [
    (4, "ip4", Argument::Ip4),
    (6, "tcp", Argument::Port),
    (41, "ip6", Argument::Ip6),
    (42, "ip6zone", Argument::Text),
    (53, "dns", Argument::Text),
    (54, "dns4", Argument::Text),
    (55, "dns6", Argument::Text),
    (56, "dnsaddr", Argument::Text),
    (273, "udp", Argument::Port),
    (290, "p2p-circuit", Argument::None),
    (421, "p2p", Argument::Peer),
    (448, "tls", Argument::None),
    (449, "sni", Argument::Text),
    (454, "noise", Argument::None),
    (460, "quic", Argument::None),
    (461, "quic-v1", Argument::None),
    (465, "webtransport", Argument::None),
    (477, "ws", Argument::None),
    (478, "wss", Argument::None),
    (777, "memory", Argument::Memory),
];

/// The text; `None` when the bytes are cut, or a protocol is not of the table.
pub(super) fn to_text(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() || bytes.len() > MAX_MULTIADDR_BYTES {
        return None;
    }
    let (mut out, mut rest) = (String::new(), bytes);
    while !rest.is_empty() {
        let code = varint(&mut rest)?;
        let (_, name, argument) = PROTOCOLS.iter().find(|(known, ..)| *known == code)?;
        out.push('/');
        out.push_str(name);
        let value = match argument {
            Argument::None => continue,
            Argument::Ip4 => Ipv4Addr::from(take::<4>(&mut rest)?).to_string(),
            Argument::Ip6 => Ipv6Addr::from(take::<16>(&mut rest)?).to_string(),
            Argument::Port => u16::from_be_bytes(take(&mut rest)?).to_string(),
            Argument::Memory => u64::from_be_bytes(take(&mut rest)?).to_string(),
            Argument::Text => std::str::from_utf8(take_counted(&mut rest)?).ok().filter(|t| is_text(t))?.to_owned(),
            Argument::Peer => peer_from_bytes(take_counted(&mut rest)?)?.to_string(),
        };
        out.push('/');
        out.push_str(&value);
    }
    Some(out)
}

/// The bytes; `None` when a part is wrong or a protocol is not of the table.
pub(super) fn from_text(text: &str) -> Option<Vec<u8>> {
    if text.len() > MAX_MULTIADDR_BYTES {
        return None;
    }
    let mut out = Vec::new();
    let mut parts = text.strip_prefix('/')?.split('/');
    while let Some(part) = parts.next() {
        // The older name of the same protocol.
        let part = if part == "ipfs" { "p2p" } else { part };
        let (code, _, argument) = PROTOCOLS.iter().find(|(_, name, _)| *name == part)?;
        push_varint(&mut out, *code);
        if matches!(argument, Argument::None) {
            continue;
        }
        let value = parts.next()?;
        match argument {
            Argument::None => {}
            Argument::Ip4 => out.extend(value.parse::<Ipv4Addr>().ok()?.octets()),
            Argument::Ip6 => out.extend(value.parse::<Ipv6Addr>().ok()?.octets()),
            Argument::Port => out.extend(value.parse::<u16>().ok()?.to_be_bytes()),
            Argument::Memory => out.extend(value.parse::<u64>().ok()?.to_be_bytes()),
            Argument::Text => push_counted(&mut out, value.as_bytes(), is_text(value))?,
            Argument::Peer => push_counted(&mut out, &peer_to_bytes(&value.parse::<PeerId>().ok()?), true)?,
        }
    }
    (out.len() <= MAX_MULTIADDR_BYTES).then_some(out)
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c == '/' || c.is_whitespace() || c.is_control())
}

fn push_counted(out: &mut Vec<u8>, bytes: &[u8], good: bool) -> Option<()> {
    push_varint(out, u32::try_from(bytes.len()).ok().filter(|_| good)?);
    out.extend_from_slice(bytes);
    Some(())
}

fn push_varint(out: &mut Vec<u8>, mut value: u32) {
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// An unsigned LEB128 number of at most four bytes, in its shortest form.
fn varint(rest: &mut &[u8]) -> Option<u32> {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return (*byte != 0 || shift == 0).then_some(value);
        }
    }
    None
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (value, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*value)
}

fn take_counted<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(varint(rest)?).ok()?;
    let (value, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    Some(value)
}
