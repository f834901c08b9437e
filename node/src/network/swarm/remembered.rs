//! Peers of earlier runs (overlay.md 6, rule 4): how a node finds its network again, also without a bootstrap node.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use libp2p::swarm::DialError;
use libp2p::{Multiaddr, PeerId};
use p2p_transport::nobody_answered;

use super::Actor;
use crate::rows::{MAX_REMEMBERED, save_peers};

/// How often peers are remembered for the next start.
const SAVE_EVERY: Duration = Duration::from_secs(300);
/// Remembered peers dialled at a time.
const AT_A_TIME: usize = 8;
/// How long nobody is dialled once everybody was: at first, and doubling, at most. A device without a network dials them
/// for as long as it runs.
const FIRST_PAUSE: Duration = Duration::from_secs(15);
const MAX_PAUSE: Duration = Duration::from_secs(600);

type Known = (PeerId, Vec<Multiaddr>);

/// Who is remembered, and whose turn it is to be dialled.
pub(super) struct Remembered {
    peers: Vec<Known>,
    next: usize,
    pause: Duration,
    resume_at: Option<Instant>,
    save_at: Instant,
}

impl Remembered {
    /// The order is another one at each start: nobody is dialled first for the id that he chose.
    pub(super) fn new(mut peers: Vec<Known>) -> Self {
        let order = RandomState::new();
        peers.sort_by_cached_key(|(peer, _)| order.hash_one(peer));
        Self { peers, next: 0, pause: FIRST_PAUSE, resume_at: None, save_at: Instant::now() + SAVE_EVERY }
    }

    /// Whom to dial now: some of them, and after the last one nobody for a while.
    fn turn(&mut self, now: Instant) -> Vec<Known> {
        if self.resume_at.is_some_and(|at| now < at) {
            return Vec::new();
        }
        self.resume_at = None;
        let turn: Vec<Known> = self.peers.iter().skip(self.next).take(AT_A_TIME).cloned().collect();
        self.next += turn.len();
        if self.next >= self.peers.len() {
            self.next = 0;
            self.resume_at = Some(now + self.pause);
            self.pause = MAX_PAUSE.min(self.pause * 2);
        }
        turn
    }

    /// Everybody may be dialled anew: this computer is somewhere else.
    pub(super) fn begin_again(&mut self) {
        (self.next, self.pause, self.resume_at) = (0, FIRST_PAUSE, None);
    }

    /// Nobody needs to be dialled. That connections close which nobody uses does not mean that the network is gone: it is not
    /// looked for soon.
    fn rest(&mut self, now: Instant) {
        (self.next, self.pause, self.resume_at) = (0, FIRST_PAUSE, Some(now + MAX_PAUSE));
    }

    fn forget(&mut self, peer: &PeerId) {
        let Some(at) = self.peers.iter().position(|(known, _)| known == peer) else { return };
        self.peers.remove(at);
        self.next -= usize::from(at < self.next);
    }

    /// Who is in the table now, and of those that were known before as many as there is room for: a node that starts where
    /// it reaches nobody forgets nobody.
    fn keep(&mut self, table: Vec<Known>) -> &[Known] {
        let now: HashSet<PeerId> = table.iter().map(|(peer, _)| *peer).collect();
        let before = std::mem::replace(&mut self.peers, table);
        self.peers.extend(before.into_iter().filter(|(peer, _)| !now.contains(peer)));
        self.peers.truncate(MAX_REMEMBERED);
        self.next = 0;
        &self.peers
    }
}

impl Actor {
    /// Dials some of the remembered peers, as long as nobody in the world is connected who knows others.
    pub(super) fn dial_remembered(&mut self) {
        if !self.swarm.behaviour().dht.is_island() {
            self.remembered.rest(Instant::now());
            return;
        }
        for (peer, addresses) in self.remembered.turn(Instant::now()) {
            for address in addresses {
                self.swarm.behaviour_mut().transport.streams.book_mut().add(peer, address);
            }
            let _ = self.swarm.dial(peer);
        }
    }

    /// A peer could not be dialled. Only who is connected in the world can tell who is gone from what is out of reach.
    pub(super) fn on_undialled(&mut self, peer: &PeerId, error: &DialError) {
        let is_silent = nobody_answered(error) && !self.swarm.is_connected(peer);
        if is_silent && !self.swarm.behaviour().dht.is_island() {
            self.remembered.forget(peer);
        }
    }

    /// Writes down who is remembered, now and then.
    pub(super) fn save_peers_in_time(&mut self) {
        if Instant::now() >= self.remembered.save_at {
            drop(self.save_peers());
        }
    }

    /// Writes down who is remembered. The handle is done when it is on disk.
    pub(super) fn save_peers(&mut self) -> tokio::task::JoinHandle<()> {
        self.remembered.save_at = Instant::now() + SAVE_EVERY;
        let table = self.swarm.behaviour_mut().dht.table(MAX_REMEMBERED);
        let peers = self.remembered.keep(table).to_vec();
        let cache = self.cache.clone();
        tokio::task::spawn_blocking(move || save_peers(&*cache, &peers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(count: usize) -> Vec<Known> {
        std::iter::repeat_with(|| (PeerId::random(), Vec::new())).take(count).collect()
    }

    #[test]
    fn everybody_has_a_turn_and_the_pauses_grow() {
        let known = peers(20);
        let (mut remembered, mut now) = (Remembered::new(known.clone()), Instant::now());
        for pause in [15, 30, 60, 120, 240, 480, 600, 600] {
            let mut dialled: Vec<PeerId> =
                std::iter::repeat_with(|| remembered.turn(now)).take(4).flatten().map(|(peer, _)| peer).collect();
            assert_eq!(dialled.len(), 20, "nobody more before the pause is over");
            dialled.sort_unstable();
            dialled.dedup();
            assert_eq!(dialled.len(), 20);
            now += Duration::from_secs(pause);
        }
        remembered.turn(now);
        remembered.rest(now);
        assert_eq!(remembered.turn(now + MAX_PAUSE / 2).len(), 0, "an idle node is not alone");
        assert_eq!(remembered.turn(now + MAX_PAUSE).len(), AT_A_TIME);
        remembered.begin_again();
        let first = remembered.turn(now);
        remembered.forget(&first[3].0);
        assert_eq!(remembered.turn(now).len() + remembered.turn(now).len(), 12, "nobody is passed over");
        assert!(Remembered::new(Vec::new()).turn(now).is_empty());
    }

    #[test]
    fn who_was_known_before_stays_as_long_as_there_is_room() {
        let (old, new) = (peers(100), peers(50));
        let mut remembered = Remembered::new(old.clone());
        assert_eq!(remembered.keep(Vec::new()).len(), 100, "nobody was reached: nobody is forgotten");
        remembered.forget(&old[0].0);
        let table: Vec<Known> = new.iter().chain(&old[1..3]).cloned().collect();
        let kept = remembered.keep(table.clone()).to_vec();
        assert_eq!(kept.len(), MAX_REMEMBERED);
        assert_eq!(kept[..52], table);
        assert!(!kept.iter().any(|(peer, _)| *peer == old[0].0));
        let ids: HashSet<PeerId> = kept.iter().map(|(peer, _)| *peer).collect();
        assert_eq!(ids.len(), kept.len(), "each once");
    }
}
