//! What people hand each other: invites, cards, links of a chain, certificates, sealed boxes, words.
#![no_main]

use libfuzzer_sys::fuzz_target;
use p2p_identity::{
    AgreementKey, Card, GenesisLink, Invite, InviteSecret, RecoveryWords, SecretKey, Side, TransportCertificate,
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(invite) = text.parse::<Invite>() {
            assert_eq!(invite.to_string().parse(), Ok(invite));
        }
        let _ = RecoveryWords::parse(text);
    }
    let root = SecretKey::from_seed(&[1; 32]);
    let known = GenesisLink::sign(&root, &[2; 32], &root, [3; 32], 4);
    if let Ok(link) = GenesisLink::read(bytes) {
        assert_eq!(link.as_bytes(), bytes);
    }
    let _ = TransportCertificate::read(bytes, &known);
    let _ = Card::read(bytes, &[0; 16], Side::Accepter);
    let _ = AgreementKey::from_bytes(&[5; 32]).open(bytes);
    let _ = InviteSecret::from_bytes(&[6; 16]).and_then(|secret| secret.open(Side::Inviter, bytes));
});
