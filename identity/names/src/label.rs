//! Labels and names (RFC 9498, section 2; specs/names.md, section 9).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Longest label we take, in bytes of UTF-8. RFC 9498 has no limit; this one bounds what a stranger's record can make us do.
pub const MAX_LABEL_BYTES: usize = 1024;
/// Longest name we take, in bytes of UTF-8, as long as the longest DNS name four times over.
pub const MAX_NAME_BYTES: usize = 4096;
/// Most labels in a name: one step of resolution each.
pub const MAX_LABELS: usize = 128;

/// Why a text is no label or name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// Two dots in a row, or one at the beginning.
    #[error("a label is empty")]
    EmptyLabel,
    /// A label with a dot in it.
    #[error("a label has no dots")]
    Dot,
    /// A label with a control character, which no keyboard writes and no terminal shows.
    #[error("a label has a control character")]
    Control,
    /// See [`MAX_LABEL_BYTES`].
    #[error("a label is {0} bytes, at most {MAX_LABEL_BYTES}")]
    LongLabel(usize),
    /// See [`MAX_NAME_BYTES`].
    #[error("the name is {0} bytes, at most {MAX_NAME_BYTES}")]
    LongName(usize),
    /// See [`MAX_LABELS`].
    #[error("the name has more than {MAX_LABELS} labels")]
    ManyLabels,
    /// Text that DNS cannot carry, where a DNS name is needed.
    #[error("the name cannot be written as a DNS name")]
    NotDns,
}

/// One label: UTF-8 in Unicode normal form C, no dots, case kept. `@` is the apex of a zone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Box<str>);

impl Label {
    /// The apex, `@`.
    pub fn apex() -> Self {
        Self("@".into())
    }

    /// Whether this is `@`.
    pub fn is_apex(&self) -> bool {
        &*self.0 == "@"
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bytes that go into key derivation.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether lower-casing would change it: DNS programs cannot reach it then (specs/names.md, 12.7).
    pub fn has_upper_case(&self) -> bool {
        self.0.chars().any(char::is_uppercase)
    }
}

impl FromStr for Label {
    type Err = NameError;

    /// Normalizes to NFC; nothing else is changed.
    fn from_str(text: &str) -> Result<Self, NameError> {
        // Normalization makes a text at most three times as long (UAX #15), so the limit is checked on both sides of it.
        if text.len() > MAX_LABEL_BYTES {
            return Err(NameError::LongLabel(text.len()));
        }
        let text = normalize(text);
        if text.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        if text.contains('.') {
            return Err(NameError::Dot);
        }
        if text.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        if text.len() > MAX_LABEL_BYTES {
            return Err(NameError::LongLabel(text.len()));
        }
        Ok(Self(text.into_boxed_str()))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Label {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Labels from left to right, as people write them. May be empty: the apex of whatever zone it is resolved in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Name(Vec<Label>);

impl Name {
    /// Of labels, left to right.
    pub fn from_labels(labels: Vec<Label>) -> Result<Self, NameError> {
        if labels.len() > MAX_LABELS {
            return Err(NameError::ManyLabels);
        }
        let bytes = labels.iter().map(|label| label.as_bytes().len() + 1).sum::<usize>();
        if bytes > MAX_NAME_BYTES {
            return Err(NameError::LongName(bytes));
        }
        Ok(Self(labels))
    }

    /// The labels, left to right.
    pub fn labels(&self) -> &[Label] {
        &self.0
    }

    /// Whether there are no labels.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rightmost label.
    pub fn last(&self) -> Option<&Label> {
        self.0.last()
    }

    /// Takes the rightmost label away.
    pub(crate) fn pop(&mut self) -> Option<Label> {
        self.0.pop()
    }

    /// This name, a dot, and the other.
    pub(crate) fn join(&self, right: &Self) -> Result<Self, NameError> {
        Self::from_labels(self.0.iter().chain(&right.0).cloned().collect())
    }

    /// A name that came by DNS, which keeps no case: mapped by UTS 46 to lower case and NFC, A-labels made readable. Labels
    /// with upper-case letters cannot be reached this way.
    pub fn from_dns(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_NAME_BYTES {
            return Err(NameError::LongName(text.len()));
        }
        let (readable, result) = idna::domain_to_unicode(text);
        result.map_err(|_| NameError::NotDns)?;
        readable.parse()
    }

    /// The name as DNS programs write it: UTS 46 A-labels, at most 253 characters, no dot at the end.
    pub fn to_dns(&self) -> Result<String, NameError> {
        let ascii = dns_ascii(&self.to_string())?;
        if ascii.len() > 253 || ascii.split('.').any(|label| label.is_empty() || label.len() > 63) {
            return Err(NameError::NotDns);
        }
        Ok(ascii)
    }
}

/// The A-label form of a dotted name; ASCII names, also with underscores, stay what they are but for the case.
pub(crate) fn dns_ascii(text: &str) -> Result<String, NameError> {
    idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::EMPTY)
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| NameError::NotDns)
}

impl FromStr for Name {
    type Err = NameError;

