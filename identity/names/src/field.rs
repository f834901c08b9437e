//! The x coordinate of a point of edwards25519, which ECDSA needs and the curve library keeps to itself.
//!
//! The field arithmetic is the formally verified one of `fiat-crypto`; here is only the recovery of x from the 32-byte
//! encoding (RFC 8032, section 5.1.3). Only public points pass through, so no constant time is claimed.

use curve25519_dalek::{edwards::CompressedEdwardsY, scalar::Scalar};
use fiat_crypto::curve25519_64::{
    fiat_25519_add, fiat_25519_carry, fiat_25519_carry_mul, fiat_25519_carry_square, fiat_25519_from_bytes,
    fiat_25519_loose_field_element, fiat_25519_opp, fiat_25519_relax, fiat_25519_sub, fiat_25519_tight_field_element,
    fiat_25519_to_bytes,
};

/// The constant d of the curve, little-endian.
const D: [u8; 32] = [
    0xa3, 0x78, 0x59, 0x13, 0xca, 0x4d, 0xeb, 0x75, 0xab, 0xd8, 0x41, 0x41, 0x4d, 0x0a, 0x70, 0x00, 0x98, 0xe8, 0x79,
    0x77, 0x79, 0x40, 0xc7, 0x8c, 0x73, 0xfe, 0x6f, 0x2b, 0xee, 0x6c, 0x03, 0x52,
];
/// A square root of -1, little-endian.
const SQRT_MINUS_ONE: [u8; 32] = [
    0xb0, 0xa0, 0x0e, 0x4a, 0x27, 0x1b, 0xee, 0xc4, 0x78, 0xe4, 0x2f, 0xad, 0x06, 0x18, 0x43, 0x2f, 0xa7, 0xd7, 0xfb,
    0x3d, 0x99, 0x00, 0x4d, 0x2b, 0x0b, 0xdf, 0xc1, 0x4f, 0x80, 0x24, 0x83, 0x2b,
];
const ONE: [u8; 32] = {
    let mut one = [0; 32];
    one[0] = 1;
    one
};

/// The x coordinate of a point modulo the group order; `None` if the bytes encode no point.
pub(crate) fn x_mod_order(point: &CompressedEdwardsY) -> Option<Scalar> {
    let mut bytes = *point.as_bytes();
    let sign = bytes[31] >> 7;
    bytes[31] &= 0x7f;
    let y_squared = Element::from_bytes(&bytes).square();
    let one = Element::from_bytes(&ONE);
    let u = y_squared.minus(&one);
    let v = y_squared.times(&Element::from_bytes(&D)).plus(&one);
    let v3 = v.square().times(&v);
    let v7 = v3.square().times(&v);
    let mut x = u.times(&v3).times(&u.times(&v7).power_p58());
    let check = v.times(&x.square());
    if check.to_bytes() != u.to_bytes() {
        if check.to_bytes() != u.negated().to_bytes() {
            return None;
        }
        x = x.times(&Element::from_bytes(&SQRT_MINUS_ONE));
    }
    if x.to_bytes()[0] & 1 != sign {
        x = x.negated();
    }
    Some(Scalar::from_bytes_mod_order(x.to_bytes()))
}

/// An element of the field modulo 2^255 - 19.
struct Element(fiat_25519_tight_field_element);

impl Element {
    fn zero() -> fiat_25519_tight_field_element {
        fiat_25519_tight_field_element([0; 5])
    }

