//! A record set as bytes: RDATA (RFC 9498, section 6.2).
//!
//! Each record is u64 expiration, u16 size, u16 flags, u32 type, data. Then zeros up to a power of two.

use thiserror::Error;

use crate::{Flags, Record, RecordType, Timestamp, ZoneType};

/// Bytes of a record before its data.
const RECORD_HEADER_BYTES: usize = 16;
/// Largest RDATA that fits the largest block of either zone type, in bytes.
pub const MAX_RDATA_BYTES: usize = 64_384;

/// Why bytes are no record set, or records do not fit one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RdataError {
    /// A record claims more bytes than there are.
    #[error("a record claims {size} bytes, {left} are left")]
    PastEnd {
        /// What the record claims.
        size: usize,
        /// What there is.
        left: usize,
    },
    /// See [`MAX_RDATA_BYTES`].
    #[error("the record set is {0} bytes with padding, at most {MAX_RDATA_BYTES}")]
    TooLong(usize),
    /// One record is larger than its 16-bit length can say.
    #[error("a record has {0} bytes of data, at most 65535")]
    LongRecord(usize),
}

/// Reads RDATA. Padding is whatever follows an all-zero record header, or is shorter than one.
pub fn decode_rdata(rdata: &[u8]) -> Result<Vec<Record>, RdataError> {
    if rdata.len() > MAX_RDATA_BYTES {
        return Err(RdataError::TooLong(rdata.len()));
    }
    let mut records = Vec::new();
    let mut rest = rdata;
    while let Some((header, behind)) = rest.split_first_chunk::<RECORD_HEADER_BYTES>() {
        if *header == [0; RECORD_HEADER_BYTES] {
            break;
        }
        let header = u128::from_be_bytes(*header);
        let (expiration, size, flags, record_type) =
            ((header >> 64) as u64, (header >> 48) as u16, (header >> 32) as u16, header as u32);
        let size = usize::from(size);
        let (data, behind) = behind.split_at_checked(size).ok_or(RdataError::PastEnd { size, left: behind.len() })?;
        records.push(Record {
            expiration: Timestamp::from_micros(expiration),
            flags: Flags::from_bits(flags),
            record_type: RecordType::new(record_type),
            data: data.to_vec(),
        });
        rest = behind;
    }
    Ok(records)
}

/// Writes RDATA. A set of delegations only is not padded, so that one fits the 176 bytes every store must take.
pub fn encode_rdata(records: &[Record]) -> Result<Vec<u8>, RdataError> {
    let plain = records.iter().map(|record| RECORD_HEADER_BYTES + record.data.len()).sum::<usize>();
    let padded = padded_len(records, plain);
    if padded > MAX_RDATA_BYTES {
        return Err(RdataError::TooLong(padded));
    }
    let mut out = Vec::with_capacity(padded);
    for record in records {
        let size = u16::try_from(record.data.len()).map_err(|_| RdataError::LongRecord(record.data.len()))?;
        out.extend_from_slice(&record.expiration.as_micros().to_be_bytes());
        out.extend_from_slice(&size.to_be_bytes());
        out.extend_from_slice(&record.flags.bits().to_be_bytes());
        out.extend_from_slice(&record.record_type.number().to_be_bytes());
        out.extend_from_slice(&record.data);
    }
    out.resize(padded, 0);
    Ok(out)
}

/// How many bytes [`encode_rdata`] writes for these records.
pub fn rdata_len(records: &[Record]) -> usize {
    let plain = records.iter().map(|record| RECORD_HEADER_BYTES + record.data.len()).sum::<usize>();
    padded_len(records, plain)
}

fn padded_len(records: &[Record], plain: usize) -> usize {
    let only_delegations = records.iter().all(|record| ZoneType::from_number(record.record_type.number()).is_some());
    if only_delegations { plain } else { plain.next_power_of_two() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = Record> {
        let data = proptest::collection::vec(any::<u8>(), 0..60);
        (1u64.., any::<u16>(), any::<u32>(), data).prop_map(|(expiration, flags, record_type, data)| Record {
            expiration: Timestamp::from_micros(expiration),
            flags: Flags::from_bits(flags),
            record_type: RecordType::new(record_type),
            data,
        })
    }

    proptest! {
        #[test]
        fn records_survive_and_fill_a_power_of_two(records in proptest::collection::vec(record(), 0..12)) {
            let rdata = encode_rdata(&records).unwrap();
            prop_assert_eq!(&decode_rdata(&rdata).unwrap(), &records);
            prop_assert_eq!(rdata.len(), rdata_len(&records));
            let only_delegations = records.iter().all(|record| record.record_type.is_delegation());
            prop_assert!(only_delegations || rdata.len().is_power_of_two());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_rdata(&bytes);
        }

        #[test]
        fn a_flipped_bit_never_panics(records in proptest::collection::vec(record(), 1..4), at: prop::sample::Index, bit in 0..8u8) {
            let mut rdata = encode_rdata(&records).unwrap();
            let at = at.index(rdata.len());
            rdata[at] ^= 1 << bit;
            let _ = decode_rdata(&rdata);
        }
    }

    #[test]
    fn a_size_past_the_end_spoils_the_set_and_short_padding_does_not() {
        let good = encode_rdata(&[Record::new(RecordType::A, vec![1, 2, 3, 4], Timestamp::from_secs(1))]).unwrap();
        let mut bad = good.clone();
        bad[9] = 17;
        assert_eq!(decode_rdata(&bad), Err(RdataError::PastEnd { size: 17, left: 16 }));
        assert_eq!(decode_rdata(&good[..20]).unwrap().len(), 1);
        assert_eq!(decode_rdata(&[0xff; 15]).unwrap(), []);
        assert_eq!(decode_rdata(&[]).unwrap(), []);
        assert_eq!(encode_rdata(&[]).unwrap(), []);
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let long = Record::new(RecordType::TXT, vec![7; 40_000], Timestamp::from_secs(1));
        assert_eq!(encode_rdata(&[long]), Err(RdataError::TooLong(65_536)));
        assert_eq!(decode_rdata(&vec![1; 70_000]), Err(RdataError::TooLong(70_000)));
    }
}
