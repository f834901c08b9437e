//! Several byte ranges in one header (RFC 9110, section 14).

use p2p_api::ReadRange;
use p2p_api::wire::ByteRange;

/// Most ranges of one request. A header with more is ignored: the whole file is cheaper than that.
pub(crate) const MAX_RANGES: usize = 16;

/// What a `Range` header asks of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// No range, or a header that is to be ignored.
    Whole,
    /// These bytes, in ascending order, none of them twice; at least one range.
    Parts(Vec<Part>),
    /// Not one of the ranges has a byte in common with the file (status 416).
    Nothing,
}

/// Bytes from `start`, `end` not included; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Part {
    pub(crate) fn len(self) -> u64 {
        self.end - self.start
    }
}

impl From<Part> for ReadRange {
    fn from(part: Part) -> Self {
        Self { start: part.start, end: Some(part.end) }
    }
}

/// Reads a header for a file of `size` bytes. Ranges that overlap or touch become one, so that no client can make us
/// send more than the file.
pub(crate) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some(set) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else { return Wanted::Whole };
    let texts: Vec<&str> = set.split(',').map(str::trim).filter(|text| !text.is_empty()).take(MAX_RANGES + 1).collect();
    if texts.is_empty() || texts.len() > MAX_RANGES {
        return Wanted::Whole;
    }
    let Ok(ranges) = texts.iter().map(|text| text.parse::<ByteRange>()).collect::<Result<Vec<_>, _>>() else {
        return Wanted::Whole;
    };
    let mut parts: Vec<Part> = ranges
        .into_iter()
        .filter_map(|range| range.within(size))
        .filter_map(|range| Some(Part { start: range.start, end: range.end? }))
        .collect();
    parts.sort_unstable_by_key(|part| part.start);
    let mut merged: Vec<Part> = Vec::with_capacity(parts.len());
    for part in parts {
        match merged.last_mut() {
            Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
            _ => merged.push(part),
        }
    }
    if merged.is_empty() { Wanted::Nothing } else { Wanted::Parts(merged) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(header: &str, size: u64) -> Vec<(u64, u64)> {
        match wanted(Some(header), size) {
            Wanted::Parts(parts) => parts.into_iter().map(|part| (part.start, part.end)).collect(),
            other => panic!("{header} of {size}: {other:?}"),
        }
    }

    #[test]
    fn ranges_are_put_in_order_and_together() {
        assert_eq!(parts("bytes=0-0", 10), [(0, 1)]);
        assert_eq!(parts("bytes=-1, 0-1", 10), [(0, 2), (9, 10)]);
        assert_eq!(parts("bytes=4-6,0-1,5-8,,2-2", 10), [(0, 3), (4, 9)]);
        assert_eq!(parts("bytes=0-1,100-", 10), [(0, 2)]);
        assert_eq!(parts("bytes=0-,0-,0-,0-", 10), [(0, 10)]);
    }

    #[test]
    fn other_headers_are_ignored_and_impossible_ones_told() {
        let many = format!("bytes={}", "0-1,".repeat(MAX_RANGES + 1));
        for header in ["", "bytes=", "bytes=,", "lines=0-1", "bytes=0-1,x", "bytes=5-1", &many] {
            assert_eq!(wanted(Some(header), 10), Wanted::Whole, "{header}");
        }
        assert_eq!(wanted(None, 10), Wanted::Whole);
        assert_eq!(wanted(Some("bytes=10-,20-30"), 10), Wanted::Nothing);
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Nothing);
    }

    proptest! {
        #[test]
        fn no_byte_is_sent_twice_and_none_beyond_the_end(
            header in "bytes=([0-9]{0,3}-[0-9]{0,3},? ?){1,20}|\\PC{0,40}",
            size in 0_u64..300,
        ) {
            if let Wanted::Parts(parts) = wanted(Some(&header), size) {
                prop_assert!(!parts.is_empty() && parts.len() <= MAX_RANGES);
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
                prop_assert!(parts.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
        }
    }
}
