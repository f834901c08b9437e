//! Records and their flags (RFC 9498, section 5).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{RecordType, Timestamp};

/// The FLAGS of a record. Unknown bits are kept when read and ignored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Flags(u16);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Who cannot process the record must fail.
    pub const CRITICAL: Self = Self(0x0001);
    /// Counts only when all other records of its type have expired.
    pub const SHADOW: Self = Self(0x0002);
    /// Additional information that is not managed under this label.
    pub const SUPPLEMENTAL: Self = Self(0x0004);
    /// Local: housekeeping of GNUnet's namestore.
    pub const MAINTENANCE: Self = Self(0x2000);
    /// Local: the expiration is a duration. Never in a published block.
    pub const RELATIVE_EXPIRATION: Self = Self(0x4000);
    /// Local: never published.
    pub const PRIVATE: Self = Self(0x8000);

    /// The flags that stay at home: they are cleared when a block is made.
    pub const LOCAL: Self = Self(Self::MAINTENANCE.0 | Self::RELATIVE_EXPIRATION.0 | Self::PRIVATE.0);

    /// Of the 16 bits on the wire.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The 16 bits on the wire.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether all flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags and those of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These flags without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// Names of the known flags, separated by `|`, then unknown bits as a number; `-` for none.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(Flags, &str); 6] = [
            (Flags::CRITICAL, "critical"),
            (Flags::SHADOW, "shadow"),
            (Flags::SUPPLEMENTAL, "supplemental"),
            (Flags::MAINTENANCE, "maintenance"),
            (Flags::RELATIVE_EXPIRATION, "relative"),
            (Flags::PRIVATE, "private"),
        ];
        let mut rest = *self;
        let mut separator = "";
        for (flag, name) in NAMES {
            if rest.contains(flag) {
                write!(f, "{separator}{name}")?;
                (separator, rest) = ("|", rest.without(flag));
            }
        }
        if rest.0 != 0 {
            return write!(f, "{separator}{:#06x}", rest.0);
        }
        if separator.is_empty() { f.write_str("-") } else { Ok(()) }
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({self})")
    }
}

/// One record as it stands in a block.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Record {
    /// When it stops to count.
    pub expiration: Timestamp,
    /// See [`Flags`].
    pub flags: Flags,
    /// What `data` means.
    pub record_type: RecordType,
    /// The wire form; not checked against the type.
    pub data: Vec<u8>,
}

impl Record {
    /// A record without flags.
    pub fn new(record_type: RecordType, data: Vec<u8>, expiration: Timestamp) -> Self {
        Self { expiration, flags: Flags::NONE, record_type, data }
    }

    /// Whether it counts no more at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expiration <= now
    }

    /// The text form of the data: what `p2p name set` takes.
    pub fn value(&self) -> String {
        crate::data_to_text(self.record_type, &self.data)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({} {} {} until {})", self.record_type, self.value(), self.flags, self.expiration)
    }
}
