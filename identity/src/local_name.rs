//! Names of files as a file system can hold them, and back (specs/drives.md, 14.3).
//!
//! A stored name is NFC UTF-8 of 1 to 255 bytes. Where a file system cannot hold it, it is written as an *escape*: bad
//! bytes as `%XX` (and `%` itself as `%25`), and the marker `~p2p` before the extension or at the end: `a:b.txt` becomes
//! `a%3Ab~p2p.txt`. An escape says by itself what it stands for. A stored name that looks like an escape is escaped once
//! more, so no two stored names are one on disk. The same escape stands for names on disk that no drive can hold.
//!
//! Only what becomes too long by it is *cut*: a beginning, `%~`, 16 hex digits of its hash, the marker. What a cut name
//! stands for must be remembered.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Longest stored name, in bytes.
pub const MAX_STORED_NAME_BYTES: usize = 255;
/// What tells an escape from other names.
const MARKER: &str = "~p2p";
/// What tells a cut name from an escape: no escape has a `%` without two digits behind it.
const CUT: &str = "%~";
/// Hex digits of the hash in a cut name.
const CUT_DIGITS: usize = 16;
/// Longest extension that stays at the end, in bytes.
const MAX_EXTENSION_BYTES: usize = 16;
/// Least room for a name that any file system gives, in bytes; what says less is not believed.
const LEAST_NAME_BYTES: usize = 64;

/// Characters of which a file system can make names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameText {
    /// All of Unicode.
    Any,
    /// Those below U+10000.
    Basic,
    /// ASCII.
    Ascii,
}

/// What names a folder can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRules {
    /// One bit for each ASCII character that no name may have, besides NUL and `/`.
    pub refused: u128,
    /// Whether a name may not end in a dot or a space.
    pub refuses_ends: bool,
    /// Whether `CON` and its like are devices, with any extension.
    pub has_devices: bool,
    /// Whether `README` and `readme` are one file.
    pub folds_case: bool,
    /// Characters of which names can be.
    pub text: NameText,
    /// Longest name, in bytes.
    pub max_bytes: usize,
}

impl NameRules {
    /// What Linux's own file systems hold: everything.
    pub const UNIX: Self = Self {
        refused: 0,
        refuses_ends: false,
        has_devices: false,
        folds_case: false,
        text: NameText::Any,
        max_bytes: 255,
    };

    /// What Windows holds.
    pub fn windows() -> Self {
        let controls = (1..32).map(|code| 1_u128 << code).sum::<u128>();
        let refused = b"<>:\"|?*\\".iter().map(|byte| 1_u128 << byte).sum::<u128>() | controls;
        Self { refused, refuses_ends: true, has_devices: true, folds_case: true, text: NameText::Any, max_bytes: 255 }
    }

    fn refuses(&self, character: char) -> bool {
        match u32::from(character) {
            code @ 0..128 => self.refused >> code & 1 == 1,
            code => match self.text {
                NameText::Any => false,
                NameText::Basic => code >= 0x1_0000,
                NameText::Ascii => true,
            },
        }
    }

    fn room(&self) -> usize {
        self.max_bytes.clamp(LEAST_NAME_BYTES, MAX_STORED_NAME_BYTES)
    }
}

/// The name on disk of a stored name.
///
/// For any rules: different stored names give different names, never `.`, `..`, nothing or one with a separator, and never
/// one longer than the rules allow (and that is at least 64 bytes). Where `rules.folds_case`, two of them may still differ in
/// case only: then one is [`case_apart`].
pub fn local_name<'a>(stored: &'a str, rules: &NameRules) -> Cow<'a, str> {
    let is_last = |at: usize, character: char| at + character.len_utf8() == stored.len();
    let is_device = rules.has_devices && is_device(stored);
    let is_bad = |at: usize, character: char| {
        rules.refuses(character)
            || rules.refuses_ends && matches!(character, '.' | ' ') && is_last(at, character)
            || is_device && at == 0
    };
    let is_fine = stored.len() <= rules.room()
        && !looks_escaped(stored, rules)
        && !stored.char_indices().any(|(at, character)| is_bad(at, character));
    if is_fine {
        return Cow::Borrowed(stored);
    }
    fitting(stored, escaped(stored, is_bad), rules)
}

