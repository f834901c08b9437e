//! Revocations: computed on request, believed after their proofs of work were verified, announced, and offered over
//! the DHT.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use p2p_api::{ApiError, ErrorKind, Result, RevokeZone, Revoking};
use p2p_names::{PowSearch, Revocation, RevocationError, RevocationVerdict, Revocations, ZoneKey};

use super::blocks::look_up;
use super::kinds::revocation_key;
use super::ledger::Row;
use super::{Inner, Names, blocking, flood, now};

/// How long it is believed that a zone is not revoked.
const ASK_AGAIN: Duration = Duration::from_secs(600);
/// Zones of which that is remembered.
const MAX_ASKED: usize = 4_096;
/// How long a resolution waits to learn whether a zone is revoked.
const LOOKUP_TIME: Duration = Duration::from_secs(3);
/// Messages whose proofs are verified for one zone; each costs some 50 ms.
const MAX_JUDGED: usize = 4;
/// Numbers tried between two looks at the state.
const STEP: u32 = 64;
/// How often the state of a search is written.
const SAVE_EVERY: Duration = Duration::from_secs(10);
/// How long a call waits for a search that may be done at once.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Revocations put again in one go.
const MAX_OFFERED: usize = 256;

impl Names {
    /// Applies a revocation, or computes one.
    pub(crate) async fn revoke(&self, zone: &str, asked: RevokeZone) -> Result<Revoking> {
        if let Some(message) = asked.message {
            let bytes = data_encoding::HEXLOWER_PERMISSIVE
                .decode(message.trim().as_bytes())
                .map_err(|_| ApiError::invalid("the revocation is not hexadecimal"))?;
            return apply(&self.inner, zone.to_owned(), bytes).await;
        }
        let entry = self.inner.zone(Some(zone))?;
        let key = entry.zone;
        if let Some(message) = self.computed(key).await? {
            if asked.compute_only {
                return Ok(self.progress(zone, key, Some(message)));
            }
            return apply(&self.inner, zone.to_owned(), message).await;
        }
        self.search(key).await?;
        let deadline = Instant::now() + PATIENCE;
        while self.is_searching(&key) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        match self.computed(key).await? {
            Some(message) if !asked.compute_only => apply(&self.inner, zone.to_owned(), message).await,
            message => Ok(self.progress(zone, key, message)),
        }
    }

    /// A revocation of an own zone that was computed, whether it was applied or not.
    async fn computed(&self, zone: ZoneKey) -> Result<Option<Vec<u8>>> {
        let state = blocking(&self.inner, move |inner| inner.row(Row::Search, &zone)).await?;
        let done = state.and_then(|state| PowSearch::from_bytes(&state).ok()).and_then(|mut search| search.step(0));
        Ok(done.map(|revocation| revocation.to_bytes()))
    }

    fn is_searching(&self, zone: &ZoneKey) -> bool {
        self.inner.searching.lock().unwrap_or_else(PoisonError::into_inner).contains(zone)
    }

    fn progress(&self, name: &str, zone: ZoneKey, message: Option<Vec<u8>>) -> Revoking {
        let state = self.inner.row(Row::Search, &zone).ok().flatten();
        let search = state.and_then(|state| PowSearch::from_bytes(&state).ok());
        Revoking {
            zone: name.to_owned(),
            revoked: self.inner.state().revocations.is_revoked(&zone, now()),
            average: search.map_or(0.0, |search| search.average()),
            difficulty: self.inner.difficulty,
            stored_on: 0,
            message: message.map(|message| data_encoding::HEXLOWER.encode(&message)),
        }
    }

    /// Begins or goes on with a search; it ends with the node, and goes on when it is asked for again.
    async fn search(&self, zone: ZoneKey) -> Result<()> {
        if !self.inner.searching.lock().unwrap_or_else(PoisonError::into_inner).insert(zone) {
            return Ok(());
        }
        let begun = blocking(&self.inner, move |inner| {
            let secret = inner.secret(&zone)?;
            let stored = inner.row(Row::Search, &zone)?.and_then(|state| PowSearch::from_bytes(&state).ok());
            let stored = stored.filter(|search| search.difficulty() == inner.difficulty);
            let mut start = [0; 8];
            getrandom::fill(&mut start).map_err(|error| ApiError::internal(format!("no random numbers: {error}")))?;
            Ok(stored.unwrap_or_else(|| PowSearch::new(&secret, now(), inner.difficulty, u64::from_be_bytes(start))))
        });
        let search = match begun.await {
            Ok(search) => search,
            Err(error) => {
                self.inner.searching.lock().unwrap_or_else(PoisonError::into_inner).remove(&zone);
                return Err(error);
            }
        };
        // Not owned: the thread must not keep a node alive that is shutting down.
        let weak = Arc::downgrade(&self.inner);
        let started = std::thread::Builder::new().name("revocation".into()).spawn(move || {
            let mut search = search;
            let mut saved = Instant::now();
            loop {
                let is_done = search.step(STEP).is_some();
                let Some(inner) = weak.upgrade() else { return };
                if !inner.searching.lock().unwrap_or_else(PoisonError::into_inner).contains(&zone) {
                    // The zone was removed.
                    return;
                }
                if is_done || saved.elapsed() >= SAVE_EVERY {
                    saved = Instant::now();
                    if let Err(error) = inner.put_row(Row::Search, &zone, &search.to_bytes()) {
                        tracing::warn!(%error, "the search for a revocation was not written");
                    }
                }
                if is_done {
                    inner.searching.lock().unwrap_or_else(PoisonError::into_inner).remove(&zone);
                    return;
                }
                // Other work comes first.
                drop(inner);
                std::thread::yield_now();
            }
        });
        started.map(drop).map_err(|error| ApiError::internal(format!("cannot start the search: {error}")))
    }
}

