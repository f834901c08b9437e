//! Words, quotes and escapes of the master file format (RFC 1035, section 5.1).

use std::fmt::Write;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

/// Where a value is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// One value on a command line or in an answer: texts stand bare, names have no dot at the end.
    Value,
    /// A field of a master file.
    Master,
}

/// One word or quoted string. Escapes are still in it, because a name treats `\.` in a way of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) raw: &'a str,
    pub(crate) quoted: bool,
}

impl Token<'_> {
    /// The bytes it stands for.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, &'static str> {
        unescape(self.raw)
    }

    /// The bytes as text.
    pub(crate) fn text(&self) -> Result<String, &'static str> {
        String::from_utf8(self.bytes()?).map_err(|_| "a text is not UTF-8")
    }

    pub(crate) fn number<T: std::str::FromStr>(&self) -> Result<T, &'static str> {
        // `parse` takes a plus sign, which no zone file has.
        if self.raw.is_empty() || !self.raw.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("a number is missing");
        }
        self.raw.parse().map_err(|_| "a number is too large")
    }
}

/// Splits at white space, outside quotes.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token<'_>>, &'static str> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (token, behind) = next_token(rest)?;
        found.push(token);
        rest = behind.trim_start();
    }
    Ok(found)
}

fn next_token(text: &str) -> Result<(Token<'_>, &str), &'static str> {
    let quoted = text.strip_prefix('"');
    let body = quoted.unwrap_or(text);
    // A word may have a quoted part, as in `alpn="h2,h3"`: white space in there does not end it.
    let (mut escaped, mut in_quotes) = (false, false);
    for (at, c) in body.char_indices() {
        let (raw, behind) = body.split_at(at);
        if std::mem::take(&mut escaped) {
            continue;
        }
        match c {
            '\\' => escaped = true,
            '"' if quoted.is_some() => return Ok((Token { raw, quoted: true }, behind.get(1..).unwrap_or_default())),
            '"' => in_quotes = !in_quotes,
            c if c.is_whitespace() && quoted.is_none() && !in_quotes => {
                return Ok((Token { raw, quoted: false }, behind));
            }
            _ => {}
        }
    }
    if quoted.is_some() || in_quotes {
        return Err("a quoted text does not end");
    }
    Ok((Token { raw: body, quoted: false }, ""))
}

/// Resolves `\c` and `\ddd`.
pub(crate) fn unescape(raw: &str) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        out.push(if byte == b'\\' { escaped_byte(&mut bytes)? } else { byte });
    }
    Ok(out)
}

/// The byte behind a backslash: a character as it is, or three decimal digits.
pub(super) fn escaped_byte(bytes: &mut std::str::Bytes<'_>) -> Result<u8, &'static str> {
    let first = bytes.next().ok_or("nothing follows a backslash")?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit).ok_or("a backslash needs three digits")?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| "a backslash number is above 255")
}

/// A word without white space: what a master file would take for something else is escaped.
pub(crate) fn escape_word(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    for c in word.chars() {
        match c {
            '"' | '\\' | ';' | '(' | ')' | '@' | '$' | '.' => out.extend(['\\', c]),
            c if c.is_whitespace() || c.is_control() => escape_bytes(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes()),
            c => out.push(c),
        }
    }
    out
}

/// In quotes, with escapes where needed. UTF-8 text stays readable.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                c if c.is_control() => escape_bytes(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => out.push(c),
            }
        }
        escape_bytes(&mut out, chunk.invalid());
    }
    out.push('"');
    out
}

fn escape_bytes(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "\\{byte:03}");
    }
}

/// Whether a text can stand without quotes and is read back as it is.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && !text.starts_with(['"', '\\']) && !text.chars().any(char::is_control)
}

/// TXT: all bytes, bare where that reads back the same.
pub(super) fn free_text(data: &[u8], style: Style) -> String {
    match std::str::from_utf8(data) {
        Ok(text) if style == Style::Value && is_plain(text) => text.to_owned(),
        _ => quote(data),
    }
}

/// A text without escapes of its own, in quotes where a master file needs them.
pub(super) fn styled(value: &str, style: Style) -> String {
    let bare = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+:@/=".contains(&byte));
    if style == Style::Value || (bare && !value.is_empty()) { value.to_owned() } else { quote(value.as_bytes()) }
}

/// All strings of a TXT, joined: GNS keeps one text without length bytes.
pub(super) fn joined_text(tokens: &[Token<'_>]) -> Result<Vec<u8>, &'static str> {
    let parts = tokens.iter().map(Token::bytes).collect::<Result<Vec<_>, _>>()?;
    if parts.is_empty() { Err("the text is missing") } else { Ok(parts.concat()) }
}

/// The one text that all tokens make, with single spaces between them.
pub(super) fn one_text(tokens: &[Token<'_>]) -> Result<String, &'static str> {
    let parts = tokens.iter().map(Token::text).collect::<Result<Vec<_>, _>>()?;
    Ok(parts.join(" "))
}

/// `\# length hex` (RFC 3597).
pub(super) fn generic(data: &[u8]) -> String {
    if data.is_empty() { "\\# 0".to_owned() } else { format!("\\# {} {}", data.len(), HEXLOWER.encode(data)) }
}

/// Reads the RFC 3597 form; `None` if the tokens are something else.
pub(super) fn read_generic(tokens: &[Token<'_>]) -> Result<Option<Vec<u8>>, &'static str> {
    let [mark, rest @ ..] = tokens else {
        return Ok(None);
    };
    if mark.quoted || mark.raw != "\\#" {
        return Ok(None);
    }
    let [len, hex @ ..] = rest else {
        return Err("the length behind \\# is missing");
    };
    let len: u16 = len.number()?;
    let data = hex_of(hex)?;
    if data.len() == usize::from(len) { Ok(Some(data)) } else { Err("the length behind \\# is wrong") }
}

pub(super) fn hex_of(tokens: &[Token<'_>]) -> Result<Vec<u8>, &'static str> {
    let digits: String = tokens.iter().map(|token| token.raw).collect();
    HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| "not hexadecimal digits")
}
