//! One label on its way into the DHT.

use std::sync::Arc;
use std::time::Duration;

use p2p_api::{ApiError, Result};
use p2p_names::{Block, BlockStore, Label, LabelKeys, Publish, StoreError, Timestamp, ZoneKey, newest_valid};

use super::ledger::Row;
use super::{Inner, blocking, failed, now};

/// What publishing a label came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There is nothing to publish, now or at all.
    Nothing,
    /// So many other nodes stored the block and gave it back.
    Stored(usize),
}

/// Whether what needs no publication yet is published again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Due,
    Now,
}

/// How soon a label is looked at again whose key cannot be had; unlocking is noticed sooner.
const LOCKED_RETRY: Duration = Duration::from_secs(60);

/// What has to be done.
enum Plan {
    Nothing(Timestamp),
    Put(Block),
    /// The zone lived elsewhere before: its last block has to be known first.
    CatchUp,
}

/// Publishes a label; also tells when it is due again.
pub(super) async fn publish_label(
    inner: &Arc<Inner>,
    zone: ZoneKey,
    label: &Label,
    when: When,
) -> Result<(Outcome, Timestamp)> {
    // Once for a zone that lived elsewhere, once more where our own store knows a newer block than the namestore.
    for _ in 0..3 {
        let named = label.clone();
        let block = match blocking(inner, move |inner| plan(inner, &zone, &named, when)).await? {
            Plan::Nothing(due) => return Ok((Outcome::Nothing, due)),
            Plan::CatchUp => {
                catch_up(inner, zone, label).await?;
                continue;
            }
            Plan::Put(block) => block,
        };
        let stored_on = match inner.blocks.put(&block.storage_key(), &block).await {
            Ok(stored_on) => stored_on,
            Err(StoreError::Unreachable(reason)) => {
                tracing::debug!(%label, %reason, "a block was refused");
                catch_up(inner, zone, label).await?;
                continue;
            }
            Err(error) => return Err(ApiError::internal(error.to_string())),
        };
        let named = label.clone();
        let due = blocking(inner, move |inner| {
            let mut state = inner.state();
            if stored_on > 0 {
                state.namestore.published(&zone, &named, &block, now()).map_err(|error| failed(&error))?;
            }
            let entry = state.namestore.entry(&zone, &named).map_err(|error| failed(&error))?;
            Ok(entry.map_or(Timestamp::NEVER, |entry| entry.due(now())))
        });
        return Ok((Outcome::Stored(stored_on), due.await?));
    }
    Err(ApiError::internal(format!("{label}: other blocks of this zone are newer, again and again")))
}

fn plan(inner: &Inner, zone: &ZoneKey, label: &Label, when: When) -> Result<Plan> {
    let now = now();
    let mut state = inner.state();
    if state.revocations.is_revoked(zone, now) {
        return Ok(Plan::Nothing(Timestamp::NEVER));
    }
    let Some(entry) = state.namestore.entry(zone, label).map_err(|error| failed(&error))? else {
        return Ok(Plan::Nothing(Timestamp::NEVER));
    };
    let last = || entry.block.as_deref().and_then(|bytes| Block::parse(bytes).ok());
    let block = match entry.publish(now) {
        Publish::AsItIs(block) => Some(block),
        Publish::Rebuild { meanwhile } => {
            let is_first = entry.last_expiration == Timestamp::ZERO;
            let storage = state.namestore.storage();
            let imported = storage.get(Row::Imported, zone).map_err(|error| ApiError::internal(error.to_string()))?;
            if is_first && imported.is_some() {
                return Ok(Plan::CatchUp);
            }
            match inner.secret(zone) {
                Ok(secret) => state.namestore.build(&secret, label, now).map_err(|error| failed(&error))?,
                // The old block goes on; a new one waits for the keys.
                Err(_) => match meanwhile {
                    None => return Ok(Plan::Nothing(now.after(LOCKED_RETRY))),
                    block => block,
                },
            }
        }
        Publish::Nothing | Publish::Later(_) if when == When::Now => last().filter(|block| block.expiration() > now),
        Publish::Nothing => None,
        Publish::Later(due) => return Ok(Plan::Nothing(due)),
    };
    let entry = state.namestore.entry(zone, label).map_err(|error| failed(&error))?;
    let due = entry.map_or(Timestamp::NEVER, |entry| entry.due(now));
    Ok(block.map_or(Plan::Nothing(due), Plan::Put))
}

/// Continues from the newest block there is, so that the next one replaces it.
async fn catch_up(inner: &Arc<Inner>, zone: ZoneKey, label: &Label) -> Result<()> {
    let key = LabelKeys::of(&zone, label).storage_key();
    let found = inner.blocks.get(&key).await.unwrap_or_default();
    let newest = newest_valid(&key, found.iter().map(|candidate| candidate.block.as_slice()), now());
    // Without one, anything that still lies about has expired, or will lose against what expires later than now.
    let expiration = newest.map_or_else(|| now().before(Duration::from_secs(1)), |block| block.expiration());
    let label = label.clone();
    blocking(inner, move |inner| {
        inner.state().namestore.continue_from(&zone, &label, expiration).map_err(|error| failed(&error))
    })
    .await
}
