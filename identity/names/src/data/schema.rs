//! DNS types that are a plain row of fields: one table says how each is read and written.

use data_encoding::BASE64;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    dns_name,
    text::{Style, Token, hex_of, quote},
};
use crate::RecordType;

/// A part of a record's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    U8,
    U16,
    U32,
    /// 32 bits of seconds, in text also as `1d12h`.
    Seconds,
    Ip4,
    Ip6,
    Name,
    /// A length byte and that many bytes.
    Short,
    /// As [`Field::Short`], letters and digits only, written without quotes.
    Word,
    /// All that is left, as one quoted text.
    Quoted,
    /// All that is left, at least one byte.
    Hex,
    /// All that is left, at least one byte.
    Base64,
}

/// The fields of a type, and how to describe its values to people.
fn fields(record_type: RecordType) -> Option<(&'static [Field], &'static str)> {
    use Field::{Base64, Hex, Ip4, Ip6, Name, Quoted, Seconds, Short, U8, U16, U32, Word};
    Some(match record_type {
        RecordType::A => (&[Ip4], "an IPv4 address"),
        RecordType::AAAA => (&[Ip6], "an IPv6 address"),
        RecordType::NS | RecordType::CNAME | RecordType::PTR | RecordType::DNAME => (&[Name], "a name"),
        RecordType::SOA => (
            &[Name, Name, U32, Seconds, Seconds, Seconds, Seconds],
            "SERVER MAILBOX SERIAL REFRESH RETRY EXPIRE MINIMUM",
        ),
        RecordType::HINFO => (&[Short, Short], "CPU SYSTEM"),
        RecordType::MX => (&[U16, Name], "PREFERENCE HOST"),
        RecordType::RP => (&[Name, Name], "MAILBOX TXT-NAME"),
        RecordType::SRV => (&[U16, U16, U16, Name], "PRIORITY WEIGHT PORT HOST"),
        RecordType::NAPTR => {
            (&[U16, U16, Short, Short, Short, Name], "ORDER PREFERENCE FLAGS SERVICES REGEXP REPLACEMENT")
        }
        RecordType::CERT => (&[U16, U16, U8, Base64], "TYPE KEY-TAG ALGORITHM BASE64"),
        RecordType::DS | RecordType::CDS => (&[U16, U8, U8, Hex], "KEY-TAG ALGORITHM DIGEST-TYPE HEX"),
        RecordType::SSHFP => (&[U8, U8, Hex], "ALGORITHM HASH HEX"),
        RecordType::DNSKEY | RecordType::CDNSKEY => (&[U16, U8, U8, Base64], "FLAGS 3 ALGORITHM BASE64"),
        RecordType::TLSA | RecordType::SMIMEA => (&[U8, U8, U8, Hex], "USAGE SELECTOR MATCHING HEX"),
        RecordType::OPENPGPKEY => (&[Base64], "BASE64"),
        RecordType::URI => (&[U16, U16, Quoted], "PRIORITY WEIGHT \"URI\""),
        RecordType::CAA => (&[U8, Word, Quoted], "FLAGS issue|issuewild|iodef \"VALUE\""),
        _ => return None,
    })
}

pub(super) fn expected(record_type: RecordType) -> Option<&'static str> {
    fields(record_type).map(|(_, expected)| expected)
}

/// Each field before the last is one word, so a field's place is that of its word.
pub(super) fn is_name_at(record_type: RecordType, at: usize) -> bool {
    fields(record_type).is_some_and(|(fields, _)| fields.get(at) == Some(&Field::Name))
}

/// The text, if the bytes are exactly the fields of the type.
pub(super) fn to_text(record_type: RecordType, data: &[u8], style: Style) -> Option<String> {
    let (fields, _) = fields(record_type)?;
    let (mut words, mut rest) = (Vec::with_capacity(fields.len()), data);
    for field in fields {
        let (word, behind) = field.read(rest, style)?;
        words.push(word);
        rest = behind;
    }
    rest.is_empty().then(|| words.join(" "))
}

