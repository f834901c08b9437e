//! What may stand together under one label (RFC 9498, section 5; specs/names.md, 8.1 and 12.3).

use thiserror::Error;

use super::{Lifetime, StoredRecord};
use crate::{
    DriveRecord, Flags, Gns2Dns, IdentityRecord, Label, MAX_DATA_BYTES, PeerRecord, PushRecord, Record, RecordType,
    RedirectTarget, RevokeRecord, Timestamp, rdata_len,
};

/// Largest record set that is published, in bytes with padding: it has to fit a block that the DHT stores.
pub const MAX_PUBLISHED_RDATA_BYTES: usize = 8192;
/// Most records under one label, private ones included.
pub const MAX_LABEL_RECORDS: usize = 1000;
/// Most data of all records under one label, private ones included, in bytes.
pub const MAX_LABEL_DATA_BYTES: usize = 1024 * 1024;

/// A rule that records would break.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RuleError {
    /// Delegations and redirections are for other labels.
    #[error("{0} cannot stand under @")]
    NotAtApex(RecordType),
    /// The zone's own NICK stands under `@` only.
    #[error("NICK stands under @ only")]
    NickOnlyAtApex,
    /// PKEY, EDKEY and REDIRECT stand alone.
    #[error("{0} must be the only record of its label: remove the others first")]
    MustBeAlone(RecordType),
    /// GNS2DNS stands with others of its kind, and DS, only.
    #[error("beside GNS2DNS only more of them and DS may stand, not {0}")]
    BesideGns2Dns(RecordType),
    /// All GNS2DNS of a label lead to one domain.
    #[error("all GNS2DNS records of a label must name the same domain")]
    DifferentDomains,
    /// The data is not of the type.
    #[error("the data of {0} is not usable")]
    BadData(RecordType),
    /// A drive's read key would be published.
    #[error("a P2PDRIVE with a read key must be private")]
    ReadKeyNotPrivate,
    /// See [`MAX_LABEL_RECORDS`].
    #[error("{0} records under one label, at most {MAX_LABEL_RECORDS}")]
    TooMany(usize),
    /// See [`MAX_LABEL_DATA_BYTES`].
    #[error("{0} bytes of data under one label, at most {MAX_LABEL_DATA_BYTES}")]
    TooMuchData(usize),
    /// See [`MAX_PUBLISHED_RDATA_BYTES`].
    #[error("the records take {0} bytes, at most {MAX_PUBLISHED_RDATA_BYTES} fit a block")]
    TooLarge(usize),
}

/// Sets what the types demand, and drops what only GNUnet's local bookkeeping uses.
pub(crate) fn complete(records: &mut [StoredRecord]) {
    for record in records {
        record.flags = record.flags.without(Flags::RELATIVE_EXPIRATION).without(Flags::MAINTENANCE);
        if record.record_type.steers_resolution() {
            record.flags = record.flags.with(Flags::CRITICAL);
        }
    }
}

/// Checks the whole set of a label.
pub(crate) fn check(label: &Label, records: &[StoredRecord]) -> Result<(), RuleError> {
    if records.len() > MAX_LABEL_RECORDS {
        return Err(RuleError::TooMany(records.len()));
    }
    let bytes = records.iter().map(|record| record.data.len()).sum();
    if bytes > MAX_LABEL_DATA_BYTES {
        return Err(RuleError::TooMuchData(bytes));
    }
    records.iter().try_for_each(|record| check_one(label, record))?;
    let own: Vec<_> = records.iter().filter(|record| !record.flags.contains(Flags::SUPPLEMENTAL)).collect();
    for record in &own {
        match record.record_type {
            RecordType::GNS2DNS => check_beside_gns2dns(&own)?,
            steering if steering.steers_resolution() => check_alone(record, &own)?,
            _ => {}
        }
    }
    let len = published_len(records);
    if len > MAX_PUBLISHED_RDATA_BYTES { Err(RuleError::TooLarge(len)) } else { Ok(()) }
}

fn check_one(label: &Label, record: &StoredRecord) -> Result<(), RuleError> {
    let StoredRecord { record_type, data, flags, .. } = record;
    if record_type.steers_resolution() && label.is_apex() {
        return Err(RuleError::NotAtApex(*record_type));
    }
    if *record_type == RecordType::NICK && !label.is_apex() && !flags.contains(Flags::SUPPLEMENTAL) {
        return Err(RuleError::NickOnlyAtApex);
    }
    let is_usable = data.len() <= MAX_DATA_BYTES
        && match *record_type {
            RecordType::REDIRECT => RedirectTarget::from_data(data).is_some(),
            RecordType::GNS2DNS => Gns2Dns::from_data(data).is_some(),
            RecordType::P2PPEER => PeerRecord::from_data(data).is_some(),
            RecordType::P2PDRIVE => DriveRecord::from_data(data).is_some(),
            RecordType::P2PPUSH => PushRecord::from_data(data).is_some(),
            RecordType::P2PREVOKE => RevokeRecord::from_data(data).is_some(),
            RecordType::P2PIDENTITY => IdentityRecord::from_data(data).is_some(),
            _ => match record_type.zone_type() {
                Some(zone_type) => {
                    let zkey = data.as_slice().try_into().ok();
                    zkey.is_some_and(|zkey| crate::ZoneKey::new(zone_type, zkey).is_ok())
                }
                None => true,
            },
        };
    if !is_usable {
        return Err(RuleError::BadData(*record_type));
    }
    let has_read_key = *record_type == RecordType::P2PDRIVE
        && DriveRecord::from_data(data).is_some_and(|drive| drive.read_key.is_some());
    if has_read_key && !record.is_private() { Err(RuleError::ReadKeyNotPrivate) } else { Ok(()) }
}

/// Beside the one record only shadow records of its type may stand.
fn check_alone(record: &StoredRecord, own: &[&StoredRecord]) -> Result<(), RuleError> {
    let is_shadow = |other: &StoredRecord| other.flags.contains(Flags::SHADOW);
    let standing = own.iter().filter(|other| other.record_type == record.record_type && !is_shadow(other)).count();
    let foreign = own.iter().any(|other| other.record_type != record.record_type);
    if standing > 1 || foreign { Err(RuleError::MustBeAlone(record.record_type)) } else { Ok(()) }
}

fn check_beside_gns2dns(own: &[&StoredRecord]) -> Result<(), RuleError> {
    let mut domain: Option<String> = None;
    for record in own {
        if record.record_type != RecordType::GNS2DNS {
            if record.record_type.may_accompany_gns2dns() {
                continue;
            }
            return Err(RuleError::BesideGns2Dns(record.record_type));
        }
        let name = Gns2Dns::from_data(&record.data).ok_or(RuleError::BadData(RecordType::GNS2DNS))?;
        let name = name.name().to_ascii_lowercase();
        if domain.get_or_insert_with(|| name.clone()) != &name {
            return Err(RuleError::DifferentDomains);
        }
    }
    Ok(())
}

/// How large the public part is in a block, without the zone's NICK.
fn published_len(records: &[StoredRecord]) -> usize {
    let public: Vec<Record> =
        records.iter().filter(|record| !record.is_private()).map(|record| record.at(Timestamp::ZERO)).collect();
    rdata_len(&public)
}

/// Whether a record is renewed at each publication, or ends at a fixed time.
pub(super) fn is_renewable(record: &StoredRecord, latest: Timestamp) -> bool {
    match record.lifetime {
        Lifetime::For(_) => true,
        Lifetime::Until(end) => end > latest,
    }
}
