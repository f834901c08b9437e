//! Who may write to a drive: certificates and the writer set, both signed by the owner (specs/drives.md, 10, rule 2).

use bytes::Bytes;
use p2p_identity::{ByteReader, ByteWriter, DriveId, WriterKey};

use crate::{
    head::MAX_WRITERS,
    key::PathKey,
    signed::{Body, Ext, Signed, SignedError, sealed::Sealed},
};

/// Largest certificate, signature included, in bytes.
pub const MAX_CERTIFICATE_BYTES: usize = 4 * 1024;
/// Largest writer set, signature included, in bytes.
pub const MAX_WRITER_SET_BYTES: usize = 64 * 1024;
/// Longest path prefix of a certificate, in bytes.
pub const MAX_PREFIX_BYTES: usize = 255;
/// Most revoked writers in a writer set.
pub const MAX_REVOKED: usize = 256;

/// Lets one writer write, to be signed by the drive's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Which drive; its key signs.
    pub drive: DriveId,
    /// Who may write.
    pub writer: WriterKey,
    /// Where: at and under this path; `None` for everywhere. At most [`MAX_PREFIX_BYTES`].
    pub prefix: Option<PathKey>,
    /// Heads with a greater clock do not count; `u64::MAX` for no end.
    pub not_after_hlc: u64,
    /// Heads with a greater counter do not count; `u64::MAX` for no limit.
    pub max_counter: u64,
    /// Epoch of the writer set it was made for.
    pub epoch: u64,
    /// Room for later.
    pub ext: Ext,
}

/// All who may write, and who no longer may; to be signed by the drive's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterSet {
    /// Which drive; its key signs.
    pub drive: DriveId,
    /// Grows with every change.
    pub epoch: u64,
    /// One certificate per writer, by writer.
    pub certificates: Vec<Signed<Certificate>>,
    /// Writers whose certificate was taken back, with the last counter that counts; by writer.
    pub revoked: Vec<(WriterKey, u64)>,
    /// Room for later.
    pub ext: Ext,
}

impl Sealed for Certificate {}

impl Body for Certificate {
    const MAX_BYTES: usize = MAX_CERTIFICATE_BYTES;
    const NAME: &'static str = "certificate";
    const OBJECT: u8 = 3;

    fn signer(&self) -> [u8; 32] {
        self.drive.into()
    }

    fn write(&self, out: &mut ByteWriter) {
        out.raw(self.drive.as_bytes());
        out.raw(self.writer.as_bytes());
        out.bytes(self.prefix.as_ref().map_or(&[], PathKey::as_bytes));
        out.u64(self.not_after_hlc);
        out.u64(self.max_counter);
        out.u64(self.epoch);
        self.ext.write(out);
    }

    fn read(reader: &mut ByteReader<'_>) -> Result<Self, SignedError> {
        let drive = reader.array::<32>()?.into();
        let writer = reader.array::<32>()?.into();
        let prefix = match reader.bytes("path prefix", MAX_PREFIX_BYTES)? {
            [] => None,
            bytes => {
                let bad = |_| SignedError::Invalid("the path prefix of a certificate is no path");
                Some(PathKey::from_bytes(bytes).map_err(bad)?)
            }
        };
        let (not_after_hlc, max_counter, epoch) = (reader.u64()?, reader.u64()?, reader.u64()?);
        Ok(Self { drive, writer, prefix, not_after_hlc, max_counter, epoch, ext: Ext::read(reader)? })
    }
}

impl Certificate {
    /// Whether the writer may touch this path.
    pub fn allows(&self, key: &PathKey) -> bool {
        self.prefix.as_ref().is_none_or(|prefix| key.is_under(prefix))
    }

    /// Whether a head with this counter and clock is within its limits.
    pub fn admits(&self, counter: u64, hlc: u64) -> bool {
        counter <= self.max_counter && hlc <= self.not_after_hlc
    }
}

impl Sealed for WriterSet {}

impl Body for WriterSet {
    const MAX_BYTES: usize = MAX_WRITER_SET_BYTES;
    const NAME: &'static str = "writer set";
    const OBJECT: u8 = 4;

    fn signer(&self) -> [u8; 32] {
        self.drive.into()
    }

    fn write(&self, out: &mut ByteWriter) {
        out.raw(self.drive.as_bytes());
        out.u64(self.epoch);
        out.count(self.certificates.len());
        for certificate in &self.certificates {
            out.bytes(certificate.as_bytes());
        }
        out.count(self.revoked.len());
        for (writer, counter) in &self.revoked {
            out.raw(writer.as_bytes());
            out.u64(*counter);
        }
        self.ext.write(out);
    }

    fn read(reader: &mut ByteReader<'_>) -> Result<Self, SignedError> {
        let drive = reader.array::<32>()?.into();
        let epoch = reader.u64()?;
        let count = reader.count("certificates", MAX_WRITERS)?;
        let mut certificates = Vec::with_capacity(count);
        for _ in 0..count {
            let bytes = reader.bytes("certificate", MAX_CERTIFICATE_BYTES)?;
            certificates.push(Signed::<Certificate>::decode(Bytes::copy_from_slice(bytes))?);
        }
        let revoked_count = reader.count("revoked writers", MAX_REVOKED)?;
        let mut revoked = Vec::with_capacity(revoked_count);
        for _ in 0..revoked_count {
            revoked.push((WriterKey::from(reader.array::<32>()?), reader.u64()?));
        }
        let set = Self { drive, epoch, certificates, revoked, ext: Ext::read(reader)? };
        set.check()?;
        Ok(set)
    }
}

impl WriterSet {
    /// The certificate of a writer.
    pub fn certificate(&self, writer: &WriterKey) -> Option<&Certificate> {
        self.certificates.iter().map(Signed::body).find(|certificate| certificate.writer == *writer)
    }

    /// The last counter that counts of a writer whose certificate was taken back.
    pub fn revoked_at(&self, writer: &WriterKey) -> Option<u64> {
        self.revoked.iter().find(|(revoked, _)| revoked == writer).map(|(_, counter)| *counter)
    }

    fn check(&self) -> Result<(), SignedError> {
        let writers: Vec<_> = self.certificates.iter().map(|signed| signed.body().writer).collect();
        let owner = WriterKey::from(*self.drive.as_bytes());
        if self.certificates.iter().any(|signed| signed.body().drive != self.drive) {
            return Err(SignedError::Invalid("a certificate of another drive is in the writer set"));
        }
        if self.certificates.iter().any(|signed| signed.body().epoch > self.epoch) {
            return Err(SignedError::Invalid("a certificate in the writer set is of a later epoch"));
        }
        // Sorted keys with one prefix are neighbours: two such writers could not be told apart in the index.
        if !writers.is_sorted_by(|a, b| a.prefix() < b.prefix())
            || writers.iter().any(|key| key.prefix() == owner.prefix())
        {
            return Err(SignedError::Invalid("two writers share 8 bytes, or they are not in order"));
        }
        if !self.revoked.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(SignedError::Invalid("revoked writers are not in order"));
        }
        if writers.iter().any(|writer| self.revoked_at(writer).is_some()) {
            return Err(SignedError::Invalid("a revoked writer has a certificate"));
        }
        Ok(())
    }
}
