//! What the cache says of an index node: where it lies, and since when nothing needs it.

use crate::store::PackLocation;

/// The row of an index node. On disk: the location, then, for a condemned node, the time as u64, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeRow {
    pub(crate) location: PackLocation,
    /// Since when nothing needs it, in milliseconds since 1970; `None` for a node that is needed, as far as is known.
    pub(crate) condemned_ms: Option<u64>,
}

impl NodeRow {
    /// The row that stands for one that cannot be read.
    pub(crate) const NOWHERE: Self =
        Self { location: PackLocation { pack: u32::MAX, offset: u32::MAX, len: 0 }, condemned_ms: None };

    pub(crate) fn at(location: PackLocation) -> Self {
        Self { location, condemned_ms: None }
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.location.to_bytes().to_vec();
        bytes.extend(self.condemned_ms.iter().flat_map(|ms| ms.to_be_bytes()));
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (location, rest) = bytes.split_first_chunk::<{ PackLocation::BYTES }>()?;
        let condemned_ms = match rest {
            [] => None,
            rest => Some(u64::from_be_bytes(rest.try_into().ok()?)),
        };
        Some(Self { location: PackLocation::from_bytes(*location), condemned_ms })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_row_from_before_there_was_a_collector_is_read() {
        let bytes = [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        let location = PackLocation { pack: 1, offset: 2, len: 3 };
        assert_eq!(NodeRow::from_bytes(&bytes), Some(NodeRow::at(location)));
        let condemned = NodeRow { location, condemned_ms: Some(0x0405) };
        assert_eq!(condemned.to_bytes(), [bytes.as_slice(), &[0, 0, 0, 0, 0, 0, 4, 5]].concat());
    }

    proptest! {
        #[test]
        fn rows_read_back_and_other_bytes_are_no_rows(bytes in proptest::collection::vec(any::<u8>(), 0..32)) {
            match NodeRow::from_bytes(&bytes) {
                Some(row) => prop_assert_eq!(row.to_bytes(), bytes),
                None => prop_assert!(bytes.len() != 12 && bytes.len() != 20),
            }
        }
    }
}
