//! One proof of work: Argon2id over proof, timestamp and zone (RFC 9498, section 4.2).

use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::{Timestamp, ZoneKey, zone::ZONE_ID_BYTES};

const SALT: &[u8; 16] = b"GnsRevocationPow";
const MEMORY_KIB: u32 = 1024;
const ITERATIONS: u32 = 3;
const LANES: u32 = 1;
const OUTPUT_BYTES: usize = 64;
const INPUT_BYTES: usize = 16 + ZONE_ID_BYTES;

/// Scores proofs of one revocation, with one MiB of memory that is used again and again.
pub(super) struct Hasher {
    argon: Argon2<'static>,
    memory: Vec<Block>,
    input: [u8; INPUT_BYTES],
}

impl Hasher {
    pub(super) fn new(timestamp: Timestamp, zone: &ZoneKey) -> Self {
        let params = Params::new(MEMORY_KIB, ITERATIONS, LANES, Some(OUTPUT_BYTES))
            .expect("the parameters of RFC 9498 are good");
        let memory = vec![Block::new(); params.block_count()];
        let mut input = [0; INPUT_BYTES];
        let (_, rest) = input.split_at_mut(8);
        let (time, id) = rest.split_at_mut(8);
        time.copy_from_slice(&timestamp.as_micros().to_be_bytes());
        id.copy_from_slice(&zone.to_bytes());
        Self { argon: Argon2::new(Algorithm::Argon2id, Version::V0x13, params), memory, input }
    }

    /// Leading zero bits of the hash of one proof.
    pub(super) fn score(&mut self, proof: u64) -> u32 {
        let (front, _) = self.input.split_at_mut(8);
        front.copy_from_slice(&proof.to_be_bytes());
        let mut hash = [0; OUTPUT_BYTES];
        self.argon
            .hash_password_into_with_memory(&self.input, SALT, &mut hash, &mut self.memory)
            .expect("lengths and memory are those of the parameters");
        leading_zero_bits(&hash)
    }
}

fn leading_zero_bits(bytes: &[u8]) -> u32 {
    let mut bits = 0;
    for byte in bytes {
        bits += byte.leading_zeros();
        if *byte != 0 {
            break;
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_bits_are_counted_from_the_front() {
        assert_eq!(leading_zero_bits(&[0x80, 0]), 0);
        assert_eq!(leading_zero_bits(&[0, 0x10]), 11);
        assert_eq!(leading_zero_bits(&[0; 64]), 512);
    }
}
