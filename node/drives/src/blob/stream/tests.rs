use bao_tree::io::outboard::PreOrderOutboard;
use bao_tree::io::sync::encode_ranges_validated;
use bao_tree::{BaoTree, BlockSize, ChunkNum, ChunkRanges};
use proptest::prelude::*;

use super::super::geometry::{GROUP_BYTES, group_count, outboard_len};
use super::super::import::hash_bytes;
use super::super::testing::{content, edge_sizes};
use super::*;

struct Blob {
    id: ContentId,
    bytes: Vec<u8>,
    outboard: Vec<u8>,
}

impl Blob {
    fn new(size: u64) -> Self {
        let bytes = content(size);
        let (id, outboard) = hash_bytes(&bytes);
        Self { id, bytes, outboard: outboard.unwrap_or_default() }
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The stream, without the size before it.
    fn encode(&self, ranges: &GroupRanges, grain: Grain, proof: SizeProof) -> Vec<u8> {
        let mut encoder = Encoder::new(&self.id, self.size(), ranges, grain, proof);
        assert_eq!(encoder.size_prefix(), self.size().to_be_bytes());
        let mut out = Vec::new();
        while encoder.encode_unit(&self.bytes, &self.outboard, &mut out).expect("content is right") {}
        out
    }
}

/// What a receiver has after a stream.
struct Received {
    bytes: Vec<u8>,
    outboard: Vec<u8>,
    decoder: Decoder,
}

/// Why a stream was not taken.
#[derive(Debug, PartialEq)]
enum Fault {
    Truncated,
    Proof(ProofError),
}

/// Receives a stream into files of the real size, filled with zeros, so that a lie about the size cannot take memory.
fn decode(mut decoder: Decoder, mut stream: &[u8], real_size: u64) -> Result<Received, Box<(Fault, Received)>> {
    let mut bytes = vec![0; real_size as usize];
    let mut outboard = vec![0; outboard_len(real_size) as usize];
    let mut below = Vec::new();
    let fault = loop {
        let Some(step) = decoder.step() else {
            break None;
        };
        let len = match step {
            Step::Parent(_) => 64,
            Step::Unit(unit) => unit.len,
        };
        let Some((part, rest)) = stream.split_at_checked(len) else {
            break Some(Fault::Truncated);
        };
        stream = rest;
        let result = match step {
            Step::Parent(_) => {
                let pair = part.try_into().expect("64 bytes");
                decoder.on_parent(pair).map(|parent| write(&mut outboard, parent.outboard_offset, part))
            }
            Step::Unit(_) => decoder.on_unit(part, &mut below).map(|unit| {
                write(&mut outboard, unit.subtree.outboard_offset(), &below);
                write(&mut bytes, unit.start_byte, part);
            }),
        };
        if let Err(error) = result {
            assert_eq!(decoder.step(), None);
            break Some(Fault::Proof(error));
        }
    };
    let received = Received { bytes, outboard, decoder };
    match fault {
        None => {
            assert!(stream.is_empty(), "{} bytes too many", stream.len());
            Ok(received)
        }
        Some(fault) => Err(Box::new((fault, received))),
    }
}

/// The fault, and what was received before it.
fn refused(result: Result<Received, Box<(Fault, Received)>>) -> (Fault, Received) {
    match result {
        Ok(_) => panic!("a wrong stream passed"),
        Err(fault) => *fault,
    }
}

/// Writes what lies within; a wrong claim about the size may prove parents that the real outboard has no room for.
fn write(target: &mut [u8], offset: u64, part: &[u8]) {
    if let Some(place) = target.get_mut(offset as usize..offset as usize + part.len()) {
        place.copy_from_slice(part);
    }
}

fn grain(grain: u8) -> Grain {
    Grain::try_from(grain).expect("valid")
}

/// Whatever was released is right, whatever the outcome.
fn assert_released_is_right(received: &Received, blob: &Blob) {
    for run in received.decoder.proven().iter() {
        for group in run {
            let start = (group * GROUP_BYTES).min(blob.size()) as usize;
            let end = ((group + 1) * GROUP_BYTES).min(blob.size()) as usize;
            assert_eq!(received.bytes[start..end], blob.bytes[start..end], "group {group}");
        }
    }
}

#[test]
fn a_grain_0_stream_is_that_of_bao_tree() {
    for size in edge_sizes() {
        let blob = Blob::new(size);
        let tree = BaoTree::new(size, BlockSize::from_chunk_log(4));
        let reference = PreOrderOutboard { root: blake3::hash(&blob.bytes), tree, data: blob.outboard.clone() };
        let groups = group_count(size);
        let some = [0..groups, 0..1, groups - 1..groups, groups / 2..groups / 2 + 1, groups / 3..groups * 2 / 3]
            .map(GroupRanges::from_groups);
        let scattered = some[1].union(&some[3]).union(&some[2]);
        for ranges in some.into_iter().chain([scattered, GroupRanges::empty()]) {
            let chunks = ranges.iter().fold(ChunkRanges::empty(), |all, run| {
                all | ChunkRanges::from(ChunkNum(run.start * 16)..ChunkNum(run.end * 16))
            });
            let mut expected = Vec::new();
            encode_ranges_validated(&blob.bytes[..], &reference, &chunks, &mut expected).expect("content is right");
            let stream = blob.encode(&ranges, Grain::FINE, SizeProof::No);
            assert!(stream == expected, "size {size}, {ranges:?}: {} and {} bytes", stream.len(), expected.len());
        }
    }
}

#[test]
fn whole_blobs_arrive_with_their_outboards_at_every_grain() {
    for size in edge_sizes() {
        let blob = Blob::new(size);
        for grain in (0..=6).map(grain) {
            let ranges = GroupRanges::all();
            let stream = blob.encode(&ranges, grain, SizeProof::No);
            let decoder = Decoder::new(&blob.id, size, &ranges, grain, SizeProof::No);
            assert_eq!(decoder.bytes_left(), stream.len() as u64);
            let Ok(received) = decode(decoder, &stream, size) else { panic!("size {size}, {grain:?}") };
            assert!(received.bytes == blob.bytes && received.outboard == blob.outboard, "size {size}, {grain:?}");
            assert!(received.decoder.size_is_proven());
            assert_eq!(received.decoder.bytes_left(), 0);
            assert_eq!(received.decoder.proven(), &GroupRanges::of_size(size));
        }
    }
}

#[test]
fn only_the_last_unit_proves_the_size() {
    let blob = Blob::new(10 * GROUP_BYTES + 1);
    let first = GroupRanges::from_groups(0..1);
    for (proof, proven) in [(SizeProof::No, false), (SizeProof::Yes, true)] {
        let stream = blob.encode(&first, Grain::FINE, proof);
        let decoder = Decoder::new(&blob.id, blob.size(), &first, Grain::FINE, proof);
        let Ok(received) = decode(decoder, &stream, blob.size()) else { panic!("stream is right") };
        assert_eq!(received.decoder.size_is_proven(), proven);
    }
}

#[test]
fn a_wrong_size_never_passes_its_proof() {
    for size in [0, 1, 1024, 16_384, 16_385, 10 * GROUP_BYTES + 1, 16 * GROUP_BYTES, 65 * GROUP_BYTES] {
        let blob = Blob::new(size);
        let doubled = size.saturating_mul(2);
        let claims = [0, 1, size + 1, size.wrapping_sub(1), size + GROUP_BYTES, doubled, 1 << 40, u64::MAX];
        for claimed in claims.into_iter().filter(|&claimed| claimed != size) {
            for grain in [Grain::FINE, Grain::BULK] {
                for proof in [SizeProof::No, SizeProof::Yes] {
                    let ranges = GroupRanges::all();
                    let mut stream = blob.encode(&ranges, grain, proof);
                    // Bytes for whatever the claim makes the receiver wait for.
                    stream.resize(stream.len() + 2_000_000, 7);
                    let decoder = Decoder::new(&blob.id, claimed, &ranges, grain, proof);
                    let (fault, received) = refused(decode(decoder, &stream, size));
                    assert!(matches!(fault, Fault::Proof(_)), "{size} as {claimed}: {fault:?}");
                    assert!(!received.decoder.size_is_proven());
                    assert_released_is_right(&received, &blob);
                }
            }
        }
    }
}

#[test]
fn every_truncation_is_noticed_and_keeps_what_came_before() {
    let blob = Blob::new(5 * GROUP_BYTES + 100);
    let ranges = GroupRanges::all();
    let stream = blob.encode(&ranges, Grain::FINE, SizeProof::No);
    for len in (0..stream.len()).step_by(997).chain([63, 64, 65, stream.len() - 1]) {
        let decoder = Decoder::new(&blob.id, blob.size(), &ranges, Grain::FINE, SizeProof::No);
        let (fault, received) = refused(decode(decoder, &stream[..len], blob.size()));
        assert_eq!(fault, Fault::Truncated);
        assert_released_is_right(&received, &blob);
    }
}

#[test]
fn stale_content_is_noticed_before_it_leaves() {
    let mut blob = Blob::new(200 * GROUP_BYTES);
    blob.bytes[130 * GROUP_BYTES as usize] ^= 1;
    let mut encoder = Encoder::new(&blob.id, blob.size(), &GroupRanges::all(), Grain::BULK, SizeProof::No);
    let mut out = Vec::new();
    assert!(encoder.encode_unit(&blob.bytes, &blob.outboard, &mut out).expect("first unit is right"));
    assert!(encoder.encode_unit(&blob.bytes, &blob.outboard, &mut out).expect("second unit is right"));
    let sent = out.len();
    let error = encoder.encode_unit(&blob.bytes, &blob.outboard, &mut out).expect_err("third unit is wrong");
    assert!(matches!(error, SendError::Stale(ProofError::Unit { start_byte, .. }) if start_byte == 128 * GROUP_BYTES));
    assert_eq!(out.len(), sent + 64);
    assert!(!encoder.encode_unit(&blob.bytes, &blob.outboard, &mut out).expect("nothing more"));
}

#[test]
fn stale_or_short_files_are_stale() {
    let blob = Blob::new(9 * GROUP_BYTES);
    let first_error = |bytes: &Vec<u8>, outboard: &Vec<u8>| {
        let mut encoder = Encoder::new(&blob.id, blob.size(), &GroupRanges::all(), Grain::FINE, SizeProof::No);
        let mut out = Vec::new();
        loop {
            match encoder.encode_unit(bytes, outboard, &mut out) {
                Ok(true) => {}
                Ok(false) => panic!("passed"),
                Err(error) => return error,
            }
        }
    };
    let short = blob.bytes[..100_000].to_vec();
    assert!(matches!(first_error(&short, &blob.outboard), SendError::Stale(ProofError::Unit { .. })));
    let mut wrong = blob.outboard.clone();
    wrong[70] ^= 0x10;
    assert!(matches!(first_error(&blob.bytes, &wrong), SendError::Stale(ProofError::Parent { outboard_offset: 64 })));
    assert!(matches!(first_error(&blob.bytes, &Vec::new()), SendError::Stale(ProofError::Parent { .. })));
}

#[test]
fn steps_out_of_turn_are_refused() {
    let blob = Blob::new(2 * GROUP_BYTES);
    let new = || Decoder::new(&blob.id, blob.size(), &GroupRanges::all(), Grain::FINE, SizeProof::No);
    let mut below = Vec::new();
    assert_eq!(new().on_unit(&blob.bytes[..16_384], &mut below), Err(ProofError::OutOfTurn));
    let mut decoder = new();
    let pair: &[u8; 64] = blob.outboard[..].try_into().expect("one parent");
    assert!(decoder.on_parent(pair).is_ok());
    let short = decoder.clone().on_unit(&blob.bytes[..16_383], &mut below);
    assert_eq!(short, Err(ProofError::Length { start_byte: 0, len: 16_383, expected: 16_384 }));
    assert_eq!(decoder.on_parent(pair), Err(ProofError::OutOfTurn));
    assert_eq!(decoder.on_parent(pair), Err(ProofError::OutOfTurn));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_ranges_arrive_at_any_grain(
        size in 0..150 * GROUP_BYTES,
        runs in proptest::collection::vec((0..160_u64, 1..20_u64), 0..6),
        unit in 0..=6_u8,
        prove in any::<bool>(),
    ) {
        let blob = Blob::new(size);
        let proof = if prove { SizeProof::Yes } else { SizeProof::No };
        let mut ranges = GroupRanges::empty();
        for (start, len) in runs {
            ranges.insert(start..start + len);
        }
        let stream = blob.encode(&ranges, grain(unit), proof);
        let decoder = Decoder::new(&blob.id, size, &ranges, grain(unit), proof);
        prop_assert_eq!(decoder.bytes_left(), stream.len() as u64);
        let Ok(received) = decode(decoder, &stream, size) else { panic!("stream is right") };
        assert_released_is_right(&received, &blob);
        let wanted = ranges.clip(size).difference(received.decoder.proven());
        prop_assert!(wanted.is_empty(), "{:?} missing", wanted);
        prop_assert_eq!(received.decoder.size_is_proven(), received.decoder.proven().contains(group_count(size) - 1));
        // What arrived can be served on at the finest grain.
        let again = Blob { id: blob.id, bytes: received.bytes, outboard: received.outboard };
        again.encode(received.decoder.proven(), Grain::FINE, SizeProof::No);
    }

    #[test]
    fn a_flipped_bit_never_passes(size in 1..80 * GROUP_BYTES, unit in 0..=6_u8, at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let blob = Blob::new(size);
        let ranges = GroupRanges::all();
        let mut stream = blob.encode(&ranges, grain(unit), SizeProof::No);
        let at = at.index(stream.len());
        stream[at] ^= 1 << bit;
        let decoder = Decoder::new(&blob.id, size, &ranges, grain(unit), SizeProof::No);
        let (fault, received) = refused(decode(decoder, &stream, size));
        prop_assert!(matches!(fault, Fault::Proof(_)));
        assert_released_is_right(&received, &blob);
        prop_assert!(!received.decoder.size_is_proven());
    }

    #[test]
    fn arbitrary_bytes_prove_nothing(claimed in any::<u64>(), unit in 0..=6_u8, stream in proptest::collection::vec(any::<u8>(), 0..20_000)) {
        let id = ContentId::of(b"something else");
        for proof in [SizeProof::No, SizeProof::Yes] {
            let decoder = Decoder::new(&id, claimed, &GroupRanges::all(), grain(unit), proof);
            let (_, received) = refused(decode(decoder, &stream, 0));
            prop_assert!(received.decoder.proven().is_empty());
        }
    }
}
