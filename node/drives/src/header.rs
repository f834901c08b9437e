//! The header of a drive: what the owner says of it as a whole (specs/drives.md, 10, rule 1).

use p2p_identity::{ByteReader, ByteWriter, DriveId};

use crate::signed::{Body, Ext, SignedError, sealed::Sealed};

/// Largest header, signature included, in bytes.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Longest title, in bytes.
pub const MAX_TITLE_BYTES: usize = 1024;

/// Who may find and read a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Whoever has the link.
    Public,
    /// Whoever has the link and its secret. Later: today nothing opens such a drive.
    Private,
}

/// The header, to be signed by the drive's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Which drive; its key signs.
    pub drive: DriveId,
    /// Who may read it.
    pub visibility: Visibility,
    /// A title of at most [`MAX_TITLE_BYTES`]; may be empty.
    pub title: String,
    /// When it was made, in milliseconds since 1970-01-01 UTC.
    pub created_ms: u64,
    /// Room for later.
    pub ext: Ext,
}

impl Sealed for Header {}

impl Body for Header {
    const MAX_BYTES: usize = MAX_HEADER_BYTES;
    const NAME: &'static str = "drive header";
    const OBJECT: u8 = 2;

    fn signer(&self) -> [u8; 32] {
        self.drive.into()
    }

    fn write(&self, out: &mut ByteWriter) {
        out.raw(self.drive.as_bytes());
        out.byte(match self.visibility {
            Visibility::Public => 0,
            Visibility::Private => 1,
        });
        out.bytes(self.title.as_bytes());
        out.u64(self.created_ms);
        self.ext.write(out);
    }

    fn read(reader: &mut ByteReader<'_>) -> Result<Self, SignedError> {
        let drive = reader.array::<32>()?.into();
        let visibility = match reader.byte()? {
            0 => Visibility::Public,
            1 => Visibility::Private,
            _ => {
                return Err(SignedError::Invalid("the visibility of the drive needs a newer version of p2pnode"));
            }
        };
        let title = reader.text("title", MAX_TITLE_BYTES)?.to_owned();
        let created_ms = reader.u64()?;
        Ok(Self { drive, visibility, title, created_ms, ext: Ext::read(reader)? })
    }
}
