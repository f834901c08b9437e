//! Finding peers that have a drive, and opening sessions with them: link hints, neighbours and the DHT all start at
//! once, the first that proves itself wins (specs/drives.md, 8.7).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::stream::{self, BoxStream, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use p2p_identity::{Hints, PeerId};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::engine::Shared;
use crate::head::HeadEnvelope;
use crate::lock::lock;
use crate::registry::{Drive, Role};
use crate::session::{Announced, FetchError, Opened, Session};
use crate::topic::{Topic, day_of};
use crate::traffic::MeteredDialer;

/// Most peers used for one drive at a time (specs/drives.md, 19).
const MAX_ACTIVE: usize = 8;
/// Most peers remembered as candidates.
const MAX_KNOWN: usize = 32;
/// How often neighbours are looked at again while there is nobody.
const NEIGHBOURS_EVERY: Duration = Duration::from_millis(250);
/// How often the DHT is asked again while there is nobody, or something is wanted that those who are there have not got …
const DHT_EVERY: Duration = Duration::from_secs(5);
/// … and at most how rarely: those who are there may be behind, and know as little of others as this node.
const DHT_AT_LEAST_EVERY: Duration = Duration::from_secs(300);
/// How long a peer that could not be reached, or had nothing, is left alone the first time: one that is just starting
/// is met soon. Doubles with every failure …
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// … up to this.
const RETRY_AT_MOST: Duration = Duration::from_secs(4);
/// Whose session lasted that long is tried again at once when it ends.
const OF_USE: Duration = Duration::from_millis(500);
/// How long a peer that sent something wrong, or stalled too often, is not asked for the drive.
const BANNED: Duration = Duration::from_secs(600);
/// How often a peer may stall.
const MAX_STALLS: u32 = 3;
/// How long after midnight yesterday's topic is looked up as well.
const YESTERDAY_SECONDS: u64 = 2 * 3_600;

/// What a peer is asked for with the first words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// The index nodes on the way to this path; only the root without one.
    pub(crate) path: Option<Vec<u8>>,
    /// Whether small content may come along: what lies at the path, and what its publisher says is needed with it.
    pub(crate) prefetch: bool,
    /// Whether this node looks for what others wrote: its own versions are no news, and peers that came to it may have
    /// some.
    pub(crate) from_others: bool,
}

/// The search for peers of one drive. Stops when dropped.
pub(crate) struct Sources {
    known: Arc<Mutex<HashMap<PeerId, Candidate>>>,
    announced: Announced,
    hinted: mpsc::Sender<Hints>,
    wanting: Arc<Notify>,
    _task: DropGuard,
}

#[derive(Clone, Debug)]
struct Candidate {
    state: State,
    last_try: Option<Instant>,
    /// Failures in a row.
    failures: u32,
    /// How often it was asked in vain.
    stalls: u32,
    /// The last session with it.
    session: Weak<Session>,
}

impl Candidate {
    const NEW: Self = Self { state: State::New, last_try: None, failures: 0, stalls: 0, session: Weak::new() };

    fn set(&mut self, state: State) {
        // What is still under way says nothing in a liar's favour.
        if matches!(self.state, State::Banned(_)) && !self.is_forgiven() {
            return;
        }
        match state {
            State::Failed(_) => self.failures = self.failures.saturating_add(1),
            State::Active => self.failures = 0,
            State::New | State::Trying | State::Banned(_) => {}
        }
        self.state = state;
        self.last_try = Some(Instant::now());
    }

    fn is_forgiven(&self) -> bool {
        self.last_try.is_none_or(|at| at.elapsed() >= BANNED)
    }