    /// Splits at dots. One dot at the end is ignored, as DNS programs write it; the empty text is the empty name.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_NAME_BYTES {
            return Err(NameError::LongName(text.len()));
        }
        if text.is_empty() {
            return Ok(Self::default());
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        let labels = text.split('.').take(MAX_LABELS + 1).map(str::parse).collect::<Result<Vec<Label>, _>>()?;
        Self::from_labels(labels)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, label) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            f.write_str(&label.0)?;
        }
        Ok(())
    }
}

macro_rules! serde_as_text {
    ($name:ty) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

serde_as_text!(Label);
serde_as_text!(Name);

fn normalize(text: &str) -> String {
    if is_nfc(text) { text.to_owned() } else { text.nfc().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn label(text: &str) -> Result<Label, NameError> {
        text.parse()
    }

    #[test]
    fn labels_are_composed_and_keep_their_case() {
        assert_eq!(label("u\u{308}ber").unwrap().as_str(), "über");
        assert_ne!(label("WWW"), label("www"));
        assert!(label("WWW").unwrap().has_upper_case() && !label("www").unwrap().has_upper_case());
    }

    #[test]
    fn what_is_no_label_is_refused() {
        assert_eq!(label(""), Err(NameError::EmptyLabel));
        assert_eq!(label("a.b"), Err(NameError::Dot));
        assert_eq!(label("a\0"), Err(NameError::Control));
        assert_eq!(label(&"a".repeat(1025)), Err(NameError::LongLabel(1025)));
        assert!(label(&"a".repeat(1024)).is_ok());
        // Composition exclusions grow: 1,022 bytes of one letter, three times as many bytes of two.
        assert!(matches!(label(&"\u{958}".repeat(341)), Err(NameError::LongLabel(_))));
    }

    #[test]
    fn names_have_bounds_and_one_dot_at_the_end() {
        let name: Name = "www.alice.".parse().unwrap();
        assert_eq!(name.to_string(), "www.alice");
        assert_eq!("a..b".parse::<Name>(), Err(NameError::EmptyLabel));
        assert_eq!(".".parse::<Name>(), Err(NameError::EmptyLabel));
        assert_eq!("a.".repeat(129).parse::<Name>(), Err(NameError::ManyLabels));
        assert!(matches!("a".repeat(5000).parse::<Name>(), Err(NameError::LongName(5000))));
        assert!("".parse::<Name>().unwrap().is_empty());
    }

    #[test]
    fn dns_gets_a_labels() {
        assert_eq!("bücher.example".parse::<Name>().unwrap().to_dns().unwrap(), "xn--bcher-kva.example");
        assert_eq!("_443._tcp.example".parse::<Name>().unwrap().to_dns().unwrap(), "_443._tcp.example");
        assert_eq!("a".repeat(64).parse::<Name>().unwrap().to_dns(), Err(NameError::NotDns));
    }

    #[test]
    fn names_from_dns_are_lower_case_and_readable() {
        let from_dns = |text| Name::from_dns(text).map(|name| name.to_string());
        assert_eq!(from_dns("XN--BCHER-KVA.Example."), Ok("bücher.example".to_owned()));
        assert_eq!(from_dns("_443._TCP.WWW"), Ok("_443._tcp.www".to_owned()));
        assert_eq!(from_dns("Bu\u{308}cher"), Ok("bücher".to_owned()));
        assert_eq!(from_dns("xn--\u{fc}"), Err(NameError::NotDns));
        assert_eq!(from_dns("a..b"), Err(NameError::EmptyLabel));
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_or_refused(text in "\\PC{0,40}") {
            if let Ok(name) = text.parse::<Name>() {
                prop_assert_eq!(name.to_string().parse::<Name>().unwrap(), name);
            }
            let _ = Name::from_dns(&text).and_then(|name| name.to_dns());
        }
    }
}
