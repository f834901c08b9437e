//! A lookup of a value over several paths that have no node in common, so that who sits on one of them decides nothing.
//!
//! Each path starts from other nodes of the table, asks nodes nearer and nearer to the key, and learns of further ones
//! only from its own. A path asks one node per provider (an IPv4 /16) while it has others to ask. In a network of a few
//! nodes every node is asked once, by whichever path.
//!
//! A machine without clock or I/O: it says whom to ask, and is told what they answered.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

use crate::group::Group;
use crate::point::{Point, distance, of_peer};

/// Paths of one lookup.
pub(crate) const PATHS: usize = 3;
/// Nodes that a path asks at a time for a value: six altogether.
const PARALLEL: usize = 2;
/// The same where the nearest nodes are looked for, all of which have to answer.
const PARALLEL_NEAREST: usize = 3;
/// After this a node that has not answered no longer holds up the next one; its answer still counts.
const SLOW: Duration = Duration::from_millis(500);
/// After this it is given up, dialling included.
pub(crate) const GIVEN_UP: Duration = Duration::from_secs(3);
/// Where the nearest nodes are looked for, who has not answered after so many times as long as the others took in the median
/// is not waited for.
const PATIENCE: u32 = 2;
/// Nodes nearest to the key that have to answer before a path is at its end: together a little more than those that
/// store a value in a network of honest nodes.
const ENOUGH: usize = 8;
/// Nodes that a path knows of and has not asked.
const MAX_CANDIDATES: usize = 40;
/// Addresses of one node.
const MAX_ADDRESSES: usize = 8;

/// One lookup.
#[derive(Debug)]
pub(crate) struct Paths {
    target: Point,
    paths: Vec<Path>,
    asked: HashMap<PeerId, Asked>,
    /// Whether answers lead to further nodes.
    follow: bool,
    /// The path that asks next.
    turn: usize,
    /// The paths are at their end; whoever is left is asked by any.
    is_sweep: bool,
    /// Whether the nearest nodes are looked for, all of which have to be asked.
    is_nearest: bool,
    /// How long each answer took.
    took: Vec<Duration>,
}

#[derive(Debug, Default)]
struct Path {
    /// By distance; who is asked by another path stays and is passed over.
    candidates: BTreeMap<Point, Candidate>,
    groups: HashSet<Group>,
}

/// A node somebody named.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) peer: PeerId,
    /// Where it is said to be; more may be known elsewhere.
    pub(crate) addresses: Vec<Multiaddr>,
    /// Its provider.
    pub(crate) group: Option<Group>,
    /// How many nodes had to be asked to learn of it.
    pub(crate) hops: u32,
}

#[derive(Debug)]
struct Asked {
    path: usize,
    hops: u32,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Waiting(Instant),
    Answered,
    Failed,
}

impl Paths {
    /// A lookup that starts from these nodes, dealt out to the paths in turn.
    pub(crate) fn new(target: Point, start: impl Iterator<Item = Candidate>) -> Self {
        let mut paths: Vec<Path> = std::iter::repeat_with(Path::default).take(PATHS).collect();
        for (at, candidate) in start.enumerate() {
            if let Some(path) = paths.get_mut(at % PATHS) {
                path.add(&target, candidate);
            }
        }
        Self::with(target, paths, true)
    }

    /// As [`Self::new`], for the nodes nearest to a place: more are asked at a time.
    pub(crate) fn nearest(target: Point, start: impl Iterator<Item = Candidate>) -> Self {
        Self { is_nearest: true, ..Self::new(target, start) }
    }

    fn with(target: Point, paths: Vec<Path>, follow: bool) -> Self {
        let (asked, took) = (HashMap::new(), Vec::new());
        Self { target, paths, asked, follow, turn: 0, is_sweep: false, is_nearest: false, took }
    }

