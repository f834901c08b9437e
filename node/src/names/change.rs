//! Records: set, removed, listed, published.

use std::time::Duration;

use futures::{StreamExt, stream};
use p2p_api::{ApiError, NameChange, Publication, Published, RemoveRecords, Result, SetRecord, ZoneRecord};
use p2p_names::{
    Flags, Label, LabelEntry, Lifetime, PublicationState, StoredRecord, ZoneEntry, data_from_text, data_to_text,
};
use tokio::sync::oneshot;

use super::publish::{Outcome, When, publish_label};
use super::publisher::Note;
use super::resolve::record_type;
use super::{Names, blocking, chain, failed, label};

/// How long a change waits to learn how its publication went.
const PATIENCE: Duration = Duration::from_secs(6);
/// Labels published at once when it is asked for.
const MAX_AT_ONCE: usize = 8;

impl Names {
    /// Replaces the records of a type under a label.
    pub(crate) async fn set(&self, set: SetRecord) -> Result<NameChange> {
        let (zone, label, warning) = blocking(&self.inner, move |inner| {
            let zone = inner.zone(set.zone.as_deref())?;
            let label = label(&set.label)?;
            let record = stored_record(&set)?;
            let changed = inner.state().namestore.set(&zone.zone, &label, vec![record]);
            changed.map_err(|error| failed(&error))?;
            let warning = label
                .has_upper_case()
                .then(|| "programs that ask through DNS cannot reach a label with capital letters".to_owned());
            Ok((zone, label, warning))
        })
        .await?;
        self.tell(zone, label, warning).await
    }

    /// Removes records.
    pub(crate) async fn remove(&self, remove: RemoveRecords) -> Result<NameChange> {
        let (zone, label) = blocking(&self.inner, move |inner| {
            let zone = inner.zone(remove.zone.as_deref())?;
            let label = label(&remove.label)?;
            let wanted = remove.record_type.as_deref().map(record_type).transpose()?;
            let mut state = inner.state();
            let entry = state.namestore.entry(&zone.zone, &label).map_err(|error| failed(&error))?.unwrap_or_default();
            if !entry.records.iter().any(|record| wanted.is_none_or(|wanted| record.record_type == wanted)) {
                let what = wanted.map(|wanted| format!("{wanted} ")).unwrap_or_default();
                return Err(ApiError::not_found(format!("{} has no {what}records under {label}", zone.name))
                    .with_hint("see them: p2p name ls"));
            }
            state.namestore.remove(&zone.zone, &label, wanted).map_err(|error| failed(&error))?;
            drop(state);
            Ok((zone, label))
        })
        .await?;
        self.tell(zone, label, None).await
    }

    /// Records of one zone, or of all.
    pub(crate) async fn records(&self, zone: Option<&str>) -> Result<Vec<ZoneRecord>> {
        let wanted = zone.map(|zone| self.inner.zone(Some(zone))).transpose()?;
        blocking(&self.inner, move |inner| {
            let state = inner.state();
            let zones = match wanted {
                Some(zone) => vec![zone],
                None => state.namestore.zones().map_err(|error| failed(&error))?,
            };
            let mut records = Vec::new();
            for zone in &zones {
                let each = |label: &Label, entry: &LabelEntry| {
                    records.extend(entry.records.iter().map(|record| zone_record(zone, label, entry, record)));
                };
                state.namestore.for_each_label(&zone.zone, each).map_err(|error| failed(&error))?;
            }
            Ok(records)
        })
        .await
    }

