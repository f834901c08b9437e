//! The common form of the project's own record types: `P2P`, version 1, then fields u8 tag, u16 length, value
//! (specs/names.md, 13.1).

/// First bytes of every such record; other users of the private numbers write something else.
const MARK: [u8; 4] = *b"P2P\x01";
/// Longest data of such a record, in bytes.
const MAX_TAGGED_BYTES: usize = 4096;
/// From here on unknown tags are skipped; a lower one makes the record unusable.
const OPTIONAL_TAGS: u8 = 0x80;

/// The known fields in their order; `None` when the record is unusable. `known` are the tags with the most repetitions.
pub(super) fn read<'a>(data: &'a [u8], known: &[(u8, usize)]) -> Option<Vec<(u8, &'a [u8])>> {
    if data.len() > MAX_TAGGED_BYTES {
        return None;
    }
    let mut rest = data.strip_prefix(&MARK)?;
    let mut fields: Vec<(u8, &[u8])> = Vec::new();
    let mut last = 0;
    while !rest.is_empty() {
        let (tag, behind) = rest.split_first()?;
        let (len, behind) = behind.split_first_chunk::<2>()?;
        let (value, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        if *tag < last {
            return None;
        }
        last = *tag;
        match known.iter().find(|(known, _)| known == tag) {
            Some((_, most)) => {
                if fields.iter().filter(|(seen, _)| seen == tag).count() >= *most {
                    return None;
                }
                fields.push((*tag, value));
            }
            None if *tag >= OPTIONAL_TAGS => {}
            None => return None,
        }
        rest = behind;
    }
    Some(fields)
}

/// Writes such a record field by field.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new() -> Self {
        Self(MARK.to_vec())
    }

    /// Fields come in the order of their tags; a value is at most a record long.
    pub(super) fn field(&mut self, tag: u8, value: &[u8]) {
        let value = value.get(..MAX_TAGGED_BYTES).unwrap_or(value);
        let len = u16::try_from(value.len()).expect("a value is at most 4096 bytes, cut above");
        self.0.push(tag);
        self.0.extend(len.to_be_bytes());
        self.0.extend_from_slice(value);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Whether the data written fits the limit of such a record.
pub(super) fn fits(data: &[u8]) -> bool {
    data.len() <= MAX_TAGGED_BYTES
}