    /// Asks these nodes and nobody else, all at once, each on a path of its own.
    pub(crate) fn fixed(target: Point, peers: impl Iterator<Item = PeerId>) -> Self {
        let paths = peers.map(|peer| {
            let mut path = Path::default();
            path.add(&target, Candidate { peer, addresses: Vec::new(), group: None, hops: 0 });
            path
        });
        let paths = paths.collect();
        Self::with(target, paths, false)
    }

    /// The next node to ask, if one may be asked now.
    pub(crate) fn poll_ask(&mut self, now: Instant) -> Option<Candidate> {
        for _ in 0..self.paths.len() {
            let at = self.turn % self.paths.len();
            self.turn = self.turn.wrapping_add(1);
            if let Some(candidate) = self.next_of(at, now) {
                self.asked
                    .insert(candidate.peer, Asked { path: at, hops: candidate.hops + 1, state: State::Waiting(now) });
                if let Some(path) = self.paths.get_mut(at) {
                    path.groups.extend(candidate.group);
                }
                return Some(candidate);
            }
        }
        None
    }

    /// A node answered and named others. Which path asked it; `None`: none is waiting for it.
    pub(crate) fn on_answer(
        &mut self,
        now: Instant,
        peer: &PeerId,
        named: impl Iterator<Item = Candidate>,
    ) -> Option<usize> {
        let asked = self.asked.get_mut(peer)?;
        let State::Waiting(since) = asked.state else { return None };
        self.took.push(now.saturating_duration_since(since));
        asked.state = State::Answered;
        let (at, hops) = (asked.path, asked.hops);
        if self.follow
            && let Some(path) = self.paths.get_mut(at)
        {
            for candidate in named {
                path.add(&self.target, Candidate { hops, ..candidate });
            }
            path.trim(&self.asked);
        }
        Some(at)
    }

    /// A node cannot be reached.
    pub(crate) fn on_failure(&mut self, peer: &PeerId) {
        if let Some(asked) = self.asked.get_mut(peer)
            && matches!(asked.state, State::Waiting(_))
        {
            asked.state = State::Failed;
        }
    }

    /// Gives up who has not answered for too long.
    pub(crate) fn on_time(&mut self, now: Instant) {
        for asked in self.asked.values_mut() {
            if matches!(asked.state, State::Waiting(since) if now.saturating_duration_since(since) >= GIVEN_UP) {
                asked.state = State::Failed;
            }
        }
    }

    /// Whether an answer is on its way; of the slow ones nothing is expected any more.
    pub(crate) fn is_waiting(&self, now: Instant) -> bool {
        self.asked.values().any(|asked| asked.is_in_flight(now))
    }

    /// Whether an answer may come that is worth waiting for: not from who is much slower than the others.
    pub(crate) fn is_patient(&self, now: Instant) -> bool {
        let patience = if self.is_sweep { self.patience() } else { SLOW };
        self.asked.values().any(|asked| asked.is_waiting(now, patience))
    }

