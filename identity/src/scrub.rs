//! Wiping what calculations with secrets leave behind on the stack.

/// Bytes that are overwritten: more than signing, sealing or deriving takes.
const DEPTH: usize = 32 * 1024;

/// Overwrites the part of the stack that calls made from the same place have just used. Values there are not wiped when
/// they are moved or when a function of another library ends.
#[inline(never)]
pub fn stack() {
    let mut room = [0u8; DEPTH];
    // The optimiser would drop an array that nobody reads.
    std::hint::black_box(&mut room);
}
