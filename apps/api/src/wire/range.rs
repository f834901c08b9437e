//! A single byte range, as in the header `Range` (RFC 9110, section 14).

use std::fmt;
use std::str::FromStr;

use crate::ReadRange;

/// Which bytes are wanted. Both ends are included, as everywhere in HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// `A-`: from a byte to the end.
    From(u64),
    /// `A-B`.
    Between(u64, u64),
    /// `-N`: the last bytes.
    Last(u64),
}

impl ByteRange {
    /// The one range of a `Range` header. `None` where the header is to be ignored: another unit, several ranges, or
    /// no range at all.
    pub fn from_header(value: &str) -> Option<Self> {
        value.trim().strip_prefix("bytes=")?.trim().parse().ok()
    }

    /// The range within `size` bytes; `None` if it has no byte in common with them (status 416).
    pub fn within(self, size: u64) -> Option<ReadRange> {
        let (start, last) = match self {
            Self::From(first) => (first, u64::MAX),
            Self::Between(first, last) => (first, last),
            Self::Last(0) => return None,
            Self::Last(count) => (size.saturating_sub(count), u64::MAX),
        };
        let end = last.saturating_add(1).min(size);
        (start < end).then_some(ReadRange { start, end: Some(end) })
    }
}

/// A text is not a byte range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a byte range: it is A-B, A- or -N, with A not above B")]
pub struct ByteRangeError;

impl FromStr for ByteRange {
    type Err = ByteRangeError;

    fn from_str(text: &str) -> Result<Self, ByteRangeError> {
        let number = |digits: &str| -> Result<u64, ByteRangeError> {
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if is_number { digits.parse().map_err(|_| ByteRangeError) } else { Err(ByteRangeError) }
        };
        match text.split_once('-').ok_or(ByteRangeError)? {
            ("", count) => Ok(Self::Last(number(count)?)),
            (first, "") => Ok(Self::From(number(first)?)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if first <= last { Ok(Self::Between(first, last)) } else { Err(ByteRangeError) }
            }
        }
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(first) => write!(f, "{first}-"),
            Self::Between(first, last) => write!(f, "{first}-{last}"),
            Self::Last(count) => write!(f, "-{count}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(header: &str, size: u64, expected: Option<(u64, u64)>) {
        let range = ByteRange::from_header(header).expect("a range");
        let expected = expected.map(|(start, end)| ReadRange { start, end: Some(end) });
        assert_eq!(range.within(size), expected, "{header} of {size}");
    }

    #[test]
    fn ranges_are_cut_to_the_file() {
        check("bytes=0-0", 10, Some((0, 1)));
        check("bytes=2-4", 10, Some((2, 5)));
        check("bytes=2-400", 10, Some((2, 10)));
        check("bytes=9-", 10, Some((9, 10)));
        check("bytes=-3", 10, Some((7, 10)));
        check("bytes=-30", 10, Some((0, 10)));
        check("bytes=0-18446744073709551615", 10, Some((0, 10)));
    }

    #[test]
    fn ranges_outside_of_the_file_are_not_satisfiable() {
        check("bytes=10-", 10, None);
        check("bytes=10-20", 10, None);
        check("bytes=-0", 10, None);
        check("bytes=0-", 0, None);
        check("bytes=-5", 0, None);
    }

    #[test]
    fn other_headers_are_ignored() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=+1-2",
            "bytes=1-99999999999999999999",
        ] {
            assert_eq!(ByteRange::from_header(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn a_range_survives_its_text(first: u64, last: u64) {
            let (first, last) = (first.min(last), first.max(last));
            for range in [ByteRange::From(first), ByteRange::Between(first, last), ByteRange::Last(first)] {
                prop_assert_eq!(range.to_string().parse(), Ok(range));
            }
        }

        #[test]
        fn a_range_never_leaves_the_file(header in "bytes=[0-9]{0,20}-[0-9]{0,20}|\\PC{0,20}", size: u64) {
            if let Some(range) = ByteRange::from_header(&header).and_then(|range| range.within(size)) {
                prop_assert!(range.start < range.end.unwrap());
                prop_assert!(range.end.unwrap() <= size);
            }
        }
    }
}
