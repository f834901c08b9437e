//! The 24 words of an identity and the root keys behind them (BIP-39, SLIP-0010; specs/overlay.md, 4.1).
//!
//! The words write down 32 random bytes. Root key number n is the Ed25519 key of SLIP-0010 at `m/7352944'/0'/n'` of their
//! BIP-39 seed without a passphrase; 7352944 is "p2p". Number 0 signs the genesis link; that link names the hash of
//! number 1, so that who steals number 0 cannot take the identity over.

use bip39::Mnemonic;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{SecretKey, scrub};

const ENTROPY_BYTES: usize = 32;
const PURPOSE: u32 = 7_352_944;
const ACCOUNT: u32 = 0;
const HARDENED: u32 = 0x8000_0000;

/// The words are not those of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("these are not the 24 words of an identity: one is missing, mistyped or in the wrong place")]
pub struct WordsError;

/// What the root keys of an identity are made from. Wiped when dropped; has no `Debug` and no `Display`.
pub struct RecoveryWords {
    mnemonic: Mnemonic,
}

impl RecoveryWords {
    /// New ones, from the operating system's random numbers.
    ///
    /// # Panics
    /// When the operating system has no random numbers to give.
    pub fn generate() -> Self {
        let mut entropy = Zeroizing::new([0; ENTROPY_BYTES]);
        getrandom::fill(entropy.as_mut()).expect("the operating system provides random numbers");
        let words = Self { mnemonic: Mnemonic::from_entropy(entropy.as_slice()).expect("32 bytes are 24 words") };
        scrub::stack();
        words
    }

    /// Reads words that were written down.
    ///
    /// # Errors
    /// They are not 24, one is not in the list, or the checksum is wrong.
    pub fn parse(text: &str) -> Result<Self, WordsError> {
        let text = Zeroizing::new(text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase());
        let mnemonic = Mnemonic::parse_normalized(&text).map_err(|_| WordsError)?;
        if mnemonic.word_count() == 24 { Ok(Self { mnemonic }) } else { Err(WordsError) }
    }

    /// The words, to be shown once. Whoever reads them owns the identity.
    pub fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(24 * 9));
        for (index, word) in self.mnemonic.words().enumerate() {
            if index > 0 {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    }

    /// Root key number `generation`.
    pub fn root(&self, generation: u32) -> SecretKey {
        let seed = Zeroizing::new(self.mnemonic.to_seed_normalized(""));
        let key = derive(seed.as_slice(), &[PURPOSE, ACCOUNT, generation]);
        scrub::stack();
        SecretKey::from_seed(&key)
    }
}

/// SLIP-0010 for Ed25519: every step is a hardened one.
fn derive(seed: &[u8], path: &[u32]) -> Zeroizing<[u8; 32]> {
    let (mut key, mut chain) = halves(b"ed25519 seed", &[seed]);
    for step in path {
        let index = (step | HARDENED).to_be_bytes();
        (key, chain) = halves(chain.as_slice(), &[&[0], key.as_slice(), &index]);
    }
    key
}

fn halves(key: &[u8], parts: &[&[u8]]) -> (Zeroizing<[u8; 32]>, Zeroizing<[u8; 32]>) {
    let mut mac = Hmac::<Sha512>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    let all = Zeroizing::new(<[u8; 64]>::from(mac.finalize().into_bytes()));
    let (left, right) = all.split_first_chunk::<32>().expect("64 bytes have a first 32");
    let right = <&[u8; 32]>::try_from(right).expect("and 32 more");
    (Zeroizing::new(*left), Zeroizing::new(*right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    #[test]
    fn the_first_vector_of_slip_0010_is_reproduced() {
        let seed = HEXLOWER.decode(b"000102030405060708090a0b0c0d0e0f").unwrap();
        let key = |path: &[u32]| HEXLOWER.encode(derive(&seed, path).as_slice());
        assert_eq!(key(&[]), "2b4be7f19ee27bbf30c667b642d5f4aa69fd169872f8fc3059c08ebae2eb19e7");
        assert_eq!(key(&[0]), "68e0fe46dfb67e368c75379acec591dad19df3cde26e63b93a8e704f1dade7a3");
        assert_eq!(key(&[0, 1]), "b1d0bad404bf35da785a64ca1ac54b2617211d2777696fbffaf208f746ae84f2");
    }

    #[test]
    fn words_give_the_same_keys_again_however_they_are_typed() {
        let words = RecoveryWords::generate();
        let text = words.text();
        assert_eq!(text.split(' ').count(), 24);
        let typed = format!("  {}\n", text.to_uppercase().replace(' ', "  "));
        let again = RecoveryWords::parse(&typed).unwrap();
        assert_eq!(again.root(0).public(), words.root(0).public());
        assert_ne!(words.root(0).public(), words.root(1).public());
        assert_ne!(RecoveryWords::generate().root(0).public(), words.root(0).public());
    }

    #[test]
    fn the_words_of_all_zeros_are_those_of_bip_39() {
        let text = format!("{}art", "abandon ".repeat(23));
        let words = RecoveryWords::parse(&text).unwrap();
        assert_eq!(words.text().as_str(), text);
        // No release may derive another key from the same words.
        assert_eq!(
            HEXLOWER.encode(&words.root(0).public()),
            "1f31b62aca9e3910283bd2f509afa2f765f9e6c96f8d6b6549a850142de047ff"
        );
    }

    #[test]
    fn wrong_words_are_refused() {
        let good = RecoveryWords::generate().text();
        for bad in [
            "".to_owned(),
            "abandon".to_owned(),
            "abandon ".repeat(24),
            format!("{}about", "abandon ".repeat(11)),
            good.replacen(good.split(' ').next().unwrap(), "xyzzy", 1),
        ] {
            assert!(RecoveryWords::parse(&bad).is_err(), "{bad}");
        }
    }
}
