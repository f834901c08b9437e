//! Small signed records in deterministic CBOR (RFC 8949, section 4.2.1): maps whose keys are small integers in ascending
//! order. One record has exactly one encoding.

use minicbor::{Decoder, Encoder};

/// Longest record we look at, in bytes; ours have at most 300.
pub(crate) const MAX_RECORD_BYTES: usize = 512;

/// A record is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CborError {
    #[error("it is malformed")]
    Malformed,
    #[error("it has a newer format")]
    Newer,
}

/// A field of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Fields numbered from 1.
pub(crate) fn encode(fields: &[Field<'_>]) -> Vec<u8> {
    let mut out = Encoder::new(Vec::with_capacity(MAX_RECORD_BYTES));
    let mut write = || {
        out.map(fields.len() as u64)?;
        for (number, field) in (1u64..).zip(fields) {
            out.u64(number)?;
            match field {
                Field::Number(value) => out.u64(*value)?,
                Field::Bytes(bytes) => out.bytes(bytes)?,
            };
        }
        Ok::<_, minicbor::encode::Error<core::convert::Infallible>>(())
    };
    write().expect("a Vec takes everything");
    out.into_writer()
}

/// Reads fields one after the other.
pub(crate) struct Fields<'a> {
    decoder: Decoder<'a>,
    bytes: &'a [u8],
    left: u64,
    next: u64,
}

impl<'a> Fields<'a> {
    /// A record that begins with a format number: more fields than `count` belong to a newer one.
    pub(crate) fn new(bytes: &'a [u8], count: u64, format: u64) -> Result<Self, CborError> {
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(CborError::Malformed);
        }
        let mut decoder = Decoder::new(bytes);
        let left = decoder.map().ok().flatten().ok_or(CborError::Malformed)?;
        let mut fields = Self { decoder, bytes, left, next: 1 };
        let found = fields.number()?;
        if found > format {
            return Err(CborError::Newer);
        }
        if found != format || left != count { Err(CborError::Malformed) } else { Ok(fields) }
    }

    fn key(&mut self) -> Result<(), CborError> {
        self.left = self.left.checked_sub(1).ok_or(CborError::Malformed)?;
        let key = self.decoder.u64().map_err(|_| CborError::Malformed)?;
        if key != self.next {
            return Err(CborError::Malformed);
        }
        self.next += 1;
        Ok(())
    }

    pub(crate) fn number(&mut self) -> Result<u64, CborError> {
        self.key()?;
        self.decoder.u64().map_err(|_| CborError::Malformed)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        self.key()?;
        let bytes = self.decoder.bytes().map_err(|_| CborError::Malformed)?;
        bytes.try_into().map_err(|_| CborError::Malformed)
    }

    /// Ends the record. Whoever reads it compares it with its own encoding, which is the only one allowed.
    pub(crate) fn finish(self) -> Result<(), CborError> {
        if self.left == 0 && self.decoder.position() == self.bytes.len() { Ok(()) } else { Err(CborError::Malformed) }
    }
}
