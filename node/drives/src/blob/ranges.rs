//! Sets of 16 KiB groups as run lists, in memory, on the wire and on disk (specs/drives.md, section 3, rule 1).

use std::fmt;
use std::ops::Range;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::geometry::{GROUP_BYTES, Grain, MAX_GROUPS, group_count};

/// Most run lengths, unselected ones included, that a set may have on the wire.
pub const MAX_WIRE_RUNS: usize = 1024;
/// Most bytes of a varint that holds a u64.
const MAX_VARINT_BYTES: usize = 10;

/// Why a run list was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangesError {
    /// More runs than the limit.
    #[error("more than {max} runs")]
    TooManyRuns {
        /// The limit.
        max: usize,
    },
    /// A run of length 0 that is not the first.
    #[error("run {index} is empty")]
    EmptyRun {
        /// Its place in the list, from 0.
        index: usize,
    },
    /// The list ends with an unselected run.
    #[error("the last run is unselected")]
    UnselectedTail,
    /// A run ends beyond 2^50 groups.
    #[error("runs reach beyond 2^50 groups")]
    TooLong,
    /// A number that is cut short, too long or not in its shortest form.
    #[error("malformed varint")]
    Varint,
}

/// A set of group numbers below 2^50.
///
/// Coded as the lengths of alternating unselected and selected runs, the first one unselected (it may be 0), the last
/// one selected; so each set has exactly one form. The wire form holds at most [`MAX_WIRE_RUNS`] lengths; the stored form
/// ([`GroupRanges::to_bytes`]) leaves the bound to the store. Memory is 8 bytes per run.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct GroupRanges {
    /// Strictly increasing: starts at even places, ends (exclusive) at odd ones.
    bounds: Vec<u64>,
}

impl GroupRanges {
    /// No group.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Every group of any blob; what to ask for when the size is not known yet.
    pub fn all() -> Self {
        Self::from_groups(0..MAX_GROUPS)
    }

    /// Every group of a blob of `size` bytes.
    pub fn of_size(size: u64) -> Self {
        Self::from_groups(0..group_count(size))
    }

    /// One run of groups; cut at 2^50, empty if the range is.
    pub fn from_groups(groups: Range<u64>) -> Self {
        let end = groups.end.min(MAX_GROUPS);
        if groups.start < end { Self { bounds: vec![groups.start, end] } } else { Self::empty() }
    }

    /// The groups that hold any of these bytes.
    pub fn from_bytes_range(bytes: Range<u64>) -> Self {
        if bytes.is_empty() {
            return Self::empty();
        }
        Self::from_groups(bytes.start / GROUP_BYTES..bytes.end.div_ceil(GROUP_BYTES))
    }

    /// Whether no group is selected.
    pub fn is_empty(&self) -> bool {
        self.bounds.is_empty()
    }

    /// How many groups are selected.
    pub fn count(&self) -> u64 {
        self.iter().map(|run| run.end - run.start).sum()
    }

    /// How many bytes of a blob of `size` bytes the selected groups hold.
    pub fn byte_count(&self, size: u64) -> u64 {
        let end = |groups: u64| groups.saturating_mul(GROUP_BYTES).min(size);
        self.iter().map(|run| end(run.end) - end(run.start)).sum()
    }

