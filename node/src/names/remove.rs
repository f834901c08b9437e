//! A zone that leaves this node for good, with its key.

use std::sync::PoisonError;
use std::time::Duration;

use futures::{StreamExt, stream};
use p2p_api::{ApiError, ErrorKind, RemovedZone, Result, ZoneRecords};
use p2p_identity::SecretKind;
use p2p_names::{Label, LabelEntry, PublicationState, Timestamp};

use super::ledger::Row;
use super::publish::{Outcome, When, publish_label};
use super::{Names, blocking, failed};
use crate::keys::key_error;

/// Labels withdrawn at once.
const MAX_AT_ONCE: usize = 8;
/// How long withdrawing may take in all. What is left lives on at other nodes until it expires.
const PATIENCE: Duration = Duration::from_secs(20);

/// The labels of a zone.
#[derive(Default)]
struct Labels {
    with_records: Vec<Label>,
    /// Others may have blocks of them, also of some time ago.
    made: Vec<Label>,
    /// How many others do have, of the last block.
    published: u64,
}

impl Names {
    /// Removes a zone. Its blocks are replaced by empty ones first, while the key is still here.
    pub(crate) async fn remove_zone(&self, zone: &str, records: ZoneRecords) -> Result<RemovedZone> {
        let entry = self.inner.zone(Some(zone))?;
        let key = entry.zone;
        if self.inner.keys.is_locked() {
            return Err(ApiError::locked());
        }
        let labels = blocking(&self.inner, move |inner| {
            let mut labels = Labels::default();
            let each = |label: &Label, entry: &LabelEntry| {
                if !entry.records.is_empty() {
                    labels.with_records.push(label.clone());
                }
                let is_public = entry.state() != PublicationState::NothingPublic;
                if is_public && entry.last_expiration > Timestamp::ZERO {
                    labels.made.push(label.clone());
                    labels.published += u64::from(entry.republish_at > Timestamp::ZERO);
                }
            };
            inner.state().namestore.for_each_label(&key, each).map_err(|error| failed(&error))?;
            Ok(labels)
        })
        .await?;
        if !labels.with_records.is_empty() && records == ZoneRecords::Keep {
            let count = labels.with_records.len();
            let message =
                format!("zone {} has records under {count} labels, which would be lost with its key", entry.name);
            let hint =
                format!("keep its key first: p2p name zone export {0}; then p2p name zone rm {0} --yes", entry.name);
            return Err(ApiError::new(ErrorKind::Conflict, message).with_hint(hint));
        }
        let (count, published) = (labels.with_records.len() as u64, labels.published);
        blocking(&self.inner, move |inner| {
            for label in &labels.with_records {
                inner.state().namestore.remove(&key, label, None).map_err(|error| failed(&error))?;
            }
            Ok(())
        })
        .await?;
        let withdrawn = if self.inner.nodes() > 0 { self.withdraw(key, labels.made).await } else { 0 };
        blocking(&self.inner, move |inner| {
            inner.searching.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            inner.state().namestore.remove_zone(&key).map_err(|error| failed(&error))?;
            for row in [Row::Search, Row::Imported] {
                inner.state().namestore.storage().delete(row, &key).map_err(|error| {
                    ApiError::new(ErrorKind::Io, format!("cannot forget what belongs to the zone: {error}"))
                })?;
            }
            inner.resolver.cache().forget_zone(&key);
            // Last: with the zone gone nobody asks for its key any more.
            let removed = inner.keys.open().remove(SecretKind::ZONE, &key.to_bytes());
            removed.map(drop).map_err(|error| key_error(&error))
        })
        .await?;
        Ok(RemovedZone { zone: entry.name.to_string(), ztld: key.to_string(), labels: count, published, withdrawn })
    }

    /// Publishes labels that have become empty; how many of them others know to be so now.
    async fn withdraw(&self, zone: p2p_names::ZoneKey, labels: Vec<Label>) -> u64 {
        let jobs = labels.into_iter().map(|label| {
            let inner = self.inner.clone();
            async move { publish_label(&inner, zone, &label, When::Now).await }
        });
        let mut jobs = std::pin::pin!(stream::iter(jobs).buffer_unordered(MAX_AT_ONCE));
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut withdrawn = 0;
        while let Ok(Some(done)) = tokio::time::timeout_at(deadline, jobs.next()).await {
            match done {
                Ok((Outcome::Stored(on), _)) => withdrawn += u64::from(on > 0),
                Ok((Outcome::Nothing, _)) => {}
                Err(error) => tracing::debug!(%error, "a label was not withdrawn"),
            }
        }
        withdrawn
    }
}