    /// The bit 255 of `bytes` must be clear.
    fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut out = Self::zero();
        fiat_25519_from_bytes(&mut out, bytes);
        Self(out)
    }

    fn to_bytes(&self) -> [u8; 32] {
        let mut out = [0; 32];
        fiat_25519_to_bytes(&mut out, &self.0);
        out
    }

    fn loose(&self) -> fiat_25519_loose_field_element {
        let mut out = fiat_25519_loose_field_element([0; 5]);
        fiat_25519_relax(&mut out, &self.0);
        out
    }

    fn carried(loose: &fiat_25519_loose_field_element) -> Self {
        let mut out = Self::zero();
        fiat_25519_carry(&mut out, loose);
        Self(out)
    }

    fn times(&self, other: &Self) -> Self {
        let mut out = Self::zero();
        fiat_25519_carry_mul(&mut out, &self.loose(), &other.loose());
        Self(out)
    }

    fn square(&self) -> Self {
        let mut out = Self::zero();
        fiat_25519_carry_square(&mut out, &self.loose());
        Self(out)
    }

    fn plus(&self, other: &Self) -> Self {
        let mut out = fiat_25519_loose_field_element([0; 5]);
        fiat_25519_add(&mut out, &self.0, &other.0);
        Self::carried(&out)
    }

    fn minus(&self, other: &Self) -> Self {
        let mut out = fiat_25519_loose_field_element([0; 5]);
        fiat_25519_sub(&mut out, &self.0, &other.0);
        Self::carried(&out)
    }

    fn negated(&self) -> Self {
        let mut out = fiat_25519_loose_field_element([0; 5]);
        fiat_25519_opp(&mut out, &self.0);
        Self::carried(&out)
    }

    fn squared_times(&self, count: u32) -> Self {
        let mut out = self.square();
        for _ in 1..count {
            out = out.square();
        }
        out
    }

    /// `self^((p - 5) / 8)`, that is `self^(2^252 - 3)`. Each `ones_n` has n one bits as exponent.
    fn power_p58(&self) -> Self {
        let ones_2 = self.square().times(self);
        let ones_4 = ones_2.squared_times(2).times(&ones_2);
        let ones_5 = ones_4.square().times(self);
        let ones_10 = ones_5.squared_times(5).times(&ones_5);
        let ones_20 = ones_10.squared_times(10).times(&ones_10);
        let ones_40 = ones_20.squared_times(20).times(&ones_20);
        let ones_50 = ones_40.squared_times(10).times(&ones_10);
        let ones_100 = ones_50.squared_times(50).times(&ones_50);
        let ones_200 = ones_100.squared_times(100).times(&ones_100);
        let ones_250 = ones_200.squared_times(50).times(&ones_50);
        ones_250.squared_times(2).times(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use curve25519_dalek::{constants::ED25519_BASEPOINT_COMPRESSED, edwards::EdwardsPoint};
    use proptest::prelude::*;

    #[test]
    fn the_base_point_has_the_x_of_rfc_8032() {
        let x = [
            0x1a, 0xd5, 0x25, 0x8f, 0x60, 0x2d, 0x56, 0xc9, 0xb2, 0xa7, 0x25, 0x95, 0x60, 0xc7, 0x2c, 0x69, 0x5c, 0xdc,
            0xd6, 0xfd, 0x31, 0xe2, 0xa4, 0xc0, 0xfe, 0x53, 0x6e, 0xcd, 0xd3, 0x36, 0x69, 0x21,
        ];
        assert_eq!(x_mod_order(&ED25519_BASEPOINT_COMPRESSED), Some(Scalar::from_bytes_mod_order(x)));
    }

    proptest! {
        #[test]
        fn bytes_have_an_x_exactly_when_they_encode_a_point(bytes: [u8; 32]) {
            let compressed = CompressedEdwardsY(bytes);
            prop_assert_eq!(x_mod_order(&compressed).is_some(), compressed.decompress().is_some());
        }

        #[test]
        fn a_point_and_its_negative_have_opposite_x(secret: [u8; 32]) {
            let point = EdwardsPoint::mul_base(&Scalar::from_bytes_mod_order(secret));
            let (x, minus_x) = (x_mod_order(&point.compress()).unwrap(), x_mod_order(&(-point).compress()).unwrap());
            // p - x and -x differ by p, which is not a multiple of the order: compare through p mod L.
            let mut p = [0xff; 32];
            (p[0], p[31]) = (0xed, 0x7f);
            prop_assert_eq!(x + minus_x, Scalar::from_bytes_mod_order(p));
        }
    }
}
