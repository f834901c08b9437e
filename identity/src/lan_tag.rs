//! What two contacts announce to each other on a local network, and nobody else can tell from random bytes
//! (specs/overlay.md, section 5).

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::IdentityId;

/// Bytes by which a contact recognises an announcement.
pub const LAN_TAG_BYTES: usize = 8;
/// Bytes that are hidden behind it.
pub const LAN_HIDDEN_BYTES: usize = 4;

const CONTEXT: &[u8] = b"p2pnode lan tag v1";
const SECONDS_OF_HOUR: u64 = 3_600;

/// The tag of one side of two contacts for one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanTag {
    /// What is announced.
    pub tag: [u8; LAN_TAG_BYTES],
    /// What is announced behind it is hidden with this, by exclusive or.
    pub mask: [u8; LAN_HIDDEN_BYTES],
}

impl LanTag {
    /// The tag with which `announcer` makes itself known to the contact with whom it shares `secret`. The two sides have
    /// different ones: who hears both does not learn that they know each other, nor is an echo of one's own taken for the
    /// other's.
    pub fn new(secret: &[u8; 32], hour: u64, announcer: &IdentityId) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
        mac.update(CONTEXT);
        mac.update(&hour.to_be_bytes());
        mac.update(announcer.as_bytes());
        let bytes: [u8; 32] = mac.finalize().into_bytes().into();
        let (tag, rest) = bytes.split_first_chunk().expect("32 bytes have a first 8");
        let mask = rest.first_chunk().expect("24 bytes have a first 4");
        Self { tag: *tag, mask: *mask }
    }

    /// The hour of a time in seconds since 1970.
    pub fn hour_of(now_s: u64) -> u64 {
        now_s / SECONDS_OF_HOUR
    }

    /// Hides what is announced behind the tag, and shows it again.
    pub fn hidden(&self, plain: [u8; LAN_HIDDEN_BYTES]) -> [u8; LAN_HIDDEN_BYTES] {
        let mut hidden = plain;
        hidden.iter_mut().zip(self.mask).for_each(|(byte, mask)| *byte ^= mask);
        hidden
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    #[test]
    fn tags_change_with_the_hour_the_side_and_the_secret() {
        let (alice, bob) = (IdentityId::from([1; 32]), IdentityId::from([2; 32]));
        let tag = LanTag::new(&[7; 32], 500_000, &alice);
        assert_eq!(tag, LanTag::new(&[7; 32], 500_000, &alice));
        for other in [
            LanTag::new(&[7; 32], 500_001, &alice),
            LanTag::new(&[7; 32], 500_000, &bob),
            LanTag::new(&[8; 32], 500_000, &alice),
        ] {
            assert_ne!(other.tag, tag.tag);
            assert_ne!(other.mask, tag.mask);
        }
        assert_eq!(tag.hidden(tag.hidden([1, 2, 3, 4])), [1, 2, 3, 4]);
        assert_eq!(LanTag::hour_of(3_599), 0);
        assert_eq!(LanTag::hour_of(3_600), 1);
    }

    #[test]
    fn the_tag_does_not_drift() {
        let tag = LanTag::new(&[7; 32], 500_000, &IdentityId::from([1; 32]));
        assert_eq!((HEXLOWER.encode(&tag.tag), HEXLOWER.encode(&tag.mask)), (TAG.into(), MASK.into()));
    }

    const TAG: &str = "3dc6e94f7da04677";
    const MASK: &str = "58cfe900";
}
