//! Who fetches what: a shared queue of pieces, requests as long as each peer is fast, the rarest first where a peer is
//! partial, and stealing for the tail (specs/drives.md, section 7). A pure state machine: no I/O, `now` is an argument.
//!
//! A piece waits, or is carried by one to three requests; it leaves when one of them has done it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pace::{PIPELINE, Pace};
use crate::GroupRanges;

/// Requests that may carry one piece (specs/drives.md, 19).
const MAX_COPIES: u8 = 3;
/// Whoever steals must expect to be done this much sooner, as a ratio of three to two.
const STEAL_RATIO: (u32, u32) = (3, 2);
/// A peer from which nothing came for this long, or four round trips, has stalled: others may take what it carries.
const STALLED: Duration = Duration::from_secs(2);
/// How long a piece that a peer could not give is not asked of it again.
const REFUSED: Duration = Duration::from_millis(200);
/// Pieces that wait, as far as somebody can give them. Small, so that the plan takes no memory.
const MAX_WAITING: usize = 256;
/// Pieces that wait, also those that nobody who is connected holds. They keep files open.
const MAX_WAITING_FOR_NOBODY: usize = 1_024;
/// Files that the pieces that wait name, in all.
const MAX_WAITING_FILES: usize = 64 * 1_024;

/// What a piece consists of.
pub(super) trait Portion {
    /// Bytes to fetch.
    fn bytes(&self) -> u64;
    /// Files that it names.
    fn files(&self) -> usize;
    /// Whether one request can ask for this and `next`, which lies behind it.
    fn joins(&self, next: &Self) -> bool;
}

/// What a peer holds of the version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// All of it, or so much as can only be found out by asking.
    Everything,
    /// These pieces, by number.
    Pieces(GroupRanges),
}

/// Names a piece for as long as it is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PieceKey(u64);

/// Names a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RequestKey(u64);

/// A piece of the version that is missing here.
#[derive(Clone, Debug)]
pub(super) struct Piece<W> {
    pub(super) key: PieceKey,
    /// Its number among the pieces of the version, where they are counted.
    pub(super) number: Option<u64>,
    pub(super) work: W,
}

/// Pieces to ask a peer for in one request.
#[derive(Clone, Debug)]
pub(super) struct Request<W> {
    pub(super) key: RequestKey,
    pub(super) pieces: Vec<Piece<W>>,
    /// Others have done all of it.
    pub(super) obsolete: CancellationToken,
}

/// What there is for a peer to do.
#[derive(Debug)]
pub(super) enum Next<W> {
    /// This.
    Ask(Request<W>),
    /// Nothing now.
    Wait,
    /// Nothing any more.
    Done,
}

/// How a piece came out of a request.
#[derive(Debug)]
pub(super) enum Outcome<W> {
    Done,
    /// What is left of it, and whether this peer is to be asked for it again at once.
    Left(W, Again),
}

/// Whether a peer is to be asked for the same again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    AtOnce,
    Later,
}

/// The scheduler.
pub(super) struct Swarm<P, W> {
    waiting: VecDeque<Tracked<P, W>>,
    waiting_files: usize,
    running: BTreeMap<RequestKey, Running<P, W>>,
    /// How many requests carry a piece that is not done.
    carriers: HashMap<PieceKey, u8>,
    /// Pieces whose content one request has and is putting in place.
    claimed: HashMap<PieceKey, RequestKey>,
    peers: HashMap<P, Peer>,
    closed: bool,
    last_key: u64,
    /// For ties among the rarest.
    ties: RandomState,
}

#[derive(Clone)]
struct Tracked<P, W> {
    piece: Piece<W>,
    /// Who could not give it, and when last.
    refused: Vec<(P, Instant)>,
}

struct Running<P, W> {
    peer: P,
    pieces: Vec<Tracked<P, W>>,
    bytes: u64,
    came: u64,
    began: Instant,
    last: Instant,
    obsolete: CancellationToken,
}

impl<P, W: Portion> Running<P, W> {
    fn left(&self) -> u64 {
        self.bytes.saturating_sub(self.came)
    }
}

struct Peer {
    holds: Holds,
    pace: Pace,
}

impl<P, W> Default for Swarm<P, W> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            waiting_files: 0,
            running: BTreeMap::new(),
            carriers: HashMap::new(),
            claimed: HashMap::new(),
            peers: HashMap::new(),
            closed: false,
            last_key: 0,
            ties: RandomState::new(),
        }
    }
}

