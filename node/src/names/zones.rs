//! Zones of this node: made, taken in, given out.

use std::io::Read;
use std::path::Path;

use p2p_api::{
    ApiError, ErrorKind, ImportZoneFile, ImportedZoneFile, NewZone, Result, SkippedRecord, ZoneFile, ZoneInfo,
    ZoneKind, ZoneSecretText,
};
use p2p_identity::SecretKind;
use p2p_names::{ImportOptions, Label, MAX_ZONE_FILE_BYTES, ZoneEntry, ZoneSecret, ZoneType, import_zone_file};
use zeroize::Zeroizing;

use super::ledger::Row;
use super::publisher::Note;
use super::{Inner, Names, blocking, failed, label, now};
use crate::keys::key_error;

impl Names {
    /// All zones.
    pub(crate) async fn zones(&self) -> Result<Vec<ZoneInfo>> {
        blocking(&self.inner, |inner| {
            let zones = inner.state().namestore.zones().map_err(|error| failed(&error))?;
            zones.iter().map(|zone| info(inner, zone)).collect()
        })
        .await
    }

    /// Makes a zone, or takes in one with its key.
    pub(crate) async fn create_zone(&self, new: NewZone) -> Result<ZoneInfo> {
        blocking(&self.inner, move |inner| {
            let name: Label = label(&new.name)?;
            if name.is_apex() || new.name == "+" || new.name.contains('.') {
                return Err(ApiError::invalid(format!("{:?} cannot be the name of a zone", new.name)));
            }
            if new.name.parse::<p2p_names::ZoneKey>().is_ok() {
                return Err(ApiError::invalid("a zTLD cannot be the name of another zone"));
            }
            let secret = match &new.key {
                Some(text) => ZoneSecret::from_gnunet_text(text.trim())
                    .map_err(|error| ApiError::invalid(format!("this is no zone's secret key: {error}")))?,
                None => random_secret(new.kind)?,
            };
            let zone = ZoneEntry { name, zone: *secret.public() };
            let zones = inner.state().namestore.zones().map_err(|error| failed(&error))?;
            if let Some(known) = zones.iter().find(|known| known.zone == zone.zone || known.name == zone.name) {
                let message = format!("there is a zone {} already: {}", known.name, known.zone);
                return Err(ApiError::new(ErrorKind::Conflict, message).with_hint("choose another name"));
            }
            // The key first: a zone without one could not be used.
            let bytes = secret.to_gnunet_bytes();
            let stored = inner.keys.open().insert_bytes(SecretKind::ZONE, &zone.zone.to_bytes(), bytes.as_slice());
            stored.map_err(|error| key_error(&error))?;
            if new.key.is_some() {
                inner.put_row(Row::Imported, &zone.zone, b"1")?;
            }
            inner.state().namestore.create_zone(zone.name.clone(), zone.zone).map_err(|error| failed(&error))?;
            inner.resolver.cache().forget_zone(&zone.zone);
            info(inner, &zone)
        })
        .await
    }

    /// The secret key of a zone.
    pub(crate) async fn export_zone(&self, zone: &str) -> Result<ZoneSecretText> {
        let zone = self.inner.zone(Some(zone))?;
        let secret = self.inner.secret(&zone.zone)?;
        let key = secret.to_gnunet_text().to_string();
        Ok(ZoneSecretText { zone: zone.name.to_string(), ztld: zone.zone.to_string(), key })
    }

    /// The public records of a zone as a zone file.
    pub(crate) async fn zone_file(&self, zone: &str) -> Result<ZoneFile> {
        let zone = self.inner.zone(Some(zone))?;
        blocking(&self.inner, move |inner| {
            let text = inner.state().namestore.to_zone_file(&zone.zone, now()).map_err(|error| failed(&error))?;
            Ok(ZoneFile { zone: zone.name.to_string(), ztld: zone.zone.to_string(), text })
        })
        .await
    }

    /// Takes in a zone file.
    pub(crate) async fn import_zone_file(&self, zone: &str, import: ImportZoneFile) -> Result<ImportedZoneFile> {
        let zone = self.inner.zone(Some(zone))?;
        let key = zone.zone;
        let imported = blocking(&self.inner, move |inner| {
            let text = read_zone_file(&import.path)?;
            let options = ImportOptions { origin: import.origin, ..ImportOptions::default() };
            let found = import_zone_file(&text, &options)
                .map_err(|error| ApiError::invalid(format!("{}: {error}", import.path.display())))?;
            let records = found.labels.values().map(|records| records.len() as u64).sum();
            let labels = inner.state().namestore.import(&key, found.labels).map_err(|error| failed(&error))? as u64;
            let skipped = found.skipped.into_iter().map(|line| SkippedRecord {
                line: line.line as u64,
                what: line.what,
                reason: line.reason,
            });
            Ok(ImportedZoneFile { zone: zone.name.to_string(), labels, records, skipped: skipped.collect() })
        });
        let imported = imported.await?;
        self.inner.notes.send(Note::Reload(key)).await.map_err(|_| ApiError::stopped())?;
        Ok(imported)
    }
}

fn info(inner: &Inner, zone: &ZoneEntry) -> Result<ZoneInfo> {
    let state = inner.state();
    let mut labels = 0;
    let counted = state.namestore.for_each_label(&zone.zone, |_, entry| labels += u64::from(!entry.records.is_empty()));
    counted.map_err(|error| failed(&error))?;
    Ok(ZoneInfo {
        zone: zone.name.to_string(),
        ztld: zone.zone.to_string(),
        kind: if zone.zone.zone_type() == ZoneType::Pkey { ZoneKind::Pkey } else { ZoneKind::Edkey },
        labels,
        revoked: state.revocations.is_revoked(&zone.zone, now()),
    })
}

fn random_secret(kind: ZoneKind) -> Result<ZoneSecret> {
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(random.as_mut_slice())
        .map_err(|error| ApiError::internal(format!("the system gives no random numbers: {error}")))?;
    let zone_type = if kind == ZoneKind::Pkey { ZoneType::Pkey } else { ZoneType::Edkey };
    Ok(ZoneSecret::from_random(zone_type, &random))
}

fn read_zone_file(path: &Path) -> Result<String> {
    if !path.is_absolute() {
        return Err(ApiError::invalid(format!("{} is not an absolute path", path.display())));
    }
    let cannot = |error: &std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorKind::NotAllowed,
            _ => ErrorKind::Io,
        };
        ApiError::new(kind, format!("cannot read {}: {error}", path.display()))
    };
    let file = std::fs::File::open(path).map_err(|error| cannot(&error))?;
    let mut text = String::new();
    // One byte more than allowed, so that the parser says that it is too long.
    let read = file.take(MAX_ZONE_FILE_BYTES as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| cannot(&error))?;
    Ok(text)
}