/// Believes a revocation after verifying it, writes it down and offers it to others.
async fn apply(inner: &Arc<Inner>, name: String, bytes: Vec<u8>) -> Result<Revoking> {
    let difficulty = inner.difficulty;
    let message = bytes.clone();
    let (zone, average) = blocking(inner, move |inner| {
        let revocation = Revocation::from_bytes(&message).map_err(|error| ApiError::invalid(error.to_string()))?;
        if let Ok(entry) = inner.zone(Some(&name))
            && entry.zone != revocation.zone
        {
            return Err(ApiError::new(ErrorKind::Conflict, format!("the revocation is not that of the zone {name}")));
        }
        let average = f64::from(revocation.scores().iter().sum::<u32>()) / p2p_names::PROOFS as f64;
        Ok(((revocation.zone, name), average))
    })
    .await?;
    let (zone, name) = zone;
    match believe(inner, bytes.clone()).await? {
        Believed::New(message) => flood::announce(inner, message).await,
        Believed::Known => {}
        Believed::Stale => return Err(ApiError::invalid("the revocation has expired")),
        Believed::Not(error) => return Err(ApiError::invalid(error.to_string())),
    }
    let key = revocation_key(&zone);
    let stored_on = inner.network.put_value(key, bytes.clone()).await.unwrap_or(0);
    Ok(Revoking {
        zone: name,
        revoked: true,
        average,
        difficulty,
        stored_on: u32::try_from(stored_on).unwrap_or(u32::MAX),
        message: Some(data_encoding::HEXLOWER.encode(&bytes)),
    })
}

/// What came of a message.
pub(super) enum Believed {
    /// New and good; these bytes are to be passed on.
    New(Vec<u8>),
    /// Its zone is known to be revoked.
    Known,
    /// Its time is over.
    Stale,
    /// It proves nothing.
    Not(RevocationError),
}

/// Verifies a message and keeps it. Takes some 50 ms, and longer while others are verified.
pub(super) async fn believe(inner: &Arc<Inner>, bytes: Vec<u8>) -> Result<Believed> {
    let _place = flood::place(inner).await.ok_or_else(ApiError::stopped)?;
    blocking(inner, move |inner| {
        if inner.state().revocations.knows(&bytes, now()) {
            return Ok(Believed::Known);
        }
        let message = match Revocations::judge(&bytes, inner.difficulty, now()) {
            RevocationVerdict::Accept(message) => message,
            RevocationVerdict::Known => return Ok(Believed::Known),
            RevocationVerdict::Stale => return Ok(Believed::Stale),
            RevocationVerdict::Reject(error) => return Ok(Believed::Not(error)),
        };
        let revocation = Revocation::from_bytes(&message).map_err(|error| ApiError::invalid(error.to_string()))?;
        inner.put_row(Row::Revocation, &revocation.zone, &message)?;
        let mut state = inner.state();
        state.revocations.restore(&message).map_err(|error| ApiError::invalid(error.to_string()))?;
        drop(state);
        inner.resolver.cache().forget_zone(&revocation.zone);
        Ok(Believed::New(message))
    })
    .await
}

/// Asks the DHT whether a zone is revoked, unless it was asked a while ago. True: something new was learnt.
pub(super) async fn learn(inner: &Arc<Inner>, zone: ZoneKey) -> bool {
    let is_fresh = {
        let asked = inner.asked_revoked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(&zone).is_some_and(|at| at.elapsed() < ASK_AGAIN)
    };
    if is_fresh || inner.state().revocations.is_revoked(&zone, now()) {
        return false;
    }
    let Ok(lookup) = look_up(&inner.network, revocation_key(&zone), LOOKUP_TIME).await else { return false };
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for found in lookup.found {
        if !messages.contains(&found.value) && messages.len() < MAX_JUDGED {
            messages.push(found.value);
        }
    }
    let mut learnt = false;
    for message in messages {
        match believe(inner, message).await {
            Ok(Believed::New(message)) => {
                flood::announce(inner, message).await;
                learnt = true;
            }
            Ok(Believed::Known) => learnt = true,
            _ => continue,
        }
        break;
    }
    if !lookup.timed_out && !learnt && inner.network.reaches_others() {
        let mut asked = inner.asked_revoked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= MAX_ASKED {
            asked.clear();
        }
        asked.insert(zone, Instant::now());
    }
    learnt
}

/// Puts what is held again, before others forget it.
pub(super) async fn offer_all(inner: &Arc<Inner>) {
    let messages: Vec<(ZoneKey, Vec<u8>)> = {
        let mut state = inner.state();
        state.revocations.drop_expired(now());
        let held = &state.revocations;
        let zones = held.zones().take(MAX_OFFERED);
        zones.filter_map(|zone| Some((*zone, held.message(zone)?.to_vec()))).collect()
    };
    for (zone, message) in messages {
        if let Err(error) = inner.network.put_value(revocation_key(&zone), message).await {
            tracing::debug!(%error, "a revocation was not put");
        }
    }
}
