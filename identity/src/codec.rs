//! Reading and writing small binary records from places we do not trust.
//!
//! The bytes are those of `postcard`: integers are LEB128 varints (signed ones zigzag), byte strings carry a varint length,
//! arrays of fixed size are raw. Unlike `postcard` itself the reader refuses a varint that is longer than needed, so one
//! value has exactly one encoding, and every length is compared with a limit and with what is left before memory is taken.

use thiserror::Error;

/// Why bytes could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The input ended inside a field.
    #[error("the data ends too early")]
    Short,
    /// A number has more bytes than needed, or does not fit its type.
    #[error("a number is not encoded in the one allowed way")]
    BadNumber,
    /// A length or count is above its limit.
    #[error("{what}: {value}, at most {limit}")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// The claimed length or count.
        value: u64,
        /// The largest one allowed.
        limit: u64,
    },
    /// Text is not UTF-8.
    #[error("{what} is not UTF-8")]
    NotText {
        /// Which field.
        what: &'static str,
    },
    /// Bytes are left over behind the record.
    #[error("{0} bytes too many at the end")]
    Trailing(usize),
}

/// Reads fields from the front of a slice. Never panics, never allocates.
#[derive(Debug, Clone)]
pub struct ByteReader<'a> {
    rest: &'a [u8],
}

impl<'a> ByteReader<'a> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// One raw byte.
    pub fn byte(&mut self) -> Result<u8, CodecError> {
        let (first, rest) = self.rest.split_first().ok_or(CodecError::Short)?;
        self.rest = rest;
        Ok(*first)
    }

    /// `N` raw bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (first, rest) = self.rest.split_first_chunk::<N>().ok_or(CodecError::Short)?;
        self.rest = rest;
        Ok(*first)
    }

    /// `len` raw bytes.
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let (first, rest) = self.rest.split_at_checked(len).ok_or(CodecError::Short)?;
        self.rest = rest;
        Ok(first)
    }

    /// A varint of up to 64 bits.
    pub fn u64(&mut self) -> Result<u64, CodecError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(CodecError::BadNumber);
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(CodecError::BadNumber);
                }
                return Ok(value);
            }
        }
        Err(CodecError::BadNumber)
    }

    /// A varint that fits 32 bits.
    pub fn u32(&mut self) -> Result<u32, CodecError> {
        u32::try_from(self.u64()?).map_err(|_| CodecError::BadNumber)
    }

    /// A varint that fits 16 bits.
    pub fn u16(&mut self) -> Result<u16, CodecError> {
        u16::try_from(self.u64()?).map_err(|_| CodecError::BadNumber)
    }

    /// A zigzag varint.
    pub fn i64(&mut self) -> Result<i64, CodecError> {
        let raw = self.u64()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// A varint that counts `what` and is at most `limit`.
    pub fn count(&mut self, what: &'static str, limit: usize) -> Result<usize, CodecError> {
        let value = self.u64()?;
        match usize::try_from(value) {
            Ok(count) if count <= limit => Ok(count),
            _ => Err(CodecError::TooMany { what, value, limit: limit as u64 }),
        }
    }

    /// A byte string of at most `limit` bytes behind its varint length.
    pub fn bytes(&mut self, what: &'static str, limit: usize) -> Result<&'a [u8], CodecError> {
        let len = self.count(what, limit)?;
        self.raw(len)
    }

    /// UTF-8 text of at most `limit` bytes behind its varint length.
    pub fn text(&mut self, what: &'static str, limit: usize) -> Result<&'a str, CodecError> {
        std::str::from_utf8(self.bytes(what, limit)?).map_err(|_| CodecError::NotText { what })
    }

    /// Ends the record: an error when bytes are left.
    pub fn finish(self) -> Result<(), CodecError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CodecError::Trailing(self.rest.len())) }
    }
}

/// Writes what [`ByteReader`] reads.
#[derive(Debug, Clone, Default)]
pub struct ByteWriter {
    out: Vec<u8>,
}

impl ByteWriter {
    /// Starts empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts empty, with room for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
    }

    /// One raw byte.
    pub fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    /// Raw bytes, without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A varint.
    pub fn u64(&mut self, mut value: u64) {
        loop {
            let part = (value & 0x7f) as u8;
            value >>= 7;
            if value == 0 {
                self.out.push(part);
                return;
            }
            self.out.push(part | 0x80);
        }
    }

    /// A zigzag varint.
    pub fn i64(&mut self, value: i64) {
        self.u64(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    /// A count or length as varint.
    pub fn count(&mut self, count: usize) {
        self.u64(count as u64);
    }

    /// A byte string behind its varint length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    /// How many bytes were written.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_those_of_postcard(unsigned: u64, signed: i64, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut writer = ByteWriter::new();
            writer.u64(unsigned);
            writer.i64(signed);
            writer.bytes(&bytes);
            let written = writer.into_bytes();
            prop_assert_eq!(&written, &postcard::to_allocvec(&(unsigned, signed, bytes.as_slice())).unwrap());
            let mut reader = ByteReader::new(&written);
            prop_assert_eq!(reader.u64().unwrap(), unsigned);
            prop_assert_eq!(reader.i64().unwrap(), signed);
            prop_assert_eq!(reader.bytes("bytes", 300).unwrap(), &bytes[..]);
            reader.finish().unwrap();
        }

        #[test]
        fn what_is_read_as_a_number_is_written_back_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut reader = ByteReader::new(&bytes);
            if let Ok(value) = reader.u64() {
                let used = bytes.len() - reader.remaining();
                let mut writer = ByteWriter::new();
                writer.u64(value);
                prop_assert_eq!(writer.into_bytes(), &bytes[..used]);
            }
        }
    }

    #[test]
    fn a_number_longer_than_needed_is_refused() {
        assert_eq!(ByteReader::new(&[0x80, 0x00]).u64(), Err(CodecError::BadNumber));
        assert_eq!(ByteReader::new(&[0xff; 10]).u64(), Err(CodecError::BadNumber));
        assert_eq!(ByteReader::new(&[0xff; 9]).u64(), Err(CodecError::Short));
        let mut max = vec![0xff; 9];
        max.push(1);
        assert_eq!(ByteReader::new(&max).u64(), Ok(u64::MAX));
        assert_eq!(ByteReader::new(&[0xff, 0xff, 0x04]).u16(), Err(CodecError::BadNumber));
    }

    #[test]
    fn a_length_above_its_limit_is_refused_before_the_bytes_are_looked_at() {
        let error = ByteReader::new(&[0xff, 0xff, 0xff, 0x0f]).bytes("name", 10);
        assert_eq!(error, Err(CodecError::TooMany { what: "name", value: 33_554_431, limit: 10 }));
        assert_eq!(ByteReader::new(&[5, 1]).bytes("name", 10), Err(CodecError::Short));
        assert_eq!(ByteReader::new(&[1, 0xff]).text("name", 10), Err(CodecError::NotText { what: "name" }));
        assert_eq!(ByteReader::new(&[1, 2]).finish(), Err(CodecError::Trailing(2)));
    }
}
