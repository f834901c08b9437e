//! Records of names as DNS carries them.

use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, PTR, SRV, TXT};
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
        _ => return None,
    };
    Some(Record::from_rdata(owner.clone(), ttl(record.expires), data))
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
        let record = |record_type: &str, value: &str| NameRecord {
            record_type: record_type.into(),
            value: value.into(),
            expires: u64::MAX,
            flags: 0,
        };
        for (record_type, value, carried) in [
            ("A", "192.0.2.7", true),
            ("A", "::1", false),
            ("MX", "10 mail.example.org", true),
            ("MX", "10", false),
            ("SRV", "1 2 443 www.example.org.", true),
            ("NICK", "alice", false),
            ("P2PDRIVE", "p2p://x/", true),
        ] {
            let found = to_dns(&owner, &record(record_type, value));
            assert_eq!(found.is_some(), carried, "{record_type} {value}");
            assert!(found.is_none_or(|found| found.ttl == 3_600));
        }
    }
}
