//! Zones in memory. Their zTLDs look like real ones and lead nowhere; only names of these zones resolve.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::PoisonError;

use async_trait::async_trait;
use p2p_identity::{ContentId, Link};

use super::FakeNode;
use crate::{
    ApiError, ErrorKind, NameChange, NameRecord, NamesContract, NewZone, Publication, Published, RemoveRecords,
    RemovedZone, ResolveName, Resolved, Result, RevokeZone, Revoking, SetRecord, ZoneFile, ZoneInfo, ZoneKind,
    ZoneRecord, ZoneRecords, ZoneSecretText,
};

/// Types that the fake knows.
const TYPES: [&str; 6] = ["A", "AAAA", "TXT", "CNAME", "NICK", "P2PDRIVE"];

/// A zone of a fake node.
pub(super) struct Zone {
    name: String,
    kind: ZoneKind,
    ztld: String,
    key: String,
    revoked: bool,
    records: Vec<ZoneRecord>,
}

impl Zone {
    fn info(&self) -> ZoneInfo {
        let mut labels: Vec<&str> = self.records.iter().map(|record| record.label.as_str()).collect();
        labels.sort_unstable();
        labels.dedup();
        ZoneInfo {
            zone: self.name.clone(),
            ztld: self.ztld.clone(),
            kind: self.kind,
            labels: labels.len() as u64,
            revoked: self.revoked,
        }
    }

    fn change(&self, label: &str, is_public: bool) -> NameChange {
        NameChange {
            zone: self.name.clone(),
            ztld: self.ztld.clone(),
            label: label.to_owned(),
            state: if is_public { Publication::Waiting } else { Publication::Stored },
            stored_on: 0,
            nodes: 0,
            warning: None,
        }
    }
}

impl FakeNode {
    fn with_zone<T>(&self, wanted: Option<&str>, work: impl FnOnce(&mut Zone) -> Result<T>) -> Result<T> {
        let mut zones = self.inner.zones.lock().unwrap_or_else(PoisonError::into_inner);
        let zone = match (wanted, zones.as_mut_slice()) {
            (None, [one]) => one,
            (None, []) => return Err(ApiError::not_found("there is no zone yet")),
            (None, _) => return Err(ApiError::invalid("there are several zones")),
            (Some(wanted), zones) => zones
                .iter_mut()
                .find(|zone| zone.name == wanted || zone.ztld.eq_ignore_ascii_case(wanted))
                .ok_or_else(|| ApiError::not_found(format!("there is no zone {wanted:?}")))?,
        };
        work(zone)
    }
}

