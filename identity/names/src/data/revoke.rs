//! P2PREVOKE: revocations of an owner's capabilities (specs/names.md, 13.5).

use data_encoding::BASE64URL_NOPAD;

use super::tagged;

const RECORD: u8 = 0x01;
const MORE_LABELS: u8 = 0x80;
/// Most signed records in one.
const MAX_SIGNED: usize = 16;
/// How the text writes the number of further labels.
const MORE_PREFIX: &str = "more=";

/// The contents of a P2PREVOKE record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokeRecord {
    /// Signed revocations, each deterministic CBOR; not looked into here.
    pub signed: Vec<Vec<u8>>,
    /// How many further labels (`rev-1`, `rev-2`, …) hold more.
    pub more_labels: Option<u16>,
}

impl RevokeRecord {
    /// Reads the data of a record; `None` when it is unusable.
    pub fn from_data(data: &[u8]) -> Option<Self> {
        let (mut signed, mut more_labels) = (Vec::new(), None);
        for (tag, value) in tagged::read(data, &[(RECORD, MAX_SIGNED), (MORE_LABELS, 1)])? {
            match tag {
                RECORD => signed.push(value.to_vec()),
                _ => more_labels = Some(u16::from_be_bytes(value.try_into().ok()?)),
            }
        }
        (!signed.is_empty() && signed.iter().all(|record| !record.is_empty())).then_some(Self { signed, more_labels })
    }

    /// The data of the record.
    pub fn to_data(&self) -> Vec<u8> {
        let mut out = tagged::Writer::new();
        for record in &self.signed {
            out.field(RECORD, record);
        }
        if let Some(more) = self.more_labels {
            out.field(MORE_LABELS, &more.to_be_bytes());
        }
        out.finish()
    }

    /// Base64url of each, separated by spaces, then `more=` and the number of further labels.
    pub(super) fn to_text(&self) -> String {
        let more = self.more_labels.map(|more| format!("{MORE_PREFIX}{more}"));
        let words: Vec<_> = self.signed.iter().map(|record| BASE64URL_NOPAD.encode(record)).chain(more).collect();
        words.join(" ")
    }

    /// Reads the text form.
    pub(super) fn from_text(text: &str) -> Result<Self, &'static str> {
        let mut record = Self { signed: Vec::new(), more_labels: None };
        for word in text.split_whitespace() {
            if let Some(more) = word.strip_prefix(MORE_PREFIX) {
                record.more_labels = Some(more.parse().map_err(|_| "more= takes a number")?);
            } else {
                let signed = BASE64URL_NOPAD.decode(word.as_bytes()).map_err(|_| "not base64url")?;
                record.signed.push(signed);
            }
        }
        let data = record.to_data();
        if !tagged::fits(&data) {
            return Err("it is longer than 4096 bytes");
        }
        Self::from_data(&data).ok_or("1 to 16 signed records fit")
    }
}
