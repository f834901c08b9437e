//! One record set: from this node's own zones, the cache, or the store (specs/names.md, 10.2).

use std::{sync::Arc, time::Duration};

use super::{Candidate, Freshness, Hop, NothingFound, ResolveError, Resolver, Source, cache::CachedSet};
use crate::{Block, Label, LabelKeys, Record, Timestamp, ZoneKey, decode_rdata};

/// A record set, not yet filtered.
pub(super) struct Fetched {
    pub(super) records: Arc<[Record]>,
    pub(super) hop: Hop,
    pub(super) refresh_due: bool,
}

pub(super) async fn fetch(
    resolver: &Resolver,
    zone: &ZoneKey,
    label: &Label,
    freshness: Freshness,
    now: Timestamp,
) -> Result<Fetched, ResolveError> {
    let found = |records, source, age, refresh_due| Fetched {
        records,
        hop: Hop { zone: *zone, label: label.clone(), source, age },
        refresh_due,
    };
    let nothing = |why| ResolveError::NotFound { zone: *zone, label: label.clone(), why };

    if let Some(records) = resolver.local.records(zone, label, now).map_err(ResolveError::Store)? {
        return Ok(found(records.into(), Source::Local, Duration::ZERO, false));
    }
    if freshness == Freshness::Cached
        && let Some((set, refresh_due)) = resolver.cache.get(zone, label, now)
    {
        let records = set.records.clone().ok_or_else(|| nothing(NothingFound::NoBlock))?;
        let source = Source::Cache { origin: set.origin.to_string() };
        return Ok(found(records, source, now.since(set.fetched), refresh_due));
    }
    let keys = LabelKeys::of(zone, label);
    let candidates = resolver.store.get(&keys.storage_key()).await.map_err(ResolveError::Store)?;
    match newest(&keys, &candidates, now) {
        Some((candidate, block, records)) => {
            let records: Arc<[Record]> = records.into();
            let set = CachedSet {
                records: Some(records.clone()),
                fetched: now.before(candidate.age),
                until: block.expiration(),
                origin: candidate.source.as_str().into(),
            };
            resolver.cache.put(zone, label, keys.storage_key(), set.shortened_if_empty(now));
            Ok(found(records, Source::Store { origin: candidate.source.clone() }, candidate.age, false))
        }
        None if candidates.is_empty() => {
            resolver.cache.put(zone, label, keys.storage_key(), CachedSet::not_found(now));
            Err(nothing(NothingFound::NoBlock))
        }
        // Not remembered: a good block may still be on its way, and a forger must not hide it for half a minute.
        None => Err(nothing(NothingFound::NoGoodBlock)),
    }
}

/// The good block with the greatest expiration. Forged, damaged and expired ones do not hide it, and signatures are
/// checked from the newest down, so that a flood of old blocks costs little.
fn newest<'a>(
    keys: &LabelKeys,
    candidates: &'a [Candidate],
    now: Timestamp,
) -> Option<(&'a Candidate, Block, Vec<Record>)> {
    let mut blocks: Vec<_> = candidates
        .iter()
        .filter_map(|candidate| Some((candidate, Block::parse(&candidate.block).ok()?)))
        .filter(|(_, block)| block.expiration() > now)
        .collect();
    blocks.sort_by_key(|(_, block)| std::cmp::Reverse(block.expiration()));
    blocks.into_iter().find_map(|(candidate, block)| {
        let records = decode_rdata(&block.open(keys).ok()?).ok()?;
        Some((candidate, block, records))
    })
}
