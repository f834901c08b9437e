//! Both ends of a verified stream (specs/drives.md, sections 2 and 16.3).
//!
//! The body of a `Get` answer is the size as a big-endian u64, then the steps of a [`Plan`]. The [`Encoder`] checks
//! what it read against the hash before it may leave; the [`Decoder`] checks what came before it may be kept. Neither does
//! I/O on its own account, so they serve synchronous and asynchronous callers alike. A wrong bit, a wrong size or a
//! missing byte shows at the step where it happens, and nothing after it is released.

use std::io;

use p2p_identity::ContentId;

use super::geometry::{Grain, PARENT_BYTES};
use super::hash::{PAIR_BYTES, Value, parent_value, split_pair, subtree_value, subtree_with_outboard};
use super::plan::{Parent, Plan, SizeProof, Step, Unit};
use super::ranges::GroupRanges;
use super::read_at::ReadAt;

/// Bytes of the size that precedes a verified stream: a big-endian u64.
pub const SIZE_PREFIX_BYTES: usize = 8;

/// A step that does not prove itself. On the receiving side: the sender lied or the bytes were damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// A parent whose hash is not what its own parent, or the content id, promised.
    #[error("parent at {outboard_offset} of the outboard does not match its hash")]
    Parent {
        /// Where it lies in the outboard, in bytes.
        outboard_offset: u64,
    },
    /// A unit whose hash is not what its parent, or the content id, promised.
    #[error("unit of {len} bytes at {start_byte} does not match its hash")]
    Unit {
        /// Where it starts in the blob, in bytes.
        start_byte: u64,
        /// Its length in bytes.
        len: usize,
    },
    /// A unit of another length than the plan says.
    #[error("unit at {start_byte} has {len} bytes, expected {expected}")]
    Length {
        /// Where it starts in the blob, in bytes.
        start_byte: u64,
        /// What was given, in bytes.
        len: usize,
        /// What the plan says, in bytes.
        expected: usize,
    },
    /// A parent where a unit is due, a unit where a parent is due, anything behind the end or after an error.
    #[error("a step out of turn")]
    OutOfTurn,
}

