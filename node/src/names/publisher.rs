//! The task that publishes: on every change, again before blocks are forgotten, and when there are nodes at last. It
//! sleeps while nothing is due.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use p2p_names::{Label, PublishQueue, Timestamp, ZoneKey};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::pace::Pace;
use super::publish::{Outcome, When, publish_label};
use super::{Inner, blocking, failed, now, revoke};

/// Changes of one label within this time are published together.
const GATHER: Duration = Duration::from_millis(250);
/// How long a label waits after a failure, or while no other node is in reach.
const RETRY: Duration = Duration::from_secs(60);
/// Longest sleep: a clock that is set is noticed by then.
const MAX_SLEEP: Duration = Duration::from_secs(3600);
/// Labels published at once while somebody waits for each.
const MAX_ASKED: usize = 8;
/// Labels published at once for which nobody waits: as many as [`Pace`] needs where each takes three seconds.
const MAX_BACKGROUND: usize = 16;
/// How often revocations are put again; others forget them after 72 h.
const REVOCATIONS_EVERY: Duration = Duration::from_secs(12 * 3600);
/// Labels read at once.
const PAGE: usize = 1_000;

/// What the publisher is told.
pub(super) enum Note {
    /// A label changed; the reply says what its publication came to.
    Changed { zone: ZoneKey, label: Label, reply: oneshot::Sender<Outcome> },
    /// Much of a zone may have changed.
    Reload(ZoneKey),
}

type Place = (ZoneKey, Label);
/// What a job came to, and when its label is due again.
type Done = p2p_api::Result<(Outcome, Timestamp)>;

/// See the module.
pub(crate) struct Publisher {
    inner: Arc<Inner>,
    notes: mpsc::Receiver<Note>,
    /// Labels for which somebody waits, or did; the others have to let them pass.
    urgent: PublishQueue,
    queue: PublishQueue,
    pace: Pace,
    /// What is under way without anybody waiting.
    background: HashSet<Place>,
    /// Labels that no other node has stored yet.
    waiting: BTreeSet<Place>,
    /// Who wants to know of changes that are not under way yet.
    asking: HashMap<Place, Vec<oneshot::Sender<Outcome>>>,
    /// Who wants to know of what is under way.
    running: HashMap<Place, Vec<oneshot::Sender<Outcome>>>,
    jobs: JoinSet<(Place, Done)>,
    revocations_at: Instant,
    had_peers: bool,
}

impl Publisher {
    pub(super) fn new(inner: Arc<Inner>, notes: mpsc::Receiver<Note>) -> Self {
        Self {
            inner,
            notes,
            urgent: PublishQueue::new(),
            queue: PublishQueue::new(),
            pace: Pace::new(Instant::now()),
            background: HashSet::new(),
            waiting: BTreeSet::new(),
            asking: HashMap::new(),
            running: HashMap::new(),
            jobs: JoinSet::new(),
            revocations_at: Instant::now(),
            had_peers: false,
        }
    }

