use proptest::prelude::*;

use super::*;
use crate::Target;

#[test]
fn a_peer_id_has_the_form_of_libp2p() {
    // Vector of the libp2p peer id specification family: base58btc of the identity multihash of the protobuf public key.
    let peer = PeerId::from([0; 32]);
    assert_eq!(peer.to_string(), "12D3KooW9pNAk8aiBuGVQtWRdbkLmo5qVL3e2h5UxbN2Nz9ttwiw");
    assert_eq!(peer.fmt_short(), "12D3KooW9p");
    assert_eq!(format!("{peer:?}"), "PeerId(12D3KooW9p)");
}

#[test]
fn a_content_id_prints_as_b3sum_does() {
    assert_eq!(ContentId::of(b"").to_string(), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
}

#[test]
fn a_drive_id_has_56_characters_that_never_change() {
    let drive = DriveId::from([7; 32]);
    assert_eq!(drive.to_string().len(), 56);
    assert_eq!(drive.to_string(), FIXED_DRIVE_ID);
}

const FIXED_DRIVE_ID: &str = "yrdoqba8yhdoqba8yhdoqba8yhdoqba8yhdoqba8yhdoqba8yhdoqoyu";

#[test]
fn a_damaged_drive_id_is_told_from_a_text_that_is_no_id() {
    let text = DriveId::from([7; 32]).to_string();
    let mut swapped = text.clone();
    swapped.replace_range(10..11, if &text[10..11] == "y" { "b" } else { "y" });
    assert_eq!(swapped.parse::<DriveId>(), Err(IdError::Damaged));
    // `l` and `2` are not in the alphabet: somebody mistyped a 1 and a z.
    assert_eq!(format!("l2{}", &text[2..]).parse::<DriveId>(), Err(IdError::Damaged));
    assert!(matches!(text[1..].parse::<DriveId>(), Err(IdError::NotAnId { .. })));
    assert!(matches!("docs.alice".parse::<DriveId>(), Err(IdError::NotAnId { .. })));
    let blob = Target::Blob(ContentId::from([7; 32])).to_id_text();
    assert_eq!(blob.parse::<DriveId>(), Err(IdError::OtherType { found: 3 }));
    assert_eq!(text.to_uppercase().parse::<DriveId>(), Ok(DriveId::from([7; 32])));
}

#[test]
fn ids_are_strings_in_json_and_32_bytes_in_binary() {
    fn check<T: Serialize + for<'de> Deserialize<'de> + fmt::Display + PartialEq + fmt::Debug>(id: &T) {
        assert_eq!(serde_json::to_string(id).unwrap(), format!("\"{id}\""));
        assert_eq!(&serde_json::from_str::<T>(&format!("\"{id}\"")).unwrap(), id);
        assert_eq!(postcard::to_allocvec(id).unwrap(), [9; 32]);
        assert_eq!(&postcard::from_bytes::<T>(&[9; 32]).unwrap(), id);
        assert!(serde_json::from_str::<T>("\"nonsense\"").is_err());
    }
    check(&PeerId::from([9; 32]));
    check(&DriveId::from([9; 32]));
    check(&WriterKey::from([9; 32]));
    check(&ContentId::from([9; 32]));
}

proptest! {
    #[test]
    fn every_id_survives_its_text(key: [u8; 32]) {
        prop_assert_eq!(PeerId::from(key).to_string().parse(), Ok(PeerId::from(key)));
        prop_assert_eq!(DriveId::from(key).to_string().parse(), Ok(DriveId::from(key)));
        prop_assert_eq!(WriterKey::from(key).to_string().parse(), Ok(WriterKey::from(key)));
        prop_assert_eq!(ContentId::from(key).to_string().parse(), Ok(ContentId::from(key)));
        prop_assert_eq!(WriterKey::from(key).to_string().len(), 52);
        prop_assert!(PeerId::from(key).to_string().starts_with("12D3Koo"));
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,80}|[a-z0-9]{52}|[a-z0-9]{56}|[0-9a-f]{64}") {
        let _ = (text.parse::<PeerId>(), text.parse::<DriveId>(), text.parse::<WriterKey>(), text.parse::<ContentId>());
    }
}

#[test]
fn one_wrong_character_almost_always_damages_a_drive_id() {
    let text = DriveId::from([9; 32]).to_string();
    let letters = "ybndrfg8ejkmcpqxot1uwisza345h769";
    let mistyped = (0..text.len()).flat_map(|at| letters.chars().map(move |letter| (at, letter)));
    let passed = mistyped.filter(|(at, letter)| {
        let mut bad = text.clone();
        bad.replace_range(at..=at, letter.encode_utf8(&mut [0; 4]));
        bad != text && bad.parse::<DriveId>().is_ok()
    });
    // The checksum has 16 bits: of 1,736 mistakes one passes with a chance of 3 in 100, and these never do.
    assert_eq!(passed.count(), 0);
}