/// Why a stream cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Content or outboard are not (any more) what the content id says: mark as stale, hash again (section 14.1).
    #[error("content is stale")]
    Stale(#[source] ProofError),
    /// Content or outboard could not be read.
    #[error("reading content to send it")]
    Read(#[source] io::Error),
}

/// The values that the steps to come must have, the next one last.
#[derive(Clone, Debug)]
struct Verifier {
    expected: Vec<Value>,
}

impl Verifier {
    fn new(hash: &ContentId) -> Self {
        let mut expected = Vec::with_capacity(64);
        expected.push(*hash.as_bytes());
        Self { expected }
    }

    fn parent(&mut self, parent: &Parent, pair: &[u8; PAIR_BYTES]) -> Result<(), ProofError> {
        let expected = self.expected.pop().ok_or(ProofError::OutOfTurn)?;
        let (left, right) = split_pair(pair);
        if parent_value(&left, &right, parent.is_root) != expected {
            self.expected.clear();
            return Err(ProofError::Parent { outboard_offset: parent.outboard_offset });
        }
        self.expected.extend(parent.right.then_some(right));
        self.expected.extend(parent.left.then_some(left));
        Ok(())
    }

    fn unit(&mut self, unit: &Unit, value: &Value) -> Result<(), ProofError> {
        let expected = self.expected.pop().ok_or(ProofError::OutOfTurn)?;
        if *value != expected {
            self.expected.clear();
            return Err(ProofError::Unit { start_byte: unit.start_byte, len: unit.len });
        }
        Ok(())
    }
}

fn check_len(unit: &Unit, bytes: &[u8]) -> Result<(), ProofError> {
    if bytes.len() == unit.len {
        return Ok(());
    }
    Err(ProofError::Length { start_byte: unit.start_byte, len: bytes.len(), expected: unit.len })
}

/// The sender's end: reads, checks, and only then hands out.
///
/// Either call [`Encoder::encode_unit`] until it returns false; or read each [`Step`] of [`Encoder::step`] yourself and have
/// it checked. After an error the encoder gives nothing more.
#[derive(Clone, Debug)]
pub struct Encoder {
    plan: Plan,
    verifier: Verifier,
    step: Option<Step>,
}

impl Encoder {
    /// A stream of the units of the blob `hash`, of `size` bytes, that hold any of `ranges`.
    pub fn new(hash: &ContentId, size: u64, ranges: &GroupRanges, grain: Grain, size_proof: SizeProof) -> Self {
        let mut plan = Plan::new(size, ranges, grain, size_proof);
        let step = plan.next();
        Self { plan, verifier: Verifier::new(hash), step }
    }

    /// What precedes the stream on the wire.
    pub fn size_prefix(&self) -> [u8; SIZE_PREFIX_BYTES] {
        self.plan.size().to_be_bytes()
    }

    /// The step to read, check and send next; `None` at the end.
    pub fn step(&self) -> Option<Step> {
        self.step
    }

    /// Checks the parent that is due. When this returns `Ok` it may be sent.
    ///
    /// # Errors
    /// The parent is wrong, or a unit is due.
    pub fn check_parent(&mut self, pair: &[u8; PAIR_BYTES]) -> Result<(), ProofError> {
        let Some(Step::Parent(parent)) = self.step.take() else {
            return Err(ProofError::OutOfTurn);
        };
        self.verifier.parent(&parent, pair)?;
        self.step = self.plan.next();
        Ok(())
    }

    /// Checks the unit that is due, hashing all of it. When this returns `Ok` it may be sent.
    ///
    /// # Errors
    /// The unit is wrong, or a parent is due.
    pub fn check_unit(&mut self, bytes: &[u8]) -> Result<(), ProofError> {
        let Some(Step::Unit(unit)) = self.step.take() else {
            return Err(ProofError::OutOfTurn);
        };
        check_len(&unit, bytes)?;
        let value = subtree_value(unit.start_byte, bytes, unit.subtree.is_root);
        self.verifier.unit(&unit, &value)?;
        self.step = self.plan.next();
        Ok(())
    }

    /// Reads and checks the next unit and the parents before it, and appends them to `out` as they go over the wire: at
    /// most 1 MiB and 4 KiB. Returns false, and appends nothing, at the end of the stream.
    ///
    /// # Errors
    /// [`SendError::Stale`] when content or outboard are wrong or too short. `out` then ends with the last good step.
    pub fn encode_unit(
        &mut self,
        data: &impl ReadAt,
        outboard: &impl ReadAt,
        out: &mut Vec<u8>,
    ) -> Result<bool, SendError> {
        loop {
            match self.step {
                None => return Ok(false),
                Some(Step::Parent(parent)) => {
                    let mut pair = [0; PAIR_BYTES];
                    let wrong = ProofError::Parent { outboard_offset: parent.outboard_offset };
                    self.read(outboard, &mut pair, parent.outboard_offset, wrong)?;
                    self.check_parent(&pair).map_err(SendError::Stale)?;
                    out.extend_from_slice(&pair);
                }
                Some(Step::Unit(unit)) => {
                    let start = out.len();
                    out.resize(start + unit.len, 0);
                    let wrong = ProofError::Unit { start_byte: unit.start_byte, len: unit.len };
                    let result = self
                        .read(data, &mut out[start..], unit.start_byte, wrong)
                        .and_then(|()| self.check_unit(&out[start..]).map_err(SendError::Stale));
                    if result.is_err() {
                        out.truncate(start);
                    }
                    return result.map(|()| true);
                }
            }
        }
    }

    /// Reads, and takes a source that ends early for a wrong one.
    fn read(&mut self, source: &impl ReadAt, buf: &mut [u8], offset: u64, wrong: ProofError) -> Result<(), SendError> {
        source.read_exact_at(buf, offset).map_err(|error| {
            self.step = None;
            match error.kind() {
                io::ErrorKind::UnexpectedEof => SendError::Stale(wrong),
                _ => SendError::Read(error),
            }
        })
    }
}

/// The receiver's end: tells what comes next, and checks it before it may be kept.
///
/// Read as many bytes as [`Decoder::step`] says, hand them to [`Decoder::on_parent`] or [`Decoder::on_unit`], write
/// what they give back, repeat. Needs a stack of 64 hashes and no memory that depends on the claimed size.
///
/// The size is a mere claim until the last unit is proven, because the shape of the tree depends on it
/// ([`Decoder::size_is_proven`]). Content released before that is right all the same, and in its right place.
#[derive(Clone, Debug)]
pub struct Decoder {
    plan: Plan,
    verifier: Verifier,
    step: Option<Step>,
    proven: GroupRanges,
    size_is_proven: bool,
}

impl Decoder {
    /// Expects the stream that an [`Encoder`] with the same arguments makes. `size` is what the index says or the
    /// sender claims; where both are known the caller compares them first.
    pub fn new(hash: &ContentId, size: u64, ranges: &GroupRanges, grain: Grain, size_proof: SizeProof) -> Self {
        let mut plan = Plan::new(size, ranges, grain, size_proof);
        let step = plan.next();
        Self { plan, verifier: Verifier::new(hash), step, proven: GroupRanges::empty(), size_is_proven: false }
    }

    /// What to read next: 64 bytes for a parent, `len` bytes for a unit. `None` at the end and after an error.
    pub fn step(&self) -> Option<Step> {
        self.step
    }

    /// Bytes of the stream that are still to come.
    pub fn bytes_left(&self) -> u64 {
        let due = match self.step {
            None => 0,
            Some(Step::Parent(_)) => PARENT_BYTES,
            Some(Step::Unit(unit)) => unit.len as u64,
        };
        self.plan.bytes_left().saturating_add(due)
    }

    /// The groups proven so far by this stream.
    pub fn proven(&self) -> &GroupRanges {
        &self.proven
    }

    /// Whether the size is proven: the last unit of the blob, and with it the right edge of the tree, was verified.
    pub fn size_is_proven(&self) -> bool {
        self.size_is_proven
    }

    /// Checks the parent that is due. When this returns it may be written to the outboard, at its offset.
    ///
    /// # Errors
    /// The parent is wrong, or none is due. The decoder then takes nothing more.
    pub fn on_parent(&mut self, pair: &[u8; PAIR_BYTES]) -> Result<Parent, ProofError> {
        let Some(Step::Parent(parent)) = self.step.take() else {
            return Err(ProofError::OutOfTurn);
        };
        self.verifier.parent(&parent, pair)?;
        self.step = self.plan.next();
        Ok(parent)
    }

    /// Checks the unit that is due: hashes all of it, group by group. When this returns the bytes may be written, and
    /// `below` holds the parents beneath the unit, which belong to `unit.subtree.outboard_offset()` of the outboard, at
    /// most 63 x 64 bytes. On error `below` is empty.
    ///
    /// # Errors
    /// The unit is wrong, or none is due. The decoder then takes nothing more.
    pub fn on_unit(&mut self, bytes: &[u8], below: &mut Vec<u8>) -> Result<Unit, ProofError> {
        below.clear();
        let Some(Step::Unit(unit)) = self.step.take() else {
            return Err(ProofError::OutOfTurn);
        };
        check_len(&unit, bytes)?;
        below.resize(unit.subtree.outboard_len() as usize, 0);
        let value = subtree_with_outboard(&unit.subtree, bytes, below);
        self.verifier.unit(&unit, &value).inspect_err(|_| below.clear())?;
        self.proven.insert(unit.subtree.start_group..unit.subtree.end_group());
        self.size_is_proven |= unit.is_last;
        self.step = self.plan.next();
        Ok(unit)
    }
}

#[cfg(test)]
mod tests;
