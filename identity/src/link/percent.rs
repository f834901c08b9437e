//! Percent encoding of paths in links (RFC 3986, section 2.1).

use std::fmt::Write;

/// Characters of a path that stand for themselves, beside letters and digits.
const PLAIN: &[u8] = b"-._~!$&'()*+,;=:@/";

/// Encodes a path whose components are separated by `/`.
pub(crate) fn encode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || PLAIN.contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a String does not fail");
        }
    }
    out
}

/// Decodes a path. `None` when a code is broken, the result is no UTF-8, or a code hides a `/` or NUL, which no file name has.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let (high, low) = (char::from(bytes.next()?).to_digit(16)?, char::from(bytes.next()?).to_digit(16)?);
        let byte = u8::try_from(high * 16 + low).ok()?;
        if byte == b'/' || byte == 0 {
            return None;
        }
        out.push(byte);
    }
    if out.contains(&0) {
        return None;
    }
    String::from_utf8(out).ok()
}
