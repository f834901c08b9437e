//! Which records of a set count now (RFC 9498, section 7.3).

use std::collections::BTreeSet;

use crate::{Flags, Record, RecordType, Timestamp};

/// A critical record of a type that is not supported.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsupported(pub(super) RecordType);

/// The records that count at `now`. Expired ones are dropped, and those with a relative expiration, which no block may
/// have. SHADOW records count, without the flag, where nothing else of their type does.
pub(super) fn effective(records: &[Record], now: Timestamp) -> Result<Vec<Record>, Unsupported> {
    let alive = |record: &&Record| !record.is_expired(now) && !record.flags.contains(Flags::RELATIVE_EXPIRATION);
    let is_shadow = |record: &Record| record.flags.contains(Flags::SHADOW);
    let standing: BTreeSet<RecordType> =
        records.iter().filter(alive).filter(|record| !is_shadow(record)).map(|record| record.record_type).collect();
    let counting: Vec<Record> = records
        .iter()
        .filter(alive)
        .filter(|record| !is_shadow(record) || !standing.contains(&record.record_type))
        .map(|record| Record { flags: record.flags.without(Flags::SHADOW), ..record.clone() })
        .collect();
    let unsupported =
        counting.iter().find(|record| record.flags.contains(Flags::CRITICAL) && !record.record_type.is_supported());
    match unsupported {
        Some(record) => Err(Unsupported(record.record_type)),
        None => Ok(counting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(100);

    fn record(record_type: RecordType, secs: u64, flags: Flags) -> Record {
        Record {
            expiration: Timestamp::from_secs(secs),
            flags,
            record_type,
            data: vec![u8::try_from(secs % 256).unwrap()],
        }
    }

    #[test]
    fn a_shadow_record_waits_for_the_others_of_its_type() {
        let shadow = record(RecordType::A, 300, Flags::SHADOW);
        let set = [record(RecordType::A, 200, Flags::NONE), shadow.clone(), record(RecordType::TXT, 200, Flags::NONE)];
        let types = |now| effective(&set, Timestamp::from_secs(now)).unwrap().len();
        assert_eq!(types(100), 2);
        let later = effective(&set, Timestamp::from_secs(200)).unwrap();
        assert_eq!(later, [Record { flags: Flags::NONE, ..shadow }]);
        assert_eq!(types(300), 0);
    }

    #[test]
    fn a_critical_record_of_an_unknown_type_spoils_the_set_while_it_counts() {
        let unknown = RecordType::new(65_000);
        let set = |secs, flags| [record(RecordType::A, 200, Flags::NONE), record(unknown, secs, flags)];
        assert_eq!(effective(&set(200, Flags::CRITICAL), NOW), Err(Unsupported(unknown)));
        assert_eq!(effective(&set(100, Flags::CRITICAL), NOW).unwrap().len(), 1);
        assert_eq!(effective(&set(200, Flags::NONE), NOW).unwrap().len(), 2);
    }

    #[test]
    fn relative_expirations_from_outside_are_skipped() {
        assert_eq!(effective(&[record(RecordType::A, 200, Flags::RELATIVE_EXPIRATION)], NOW), Ok(vec![]));
    }
}