    fn is_rested(&self) -> bool {
        let pause = RETRY_FIRST * 2_u32.pow(self.failures.clamp(1, 8) - 1);
        self.last_try.is_none_or(|at| at.elapsed() >= pause.min(RETRY_AT_MOST))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    New,
    Trying,
    Active,
    Failed(&'static str),
    Banned(&'static str),
}

impl Sources {
    /// Starts looking; sessions come through the receiver, each with what the peer told.
    pub(crate) fn start(
        shared: Arc<Shared>,
        drive: Arc<Drive>,
        hints: &Hints,
        wanted: Wanted,
    ) -> (Arc<Self>, mpsc::Receiver<Opened>) {
        let (tx, rx) = mpsc::channel(MAX_ACTIVE);
        let known = Arc::new(Mutex::new(HashMap::new()));
        let token = CancellationToken::new();
        let announced = Announced::new(drive.id);
        let (hinted, more_hints) = mpsc::channel(MAX_ACTIVE);
        let wanting = Arc::new(Notify::new());
        let search = Search {
            shared,
            drive,
            wanted,
            known: known.clone(),
            announced: announced.clone(),
            tx,
            hints: hints.clone(),
            more_hints,
            wanting: wanting.clone(),
        };
        let stop = token.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = search.run() => {}
            }
        });
        (Arc::new(Self { known, announced, hinted, wanting, _task: token.drop_guard() }), rx)
    }

    /// Heads that peers announce from now on; see [`Announced`].
    pub(crate) fn announced(&self) -> watch::Receiver<Option<(PeerId, HeadEnvelope)>> {
        self.announced.subscribe()
    }

    /// Counts heads of other writers that peers announce; see [`Announced`].
    pub(crate) fn others_announced(&self) -> watch::Receiver<u64> {
        self.announced.others()
    }

    /// Another link to the drive: its addresses are tried as well.
    pub(crate) fn add_hints(&self, hints: &Hints) {
        if !hints.peers.is_empty() || hints.relay.is_some() {
            // Full: eight links are being tried already.
            let _ = self.hinted.try_send(hints.clone());
        }
    }

    /// A session ended: the peer may be tried again, and others are looked for.
    pub(crate) fn on_ended(&self, session: &Session) {
        // Where it is known why, that stays; and several who used it say so, while the next one may have begun.
        let is_its_own = |known: &&mut Candidate| std::ptr::eq(known.session.as_ptr(), session);
        let mut known = lock(&self.known);
        let candidate = known.get_mut(&session.peer).filter(|known| known.state == State::Active).filter(is_its_own);
        if let Some(candidate) = candidate {
            // Who was of use until now is mostly there still, by another way: it or this node has moved.
            let was_of_use = candidate.last_try.is_some_and(|at| at.elapsed() >= OF_USE);
            candidate.set(if was_of_use { State::New } else { State::Failed("went away") });
        }
        drop(known);
        self.want_others();
    }

    /// The peer has only a version that is older than the one known here. It may get a newer one any moment.
    pub(crate) fn on_behind(&self, peer: PeerId) {
        self.set(peer, State::Failed("has an older version"));
        self.want_others();
    }

    /// Something is wanted that the peers that are there have not got: others are looked for soon.
    pub(crate) fn want_others(&self) {
        self.wanting.notify_one();
    }

    /// A session ended because nothing came although the peer was asked: after the third time it is left alone for ten
    /// minutes.
    pub(crate) fn on_stalled(&self, peer: PeerId) {
        if let Some(candidate) = lock(&self.known).get_mut(&peer) {
            candidate.stalls += 1;
            candidate.set(match candidate.stalls >= MAX_STALLS {
                true => State::Banned("stalled too often"),
                false => State::Failed("stalled"),
            });
        }
        self.want_others();
    }

    /// All that was wanted has come: who was slow on the way may be so again.
    pub(crate) fn on_done(&self) {
        lock(&self.known).values_mut().for_each(|candidate| candidate.stalls = 0);
    }

    /// The peer sent something wrong: it is not asked again for this drive for ten minutes.
    pub(crate) fn ban(&self, peer: PeerId) {
        tracing::debug!(peer = %peer, "banned for this drive");
        self.set(peer, State::Banned("sent something wrong"));
    }

    /// What became of the peers that were tried, in words.
    pub(crate) fn report(&self) -> String {
        let known = lock(&self.known);
        if known.is_empty() {
            return "no peer was found through the link, the local network or the DHT".into();
        }
        let mut counts: HashMap<&'static str, usize> = HashMap::new();
        for candidate in known.values() {
            let word = match candidate.state {
                State::New | State::Trying => "being tried",
                State::Active => "connected",
                State::Failed(word) | State::Banned(word) => word,
            };
            *counts.entry(word).or_default() += 1;
        }
        let mut words: Vec<String> = counts.into_iter().map(|(word, count)| format!("{count} {word}")).collect();
        words.sort();
        format!("peers asked: {}", words.join(", "))
    }

