//! What one shows as a QR code and the other scans, to be sure of each other (specs/overlay.md, 4.3).

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::IdentityId;

/// How such a text begins.
const PREFIX: &str = "p2pv:1:";
/// Longest text that is read, in bytes: the prefix, two ids and a colon.
const MAX_TEXT_BYTES: usize = 7 + 56 + 1 + 56;

/// Who shows the code, and whom they take the other for. Both are public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairCode {
    /// The identity of the side that shows it.
    pub shown_by: IdentityId,
    /// The identity that this side knows the other by.
    pub shown_to: IdentityId,
}

/// Why a code does not show that two people see each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PairCodeError {
    /// Not such a code, or one that was cut or mistyped.
    #[error("this is no code of two contacts (they begin with {PREFIX})")]
    NotACode,
    /// Another identity than the one we know them by.
    #[error("the code was shown by another identity than the one you know them by")]
    ShownByAnother,
    /// They know somebody else in our place.
    #[error("who shows the code knows you by another identity than yours")]
    ShownToAnother,
}

impl PairCode {
    /// The same for a QR code, which is smaller in upper case.
    pub fn qr_text(&self) -> String {
        self.to_string().to_uppercase()
    }

    /// Whether it was shown by `them` to `me`, and by and to nobody else.
    ///
    /// # Errors
    /// It was not: somebody may stand in between.
    pub fn check(&self, me: &IdentityId, them: &IdentityId) -> Result<(), PairCodeError> {
        if self.shown_by != *them {
            return Err(PairCodeError::ShownByAnother);
        }
        if self.shown_to != *me {
            return Err(PairCodeError::ShownToAnother);
        }
        Ok(())
    }
}

impl fmt::Display for PairCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}:{}", self.shown_by, self.shown_to)
    }
}

impl FromStr for PairCode {
    type Err = PairCodeError;

    /// Case does not matter.
    fn from_str(text: &str) -> Result<Self, PairCodeError> {
        let text = text.trim();
        if text.len() > MAX_TEXT_BYTES {
            return Err(PairCodeError::NotACode);
        }
        let text = text.to_ascii_lowercase();
        let both = text.strip_prefix(PREFIX).and_then(|both| both.split_once(':'));
        let (by, to) = both.ok_or(PairCodeError::NotACode)?;
        let id = |text: &str| text.parse().map_err(|_| PairCodeError::NotACode);
        Ok(Self { shown_by: id(by)?, shown_to: id(to)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(n: u8) -> IdentityId {
        IdentityId::from([n; 32])
    }

    #[test]
    fn a_code_says_who_shows_it_to_whom_in_either_case() {
        let code = PairCode { shown_by: id(1), shown_to: id(2) };
        assert_eq!(code.to_string().parse(), Ok(code));
        assert_eq!(code.qr_text().parse(), Ok(code));
        assert!(code.qr_text().bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b':'));
        assert_eq!(code.to_string().len(), MAX_TEXT_BYTES);
        assert_eq!(code.check(&id(2), &id(1)), Ok(()));
        assert_eq!(code.check(&id(3), &id(1)), Err(PairCodeError::ShownToAnother));
        assert_eq!(code.check(&id(2), &id(3)), Err(PairCodeError::ShownByAnother));
        // One's own code, scanned by mistake.
        assert_eq!(code.check(&id(1), &id(2)), Err(PairCodeError::ShownByAnother));
    }

    #[test]
    fn a_mistyped_code_is_none() {
        let text = PairCode { shown_by: id(1), shown_to: id(2) }.to_string();
        for at in 0..text.len() {
            // The alphabet has no l and no v.
            let bad = format!("{}v{}", &text[..at], &text[at + 1..]);
            assert!(bad == text || bad.parse::<PairCode>().is_err(), "{at}");
            assert!(text[..at].parse::<PairCode>().is_err());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,140}") {
            prop_assert!(text.parse::<PairCode>().is_err());
            let begun = format!("{PREFIX}{text}");
            prop_assert!(begun.parse::<PairCode>().is_err());
        }
    }
}
