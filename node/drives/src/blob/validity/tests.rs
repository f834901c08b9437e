use proptest::prelude::*;

use super::super::geometry::{GROUP_BYTES, group_count};
use super::super::import::hash_bytes;
use super::super::testing::{content, edge_sizes};
use super::*;

fn valid(bytes: &Vec<u8>, outboard: &Vec<u8>, size: u64, id: &ContentId, ranges: &GroupRanges) -> GroupRanges {
    valid_groups(bytes, outboard, size, id, ranges).expect("in memory")
}

#[test]
fn whole_files_are_valid_at_all_edges() {
    for size in edge_sizes() {
        let bytes = content(size);
        let (id, outboard) = hash_bytes(&bytes);
        let outboard = outboard.unwrap_or_default();
        assert_eq!(valid(&bytes, &outboard, size, &id, &GroupRanges::all()), GroupRanges::of_size(size), "{size}");
        let last = GroupRanges::from_groups(group_count(size) - 1..group_count(size));
        assert_eq!(valid(&bytes, &outboard, size, &id, &last), last, "{size}");
        assert!(valid(&bytes, &outboard, size, &ContentId::of(b"another"), &GroupRanges::all()).is_empty());
    }
}

#[test]
fn a_short_file_is_valid_as_far_as_it_goes() {
    let size = 100 * GROUP_BYTES;
    let bytes = content(size);
    let (id, outboard) = hash_bytes(&bytes);
    let outboard = outboard.expect("more than one group");
    let short = bytes[..70 * GROUP_BYTES as usize + 1].to_vec();
    assert_eq!(valid(&short, &outboard, size, &id, &GroupRanges::all()), GroupRanges::from_groups(0..70));
    assert!(valid(&bytes, &Vec::new(), size, &id, &GroupRanges::all()).is_empty());
}

#[test]
fn a_damaged_parent_takes_all_below_it() {
    let size = 128 * GROUP_BYTES;
    let bytes = content(size);
    let (id, outboard) = hash_bytes(&bytes);
    let mut outboard = outboard.expect("more than one group");
    // The parent of groups 64..68.
    let parent = Subtree::covering(size, 64, 4).expect("inside");
    outboard[parent.outboard_offset() as usize] ^= 1;
    let expected = GroupRanges::all().clip(size).difference(&GroupRanges::from_groups(64..68));
    assert_eq!(valid(&bytes, &outboard, size, &id, &GroupRanges::all()), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn exactly_the_untouched_groups_are_valid(
        size in 1..150 * GROUP_BYTES,
        damage in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        asked in proptest::collection::vec((0..150_u64, 1..80_u64), 0..4),
    ) {
        let mut bytes = content(size);
        let (id, outboard) = hash_bytes(&bytes);
        let outboard = outboard.unwrap_or_default();
        let mut ranges = GroupRanges::empty();
        for (start, len) in asked {
            ranges.insert(start..start + len);
        }
        let mut expected = ranges.clip(size);
        for at in damage {
            let at = at.index(bytes.len());
            bytes[at] = !bytes[at];
        }
        let good = content(size);
        for group in 0..group_count(size) {
            let span = (group * GROUP_BYTES) as usize..((group + 1) * GROUP_BYTES).min(size) as usize;
            if bytes[span.clone()] != good[span] {
                expected = expected.difference(&GroupRanges::from_groups(group..group + 1));
            }
        }
        prop_assert_eq!(valid(&bytes, &outboard, size, &id, &ranges), expected);
    }
}