pub(super) fn from_tokens(record_type: RecordType, tokens: &[Token<'_>]) -> Result<Vec<u8>, &'static str> {
    let (fields, _) = fields(record_type).ok_or("this type has no text form here")?;
    let (mut out, mut rest) = (Vec::new(), tokens);
    for field in fields {
        rest = field.write(rest, &mut out)?;
    }
    if rest.is_empty() { Ok(out) } else { Err("there is more text than the type takes") }
}

impl Field {
    fn read(self, bytes: &[u8], style: Style) -> Option<(String, &[u8])> {
        Some(match self {
            Self::U8 => bytes.split_first().map(|(value, rest)| (value.to_string(), rest))?,
            Self::U16 => read_array(bytes, |value| u16::from_be_bytes(value).to_string())?,
            Self::U32 | Self::Seconds => read_array(bytes, |value| u32::from_be_bytes(value).to_string())?,
            Self::Ip4 => read_array(bytes, |value: [u8; 4]| Ipv4Addr::from(value).to_string())?,
            Self::Ip6 => read_array(bytes, |value: [u8; 16]| Ipv6Addr::from(value).to_string())?,
            Self::Name => {
                let (labels, rest) = dns_name::read(bytes)?;
                (dns_name::to_text(&labels, style), rest)
            }
            Self::Short => {
                let (text, rest) = read_short(bytes)?;
                (quote(text), rest)
            }
            Self::Word => {
                let (text, rest) = read_short(bytes)?;
                (word(text)?.to_owned(), rest)
            }
            Self::Quoted => (quote(bytes), &[]),
            Self::Hex if !bytes.is_empty() => (data_encoding::HEXLOWER.encode(bytes), &[]),
            Self::Base64 if !bytes.is_empty() => (BASE64.encode(bytes), &[]),
            Self::Hex | Self::Base64 => return None,
        })
    }

    fn write<'a, 'b>(self, tokens: &'a [Token<'b>], out: &mut Vec<u8>) -> Result<&'a [Token<'b>], &'static str> {
        let (first, rest) = tokens.split_first().ok_or("a part is missing")?;
        match self {
            Self::U8 => out.push(first.number()?),
            Self::U16 => out.extend(first.number::<u16>()?.to_be_bytes()),
            Self::U32 => out.extend(first.number::<u32>()?.to_be_bytes()),
            Self::Seconds => out.extend(seconds(first.raw).ok_or("not a number of seconds")?.to_be_bytes()),
            Self::Ip4 => out.extend(first.raw.parse::<Ipv4Addr>().map_err(|_| "not an IPv4 address")?.octets()),
            Self::Ip6 => out.extend(first.raw.parse::<Ipv6Addr>().map_err(|_| "not an IPv6 address")?.octets()),
            Self::Name => out.extend(dns_name::from_text(first.raw)?),
            Self::Short => write_short(&first.bytes()?, out)?,
            Self::Word => {
                write_short(word(first.raw.as_bytes()).ok_or("a word has letters and digits")?.as_bytes(), out)?
            }
            Self::Quoted if rest.is_empty() => out.extend(first.bytes()?),
            Self::Quoted => return Err("the last part must be one text, in quotes if it has spaces"),
            Self::Hex => return write_rest(hex_of(tokens)?, out),
            Self::Base64 => {
                let text: String = tokens.iter().map(|token| token.raw).collect();
                return write_rest(BASE64.decode(text.as_bytes()).map_err(|_| "not Base64")?, out);
            }
        }
        Ok(rest)
    }
}

fn read_array<const N: usize>(bytes: &[u8], show: impl Fn([u8; N]) -> String) -> Option<(String, &[u8])> {
    bytes.split_first_chunk::<N>().map(|(value, rest)| (show(*value), rest))
}

fn read_short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*len))
}

fn write_short(text: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    out.push(u8::try_from(text.len()).map_err(|_| "a part has at most 255 bytes")?);
    out.extend_from_slice(text);
    Ok(())
}

fn write_rest<'a, 'b>(bytes: Vec<u8>, out: &mut Vec<u8>) -> Result<&'a [Token<'b>], &'static str> {
    if bytes.is_empty() {
        return Err("the last part is empty");
    }
    out.extend(bytes);
    Ok(&[])
}

fn word(bytes: &[u8]) -> Option<&str> {
    let good = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_alphanumeric);
    std::str::from_utf8(bytes).ok().filter(|_| good)
}

/// Seconds as a number, or with the units of BIND: `1w2d3h4m5s`.
pub(crate) fn seconds(text: &str) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    let (mut total, mut number) = (0u32, None::<u32>);
    for c in text.chars() {
        if let Some(digit) = c.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
            continue;
        }
        let unit = match c.to_ascii_lowercase() {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    total.checked_add(number.unwrap_or(0))
}