    /// Publishes until it is stopped.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut peers = self.inner.network.dht_peers();
        let zones = self.inner.state().namestore.zones().unwrap_or_default();
        for zone in zones {
            self.reload(zone.zone).await;
        }
        loop {
            self.start_jobs();
            let sleep = self.sleep(*peers.borrow() > 0);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(done) = self.jobs.join_next(), if !self.jobs.is_empty() => match done {
                    Ok((place, result)) => self.on_done(place, result),
                    Err(error) => tracing::warn!(%error, "publishing a label failed"),
                },
                note = self.notes.recv() => match note {
                    Some(Note::Changed { zone, label, reply }) => self.on_change((zone, label), reply),
                    Some(Note::Reload(zone)) => self.reload(zone).await,
                    None => break,
                },
                changed = peers.changed() => match changed {
                    Ok(()) => self.on_peers(*peers.borrow() > 0),
                    Err(_) => break,
                },
                () = tokio::time::sleep(sleep) => self.on_time(*peers.borrow() > 0),
            }
        }
        self.jobs.shutdown().await;
    }

    /// Until something is due. While jobs run they wake the loop themselves.
    fn sleep(&mut self, has_peers: bool) -> Duration {
        let until = |due: Option<Timestamp>| due.map_or(MAX_SLEEP, |due| due.since(now()));
        let mut sleep = MAX_SLEEP;
        if self.asked() < MAX_ASKED {
            sleep = sleep.min(until(self.urgent.next_due()));
        }
        if self.background.len() < MAX_BACKGROUND {
            sleep = sleep.min(until(self.queue.next_due()).max(self.pace.wait(Instant::now())));
        }
        sleep = sleep.max(Duration::from_millis(1));
        if has_peers { sleep.min(self.revocations_at.saturating_duration_since(Instant::now())) } else { sleep }
    }

    fn on_change(&mut self, place: Place, reply: oneshot::Sender<Outcome>) {
        let asking = self.asking.entry(place.clone()).or_default();
        asking.push(reply);
        // The first change of several sets the time; one under way is looked at again when it is done.
        if asking.len() == 1 && !self.running.contains_key(&place) {
            self.urgent.schedule(place.0, place.1, now().after(GATHER));
        }
    }

    /// Jobs for which somebody waits.
    fn asked(&self) -> usize {
        self.running.len() - self.background.len()
    }

    /// There may be somebody at last who stores what waits.
    fn on_peers(&mut self, has_peers: bool) {
        if !std::mem::replace(&mut self.had_peers, has_peers) && has_peers {
            self.revocations_at = Instant::now();
        }
        self.pace.on_new_peers();
        for (zone, label) in std::mem::take(&mut self.waiting) {
            self.queue.schedule(zone, label, now().after(GATHER));
        }
    }

    fn on_time(&mut self, has_peers: bool) {
        if has_peers && Instant::now() >= self.revocations_at {
            self.revocations_at = Instant::now() + REVOCATIONS_EVERY;
            let inner = self.inner.clone();
            // Few and small; whether it succeeds shows when somebody looks.
            tokio::spawn(async move { revoke::offer_all(&inner).await });
        }
    }

    fn start_jobs(&mut self) {
        while self.asked() < MAX_ASKED {
            let Some(place) = self.urgent.pop_due(now()) else { break };
            // What is under way is looked at again when it is done.
            if !self.running.contains_key(&place) {
                let asking = self.asking.remove(&place).unwrap_or_default();
                // Who asks wants to know how many store it, also when an earlier job was quick enough to see the change.
                self.start(place, When::Now, asking);
            }
        }
        while self.background.len() < MAX_BACKGROUND && self.pace.wait(Instant::now()).is_zero() {
            let Some(place) = self.queue.pop_due(now()) else { break };
            if !self.running.contains_key(&place) {
                self.pace.take();
                self.background.insert(place.clone());
                self.start(place, When::Due, Vec::new());
            }
        }
    }

    fn start(&mut self, place: Place, when: When, asking: Vec<oneshot::Sender<Outcome>>) {
        self.running.insert(place.clone(), asking);
        let inner = self.inner.clone();
        self.jobs.spawn(async move {
            let result = publish_label(&inner, place.0, &place.1, when).await;
            (place, result)
        });
    }

    fn on_done(&mut self, place: Place, result: Done) {
        let replies = self.running.remove(&place).unwrap_or_default();
        if self.background.remove(&place)
            && let Ok((Outcome::Stored(on), _)) = &result
        {
            match on {
                0 if self.had_peers => self.pace.on_refused(Instant::now()),
                0 => {}
                _ => self.pace.on_stored(),
            }
        }
        let (outcome, due) = match result {
            Ok((outcome @ Outcome::Stored(0), _)) => {
                self.waiting.insert(place.clone());
                (Some(outcome), now().after(RETRY))
            }
            Ok((outcome, due)) => (Some(outcome), due.max(now())),
            Err(error) => {
                tracing::warn!(label = %place.1, %error, "a label was not published");
                (None, now().after(RETRY))
            }
        };
        if let Some(outcome) = outcome {
            for reply in replies {
                let _ = reply.send(outcome);
            }
        }
        if self.asking.contains_key(&place) {
            self.urgent.schedule(place.0, place.1, now().after(GATHER));
        } else {
            self.queue.schedule(place.0, place.1, due);
        }
    }

    /// Enters every label of a zone.
    async fn reload(&mut self, zone: ZoneKey) {
        let mut after = None;
        loop {
            let behind: Option<Label> = after.take();
            let page = blocking(&self.inner, move |inner| {
                let page =
                    inner.state().namestore.page(&zone, behind.as_ref(), PAGE).map_err(|error| failed(&error))?;
                Ok(page.into_iter().map(|(label, entry)| (label, entry.due(now()))).collect::<Vec<_>>())
            });
            match page.await {
                Ok(page) if page.is_empty() => return,
                Ok(page) => {
                    after = page.last().map(|(label, _)| label.clone());
                    for (label, due) in page {
                        self.queue.schedule(zone, label, due);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a zone cannot be read");
                    return;
                }
            }
        }
    }
}
