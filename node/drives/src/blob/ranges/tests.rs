use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn ranges_of(groups: &BTreeSet<u64>) -> GroupRanges {
    let mut ranges = GroupRanges::empty();
    for &group in groups {
        ranges.insert(group..group + 1);
    }
    ranges
}

fn groups_of(ranges: &GroupRanges) -> BTreeSet<u64> {
    ranges.iter().flatten().collect()
}

fn set() -> impl Strategy<Value = BTreeSet<u64>> {
    proptest::collection::btree_set(0..200_u64, 0..80)
}

#[test]
fn forms_are_fixed() {
    let ranges = GroupRanges::from_groups(0..2).union(&GroupRanges::from_groups(300..301));
    assert_eq!(ranges.to_bytes(), [0x00, 0x02, 0xaa, 0x02, 0x01]);
    assert_eq!(postcard::to_stdvec(&ranges).expect("few runs"), [0x04, 0x00, 0x02, 0xaa, 0x02, 0x01]);
    assert_eq!(postcard::to_stdvec(&GroupRanges::empty()).expect("no runs"), [0x00]);
    assert_eq!(GroupRanges::from_groups(3..5).to_bytes(), [0x03, 0x02]);
}

#[test]
fn bytes_are_widened_to_groups() {
    let groups = |bytes| GroupRanges::from_bytes_range(bytes).iter().next();
    assert_eq!(groups(0..1), Some(0..1));
    assert_eq!(groups(16_383..16_385), Some(0..2));
    assert_eq!(groups(16_384..32_768), Some(1..2));
    assert_eq!(groups(u64::MAX - 1..u64::MAX), Some(MAX_GROUPS - 1..MAX_GROUPS));
    assert_eq!(groups(5..5), None);
    assert_eq!(GroupRanges::from_groups(1..3).byte_count(40_000), 40_000 - 16_384);
    assert_eq!(GroupRanges::all().byte_count(u64::MAX), u64::MAX);
}

#[test]
fn malformed_lists_are_refused() {
    let refused = |bytes: &[u8]| GroupRanges::from_bytes(bytes).expect_err("malformed");
    assert_eq!(refused(&[1]), RangesError::UnselectedTail);
    assert_eq!(refused(&[1, 0]), RangesError::EmptyRun { index: 1 });
    assert_eq!(refused(&[1, 1, 0, 1]), RangesError::EmptyRun { index: 2 });
    assert_eq!(refused(&[0x81]), RangesError::Varint);
    assert_eq!(refused(&[0, 0x81, 0x00]), RangesError::Varint);
    assert_eq!(refused(&[0xff; 11]), RangesError::Varint);
    assert_eq!(refused(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), RangesError::TooLong);
    assert!(postcard::from_bytes::<GroupRanges>(&[3, 1, 1, 1]).is_err());
}

#[test]
fn the_wire_takes_1024_runs_and_no_more() {
    let many = |runs: u64| ranges_of(&(0..runs / 2).map(|n| 2 * n + 1).collect());
    let most = many(MAX_WIRE_RUNS as u64);
    let bytes = postcard::to_stdvec(&most).expect("fits");
    assert_eq!(postcard::from_bytes::<GroupRanges>(&bytes).expect("fits"), most);
    let more = many(MAX_WIRE_RUNS as u64 + 2);
    assert!(postcard::to_stdvec(&more).is_err());
    assert_eq!(more.first_runs(MAX_WIRE_RUNS), most);
    let mut forged = vec![0x82, 0x08];
    forged.extend([1; MAX_WIRE_RUNS + 2]);
    assert!(postcard::from_bytes::<GroupRanges>(&forged).is_err());
}

#[test]
fn a_claimed_count_takes_no_memory() {
    // 2^60 runs announced, two present: must fail by reading, not by allocating.
    let bytes = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 1];
    assert!(postcard::from_bytes::<GroupRanges>(&bytes).is_err());
}

proptest! {
    #[test]
    fn operations_equal_those_on_sets(a in set(), b in set(), start in 0..210_u64, len in 0..60_u64) {
        let (x, y) = (ranges_of(&a), ranges_of(&b));
        prop_assert_eq!(groups_of(&x), a.clone());
        prop_assert_eq!(x.count(), a.len() as u64);
        prop_assert_eq!(groups_of(&x.union(&y)), a.union(&b).copied().collect());
        prop_assert_eq!(groups_of(&x.intersect(&y)), a.intersection(&b).copied().collect());
        prop_assert_eq!(groups_of(&x.difference(&y)), a.difference(&b).copied().collect());
        prop_assert_eq!(x.contains(start), a.contains(&start));
        let span = start..start + len;
        prop_assert_eq!(x.contains_all(span.clone()), span.clone().all(|g| a.contains(&g)));
        prop_assert_eq!(x.intersects(span.clone()), span.clone().any(|g| a.contains(&g)));
        let mut inserted = x.clone();
        inserted.insert(span.clone());
        prop_assert_eq!(groups_of(&inserted), a.iter().copied().chain(span).collect());
        prop_assert!(inserted.bounds.is_sorted_by(|l, r| l < r));
    }

    #[test]
    fn a_widened_set_holds_whole_units_only(a in set(), grain in 0..=6_u8) {
        let grain = Grain::try_from(grain).expect("valid");
        let unit = grain.groups();
        let expected = a.iter().flat_map(|g| g / unit * unit..(g / unit + 1) * unit).collect::<BTreeSet<_>>();
        prop_assert_eq!(groups_of(&ranges_of(&a).widen(grain)), expected);
    }

    #[test]
    fn both_forms_round_trip(a in proptest::collection::btree_set(any::<u64>().prop_map(|n| n >> 14), 0..40)) {
        let ranges = ranges_of(&a);
        prop_assert_eq!(&GroupRanges::from_bytes(&ranges.to_bytes()).expect("own form"), &ranges);
        let wire = postcard::to_stdvec(&ranges).expect("few runs");
        prop_assert_eq!(postcard::from_bytes::<GroupRanges>(&wire).expect("own form"), ranges);
    }

    #[test]
    fn arbitrary_bytes_have_one_form_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(ranges) = GroupRanges::from_bytes(&bytes) {
            prop_assert_eq!(ranges.to_bytes(), bytes.clone());
        }
        let _ = postcard::from_bytes::<GroupRanges>(&bytes);
    }
}
