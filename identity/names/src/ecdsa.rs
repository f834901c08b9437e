//! ECDSA over edwards25519 with the deterministic nonces of RFC 6979: the signatures of PKEY zones (RFC 9498, 5.1.1).

use curve25519_dalek::{
    edwards::{CompressedEdwardsY, EdwardsPoint},
    scalar::Scalar,
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

use crate::field::x_mod_order;

type HmacSha512 = Hmac<Sha512>;

/// Signs `message`. `octets` is the secret as RFC 6979 hashes it, big-endian: for a zone's own key it is d as stored, which
/// is larger than the group order, and reducing it first would give another signature.
pub(crate) fn sign(secret: &Scalar, octets: &[u8; 32], message: &[u8]) -> [u8; 64] {
    let z = message_scalar(message);
    let mut nonces = Nonces::new(octets, &z);
    loop {
        let k = nonces.next();
        let point = EdwardsPoint::mul_base(&k).compress();
        let Some(r) = x_mod_order(&point) else {
            continue;
        };
        let s = k.invert() * (z + r * secret);
        if r != Scalar::ZERO && s != Scalar::ZERO {
            return join(&r, &s);
        }
    }
}

/// Whether the signature belongs to this message and key. Bytes that encode no point verify nothing.
pub(crate) fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let Some((r, s)) = split(signature) else {
        return false;
    };
    // Under a key of small order anybody can sign.
    let Some(key) = CompressedEdwardsY(*public).decompress().filter(|key| !key.is_small_order()) else {
        return false;
    };
    let z = message_scalar(message);
    let w = s.invert();
    let point = EdwardsPoint::vartime_double_scalar_mul_basepoint(&(r * w), &key, &(z * w));
    x_mod_order(&point.compress()) == Some(r)
}

/// The leftmost 253 bits of the message's SHA-512, modulo the group order.
fn message_scalar(message: &[u8]) -> Scalar {
    scalar_of(&leftmost_253_bits(&Sha512::digest(message).into()))
}

/// The leftmost 253 bits of 512, as a big-endian number.
fn leftmost_253_bits(hash: &[u8; 64]) -> [u8; 32] {
    let mut out = [0; 32];
    let mut carry = 0u8;
    for (to, from) in out.iter_mut().zip(hash) {
        *to = carry | (from >> 3);
        carry = from << 5;
    }
    out
}

fn reversed(bytes: &[u8; 32]) -> [u8; 32] {
    let mut out = *bytes;
    out.reverse();
    out
}

fn scalar_of(big_endian: &[u8; 32]) -> Scalar {
    Scalar::from_bytes_mod_order(reversed(big_endian))
}

/// A canonical scalar that is not zero.
fn canonical(big_endian: &[u8; 32]) -> Option<Scalar> {
    Option::from(Scalar::from_canonical_bytes(reversed(big_endian))).filter(|scalar| *scalar != Scalar::ZERO)
}

fn join(r: &Scalar, s: &Scalar) -> [u8; 64] {
    let mut out = [0; 64];
    let (front, back) = out.split_at_mut(32);
    front.copy_from_slice(&reversed(r.as_bytes()));
    back.copy_from_slice(&reversed(s.as_bytes()));
    out
}

fn split(signature: &[u8; 64]) -> Option<(Scalar, Scalar)> {
    let (r, rest) = signature.split_first_chunk::<32>()?;
    Some((canonical(r)?, canonical(rest.first_chunk::<32>()?)?))
}

/// The nonces of RFC 6979, section 3.2, with HMAC-SHA-512 and an order of 253 bits.
struct Nonces {
    key: Zeroizing<[u8; 64]>,
    value: Zeroizing<[u8; 64]>,
    started: bool,
}

impl Nonces {
    fn new(secret: &[u8; 32], message: &Scalar) -> Self {
        let mut nonces = Self { key: Zeroizing::new([0; 64]), value: Zeroizing::new([1; 64]), started: false };
        let message = reversed(message.as_bytes());
        nonces.mix(&[&[0], secret, &message]);
        nonces.mix(&[&[1], secret, &message]);
        nonces
    }

    fn hmac(&self, parts: &[&[u8]]) -> Zeroizing<[u8; 64]> {
        let mut mac = HmacSha512::new_from_slice(self.key.as_ref()).expect("HMAC takes keys of any length");
        mac.update(self.value.as_ref());
        for part in parts {
            mac.update(part);
        }
        Zeroizing::new(mac.finalize().into_bytes().into())
    }

    fn mix(&mut self, parts: &[&[u8]]) {
        self.key = self.hmac(parts);
        self.value = self.hmac(&[]);
    }

    fn next(&mut self) -> Scalar {
        loop {
            if std::mem::replace(&mut self.started, true) {
                self.mix(&[&[0]]);
            }
            self.value = self.hmac(&[]);
            if let Some(k) = canonical(&leftmost_253_bits(&self.value)) {
                return k;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn public(secret: &Scalar) -> [u8; 32] {
        EdwardsPoint::mul_base(secret).compress().to_bytes()
    }

    #[test]
    fn r_or_s_of_zero_or_above_the_order_is_refused() {
        let secret = Scalar::from(77u64);
        let good = sign(&secret, &reversed(secret.as_bytes()), b"message");
        assert!(verify(&public(&secret), b"message", &good));
        for half in [0..32, 32..64] {
            for byte in [0x00, 0xff] {
                let mut bad = good;
                bad[half.clone()].fill(byte);
                assert!(!verify(&public(&secret), b"message", &bad));
            }
        }
        // The same s, written with the order added to it.
        let (r, s) = split(&good).unwrap();
        let minus_s = -s;
        assert!(
            !verify(&public(&secret), b"message", &join(&r, &minus_s)),
            "an Edwards curve does not forgive the sign"
        );
    }

    #[test]
    fn a_key_that_is_no_point_verifies_nothing() {
        let secret = Scalar::from(77u64);
        let good = sign(&secret, &reversed(secret.as_bytes()), b"message");
        let no_point = (0u8..).map(|byte| [byte; 32]).find(|bytes| CompressedEdwardsY(*bytes).decompress().is_none());
        assert!(!verify(&no_point.unwrap(), b"message", &good));
    }

    #[test]
    fn a_key_of_small_order_verifies_nothing() {
        // With the identity as key, r = x(k * G) and s = z / k pass the equation without any secret.
        let k = Scalar::from(5u64);
        let r = x_mod_order(&EdwardsPoint::mul_base(&k).compress()).unwrap();
        let s = k.invert() * message_scalar(b"message");
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(!verify(&identity, b"message", &join(&r, &s)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_flipped_bit_in_key_message_or_signature_is_noticed(
            secret: [u8; 32], message in proptest::collection::vec(any::<u8>(), 1..64), position: prop::sample::Index, bit in 0..8u8,
        ) {
            let secret = Scalar::from_bytes_mod_order(secret);
            prop_assume!(secret != Scalar::ZERO);
            let (key, signature) = (public(&secret), sign(&secret, &reversed(secret.as_bytes()), &message));
            prop_assert!(verify(&key, &message, &signature));
            let (mut bad_key, mut bad_message, mut bad_signature) = (key, message.clone(), signature);
            bad_key[position.index(32)] ^= 1 << bit;
            bad_message[position.index(message.len())] ^= 1 << bit;
            bad_signature[position.index(64)] ^= 1 << bit;
            prop_assert!(!verify(&bad_key, &message, &signature));
            prop_assert!(!verify(&key, &bad_message, &signature));
            prop_assert!(!verify(&key, &message, &bad_signature));
        }
    }
}
