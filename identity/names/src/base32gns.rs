//! Base32GNS (RFC 9498, appendix C): Crockford's alphabet, read tolerantly.

use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};
use thiserror::Error;

/// A symbol is not of the alphabet, nor one of the letters that stand for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not Base32GNS: a symbol is not of the alphabet")]
pub struct BadBase32Gns;

static BASE32GNS: LazyLock<Encoding> = LazyLock::new(|| {
    let mut spec = Specification::new();
    spec.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    // Letters that are easily misread stand for the symbol they look like; U for V is the RFC's own rule.
    spec.translate.from.push_str("abcdefghjkmnpqrstvwxyzOoIiLlUu");
    spec.translate.to.push_str("ABCDEFGHJKMNPQRSTVWXYZ001111VV");
    // GNUnet tolerates bits left over at the end that are not zero; so do we (specs/names.md, section 2).
    spec.check_trailing_bits = false;
    spec.encoding().expect("the alphabet has 32 different symbols")
});

/// The text of `bytes`: `ceil(8n / 5)` symbols in upper case, left-over bits zero, no padding.
pub fn base32gns_encode(bytes: &[u8]) -> String {
    BASE32GNS.encode(bytes)
}

/// The `floor(5n / 8)` bytes of `n` symbols in either case. Left-over bits are ignored, whatever they are.
pub fn base32gns_decode(text: &str) -> Result<Vec<u8>, BadBase32Gns> {
    // A last symbol that completes no byte carries only left-over bits. It is checked, then dropped, because the
    // library refuses such lengths.
    let symbols = text.as_bytes();
    let spare = match symbols.len() % 8 {
        1 | 3 | 6 => 1,
        _ => 0,
    };
    let (whole, rest) = symbols.split_at(symbols.len() - spare);
    if let [symbol] = rest {
        BASE32GNS.decode(&[*symbol, b'0']).map_err(|_| BadBase32Gns)?;
    }
    BASE32GNS.decode(whole).map_err(|_| BadBase32Gns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_encoded_decodes_in_both_cases(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let text = base32gns_encode(&bytes);
            prop_assert_eq!(text.len(), (bytes.len() * 8).div_ceil(5));
            prop_assert_eq!(&base32gns_decode(&text).unwrap(), &bytes);
            prop_assert_eq!(&base32gns_decode(&text.to_lowercase()).unwrap(), &bytes);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            if let Ok(bytes) = base32gns_decode(&text) {
                prop_assert_eq!(bytes.len(), text.len() * 5 / 8);
            }
        }
    }

    #[test]
    fn left_over_bits_and_lookalikes_are_tolerated() {
        assert_eq!(base32gns_decode("TH").unwrap(), [0xd4]);
        assert_eq!(base32gns_decode("oOiIlLuU").unwrap(), base32gns_decode("001111VV").unwrap());
        assert_eq!(base32gns_decode("ABC").unwrap().len(), 1);
        assert_eq!(base32gns_decode("AB*"), Err(BadBase32Gns));
        assert_eq!(base32gns_decode("AB="), Err(BadBase32Gns));
    }
}
