//! Small signed values of apps in the DHT: their form, and which of them are stored.
//!
//! A value lies under `derive_key("p2pnode value v1", public key || name)`, so only who has the key can write there, and
//! a name of one signer never meets that of another. Its bytes are: format 1, public key (32), length of the name (1) and
//! name, sequence number and expiry in microseconds since 1970 (u64, big-endian), the value, and last the signature (64)
//! over `"p2pnode value v1"` and everything before.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use p2p_api::{MAX_VALUE_BYTES, MAX_VALUE_NAME_BYTES, MAX_VALUE_SECONDS, SignedValue};
use p2p_dht::{Checked, RecordKind, Reject};
use p2p_identity::{SecretKey, verify};

const FORMAT: u8 = 1;
const DOMAIN: &str = "p2pnode value v1";
const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;
/// Clocks may differ by this much.
const TOLERANCE: Duration = Duration::from_secs(600);

/// Where a signer's value of this name lies.
pub(crate) fn key_of(signer: &[u8; KEY_BYTES], name: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(DOMAIN);
    hasher.update(signer).update(name.as_bytes());
    *hasher.finalize().as_bytes()
}

/// A value with its signature. Name and value must keep their limits.
pub(crate) fn make(key: &SecretKey, name: &str, value: &[u8], sequence: u64, expires: u64) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&key.public());
    bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(&expires.to_be_bytes());
    bytes.extend_from_slice(value);
    let signature = key.sign(&signed(&bytes));
    bytes.extend_from_slice(&signature);
    bytes
}

/// A value whose form is right; its signature is not checked yet.
pub(crate) struct Parsed<'a> {
    signer: &'a [u8; KEY_BYTES],
    name: &'a str,
    value: &'a [u8],
    pub(crate) sequence: u64,
    expires: u64,
    body: &'a [u8],
    signature: &'a [u8; SIGNATURE_BYTES],
}

impl<'a> Parsed<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (body, signature) = bytes.split_last_chunk::<SIGNATURE_BYTES>()?;
        let (&format, rest) = body.split_first()?;
        let (signer, rest) = rest.split_first_chunk::<KEY_BYTES>()?;
        let (&length, rest) = rest.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(length))?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (expires, value) = rest.split_first_chunk()?;
        if format != FORMAT || name.len() > MAX_VALUE_NAME_BYTES || value.len() > MAX_VALUE_BYTES {
            return None;
        }
        let name = str::from_utf8(name).ok()?;
        let (sequence, expires) = (u64::from_be_bytes(*sequence), u64::from_be_bytes(*expires));
        Some(Self { signer, name, value, sequence, expires, body, signature })
    }

    /// Checks that it may lie under `key` now.
    fn check(&self, key: &[u8], now: SystemTime) -> Result<SystemTime, Reject> {
        if key_of(self.signer, self.name) != key {
            return Err(Reject::Malformed);
        }
        let expires = UNIX_EPOCH.checked_add(Duration::from_micros(self.expires)).ok_or(Reject::Malformed)?;
        if expires <= now {
            return Err(Reject::Expired);
        }
        if expires > now + Duration::from_secs(MAX_VALUE_SECONDS) + TOLERANCE {
            return Err(Reject::Malformed);
        }
        verify(self.signer, &signed(self.body), self.signature).map_err(|_| Reject::BadSignature)?;
        Ok(expires)
    }

    /// The value, if it may lie under `key` now.
    pub(crate) fn proven(&self, key: &[u8], now: SystemTime) -> Option<SignedValue> {
        self.check(key, now).ok()?;
        Some(SignedValue {
            signer: HEXLOWER.encode(self.signer),
            name: self.name.to_owned(),
            value: Bytes::copy_from_slice(self.value),
            sequence: self.sequence,
            expires: self.expires,
        })
    }
}

fn signed(body: &[u8]) -> Vec<u8> {
    [DOMAIN.as_bytes(), body].concat()
}

/// The kind of record that the DHT stores.
pub(crate) struct Values;

impl RecordKind for Values {
    fn name(&self) -> &'static str {
        "value"
    }

    fn matches(&self, key: &[u8]) -> bool {
        key.len() == 32
    }

    fn check(&self, key: &[u8], value: &[u8], stored: Option<&[u8]>, now: SystemTime) -> Result<Checked, Reject> {
        let parsed = Parsed::new(value).ok_or(Reject::Malformed)?;
        let before = stored.and_then(Parsed::new);
        if before.is_some_and(|before| before.sequence >= parsed.sequence) {
            return Err(Reject::Older);
        }
        let expires = parsed.check(key, now)?;
        Ok(Checked { expires, order: parsed.sequence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(seconds: u64) -> u64 {
        seconds * 1_000_000
    }

    #[test]
    fn forged_old_foreign_and_endless_values_are_refused() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let secret = SecretKey::from_seed(&[5; 32]);
        let key = key_of(&secret.public(), "status");
        let one = make(&secret, "status", b"one", 1, micros(1_000_100));
        let two = make(&secret, "status", b"two", 2, micros(1_000_100));
        let check = |value: &[u8], stored: Option<&[u8]>| Values.check(&key, value, stored, now);
        assert_eq!(check(&two, Some(&one)).expect("newer").order, 2);
        assert_eq!(check(&one, Some(&two)), Err(Reject::Older));
        assert_eq!(check(&one, Some(&one)), Err(Reject::Older));
        assert_eq!(check(&make(&secret, "status", b"", 3, micros(999_999)), None), Err(Reject::Expired));
        let endless = make(&secret, "status", b"", 3, micros(1_000_000 + MAX_VALUE_SECONDS + 700));
        assert_eq!(check(&endless, None), Err(Reject::Malformed));
        assert_eq!(check(&make(&secret, "other", b"", 3, micros(1_000_100)), None), Err(Reject::Malformed));
        for at in [1, 40, 60, one.len() - 1] {
            let mut forged = one.clone();
            forged[at] ^= 1;
            assert!(check(&forged, None).is_err(), "byte {at}");
        }
        let mut forged = one.clone();
        forged[58] ^= 1;
        assert!(Parsed::new(&forged).is_some_and(|parsed| parsed.proven(&key, now).is_none()));
        let found = Parsed::new(&two).and_then(|parsed| parsed.proven(&key, now)).expect("it proves itself");
        assert_eq!((found.value.as_ref(), found.sequence), (&b"two"[..], 2));
    }

    proptest::proptest! {
        #[test]
        fn what_is_made_is_read_back(name in ".{0,16}", value: Vec<u8>, sequence: u64, expires: u64) {
            let bytes = make(&SecretKey::from_seed(&[5; 32]), &name, &value, sequence, expires);
            let parsed = Parsed::new(&bytes).expect("within the limits");
            proptest::prop_assert_eq!((parsed.name, parsed.value), (name.as_str(), value.as_slice()));
            proptest::prop_assert_eq!((parsed.sequence, parsed.expires), (sequence, expires));
        }

        #[test]
        fn foreign_bytes_are_no_value(bytes: Vec<u8>, key: [u8; 32]) {
            proptest::prop_assert!(Values.check(&key, &bytes, None, UNIX_EPOCH).is_err());
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let full = make(&SecretKey::from_seed(&[5; 32]), "status", b"value", 1, 1);
        for end in 0..full.len() {
            let _ = Parsed::new(&full[..end]);
        }
        assert!(Parsed::new(&[1; 200]).is_some());
        assert!(Parsed::new(&[255; 200]).is_none());
    }
}
