use super::*;
use crate::{ZoneKey, decode_rdata};
use proptest::prelude::*;

fn secret(zone_type: ZoneType) -> ZoneSecret {
    ZoneSecret::from_random(zone_type, &[9; 32])
}

fn label() -> Label {
    "www".parse().unwrap()
}

fn both() -> [ZoneType; 2] {
    [ZoneType::Pkey, ZoneType::Edkey]
}

#[test]
fn an_empty_record_set_is_a_block_of_the_smallest_size() {
    for zone_type in both() {
        let block = Block::make(&secret(zone_type), &label(), Timestamp::from_secs(5), &[]).unwrap();
        assert_eq!(block.as_bytes().len(), min_block_bytes(zone_type));
        let rdata = block.open(&LabelKeys::of(secret(zone_type).public(), &label())).unwrap();
        assert_eq!(decode_rdata(&rdata).unwrap(), []);
        let cut = &block.as_bytes()[..block.as_bytes().len() - 1];
        assert!(Block::parse(cut).is_err());
    }
}

#[test]
fn a_wrong_size_or_zone_type_is_refused() {
    let block = Block::make(&secret(ZoneType::Edkey), &label(), Timestamp::from_secs(5), &[1; 32]).unwrap();
    for (at, what) in [(3, "size"), (0, "size"), (7, "zone type")] {
        let mut bytes = block.as_bytes().to_vec();
        bytes[at] ^= 1;
        assert!(Block::parse(&bytes).is_err(), "{what}");
    }
    let mut longer = block.as_bytes().to_vec();
    longer.push(0);
    assert_eq!(Block::parse(&longer), Err(BlockError::SizeMismatch { claimed: 160, actual: 161 }));
    assert!(matches!(Block::parse(&vec![0; 70_000]), Err(BlockError::BadLength { len: 70_000, .. })));
    assert!(matches!(Block::parse(&[]), Err(BlockError::BadLength { len: 0, .. })));
}

#[test]
fn a_bad_tag_behind_a_good_signature_is_an_error() {
    let secret = secret(ZoneType::Edkey);
    let blinding = Blinding::new(secret.public(), &label());
    let keys = LabelKeys::of_secret(&secret, &label(), &blinding);
    let expiration = Timestamp::from_secs(5);
    let mut bdata = encrypt(&keys, expiration, &[7; 32]);
    bdata[0] ^= 1;
    let signature = secret.sign_derived(&blinding, &keys.blinded, &signed_message(expiration, &bdata));
    let mut bytes = Block::make(&secret, &label(), expiration, &[7; 32]).unwrap().into_bytes();
    bytes[40..104].copy_from_slice(&signature);
    bytes[112..].copy_from_slice(&bdata);
    let block = Block::parse(&bytes).unwrap();
    assert_eq!(block.verify(), Ok(()));
    assert_eq!(block.open(&keys), Err(BlockError::BadTag));
}

#[test]
fn an_eddsa_signature_with_a_large_s_is_refused() {
    let block = Block::make(&secret(ZoneType::Edkey), &label(), Timestamp::from_secs(5), &[1; 32]).unwrap();
    let mut bytes = block.into_bytes();
    bytes[103] |= 0xf0;
    assert_eq!(Block::parse(&bytes).unwrap().verify(), Err(BlockError::BadSignature));
}

#[test]
fn the_largest_record_set_fits_the_largest_block() {
    for zone_type in both() {
        let block =
            Block::make(&secret(zone_type), &label(), Timestamp::from_secs(5), &vec![1; MAX_RDATA_BYTES]).unwrap();
        assert!(block.as_bytes().len() <= MAX_BLOCK_BYTES);
        assert_eq!(Block::parse(block.as_bytes()), Ok(block));
        let error = Block::make(&secret(zone_type), &label(), Timestamp::from_secs(5), &vec![1; MAX_RDATA_BYTES + 1]);
        assert_eq!(error.err(), Some(BlockError::LongRdata(MAX_RDATA_BYTES + 1)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_made_opens_and_one_flipped_bit_spoils_it(
        seed: [u8; 32], edkey: bool, name in "[a-zA-Z0-9äöü]{1,20}", expiration: u64,
        rdata in proptest::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, bit in 0..8u8,
    ) {
        let zone_type = if edkey { ZoneType::Edkey } else { ZoneType::Pkey };
        let (secret, label) = (ZoneSecret::from_random(zone_type, &seed), name.parse::<Label>().unwrap());
        let keys = LabelKeys::of(secret.public(), &label);
        let block = Block::make(&secret, &label, Timestamp::from_micros(expiration), &rdata).unwrap();
        prop_assert_eq!(block.storage_key(), keys.storage_key());
        let read = Block::parse(block.as_bytes()).unwrap();
        prop_assert_eq!(&read, &block);
        prop_assert_eq!(read.open(&keys).unwrap(), rdata);

        let mut bad = block.into_bytes();
        let at = at.index(bad.len());
        bad[at] ^= 1 << bit;
        prop_assert!(Block::parse(&bad).and_then(|block| block.open(&keys)).is_err());
    }

    #[test]
    fn any_bytes_are_a_block_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), fix_header: bool) {
        if fix_header && bytes.len() >= 8 {
            let len = u32::try_from(bytes.len()).unwrap();
            bytes[..4].copy_from_slice(&len.to_be_bytes());
            bytes[4..8].copy_from_slice(&ZoneType::Edkey.number().to_be_bytes());
        }
        let keys = LabelKeys::of(&ZoneKey::new(ZoneType::Edkey, *secret(ZoneType::Edkey).public().zkey()).unwrap(), &label());
        prop_assert!(Block::parse(&bytes).and_then(|block| block.open(&keys)).is_err());
    }
}