impl<P: Copy + Eq + Hash, W: Portion + Clone> Swarm<P, W> {
    /// Whether the plan has to wait before it adds more.
    pub(super) fn is_full(&self) -> bool {
        if self.waiting_files >= MAX_WAITING_FILES || self.waiting.len() >= MAX_WAITING_FOR_NOBODY {
            return true;
        }
        self.waiting.len() >= MAX_WAITING
            && self.waiting.iter().filter(|w| self.is_held(&w.piece)).count() >= MAX_WAITING
    }

    /// Adds a piece behind the others. False when nothing is wanted any more.
    pub(super) fn push(&mut self, number: Option<u64>, work: W) -> bool {
        if self.closed {
            return false;
        }
        let key = PieceKey(self.next_key());
        self.wait(Tracked { piece: Piece { key, number, work }, refused: Vec::new() }, End::Back);
        true
    }

    /// No more pieces will be added.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn is_done(&self) -> bool {
        self.closed && self.waiting.is_empty() && self.carriers.is_empty() && self.claimed.is_empty()
    }

    /// A peer is here, or holds something else now.
    pub(super) fn set_holds(&mut self, peer: P, holds: Holds) {
        match self.peers.get_mut(&peer) {
            Some(known) => known.holds = holds,
            None => drop(self.peers.insert(peer, Peer { holds, pace: Pace::default() })),
        }
    }

    /// A peer is gone. Its requests end by themselves.
    pub(super) fn remove(&mut self, peer: &P) {
        self.peers.remove(peer);
    }

    /// What to ask a peer for now.
    pub(super) fn next(&mut self, peer: P, now: Instant) -> Next<W> {
        if self.is_done() {
            return Next::Done;
        }
        let Some(known) = self.peers.get(&peer) else { return Next::Wait };
        let (mut requests, mut in_flight) = (0, 0);
        for running in self.running.values().filter(|running| running.peer == peer) {
            requests += 1;
            in_flight += running.left();
        }
        // Two at least: the next answer begins where one ends, however long a piece is for the peer's window.
        if requests >= 2 && in_flight >= known.pace.window(now) {
            return Next::Wait;
        }
        let size = known.pace.request_bytes(now);
        let pieces = match self.best(peer, now) {
            Some(at) => self.take(peer, at, size, now),
            None => match self.steal(peer, size, now) {
                Some(pieces) => pieces,
                None => return Next::Wait,
            },
        };
        let key = RequestKey(self.next_key());
        let obsolete = CancellationToken::new();
        let asked: Vec<Piece<W>> = pieces.iter().map(|tracked| tracked.piece.clone()).collect();
        for piece in &asked {
            *self.carriers.entry(piece.key).or_default() += 1;
        }
        let bytes = asked.iter().map(|piece| piece.work.bytes()).sum();
        let request = Request { key, pieces: asked, obsolete: obsolete.clone() };
        let running = Running { peer, pieces, bytes, came: 0, began: now, last: now, obsolete };
        self.running.insert(key, running);
        if let Some(known) = self.peers.get_mut(&peer) {
            known.pace.on_request(now);
        }
        Next::Ask(request)
    }

    /// The answer to a request has begun.
    pub(super) fn on_answer(&mut self, request: RequestKey, now: Instant) {
        if let Some(running) = self.running.get_mut(&request) {
            running.last = now;
            if let Some(peer) = self.peers.get_mut(&running.peer) {
                peer.pace.on_round_trip(now.duration_since(running.began));
            }
        }
    }

    /// Bytes of an answer came.
    pub(super) fn on_bytes(&mut self, request: RequestKey, bytes: u64, now: Instant) {
        if let Some(running) = self.running.get_mut(&request) {
            running.came += bytes;
            running.last = now;
            if let Some(peer) = self.peers.get_mut(&running.peer) {
                peer.pace.on_bytes(bytes, now);
            }
        }
    }

    /// Whoever has all of a piece in its hands asks before putting it in place: false when another did so first.
    pub(super) fn claim(&mut self, request: RequestKey, piece: PieceKey) -> bool {
        self.carriers.contains_key(&piece) && *self.claimed.entry(piece).or_insert(request) == request
    }

    /// A request has ended: how each of its pieces came out, in their order. What is not named is left as it was.
    pub(super) fn on_end(&mut self, request: RequestKey, outcomes: Vec<Outcome<W>>, now: Instant) {
        let Some(running) = self.running.remove(&request) else { return };
        let peer = running.peer;
        let unnamed = std::iter::repeat_with(|| None);
        let outcomes: Vec<_> = outcomes.into_iter().map(Some).chain(unnamed).take(running.pieces.len()).collect();
        // The last first: what goes back to the front of the queue stands there in order.
        for (tracked, outcome) in running.pieces.into_iter().zip(outcomes).rev() {
            let outcome = outcome.unwrap_or_else(|| Outcome::Left(tracked.piece.work.clone(), Again::AtOnce));
            self.on_piece((peer, request), tracked, outcome, now);
        }
        // Whoever carries nothing but what is done need not go on.
        for other in self.running.values() {
            if other.pieces.iter().all(|tracked| !self.carriers.contains_key(&tracked.piece.key)) {
                other.obsolete.cancel();
            }
        }
        if !self.running.values().any(|other| other.peer == peer)
            && let Some(known) = self.peers.get_mut(&peer)
        {
            known.pace.on_idle();
        }
    }

    fn on_piece(&mut self, by: (P, RequestKey), tracked: Tracked<P, W>, outcome: Outcome<W>, now: Instant) {
        let Tracked { piece, mut refused } = tracked;
        // Another has done it, and it is nobody's any more.
        let Some(carriers) = self.carriers.get_mut(&piece.key) else { return };
        match outcome {
            Outcome::Done => {
                self.carriers.remove(&piece.key);
                self.claimed.remove(&piece.key);
            }
            Outcome::Left(work, again) => {
                *carriers -= 1;
                let is_last = *carriers == 0;
                // Part of it may be in place already: what is left goes to the queue, whoever else carries all of it.
                let is_claimed = self.claimed.get(&piece.key) == Some(&by.1);
                if is_last || is_claimed {
                    self.claimed.remove(&piece.key);
                    self.carriers.remove(&piece.key);
                    let key = if is_last { piece.key } else { PieceKey(self.next_key()) };
                    refused.retain(|(peer, at)| *peer != by.0 && now.duration_since(*at) < REFUSED);
                    refused.extend((again == Again::Later).then_some((by.0, now)));
                    self.wait(Tracked { piece: Piece { key, work, ..piece }, refused }, End::Front);
                }
            }
        }
    }

    fn wait(&mut self, waiting: Tracked<P, W>, end: End) {
        self.waiting_files += waiting.piece.work.files();
        match end {
            End::Back => self.waiting.push_back(waiting),
            End::Front => self.waiting.push_front(waiting),
        }
    }

    /// The place of the piece that a peer should be asked for first.
    fn best(&self, peer: P, now: Instant) -> Option<usize> {
        let can = |waiting: &Tracked<P, W>| self.can_give(peer, &waiting.piece) && !waiting.is_refused(peer, now);
        // We are partial ourselves: with one other there are two that can give each other what they have.
        if !self.peers.values().any(|known| matches!(known.holds, Holds::Pieces(_))) {
            // In order, which is kind to disks.
            return self.waiting.iter().position(can);
        }
        let rank = |(_, waiting): &(usize, &Tracked<P, W>)| {
            let piece = &waiting.piece;
            let holders = self.peers.keys().filter(|other| self.can_give(**other, piece)).count();
            (holders, self.ties.hash_one(piece.key))
        };
        let able = self.waiting.iter().enumerate().filter(|(_, waiting)| can(waiting));
        able.min_by_key(rank).map(|(at, _)| at)
    }

    /// Takes the piece at a place and those behind it that fit into the same request.
    fn take(&mut self, peer: P, at: usize, size: u64, now: Instant) -> Vec<Tracked<P, W>> {
        let mut pieces: Vec<Tracked<P, W>> = Vec::new();
        let mut bytes = 0;
        while let Some(waiting) = self.waiting.get(at) {
            let next = &waiting.piece;
            let fits = pieces.last().is_none_or(|last| {
                bytes + next.work.bytes() <= size
                    && last.piece.work.joins(&next.work)
                    && self.can_give(peer, next)
                    && !waiting.is_refused(peer, now)
            });
            if !fits {
                break;
            }
            let Some(waiting) = self.waiting.remove(at) else { break };
            self.waiting_files -= waiting.piece.work.files();
            bytes += waiting.piece.work.bytes();
            pieces.push(waiting);
        }
        pieces
    }

    /// Pieces that another peer would be done with much later: from the end of what it carries, as many as both are done
    /// with at the same time.
    fn steal(&self, peer: P, size: u64, now: Instant) -> Option<Vec<Tracked<P, W>>> {
        let mine = self.peers.get(&peer)?;
        let rate = mine.pace.rate(now).max(1);
        let mut found: Option<(Duration, Vec<Tracked<P, W>>)> = None;
        for running in self.running.values().filter(|running| running.peer != peer) {
            let Some(theirs) = self.peers.get(&running.peer) else { continue };
            let is_open = |tracked: &&Tracked<P, W>| {
                let key = tracked.piece.key;
                let carries = |running: &Running<P, W>| running.pieces.iter().any(|other| other.piece.key == key);
                let is_mine = || self.running.values().any(|running| running.peer == peer && carries(running));
                self.carriers.get(&key).is_some_and(|copies| *copies < MAX_COPIES)
                    && !self.claimed.contains_key(&key)
                    && self.can_give(peer, &tracked.piece)
                    && !tracked.is_refused(peer, now)
                    && !is_mine()
            };
            // Pieces come in order, so what has come of the request belongs to the first of them.
            let mut came = running.came;
            let open: Vec<&Tracked<P, W>> = running
                .pieces
                .iter()
                .filter(|tracked| {
                    let bytes = tracked.piece.work.bytes();
                    let is_over = came >= bytes;
                    came = came.saturating_sub(bytes);
                    !is_over
                })
                .filter(is_open)
                .collect();
            if open.is_empty() {
                continue;
            }
            let silent = now.duration_since(running.last);
            let is_stalled = silent >= STALLED.max(theirs.pace.round_trip() * 4);
            let their_rate = theirs.pace.rate(now).max(1);
            let all_of_theirs: u64 =
                self.running.values().filter(|other| other.peer == running.peer).map(Running::left).sum();
            let their_end = if is_stalled { Duration::from_secs(86_400) } else { time_of(all_of_theirs, their_rate) };
            let bytes: u64 = open.iter().map(|tracked| tracked.piece.work.bytes()).sum();
            let share = match is_stalled {
                true => bytes,
                false => (u128::from(bytes) * u128::from(rate) / u128::from(rate + their_rate)) as u64,
            };
            let mut stolen: Vec<Tracked<P, W>> = Vec::new();
            let mut taken = 0;
            for tracked in open.into_iter().rev() {
                let work = &tracked.piece.work;
                let is_enough = taken + work.bytes() > share.min(size);
                let fits = stolen.last().is_none_or(|behind| !is_enough && work.joins(&behind.piece.work));
                if !fits {
                    break;
                }
                taken += work.bytes();
                stolen.push(tracked.clone());
            }
            stolen.reverse();
            let my_end = mine.pace.round_trip() + time_of(taken, rate);
            let (num, den) = STEAL_RATIO;
            if their_end * den > my_end * num && found.as_ref().is_none_or(|(latest, _)| *latest < their_end) {
                found = Some((their_end, stolen));
            }
        }
        found.map(|(_, pieces)| pieces)
    }

    fn can_give(&self, peer: P, piece: &Piece<W>) -> bool {
        self.peers.get(&peer).is_some_and(|known| match &known.holds {
            Holds::Everything => true,
            Holds::Pieces(held) => piece.number.is_none_or(|number| held.contains(number)),
        })
    }

    fn is_held(&self, piece: &Piece<W>) -> bool {
        self.peers.keys().any(|peer| self.can_give(*peer, piece))
    }

    fn next_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }
}

impl<P: Copy + Eq, W> Tracked<P, W> {
    fn is_refused(&self, peer: P, now: Instant) -> bool {
        self.refused.iter().any(|(by, at)| *by == peer && now.duration_since(*at) < REFUSED)
    }
}

/// Where a piece goes in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Back,
    Front,
}

/// How long so many bytes take; a day at most.
fn time_of(bytes: u64, rate: u64) -> Duration {
    const DAY: f64 = 86_400.0;
    Duration::from_secs_f64((bytes as f64 / rate as f64).min(DAY)).max(PIPELINE / 50)
}

#[cfg(test)]
mod tests;