#[async_trait]
impl NamesContract for FakeNode {
    async fn zones(&self) -> Result<Vec<ZoneInfo>> {
        Ok(self.inner.zones.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Zone::info).collect())
    }

    async fn create_zone(&self, new: NewZone) -> Result<ZoneInfo> {
        if new.name.is_empty() || new.name.contains('.') || matches!(new.name.as_str(), "@" | "+") {
            return Err(ApiError::invalid(format!("{:?} cannot be the name of a zone", new.name)));
        }
        let key = match new.key {
            Some(key) if key.len() == 58 => key,
            Some(_) => return Err(ApiError::invalid("this is no secret key of a zone")),
            None => ContentId::of(new.name.as_bytes()).to_string().to_uppercase().chars().take(58).collect(),
        };
        // Like a real one: 58 symbols that begin with the type.
        let ztld = format!("000G00{}", ContentId::of(key.as_bytes()).to_string().to_uppercase());
        let ztld = ztld.chars().take(58).collect();
        let mut zones = self.inner.zones.lock().unwrap_or_else(PoisonError::into_inner);
        if zones.iter().any(|zone| zone.name == new.name || zone.ztld == ztld) {
            return Err(ApiError::new(ErrorKind::Conflict, format!("there is a zone {} already", new.name)));
        }
        let zone = Zone { name: new.name, kind: new.kind, ztld, key, revoked: false, records: Vec::new() };
        let info = zone.info();
        zones.push(zone);
        zones.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(info)
    }

    async fn remove_zone(&self, zone: &str, records: ZoneRecords) -> Result<RemovedZone> {
        let info = self.with_zone(Some(zone), |zone| Ok(zone.info()))?;
        if info.labels > 0 && records == ZoneRecords::Keep {
            let message = format!("zone {zone} has records, which would be lost with its key");
            let hint = format!("p2p name zone rm {zone} --yes");
            return Err(ApiError::new(ErrorKind::Conflict, message).with_hint(hint));
        }
        self.inner.zones.lock().unwrap_or_else(PoisonError::into_inner).retain(|zone| zone.ztld != info.ztld);
        Ok(RemovedZone { zone: info.zone, ztld: info.ztld, labels: info.labels, published: 0, withdrawn: 0 })
    }

    async fn export_zone(&self, zone: &str) -> Result<ZoneSecretText> {
        self.with_zone(Some(zone), |zone| {
            Ok(ZoneSecretText { zone: zone.name.clone(), ztld: zone.ztld.clone(), key: zone.key.clone() })
        })
    }

    async fn zone_file(&self, zone: &str) -> Result<ZoneFile> {
        self.with_zone(Some(zone), |zone| {
            let line = |record: &ZoneRecord| {
                let life = record.expires_s.unwrap_or_default();
                format!("{}\t{life}\tIN\t{}\t{}\n", record.label, record.record_type, record.value)
            };
            let lines: String = zone.records.iter().filter(|record| !record.private).map(line).collect();
            let text = format!("$ORIGIN {}.\n{lines}", zone.ztld);
            Ok(ZoneFile { zone: zone.name.clone(), ztld: zone.ztld.clone(), text })
        })
    }

    async fn revoke_zone(&self, zone: &str, revoke: RevokeZone) -> Result<Revoking> {
        if revoke.message.is_some() {
            return Err(ApiError::invalid("this is no revocation"));
        }
        self.with_zone(Some(zone), |zone| {
            zone.revoked |= !revoke.compute_only;
            Ok(Revoking {
                zone: zone.name.clone(),
                revoked: zone.revoked,
                average: 22.0,
                difficulty: 22,
                stored_on: 0,
                message: Some("00".repeat(372)),
            })
        })
    }

    async fn set_record(&self, set: SetRecord) -> Result<NameChange> {
        let record_type = set.record_type.to_uppercase();
        let bad = || ApiError::invalid(format!("{:?} is no value of {record_type}", set.value));
        match record_type.as_str() {
            "A" => drop(set.value.parse::<Ipv4Addr>().map_err(|_| bad())?),
            "AAAA" => drop(set.value.parse::<Ipv6Addr>().map_err(|_| bad())?),
            "P2PDRIVE" => drop(set.value.parse::<Link>().map_err(|_| bad())?),
            known if TYPES.contains(&known) => {}
            _ => return Err(ApiError::invalid(format!("{record_type} is no type of records"))),
        }
        if set.label.is_empty() || set.label.contains('.') {
            return Err(ApiError::invalid(format!("{:?} is no label", set.label)));
        }
        self.with_zone(set.zone.as_deref(), |zone| {
            zone.records.retain(|old| {
                (old.label.as_str(), old.record_type.as_str(), old.shadow)
                    != (set.label.as_str(), record_type.as_str(), set.shadow)
            });
            zone.records.push(ZoneRecord {
                zone: zone.name.clone(),
                label: set.label.clone(),
                record_type: record_type.clone(),
                value: set.value.clone(),
                expires_s: Some(set.expires_s.unwrap_or(7.0 * 86_400.0) as u64),
                expires: None,
                private: set.private,
                shadow: set.shadow,
                state: if set.private { Publication::Stored } else { Publication::Waiting },
            });
            zone.records.sort_by(|a, b| a.label.cmp(&b.label));
            Ok(zone.change(&set.label, !set.private))
        })
    }

    async fn remove_records(&self, remove: RemoveRecords) -> Result<NameChange> {
        self.with_zone(remove.zone.as_deref(), |zone| {
            let before = zone.records.len();
            let wanted = |kind: &str| remove.record_type.as_deref().is_none_or(|wanted| wanted == kind);
            zone.records.retain(|record| record.label != remove.label || !wanted(&record.record_type));
            if zone.records.len() == before {
                return Err(ApiError::not_found(format!("there are no records under {}", remove.label)));
            }
            Ok(zone.change(&remove.label, true))
        })
    }

    async fn records(&self, zone: Option<&str>) -> Result<Vec<ZoneRecord>> {
        match zone {
            Some(_) => self.with_zone(zone, |zone| Ok(zone.records.clone())),
            None => {
                let zones = self.inner.zones.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(zones.iter().flat_map(|zone| zone.records.clone()).collect())
            }
        }
    }

    async fn publish(&self, zone: Option<&str>) -> Result<Published> {
        self.with_zone(zone, |zone| {
            Ok(Published {
                zone: zone.name.clone(),
                ztld: zone.ztld.clone(),
                labels: zone.info().labels,
                published: 0,
                stored_on: 0,
                nodes: 0,
            })
        })
    }

    async fn resolve(&self, resolve: ResolveName) -> Result<Resolved> {
        if let Some(error) = self.inner.resolving_fails.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Err(error);
        }
        let revoked =
            || ApiError::new(ErrorKind::Revoked, format!("cannot resolve {}: its zone is revoked", resolve.name));
        let nothing = || ApiError::not_found(format!("cannot resolve {}", resolve.name));
        if resolve.name.is_empty() || resolve.name.contains("..") {
            return Err(ApiError::invalid(format!("{:?} is no name", resolve.name)));
        }
        let (label, zone) = resolve.name.rsplit_once('.').unwrap_or(("@", &resolve.name));
        let records =
            self.with_zone(Some(zone), |zone| if zone.revoked { Err(revoked()) } else { Ok(zone.records.clone()) })?;
        let wanted = |kind: &str| resolve.record_type.as_deref().is_none_or(|wanted| wanted == kind);
        let records: Vec<NameRecord> = records
            .into_iter()
            .filter(|record| record.label == label && wanted(&record.record_type) && !record.shadow)
            .map(|record| NameRecord {
                record_type: record.record_type,
                value: record.value,
                data: String::new(),
                expires: u64::MAX,
                flags: if record.private { 0x8000 } else { 0 },
            })
            .collect();
        if records.is_empty() {
            return Err(nothing());
        }
        Ok(Resolved { name: resolve.name.clone(), records, source: "local".into(), from: None, age_s: 0.0 })
    }
}