    fn patience(&self) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        let median = took.get(took.len() / 2).copied().unwrap_or_default();
        (median * PATIENCE).clamp(SLOW, GIVEN_UP)
    }

    /// Whether the nearest nodes are known: so many answered, and nobody who lies nearer than they has still to be asked or
    /// waited for. Only once the paths are at their end, so that who sits on one of them decides nothing.
    pub(crate) fn knows_nearest(&self, now: Instant, wanted: usize) -> bool {
        if !self.is_sweep {
            return false;
        }
        let patience = self.patience();
        let all: BTreeMap<&Point, &Candidate> = self.paths.iter().flat_map(|path| &path.candidates).collect();
        let mut answered = 0;
        for candidate in all.into_values() {
            match self.asked.get(&candidate.peer) {
                None => return false,
                Some(asked) if asked.is_waiting(now, patience) => return false,
                Some(asked) => answered += usize::from(asked.state == State::Answered),
            }
            if answered >= wanted {
                return true;
            }
        }
        true
    }

    /// Who answered and where they are said to be, nearest first; at most so many.
    pub(crate) fn nearest_answered(&self, max: usize) -> Vec<Candidate> {
        let candidates = self.paths.iter().flat_map(|path| &path.candidates);
        let answered: BTreeMap<&Point, &Candidate> =
            candidates.filter(|(_, candidate)| self.has_answered(&candidate.peer)).collect();
        answered.into_values().take(max).cloned().collect()
    }

    pub(crate) fn has_answered(&self, peer: &PeerId) -> bool {
        self.asked.get(peer).is_some_and(|asked| asked.state == State::Answered)
    }

    /// Where a node is said to be, whether it has answered or not.
    pub(crate) fn addresses_of(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let mut candidates = self.paths.iter().flat_map(|path| path.candidates.values());
        candidates.find(|candidate| candidate.peer == *peer).map(|found| found.addresses.clone()).unwrap_or_default()
    }

    /// Whether nobody is left whose answer could come.
    pub(crate) fn is_at_end(&self) -> bool {
        !self.asked.values().any(|asked| matches!(asked.state, State::Waiting(_)))
    }

    /// Asks whoever was named and not asked, up to the number of nodes that store a value: so in a small network a value
    /// is missed by nobody. Once.
    pub(crate) fn sweep(&mut self) -> bool {
        self.follow && !std::mem::replace(&mut self.is_sweep, true)
    }

    /// How many answered.
    pub(crate) fn answered(&self) -> usize {
        self.asked.values().filter(|asked| asked.state == State::Answered).count()
    }

    /// How many were asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.len()
    }

    /// How far a peer that was asked is from here, in nodes asked one after the other.
    pub(crate) fn hops(&self, peer: &PeerId) -> u32 {
        self.asked.get(peer).map_or(0, |asked| asked.hops)
    }

    /// Who was asked, whatever came of it.
    pub(crate) fn was_asked(&self, peer: &PeerId) -> bool {
        self.asked.contains_key(peer)
    }

    fn next_of(&self, at: usize, now: Instant) -> Option<Candidate> {
        let path = self.paths.get(at)?;
        let own = self.asked.values().filter(|asked| asked.path == at);
        let parallel = if self.is_nearest { PARALLEL_NEAREST } else { PARALLEL };
        if own.filter(|asked| asked.is_in_flight(now)).count() >= parallel {
            return None;
        }
        if self.is_sweep {
            let is_enough = !self.is_nearest && self.answered() >= ENOUGH * PATHS;
            let left = path.candidates.values().find(|candidate| !self.asked.contains_key(&candidate.peer));
            return left.filter(|_| !is_enough).cloned();
        }
        let (mut answered, mut same_provider) = (0, None);
        let mut is_in_flight = false;
        for candidate in path.candidates.values() {
            match self.asked.get(&candidate.peer) {
                Some(asked) if asked.path == at => {
                    is_in_flight |= asked.is_in_flight(now);
                    answered += usize::from(asked.state == State::Answered);
                    if answered >= ENOUGH {
                        return None;
                    }
                }
                Some(_) => {}
                None if candidate.group.is_some_and(|group| path.groups.contains(&group)) => {
                    same_provider = same_provider.or(Some(candidate));
                }
                None => return Some(candidate.clone()),
            }
        }
        // Rather a second node of one provider than none.
        same_provider.filter(|_| !is_in_flight).cloned()
    }
}

impl Asked {
    fn is_in_flight(&self, now: Instant) -> bool {
        self.is_waiting(now, SLOW)
    }

    fn is_waiting(&self, now: Instant, patience: Duration) -> bool {
        matches!(self.state, State::Waiting(since) if now.saturating_duration_since(since) < patience)
    }
}

impl Path {
    fn add(&mut self, target: &Point, mut candidate: Candidate) {
        candidate.addresses.truncate(MAX_ADDRESSES);
        self.candidates.entry(distance(target, &of_peer(&candidate.peer))).or_insert(candidate);
    }

