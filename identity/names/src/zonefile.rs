//! Zone files: the master file format of RFC 1035, section 5, in both directions.

mod export;
mod import;
mod lines;

use std::collections::BTreeMap;

use thiserror::Error;

pub use export::{ExportOptions, export_zone_file};
pub use import::{ImportOptions, ImportedLifetime, import_zone_file};

use crate::{Label, StoredRecord};

/// Longest zone file that is read, in bytes: room for some hundred thousand labels.
pub const MAX_ZONE_FILE_BYTES: usize = 64 * 1024 * 1024;

/// Why a zone file cannot be read at all. Single records that do not fit are in [`ZoneImport::skipped`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ZoneFileError {
    /// See [`MAX_ZONE_FILE_BYTES`].
    #[error("the zone file has {0} bytes, at most {MAX_ZONE_FILE_BYTES}")]
    TooLong(usize),
    /// A text in quotes or a group in parentheses that does not end.
    #[error("line {line}: {what} does not end")]
    Open {
        /// Where it begins.
        line: usize,
        /// What it is.
        what: &'static str,
    },
    /// A parenthesis too many.
    #[error("line {line}: a parenthesis closes nothing")]
    Unbalanced {
        /// Where.
        line: usize,
    },
    /// The origin is not a name.
    #[error("the origin is not a DNS name")]
    BadOrigin,
}

/// What a zone file came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ZoneImport {
    /// Records by label, ready for [`crate::Namestore::import`].
    pub labels: BTreeMap<Label, Vec<StoredRecord>>,
    /// What was left out, and why; for people.
    pub skipped: Vec<SkippedLine>,
}

/// A line of a zone file that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedLine {
    /// Its number, from 1.
    pub line: usize,
    /// Its owner and type, or its directive.
    pub what: String,
    /// Why.
    pub reason: String,
}

#[cfg(test)]
mod tests;