    fn set(&self, peer: PeerId, state: State) {
        if let Some(candidate) = lock(&self.known).get_mut(&peer) {
            candidate.set(state);
        }
    }
}

struct Search {
    shared: Arc<Shared>,
    drive: Arc<Drive>,
    wanted: Wanted,
    known: Arc<Mutex<HashMap<PeerId, Candidate>>>,
    announced: Announced,
    tx: mpsc::Sender<Opened>,
    hints: Hints,
    more_hints: mpsc::Receiver<Hints>,
    wanting: Arc<Notify>,
}

impl Search {
    async fn run(mut self) {
        // What this node shares itself can be had from nobody sooner.
        if !self.wanted.from_others
            && self.shared.served(&self.drive.id).is_some_and(|drive| drive.state().row.role == Role::Owner)
        {
            lock(&self.known).insert(self.shared.me, Candidate::NEW);
        }
        self.take_hints(&self.hints).await;
        let mut found: BoxStream<'static, PeerId> = self.ask_dht();
        let (mut asked, mut pause) = (Instant::now(), DHT_EVERY);
        let mut tick = tokio::time::interval(NEIGHBOURS_EVERY);
        let mut more_hints = std::mem::replace(&mut self.more_hints, mpsc::channel(1).1);
        let mut attempts = FuturesUnordered::new();
        loop {
            for peer in self.due() {
                attempts.push(self.attempt(peer).map(move |result| (peer, result)));
            }
            tokio::select! {
                peer = found.next() => match peer {
                    Some(peer) => self.add(peer),
                    None => found = stream::pending().boxed(),
                },
                Some((peer, result)) = attempts.next(), if !attempts.is_empty() => {
                    self.on_attempt(peer, result).await;
                }
                Some(hints) = more_hints.recv() => self.take_hints(&hints).await,
                () = self.wanting.notified() => pause = DHT_EVERY,
                _ = tick.tick() => {
                    for peer in self.shared.providers.neighbours() {
                        self.add(peer);
                    }
                    self.visitors().into_iter().for_each(|peer| self.add(peer));
                    if self.active() == 0 {
                        pause = DHT_EVERY;
                    }
                    if asked.elapsed() >= pause {
                        (asked, pause) = (Instant::now(), (pause * 2).min(DHT_AT_LEAST_EVERY));
                        found = self.ask_dht();
                    }
                }
            }
        }
    }

    async fn take_hints(&self, hints: &Hints) {
        // By which way the first one is reached comes before it is dialled.
        if let (Some(relay), Some(first)) = (hints.relay, hints.peers.first()) {
            self.shared.dialer.remember_through(relay, first.peer).await;
        }
        for address in &hints.peers {
            self.shared.dialer.remember(*address).await;
        }
        hints.peers.iter().for_each(|address| self.add(address.peer));
    }

    async fn attempt(&self, peer: PeerId) -> Result<Opened, FetchError> {
        let topic = self.drive.read_key.topic(today().0);
        let dialer = MeteredDialer::new(&self.shared.dialer, &self.shared.traffic, self.drive.id);
        let (dialer, key) = (Arc::new(dialer), &self.drive.read_key);
        let announced = self.announced.clone();
        Session::open(dialer, self.shared.me, peer, key, topic, &self.wanted, announced).await
    }

    async fn on_attempt(&self, peer: PeerId, result: Result<Opened, FetchError>) {
        let state = match &result {
            Ok(_) => State::Active,
            Err(error) if error.is_fault() => State::Banned("sent something wrong"),
            Err(FetchError::Unreachable(_)) => State::Failed("cannot be reached"),
            Err(FetchError::Refused | FetchError::NotFound) => State::Failed("does not have the drive"),
            Err(_) => State::Failed("broke off"),
        };
        if let Err(error) = &result {
            tracing::debug!(%peer, %error, "no session");
        }
        if let Some(candidate) = lock(&self.known).get_mut(&peer) {
            candidate.set(state);
            if let Ok(opened) = &result {
                candidate.session = Arc::downgrade(&opened.session);
            }
        }
        if let Ok(opened) = result {
            // They came unasked by hash, so they wait in memory until a parent or a head vouches for them.
            for (id, bytes) in &opened.nodes {
                self.shared.nodes.browse(*id, bytes.clone());
            }
            let _ = self.tx.send(opened).await;
        }
    }