    /// Forgets the farthest of those that were not asked.
    fn trim(&mut self, asked: &HashMap<PeerId, Asked>) {
        let is_new = |candidate: &Candidate| !asked.contains_key(&candidate.peer);
        let beyond = self.candidates.iter().filter(|(_, candidate)| is_new(candidate)).nth(MAX_CANDIDATES);
        if let Some((beyond, _)) = beyond {
            let beyond = *beyond;
            self.candidates.retain(|at, candidate| *at < beyond || !is_new(candidate));
        }
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::{Width, group_of};
    use crate::point::of_bytes;

    fn candidate(peer: PeerId, address: Option<&str>) -> Candidate {
        let addresses: Vec<Multiaddr> = address.map(|text| text.parse().expect("an address")).into_iter().collect();
        let group = addresses.first().and_then(|address| group_of(address, Width::Provider));
        Candidate { peer, addresses, group, hops: 0 }
    }

    fn peers(count: usize) -> Vec<PeerId> {
        std::iter::repeat_with(PeerId::random).take(count).collect()
    }

    fn named<'a>(peers: &'a [PeerId]) -> impl Iterator<Item = Candidate> + 'a {
        peers.iter().map(|peer| candidate(*peer, None))
    }

    #[test]
    fn a_small_network_is_asked_to_the_last_node_and_each_once() {
        for count in [0, 1, 2, 5, 20] {
            let (all, now) = (peers(count), Instant::now());
            let mut lookup = Paths::new(of_bytes(b"key"), named(&all));
            let mut asked = Vec::new();
            loop {
                match lookup.poll_ask(now) {
                    Some(next) => {
                        asked.push(next.peer);
                        lookup.on_answer(now, &next.peer, named(&all)).expect("it was asked");
                    }
                    None if lookup.sweep() => {}
                    None => break,
                }
            }
            assert_eq!(asked.len(), count);
            asked.sort_unstable();
            asked.dedup();
            assert_eq!(asked.len(), count, "each once");
            assert!(lookup.is_at_end());
        }
    }

    #[test]
    fn who_answers_on_one_path_leads_no_other_astray() {
        let (honest, liars, now) = (peers(60), peers(300), Instant::now());
        let mut lookup = Paths::new(of_bytes(b"key"), named(&honest[..3]));
        let liar_path = 0;
        let (mut by_liars, mut others) = (0, 0);
        while let Some(next) = lookup.poll_ask(now) {
            let is_first = next.peer == honest[0];
            let is_liar = liars.contains(&next.peer);
            let path = lookup.on_answer(now, &next.peer, named(if is_first || is_liar { &liars } else { &honest }));
            if is_liar {
                assert_eq!(path, Some(liar_path));
                by_liars += 1;
            } else {
                others += 1;
            }
        }
        assert!(by_liars >= ENOUGH - 1 && others >= 2 * ENOUGH, "{by_liars} and {others}");
    }

    #[test]
    fn a_path_asks_one_node_of_a_provider_while_there_are_others() {
        let now = Instant::now();
        let same = |n: usize| candidate(PeerId::random(), Some(&format!("/ip4/9.9.{n}.1/tcp/1")));
        let other = |n: usize| candidate(PeerId::random(), Some(&format!("/ip4/9.{n}.1.1/tcp/1")));
        let start: Vec<Candidate> = (1..60).map(same).chain((10..30).map(other)).collect();
        let mut lookup = Paths::new(of_bytes(b"key"), start.into_iter());
        let mut groups: Vec<Vec<Group>> = vec![Vec::new(); PATHS];
        while let Some(next) = lookup.poll_ask(now) {
            let path = lookup.on_answer(now, &next.peer, std::iter::empty()).expect("it was asked");
            groups[path].extend(next.group);
        }
        for of_path in groups {
            let distinct: HashSet<&Group> = of_path.iter().take(6).collect();
            assert_eq!(distinct.len(), 6, "{of_path:?}");
        }
    }

    #[test]
    fn silent_nodes_hold_nothing_up_and_are_given_up() {
        let (all, now) = (peers(20), Instant::now());
        let mut lookup = Paths::new(of_bytes(b"key"), named(&all));
        let first: Vec<PeerId> = std::iter::from_fn(|| lookup.poll_ask(now)).map(|next| next.peer).collect();
        assert_eq!(first.len(), PATHS * PARALLEL);
        let later = now + SLOW;
        assert!(!lookup.is_waiting(later) && !lookup.is_at_end());
        let next = lookup.poll_ask(later).expect("another one instead");
        assert!(!first.contains(&next.peer));
        assert!(lookup.on_answer(later, &first[0], std::iter::empty()).is_some(), "late is better than never");
        lookup.on_time(later + GIVEN_UP);
        assert!(lookup.is_at_end());
        assert_eq!(lookup.on_answer(now, &first[1], std::iter::empty()), None);
    }

    #[test]
    fn what_strangers_name_has_a_bound() {
        let now = Instant::now();
        let start = peers(1);
        let mut lookup = Paths::new(of_bytes(b"key"), named(&start));
        let mut next = lookup.poll_ask(now);
        for _ in 0..30 {
            let Some(asked) = next else { break };
            let many = peers(500);
            lookup.on_answer(now, &asked.peer, named(&many));
            next = lookup.poll_ask(now);
        }
        assert!(lookup.paths.iter().all(|path| path.candidates.len() <= MAX_CANDIDATES + lookup.asked.len()));
    }

    #[test]
    fn the_nearest_nodes_of_a_network_are_found_though_a_third_is_silent() {
        // Which nodes are silent is chance, and so is how long that one takes: seldom up to twice as long.
        let (mut took, mut asked): (Vec<Duration>, Vec<usize>) = (0..9).map(|_| one_among_silent_nodes()).unzip();
        took.sort();
        asked.sort();
        assert!(took[4] < Duration::from_secs(4), "{took:?}");
        assert!(asked[4] < 100, "{asked:?} of 400 were asked");
    }

    /// How long it takes, and how many are asked.
    fn one_among_silent_nodes() -> (Duration, usize) {
        let (all, begun) = (peers(400), Instant::now());
        let target = of_bytes(b"a place");
        let mut by_distance = all.clone();
        by_distance.sort_by_key(|peer| distance(&target, &of_peer(peer)));
        let is_silent = |peer: &PeerId| of_peer(peer)[31].is_multiple_of(3);
        // Of those that somebody named: who is named by nobody can be found by nobody.
        let mut known: HashSet<PeerId> = all[..20].iter().copied().collect();
        let near = |to: &PeerId| {
            let mut near = all.clone();
            near.sort_by_cached_key(|peer| distance(&of_peer(to), &of_peer(peer)));
            near.truncate(20);
            near
        };
        let mut lookup = Paths::nearest(target, named(&all[..20]));
        let mut now = begun;
        while !lookup.knows_nearest(now, 20) {
            while let Some(next) = lookup.poll_ask(now) {
                if !is_silent(&next.peer) {
                    now += Duration::from_millis(20);
                    let closer: Vec<PeerId> = by_distance.iter().take(20).copied().chain(near(&next.peer)).collect();
                    known.extend(&closer);
                    lookup.on_answer(now, &next.peer, named(&closer)).expect("it was asked");
                }
            }
            if lookup.is_patient(now) {
                now += Duration::from_millis(100);
            } else if !lookup.sweep() {
                break;
            }
        }
        let honest = by_distance.iter().filter(|peer| known.contains(*peer) && !is_silent(peer));
        let honest: Vec<PeerId> = honest.take(20).copied().collect();
        let found: Vec<PeerId> = lookup.nearest_answered(20).into_iter().map(|found| found.peer).collect();
        assert_eq!(found, honest);
        (now - begun, lookup.asked())
    }
}