    /// Publishes a zone now, also what needs it only later.
    pub(crate) async fn publish(&self, zone: Option<&str>) -> Result<Published> {
        let zone = self.inner.zone(zone)?;
        let key = zone.zone;
        let labels = blocking(&self.inner, move |inner| {
            let mut labels = Vec::new();
            let each = |label: &Label, entry: &LabelEntry| {
                if entry.state() != PublicationState::NothingPublic {
                    labels.push(label.clone());
                }
            };
            inner.state().namestore.for_each_label(&key, each).map_err(|error| failed(&error))?;
            Ok(labels)
        })
        .await?;
        let jobs = labels.into_iter().map(|label| {
            let inner = self.inner.clone();
            async move { publish_label(&inner, key, &label, When::Now).await }
        });
        let done: Vec<_> = stream::iter(jobs).buffer_unordered(MAX_AT_ONCE).collect().await;
        let outcomes = done.into_iter().map(|done| done.map(|(outcome, _)| outcome)).collect::<Result<Vec<_>>>()?;
        self.inner.notes.send(Note::Reload(key)).await.map_err(|_| ApiError::stopped())?;
        let stored: Vec<usize> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Outcome::Nothing => None,
                Outcome::Stored(on) => Some(*on),
            })
            .collect();
        Ok(Published {
            zone: zone.name.to_string(),
            ztld: key.to_string(),
            labels: stored.len() as u64,
            published: stored.iter().filter(|on| **on > 0).count() as u64,
            stored_on: u32::try_from(stored.iter().copied().min().unwrap_or(0)).unwrap_or(u32::MAX),
            nodes: self.inner.nodes(),
        })
    }

    /// Tells the publisher of a change, and waits a moment for what comes of it.
    async fn tell(&self, zone: ZoneEntry, label: Label, warning: Option<String>) -> Result<NameChange> {
        let (reply, answer) = oneshot::channel();
        let note = Note::Changed { zone: zone.zone, label: label.clone(), reply };
        self.inner.notes.send(note).await.map_err(|_| ApiError::stopped())?;
        if label.is_apex() {
            // A NICK goes with every other label.
            self.inner.notes.send(Note::Reload(zone.zone)).await.map_err(|_| ApiError::stopped())?;
        }
        let (state, stored_on) = match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(Outcome::Nothing)) => (Publication::Stored, 0),
            Ok(Ok(Outcome::Stored(0))) | Ok(Err(_)) | Err(_) => (Publication::Waiting, 0),
            Ok(Ok(Outcome::Stored(on))) => (Publication::Published, on),
        };
        Ok(NameChange {
            zone: zone.name.to_string(),
            ztld: zone.zone.to_string(),
            label: label.to_string(),
            state,
            stored_on: u32::try_from(stored_on).unwrap_or(u32::MAX),
            nodes: self.inner.nodes(),
            warning,
        })
    }
}

fn stored_record(set: &SetRecord) -> Result<StoredRecord> {
    let record_type = record_type(&set.record_type)?;
    let data = data_from_text(record_type, &set.value).map_err(|error| {
        ApiError::invalid(format!("{:?} is no value of {record_type}: {}", set.value, chain(&error)))
    })?;
    let mut flags = Flags::NONE;
    if set.private {
        flags = flags.with(Flags::PRIVATE);
    }
    if set.shadow {
        flags = flags.with(Flags::SHADOW);
    }
    let lifetime = match set.expires_s {
        None => Lifetime::DEFAULT,
        Some(seconds) => match Duration::try_from_secs_f64(seconds) {
            Ok(lifetime) if lifetime >= Duration::from_secs(1) => Lifetime::For(lifetime),
            _ => return Err(ApiError::invalid(format!("a record cannot live for {seconds} seconds"))),
        },
    };
    Ok(StoredRecord::new(record_type, data).with_flags(flags).with_lifetime(lifetime))
}

fn zone_record(zone: &ZoneEntry, label: &Label, entry: &LabelEntry, record: &StoredRecord) -> ZoneRecord {
    let (expires_s, expires) = match record.lifetime {
        Lifetime::For(lifetime) => (Some(lifetime.as_secs()), None),
        Lifetime::Until(end) => (None, Some(end.as_micros())),
    };
    ZoneRecord {
        zone: zone.name.to_string(),
        label: label.to_string(),
        record_type: record.record_type.to_string(),
        value: data_to_text(record.record_type, &record.data),
        expires_s,
        expires,
        private: record.is_private(),
        shadow: record.flags.contains(Flags::SHADOW),
        state: match entry.state() {
            _ if record.is_private() => Publication::Stored,
            PublicationState::NothingPublic => Publication::Stored,
            PublicationState::Changed | PublicationState::Waiting => Publication::Waiting,
            PublicationState::Published => Publication::Published,
        },
    }
}