    /// Peers to try now.
    fn due(&self) -> Vec<PeerId> {
        let mut known = lock(&self.known);
        let mut room = MAX_ACTIVE
            .saturating_sub(known.values().filter(|c| matches!(c.state, State::Trying | State::Active)).count());
        let mut due = Vec::new();
        // Who has waited longest first, or who is lost and found all the time would keep its place from all others.
        let mut candidates: Vec<_> = known.iter_mut().collect();
        candidates.sort_by_key(|(_, candidate)| candidate.last_try);
        for (peer, candidate) in candidates {
            let wanted = match candidate.state {
                State::New => true,
                State::Failed(_) => candidate.is_rested(),
                State::Banned(_) => candidate.is_forgiven(),
                State::Trying | State::Active => false,
            };
            if wanted && room > 0 {
                room -= 1;
                candidate.set(State::Trying);
                due.push(*peer);
            }
        }
        due
    }

    /// Peers that came to this node for the drive: they may have what it has not, where others write as well.
    fn visitors(&self) -> Vec<PeerId> {
        let held = self.shared.registry.get(&self.drive.id);
        let held = held.filter(|drive| self.wanted.from_others || drive.state().row.role == Role::Owner);
        held.map(|drive| lock(&drive.visitors).keys().copied().collect()).unwrap_or_default()
    }

    fn active(&self) -> usize {
        lock(&self.known).values().filter(|candidate| candidate.state == State::Active).count()
    }

    fn add(&self, peer: PeerId) {
        let mut known = lock(&self.known);
        if peer == self.shared.me || known.contains_key(&peer) {
            return;
        }
        if known.len() >= MAX_KNOWN {
            let spent = known.iter().find(|(_, c)| matches!(c.state, State::Failed(_))).map(|(peer, _)| *peer);
            let Some(spent) = spent else { return };
            known.remove(&spent);
        }
        known.insert(peer, Candidate::NEW);
    }

    fn ask_dht(&self) -> BoxStream<'static, PeerId> {
        let (day, seconds) = today();
        let topic = |day| *self.drive.read_key.topic(day).as_bytes();
        let found = self.shared.providers.find(topic(day));
        if seconds >= YESTERDAY_SECONDS {
            return found;
        }
        stream::select(found, self.shared.providers.find(topic(day.saturating_sub(1)))).boxed()
    }
}

/// The day, as topics count it, and the seconds since it began.
pub(crate) fn today() -> (u32, u64) {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    (day_of(seconds), seconds % 86_400)
}

/// The topics under which a drive is announced now: today's, yesterday's for two hours, tomorrow's for the last two,
/// from a moment that `spread` (0..7200) chooses (specs/drives.md, 8.3).
pub(crate) fn announced_days(day: u32, seconds: u64, spread: u64) -> HashSet<u32> {
    let mut days = HashSet::from([day]);
    if seconds < YESTERDAY_SECONDS {
        days.insert(day.saturating_sub(1));
    }
    if seconds >= 86_400 - YESTERDAY_SECONDS + spread % YESTERDAY_SECONDS {
        days.insert(day.saturating_add(1));
    }
    days
}

/// The topics that a session accepts: the day's and its neighbours'.
pub(crate) fn accepted_topics(drive: &Drive) -> [Topic; 3] {
    let (day, _) = today();
    [day, day.saturating_sub(1), day.saturating_add(1)].map(|day| drive.read_key.topic(day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_overlap_around_midnight() {
        assert_eq!(announced_days(10, 0, 0), HashSet::from([9, 10]));
        assert_eq!(announced_days(10, 7_200, 0), HashSet::from([10]));
        assert_eq!(announced_days(10, 79_200, 0), HashSet::from([10, 11]));
        assert_eq!(announced_days(10, 79_200, 600), HashSet::from([10]));
        assert_eq!(announced_days(10, 86_399, 7_199), HashSet::from([10, 11]));
    }
}