/// The name on disk of a stored name where another that differs from it in case only has the plain one. What this gives
/// for different stored names differs in more than case.
pub fn case_apart(stored: &str, rules: &NameRules) -> String {
    let is_device = rules.has_devices && is_device(stored);
    let is_bad = |at: usize, character: char| {
        rules.refuses(character)
            || matches!(character, '.' | ' ') && at + character.len_utf8() == stored.len()
            || is_device && at == 0
            || !folded_char(character).eq([character])
    };
    fitting(stored, escaped(stored, is_bad), rules).into_owned()
}

/// The stored name of a name on disk, whatever its bytes; longer than a stored name may be where the name on disk is all
/// bytes that no drive can hold. Names in other Unicode forms come in NFC. For every stored name and all rules
/// `stored_name(local_name(name)) == name`, but for names that were cut.
pub fn stored_name(local: &[u8]) -> String {
    match std::str::from_utf8(local) {
        Ok(text) if !text.bytes().any(|byte| matches!(byte, 0 | 1)) => {
            let text: Cow<'_, str> = if is_nfc(text) { text.into() } else { text.nfc().collect::<String>().into() };
            unescaped(&text).unwrap_or_else(|| text.into_owned())
        }
        _ => {
            let whole = escaped_bytes(local, |character| matches!(character, '\0' | '\u{1}'));
            // Beside what was escaped, or within, there may be text in another form.
            if is_nfc(&whole) { whole } else { escaped_bytes(local, |c| !c.is_ascii() || matches!(c, '\0' | '\u{1}')) }
        }
    }
}

/// The bytes on disk for which a stored name stands that no drive could hold as they are.
pub fn foreign_bytes(stored: &str) -> Option<Vec<u8>> {
    let bytes = escaped_part(stored).and_then(|part| percent_decoded(&part))?;
    let is_whole = std::str::from_utf8(&bytes).is_ok_and(|text| !text.bytes().any(|byte| matches!(byte, 0 | 1)));
    let is_name = !bytes.is_empty() && !bytes.iter().any(|byte| matches!(byte, 0 | b'/'));
    (!is_whole && is_name).then_some(bytes)
}

/// Whether a name on disk was cut, so that it does not say what it stands for.
pub fn is_cut_name(name: &str) -> bool {
    let (stem, _) = split_extension(name);
    let digits = stem.strip_suffix(MARKER).and_then(|part| part.rfind(CUT).and_then(|at| part.get(at + CUT.len()..)));
    digits.is_some_and(|digits| digits.len() == CUT_DIGITS && digits.bytes().all(is_lower_hex))
}

/// Whether no file system that is known would hold the name otherwise: nothing need be asked for it.
pub fn is_plain_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+ ,()=@#!&'[]{}^$;".contains(&byte);
    name.len() <= LEAST_NAME_BYTES && name.bytes().all(is_plain) && !name.ends_with(['.', ' ']) && !is_device(name)
}

/// Names that differ in case only become one by this, in whatever way a file system compares them; perhaps a few more do.
pub fn folded_name(name: &str) -> String {
    name.chars().flat_map(folded_char).nfc().collect()
}

fn folded_char(character: char) -> impl Iterator<Item = char> {
    character.to_uppercase().flat_map(char::to_lowercase)
}

/// Whether `name` on disk would be taken for an escape or a cut name, also by who does not look at case.
fn looks_escaped(name: &str, rules: &NameRules) -> bool {
    if rules.folds_case {
        let (stem, _) = split_extension(name);
        return stem.len() >= MARKER.len()
            && stem.is_char_boundary(stem.len() - MARKER.len())
            && stem.get(stem.len() - MARKER.len()..).is_some_and(|end| end.eq_ignore_ascii_case(MARKER));
    }
    unescaped(name).is_some() || is_cut_name(name)
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end_matches(' ');
    let upper = stem.to_ascii_uppercase();
    match upper.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$" => true,
        _ => {
            let number = upper.strip_prefix("COM").or_else(|| upper.strip_prefix("LPT"));
            number.is_some_and(|number| {
                let mut digits = number.chars();
                let is_digit = digits.next().is_some_and(|digit| matches!(digit, '0'..='9' | '¹' | '²' | '³'));
                is_digit && digits.next().is_none()
            })
        }
    }
}

