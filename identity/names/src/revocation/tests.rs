use super::*;
use crate::ZoneType;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn easy(zone_type: ZoneType, difficulty: u32) -> Revocation {
    let secret = ZoneSecret::from_random(zone_type, &[5; 32]);
    let mut search = PowSearch::new(&secret, NOW, difficulty, 7);
    for _ in 0..1000 {
        search = PowSearch::from_bytes(&search.to_bytes()).unwrap();
        if let Some(found) = search.step(20) {
            return found;
        }
    }
    panic!("no proof in 20,000 tries");
}

#[test]
fn a_search_that_was_stored_and_read_finds_a_good_revocation() {
    for zone_type in [ZoneType::Pkey, ZoneType::Edkey] {
        let revocation = easy(zone_type, 2);
        assert_eq!(revocation.timestamp, NOW.before(Duration::from_secs(7 * 86_400)));
        let until = revocation.check_at(2, NOW).unwrap();
        assert!(until >= revocation.timestamp.after(EPOCH.mul_f64(1.1)));
        assert_eq!(Revocation::from_bytes(&revocation.to_bytes()).unwrap(), revocation);
        assert!(matches!(revocation.check(9), Err(RevocationError::TooEasy { .. })));
    }
}

#[test]
fn a_good_revocation_is_accepted_once_and_revokes_its_zone() {
    let revocation = easy(ZoneType::Edkey, 1);
    let mut known = Revocations::new();
    let empty = known.digest();
    let RevocationVerdict::Accept(message) = known.offer(&revocation.to_bytes(), 1, NOW) else {
        panic!("a good revocation is accepted");
    };
    assert!(known.is_revoked(&revocation.zone, NOW));
    assert_eq!(known.offer(&message, 1, NOW), RevocationVerdict::Known);
    assert_ne!(known.digest(), empty);
    let mut restored = Revocations::new();
    restored.restore(known.message(&revocation.zone).unwrap()).unwrap();
    assert_eq!(restored.digest(), known.digest());
    let later = NOW.after(EPOCH * 600);
    assert!(!restored.is_revoked(&revocation.zone, later));
    restored.drop_expired(later);
    assert_eq!(restored.zones().count(), 0);
    assert_eq!(restored.offer(&message, 1, later), RevocationVerdict::Stale);
}

#[test]
fn what_is_wrong_is_found_before_the_work_is_checked() {
    let good = easy(ZoneType::Pkey, 0);
    let mut bad = good.clone();
    bad.signature[5] ^= 1;
    assert_eq!(bad.check(0), Err(RevocationError::BadSignature));
    let mut bad = good.clone();
    bad.proofs[1] = bad.proofs[0];
    assert_eq!(bad.check(0), Err(RevocationError::ProofOrder));
    let early = good.timestamp.before(Duration::from_secs(86_401));
    assert_eq!(good.check_at(0, early), Err(RevocationError::Future(good.timestamp)));
    assert_eq!(Revocation::from_bytes(&[0; 371]), Err(RevocationError::BadLength(371)));
    assert!(matches!(Revocation::from_bytes(&[0; 372]), Err(RevocationError::Zone(_))));
    assert!(matches!(Revocations::new().offer(&[0; 10], 0, NOW), RevocationVerdict::Reject(_)));
}

#[test]
fn the_lifetime_uses_the_average_unrounded() {
    assert_eq!(lifetime(22 * 32, 22), EPOCH * 11 / 10);
    assert_eq!(lifetime(22 * 32 + 16, 22), EPOCH * 33 / 20);
    assert_eq!(lifetime(0, 22), Duration::ZERO);
    assert_eq!(lifetime(u32::MAX, 0), lifetime(u32::MAX, 0));
}

proptest! {
    #[test]
    fn any_bytes_are_a_revocation_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 360..380), good_zone: bool) {
        let zone = ZoneSecret::from_random(ZoneType::Edkey, &[1; 32]).public().to_bytes();
        if good_zone && bytes.len() == REVOCATION_BYTES {
            bytes[272..308].copy_from_slice(&zone);
        }
        if let Ok(revocation) = Revocation::from_bytes(&bytes) {
            prop_assert_eq!(&revocation.to_bytes(), &bytes);
            prop_assert!(revocation.check(0).is_err());
        }
        let _ = PowSearch::from_bytes(&bytes);
    }
}
