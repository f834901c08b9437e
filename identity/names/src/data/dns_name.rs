//! DNS names inside records: uncompressed on the wire, dotted in text (RFC 1035, sections 3.1 and 5.1).

use std::fmt::Write;

use super::text::{Style, escaped_byte};
use crate::label::dns_ascii;

/// Longest name on the wire, with its length bytes and the root.
const MAX_WIRE_BYTES: usize = 255;
/// Longest label.
const MAX_DNS_LABEL_BYTES: usize = 63;

/// Reads a name from the front; what follows it comes back too. Compression pointers are refused: there is no message
/// that they could point into.
pub(super) fn read(bytes: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let (mut labels, mut rest, mut total) = (Vec::new(), bytes, 1);
    loop {
        let (len, behind) = rest.split_first()?;
        if *len == 0 {
            return Some((labels, behind));
        }
        let len = usize::from(*len);
        total += len + 1;
        if len > MAX_DNS_LABEL_BYTES || total > MAX_WIRE_BYTES {
            return None;
        }
        let (label, behind) = behind.split_at_checked(len)?;
        labels.push(label);
        rest = behind;
    }
}

/// The dotted text, ASCII only, every other byte escaped.
pub(super) fn to_text(labels: &[&[u8]], style: Style) -> String {
    if labels.is_empty() {
        return ".".to_owned();
    }
    let mut out = String::new();
    for (index, label) in labels.iter().enumerate() {
        if index > 0 {
            out.push('.');
        }
        for byte in *label {
            match byte {
                b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => out.extend(['\\', char::from(*byte)]),
                0x21..=0x7e => out.push(char::from(*byte)),
                _ => {
                    let _ = write!(out, "\\{byte:03}");
                }
            }
        }
    }
    if style == Style::Master {
        out.push('.');
    }
    out
}

/// The wire form of a dotted text. Letters beyond ASCII become A-labels, as GNUnet writes them.
pub(super) fn from_text(text: &str) -> Result<Vec<u8>, &'static str> {
    if text == "." {
        return Ok(vec![0]);
    }
    let ascii = if text.is_ascii() { text.to_owned() } else { dns_ascii(text).map_err(|_| "not a DNS name")? };
    let (mut out, mut label) = (Vec::new(), Vec::new());
    let mut bytes = ascii.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'.' => push_label(&mut out, &mut label)?,
            b'\\' => label.push(escaped_byte(&mut bytes)?),
            _ => label.push(byte),
        }
        if out.len() + label.len() > MAX_WIRE_BYTES {
            return Err("a DNS name has at most 255 bytes");
        }
    }
    // A dot at the end closed the last label already.
    if !label.is_empty() || out.is_empty() {
        push_label(&mut out, &mut label)?;
    }
    out.push(0);
    if out.len() > MAX_WIRE_BYTES { Err("a DNS name has at most 255 bytes") } else { Ok(out) }
}

fn push_label(out: &mut Vec<u8>, label: &mut Vec<u8>) -> Result<(), &'static str> {
    if label.is_empty() {
        return Err("a label of a DNS name is empty");
    }
    let len = u8::try_from(label.len()).ok().filter(|len| usize::from(*len) <= MAX_DNS_LABEL_BYTES);
    out.push(len.ok_or("a label of a DNS name has at most 63 bytes")?);
    out.append(label);
    Ok(())
}