    /// The selected runs, in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.bounds.chunks_exact(2).map(|run| run[0]..run[1])
    }

    /// Whether this group is selected. O(log runs), as the next two.
    pub fn contains(&self, group: u64) -> bool {
        self.bounds.partition_point(|&bound| bound <= group) % 2 == 1
    }

    /// Whether all of these groups are selected; true for an empty range.
    pub fn contains_all(&self, groups: Range<u64>) -> bool {
        if groups.is_empty() {
            return true;
        }
        let at = self.bounds.partition_point(|&bound| bound <= groups.start);
        at % 2 == 1 && self.bounds.get(at).is_some_and(|&end| end >= groups.end)
    }

    /// Whether any of these groups is selected.
    pub fn intersects(&self, groups: Range<u64>) -> bool {
        if groups.is_empty() {
            return false;
        }
        let at = self.bounds.partition_point(|&bound| bound <= groups.start);
        at % 2 == 1 || self.bounds.get(at).is_some_and(|&start| start < groups.end)
    }

    /// Groups in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a || b)
    }

    /// Groups in both sets.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a && b)
    }

    /// Groups in this set and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a && !b)
    }

    /// The part that lies within a blob of `size` bytes.
    #[must_use]
    pub fn clip(&self, size: u64) -> Self {
        self.intersect(&Self::of_size(size))
    }

    /// Every unit, aligned to its own size, of which any group is selected.
    #[must_use]
    pub fn widen(&self, grain: Grain) -> Self {
        let unit = grain.groups();
        let mut wide = Self::empty();
        for run in self.iter() {
            // Cannot overflow: groups stay at or below 2^50, itself a multiple of every unit.
            wide.push(run.start / unit * unit..run.end.div_ceil(unit) * unit);
        }
        wide
    }

    /// The first runs of this set that fit a request; ask for the rest with the next one.
    #[must_use]
    pub fn first_runs(&self, max_runs: usize) -> Self {
        Self { bounds: self.bounds.get(..max_runs / 2 * 2).unwrap_or(&self.bounds).to_vec() }
    }

    /// Adds groups; cheap at or behind the set's end.
    pub fn insert(&mut self, groups: Range<u64>) {
        let groups = groups.start..groups.end.min(MAX_GROUPS);
        if groups.is_empty() || self.contains_all(groups.clone()) {
            return;
        }
        // Both bounds of the last run: what starts before it needs the general way.
        let last_start = self.bounds.len().checked_sub(2).map(|at| self.bounds[at]);
        if last_start.is_none_or(|start| start <= groups.start) {
            self.push(groups);
        } else {
            *self = self.union(&Self::from_groups(groups));
        }
    }

    /// Appends a run that starts at or after the start of the last one.
    fn push(&mut self, run: Range<u64>) {
        match self.bounds.last_mut() {
            Some(end) if *end >= run.start => *end = run.end.max(*end),
            _ => self.bounds.extend([run.start, run.end]),
        }
    }

    /// One sweep over the bounds of both sets.
    fn combine(&self, other: &Self, keep: impl Fn(bool, bool) -> bool) -> Self {
        let (mut i, mut j) = (0, 0);
        let mut bounds = Vec::new();
        loop {
            let at = match (self.bounds.get(i), other.bounds.get(j)) {
                (None, None) => break,
                (Some(&a), None) => a,
                (None, Some(&b)) => b,
                (Some(&a), Some(&b)) => a.min(b),
            };
            i += usize::from(self.bounds.get(i) == Some(&at));
            j += usize::from(other.bounds.get(j) == Some(&at));
            // After an odd number of bounds we are inside a run; the same holds for what we build.
            if keep(i % 2 == 1, j % 2 == 1) != (bounds.len() % 2 == 1) {
                bounds.push(at);
            }
        }
        Self { bounds }
    }

    /// Lengths of alternating unselected and selected runs, as coded.
    pub fn run_lengths(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        let mut before = 0;
        self.bounds.iter().map(move |&bound| bound - std::mem::replace(&mut before, bound))
    }

    /// The stored form: the run lengths as varints, one after the other.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bounds.len() * 2);
        for mut length in self.run_lengths() {
            while length >= 0x80 {
                bytes.push(length as u8 | 0x80);
                length >>= 7;
            }
            bytes.push(length as u8);
        }
        bytes
    }

    /// Reads the stored form, all of `bytes`. Takes at most 8 bytes of memory per byte read.
    ///
    /// # Errors
    /// Anything but the one form that [`GroupRanges::to_bytes`] gives.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, RangesError> {
        let mut builder = Builder::default();
        while !bytes.is_empty() {
            let (length, rest) = split_varint(bytes)?;
            builder.push_length(length)?;
            bytes = rest;
        }
        builder.finish()
    }
}

impl fmt::Debug for GroupRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().take(16)).finish()
    }
}

/// Collects run lengths into bounds.
#[derive(Default)]
struct Builder {
    bounds: Vec<u64>,
}

impl Builder {
    fn push_length(&mut self, length: u64) -> Result<(), RangesError> {
        let index = self.bounds.len();
        if length == 0 && index > 0 {
            return Err(RangesError::EmptyRun { index });
        }
        let start = self.bounds.last().copied().unwrap_or(0);
        let end = start.checked_add(length).filter(|&end| end <= MAX_GROUPS).ok_or(RangesError::TooLong)?;
        self.bounds.push(end);
        Ok(())
    }

    fn finish(self) -> Result<GroupRanges, RangesError> {
        if self.bounds.len() % 2 == 1 {
            return Err(RangesError::UnselectedTail);
        }
        Ok(GroupRanges { bounds: self.bounds })
    }
}

/// Splits a shortest-form varint off the front.
fn split_varint(bytes: &[u8]) -> Result<(u64, &[u8]), RangesError> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().take(MAX_VARINT_BYTES).enumerate() {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit only.
        if index + 1 == MAX_VARINT_BYTES && bits > 1 {
            return Err(RangesError::Varint);
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            if byte == 0 && index > 0 {
                return Err(RangesError::Varint);
            }
            return Ok((value, &bytes[index + 1..]));
        }
    }
    Err(RangesError::Varint)
}

impl Serialize for GroupRanges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.bounds.len() > MAX_WIRE_RUNS {
            return Err(S::Error::custom(RangesError::TooManyRuns { max: MAX_WIRE_RUNS }));
        }
        let mut seq = serializer.serialize_seq(Some(self.bounds.len()))?;
        for length in self.run_lengths() {
            seq.serialize_element(&length)?;
        }
        seq.end()
    }
}

impl<'de> Deserialize<'de> for GroupRanges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Runs;

        impl<'de> Visitor<'de> for Runs {
            type Value = GroupRanges;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_WIRE_RUNS} run lengths")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<GroupRanges, A::Error> {
                let mut builder = Builder::default();
                while let Some(length) = seq.next_element()? {
                    if builder.bounds.len() == MAX_WIRE_RUNS {
                        return Err(A::Error::custom(RangesError::TooManyRuns { max: MAX_WIRE_RUNS }));
                    }
                    builder.push_length(length).map_err(A::Error::custom)?;
                }
                builder.finish().map_err(A::Error::custom)
            }
        }

        deserializer.deserialize_seq(Runs)
    }
}

#[cfg(test)]
mod tests;
