//! Records of DNS in the form that names have them.

use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, Record as DnsRecord, RecordType as DnsType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
use p2p_names::{Flags, Record, RecordType, Timestamp};

/// Longest life of an answer.
const MAX_TTL: Duration = Duration::from_secs(3_600);

/// The records of a name in an answer, of the wanted type. Aliases in it are followed, and `name` becomes the last of them.
pub(super) fn of(answer: &Message, name: &mut Name, wanted: DnsType, now: Timestamp, most: usize) -> Vec<Record> {
    // Each alias of the answer once at most, so a circle ends.
    for _ in 0..answer.answers.len() {
        let is_there = answer.answers.iter().any(|record| record.name == *name && record.record_type() == wanted);
        let alias = answer.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == *name => Some(&target.0),
            _ => None,
        });
        match alias {
            Some(target) if !is_there && *target != *name => *name = target.clone(),
            _ => break,
        }
    }
    let found = answer.answers.iter().filter(|record| record.name == *name && record.record_type() == wanted);
    found.filter_map(|record| converted(record, now)).take(most).collect()
}

fn converted(record: &DnsRecord, now: Timestamp) -> Option<Record> {
    let data = match &record.data {
        // In GNS a text has no length bytes.
        RData::TXT(text) => text.txt_data.concat(),
        data => {
            let mut bytes = Vec::new();
            let mut encoder = BinEncoder::new(&mut bytes);
            encoder.set_name_encoding(NameEncoding::Uncompressed);
            data.emit(&mut encoder).ok()?;
            bytes
        }
    };
    let life = Duration::from_secs(u64::from(record.ttl)).min(MAX_TTL);
    let record_type = RecordType::new(u32::from(u16::from(record.record_type())));
    Some(Record { expiration: now.after(life), flags: Flags::NONE, record_type, data })
}