/// The escape, or what is cut of it.
fn fitting<'a>(stored: &str, escape: String, rules: &NameRules) -> Cow<'a, str> {
    if escape.len() <= rules.room() {
        return escape.into();
    }
    let part = escaped_part(&escape).unwrap_or_else(|| escape.clone());
    let (stem, extension) = split_extension(&part);
    let hash = blake3::hash(stored.as_bytes()).to_hex();
    let tail = format!("{CUT}{}{MARKER}{extension}", hash.as_str().get(..CUT_DIGITS).unwrap_or_default());
    let mut end = rules.room().saturating_sub(tail.len()).min(stem.len());
    // Neither a character nor an escaped byte is cut in two.
    while !stem.is_char_boundary(end)
        || (1..3).any(|back| end >= back && stem.as_bytes().get(end - back) == Some(&b'%'))
    {
        end -= 1;
    }
    format!("{}{tail}", stem.get(..end).unwrap_or_default()).into()
}

/// A name with its bad characters, and `%`, as bytes in hex, and the marker.
fn escaped(name: &str, is_bad: impl Fn(usize, char) -> bool) -> String {
    let mut part = String::with_capacity(name.len() + 8);
    for (at, character) in name.char_indices() {
        if character == '%' || is_bad(at, character) {
            push_bytes(&mut part, character.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            part.push(character);
        }
    }
    marked(&part)
}

/// As [`escaped`], of bytes that need not be text.
fn escaped_bytes(bytes: &[u8], is_bad: impl Fn(char) -> bool) -> String {
    let mut part = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '%' || is_bad(character) {
                push_bytes(&mut part, character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                part.push(character);
            }
        }
        push_bytes(&mut part, chunk.invalid());
    }
    marked(&part)
}

fn push_bytes(to: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        to.push('%');
        for digit in [byte >> 4, byte & 15] {
            to.push(DIGITS.get(usize::from(digit)).map_or('0', |digit| char::from(*digit)));
        }
    }
}

/// Puts the marker in its place.
fn marked(part: &str) -> String {
    let (stem, extension) = split_extension(part);
    format!("{stem}{MARKER}{extension}")
}

/// The stored name that an escape stands for; `None` if it is none, or stands for what no drive can hold.
fn unescaped(name: &str) -> Option<String> {
    let bytes = percent_decoded(&escaped_part(name)?)?;
    String::from_utf8(bytes).ok().filter(|text| is_stored(text))
}

/// An escape without its marker, which must be where it belongs.
fn escaped_part(name: &str) -> Option<String> {
    let (stem, extension) = split_extension(name);
    let part = format!("{}{extension}", stem.strip_suffix(MARKER)?);
    (marked(&part) == name).then_some(part)
}

fn percent_decoded(part: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_at_checked(2)?;
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'A'..=b'F' => Some(byte - b'A' + 10),
            _ => None,
        };
        let [high, low] = digits else { return None };
        bytes.push(digit(*high)? << 4 | digit(*low)?);
        rest = after;
    }
    Some(bytes)
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// A name and its extension with the dot: of letters and digits, and with something before it.
fn split_extension(name: &str) -> (&str, &str) {
    let Some(at) = name.rfind('.').filter(|at| *at > 0) else { return (name, "") };
    let (stem, extension) = name.split_at(at);
    let is_one = (2..=MAX_EXTENSION_BYTES + 1).contains(&extension.len())
        && extension.bytes().skip(1).all(|byte| byte.is_ascii_alphanumeric());
    if is_one { (stem, extension) } else { (name, "") }
}

fn is_stored(name: &str) -> bool {
    (1..=MAX_STORED_NAME_BYTES).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.bytes().any(|byte| matches!(byte, 0 | 1 | b'/'))
        && is_nfc(name)
}

#[cfg(test)]
mod tests;
