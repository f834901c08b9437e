//! From a name to its records.

use std::time::Duration;

use futures::future::join_all;
use p2p_api::{ApiError, DEFAULT_TIMEOUT, ErrorKind, NameRecord, ResolveName, Resolved, Result};
use p2p_names::{FailureKind, Freshness, Name, Query, RecordType, Resolution, ResolveError, Source, ZoneKey};

use super::{Names, chain, now, revoke};

impl Names {
    /// The records of a name.
    pub(crate) async fn resolve(&self, asked: ResolveName) -> Result<Resolved> {
        let name: Name = asked
            .name
            .trim()
            .trim_end_matches('.')
            .parse()
            .map_err(|error| ApiError::invalid(format!("{:?} is no name: {}", asked.name, chain(&error))))?;
        let wanted = asked.record_type.as_deref().map(record_type).transpose()?;
        let freshness = if asked.fresh { Freshness::Fresh } else { Freshness::Cached };
        let query = Query { name, wanted, freshness };
        let limit = asked.timeout_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let found = tokio::time::timeout(limit.unwrap_or(DEFAULT_TIMEOUT), self.look_up(&query)).await;
        let found = found.map_err(|_| ApiError::new(ErrorKind::TimedOut, format!("{} took too long", asked.name)))?;
        let found = found.map_err(|error| resolve_error(&asked.name, &error))?;
        answer(asked.name, wanted, &found)
    }

    /// Resolves, and asks for revocations of the zones on the way.
    async fn look_up(&self, query: &Query) -> Result<Resolution, ResolveError> {
        let found = self.inner.resolver.resolve(query, now()).await?;
        let mut zones: Vec<ZoneKey> =
            found.hops.iter().filter(|hop| hop.source != Source::Local).map(|hop| hop.zone).collect();
        zones.sort_unstable();
        zones.dedup();
        let learnt = join_all(zones.into_iter().map(|zone| revoke::learn(&self.inner, zone))).await;
        if learnt.contains(&true) {
            return self.inner.resolver.resolve(query, now()).await;
        }
        if found.refresh_due {
            let (inner, query) = (self.inner.clone(), Query { freshness: Freshness::Fresh, ..query.clone() });
            tokio::spawn(async move { inner.resolver.resolve(&query, now()).await });
        }
        Ok(found)
    }
}

pub(super) fn record_type(text: &str) -> Result<RecordType> {
    text.parse().map_err(|_| {
        ApiError::invalid(format!("{text:?} is no type of records")).with_hint("types are A, AAAA, TXT, P2PDRIVE … ")
    })
}

fn answer(name: String, wanted: Option<RecordType>, found: &Resolution) -> Result<Resolved> {
    let is_wanted = |of: &RecordType| wanted.is_none_or(|wanted| wanted == *of);
    let records: Vec<NameRecord> = found
        .records
        .iter()
        .filter(|record| is_wanted(&record.record_type))
        .map(|record| NameRecord {
            record_type: record.record_type.to_string(),
            value: record.value(),
            data: data_encoding::HEXLOWER.encode(&record.data),
            expires: record.expiration.as_micros(),
            flags: record.flags.bits(),
        })
        .collect();
    if records.is_empty() {
        let mut there: Vec<String> = found.records.iter().map(|record| record.record_type.to_string()).collect();
        there.dedup();
        let wanted = wanted.map(|wanted| format!("{wanted} ")).unwrap_or_default();
        return Err(ApiError::not_found(format!("{name} has no {wanted}records"))
            .with_hint(format!("it has: {}", there.join(", "))));
    }
    let (source, from) = match &found.source {
        Source::Local => ("local", None),
        Source::Cache { origin } => ("cache", Some(origin.clone())),
        Source::Store { origin } => ("dht", Some(origin.clone())),
        Source::Dns => ("dns", None),
    };
    Ok(Resolved { name, records, source: source.to_owned(), from, age_s: found.age.as_secs_f64() })
}

fn resolve_error(name: &str, error: &ResolveError) -> ApiError {
    let (kind, hint) = match error.kind() {
        FailureKind::NotFound => (ErrorKind::NotFound, ""),
        FailureKind::Revoked => (ErrorKind::Revoked, "its owner has given it up: do not trust it any more"),
        FailureKind::Refused => (ErrorKind::Corrupt, "its owner has to repair it, or this program is too old"),
        FailureKind::BadName => (ErrorKind::InvalidInput, ""),
        FailureKind::Timeout => (ErrorKind::TimedOut, "try again"),
        FailureKind::Unreachable => (ErrorKind::Unreachable, "`p2p peers` shows whom this node reaches"),
    };
    let failed = ApiError::new(kind, format!("cannot resolve {name}: {}", chain(error)));
    if hint.is_empty() { failed } else { failed.with_hint(hint) }
}
