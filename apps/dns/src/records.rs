//! Records of names as DNS carries them.

use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::op::{Message, OpCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, NULL, PTR, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use p2p_api::NameRecord;

/// Longest time an answer is to be remembered, in seconds: names change at once where they are asked for again.
const MAX_TTL_S: u64 = 3_600;
/// Longest character string of a TXT record, in bytes.
const MAX_STRING_BYTES: usize = 255;

/// The record for DNS, if DNS can carry it.
pub(crate) fn to_dns(owner: &Name, record: &NameRecord) -> Option<Record> {
    let value = record.value.as_str();
    let data = match record.record_type.as_str() {
        "A" => RData::A(A(value.parse().ok()?)),
        "AAAA" => RData::AAAA(AAAA(value.parse().ok()?)),
        "TXT" => text(value),
        "SPF" => return bare((owner, strings(value)), RecordType::Unknown(99), ttl(record.expires)),
        "P2PDRIVE" => text(&format!("p2pdrive={value}")),
        "P2PPEER" => text(&format!("p2ppeer={value}")),
        "CNAME" => RData::CNAME(CNAME(name(value)?)),
        "NS" => RData::NS(NS(name(value)?)),
        "PTR" => RData::PTR(PTR(name(value)?)),
        "MX" => {
            let mut words = value.split_whitespace();
            RData::MX(MX::new(words.next()?.parse().ok()?, name(words.next()?)?))
        }
        "SRV" => {
            let mut words = value.split_whitespace();
            let mut number = || words.next()?.parse::<u16>().ok();
            let (priority, weight, port) = (number()?, number()?, number()?);
            RData::SRV(SRV::new(priority, weight, port, name(words.next()?)?))
        }
        other => {
            let owner_and_data = (owner, data(&record.data)?);
            return bare(owner_and_data, number(other)?, ttl(record.expires));
        }
    };
    Some(Record::from_rdata(owner.clone(), ttl(record.expires), data))
}

/// A record of any other type, whose bytes are those of DNS. What is known to be none of its type is left out: the zone is a
/// stranger's, and the asker may be less careful.
fn bare((owner, data): (&Name, Vec<u8>), kind: RecordType, ttl: u32) -> Option<Record> {
    let record = Record::from_rdata(owner.clone(), ttl, RData::Unknown { code: kind, rdata: NULL::with(data) });
    let mut message = Message::response(0, OpCode::Query);
    message.add_answer(record.clone());
    let read = Message::from_vec(&message.to_vec().ok()?).ok()?;
    (read.answers.len() == 1).then_some(record)
}

fn data(hex: &str) -> Option<Vec<u8>> {
    if hex.is_empty() || !hex.is_ascii() || !hex.len().is_multiple_of(2) {
        return None;
    }
    hex.as_bytes().chunks(2).map(|byte| u8::from_str_radix(std::str::from_utf8(byte).ok()?, 16).ok()).collect()
}

/// The type of this name, if DNS carries it in an answer.
fn number(kind: &str) -> Option<RecordType> {
    let number = match kind {
        "RP" => 17,
        "URI" => 256,
        _ => match kind.strip_prefix("TYPE") {
            Some(number) => number.parse().ok()?,
            None => u16::from(kind.parse::<RecordType>().ok()?),
        },
    };
    // Those between are questions and signs of the protocol itself, as is OPT.
    let is_of_data = number != 0 && number != u16::from(RecordType::OPT) && !(128..=255).contains(&number);
    is_of_data.then(|| RecordType::from(number))
}

/// Whether a record answers a question of this type.
pub(crate) fn answers(record: &Record, wanted: RecordType) -> bool {
    let of = record.record_type();
    wanted == RecordType::ANY || of == wanted || of == RecordType::CNAME
}

fn name(text: &str) -> Option<Name> {
    let mut name: Name = text.parse().ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// Cut into strings between characters, so that each is text by itself.
fn text(value: &str) -> RData {
    let mut strings = Vec::new();
    let mut rest = value;
    while rest.len() > MAX_STRING_BYTES {
        let at = (0..=MAX_STRING_BYTES).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(0);
        let (head, tail) = rest.split_at(at);
        strings.push(head.to_owned());
        rest = tail;
    }
    strings.push(rest.to_owned());
    RData::TXT(TXT::new(strings))
}

/// The bytes of a text cut like that.
fn strings(value: &str) -> Vec<u8> {
    let RData::TXT(text) = text(value) else { return Vec::new() };
    text.txt_data.iter().flat_map(|part| [&[part.len() as u8], part.as_ref()].concat()).collect()
}

/// Whole seconds that are left, from microseconds since 1970.
fn ttl(expires: u64) -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    (expires / 1_000_000).saturating_sub(now).clamp(1, MAX_TTL_S) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let RData::TXT(cut) = text(&"ä".repeat(300)) else { panic!("not a text") };
        let lengths: Vec<usize> = cut.txt_data.iter().map(|part| part.len()).collect();
        assert_eq!(lengths, [254, 254, 92]);
    }

    #[test]
    fn what_dns_cannot_carry_is_left_out() {
        let owner: Name = "x.gns.alt.".parse().expect("a name");
        let record = |record_type: &str, value: &str, data: &str| NameRecord {
            record_type: record_type.into(),
            value: value.into(),
            data: data.into(),
            expires: u64::MAX,
            flags: 0,
        };
        for (record_type, value, data, carried) in [
            ("A", "192.0.2.7", "", true),
            ("A", "::1", "", false),
            ("MX", "10 mail.example.org", "", true),
            ("MX", "10", "", false),
            ("SRV", "1 2 443 www.example.org.", "", true),
            ("NICK", "alice", "", false),
            ("P2PDRIVE", "p2p://x/", "", true),
            ("CAA", "0 issue \"ca.example\"", "0005697373756563612e6578616d706c65", true),
            ("CAA", "", "00ff69", false),
            ("TLSA", "3 1 1 aa", "030101aa", true),
            ("HTTPS", "1 .", "000100", true),
            ("DS", "1 8 2 aa", "00010802aa", true),
            ("SSHFP", "4 2 aa", "0402aa", true),
            ("TYPE65500", "\\# 1 aa", "aa", true),
            ("TYPE41", "\\# 1 aa", "aa", false),
            ("TYPE255", "\\# 1 aa", "aa", false),
            ("URI", "1 1 \"x\"", "0001000178", true),
            ("CAA", "0 issue \"ca.example\"", "", false),
        ] {
            let found = to_dns(&owner, &record(record_type, value, data));
            assert_eq!(found.is_some(), carried, "{record_type} {value}");
            assert!(found.is_none_or(|found| found.ttl == 3_600));
        }
    }
}
