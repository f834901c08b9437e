//! Who enters the routing table: of one group of addresses a few only, so that nobody fills it with what he rents. The
//! address counts at which a peer is connected, never one that it claims. Local addresses have no group.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

use crate::group::{Group, Width, group_of};

/// Peers of one IPv4 /24 or IPv6 /48 in one bucket.
const MAX_PER_BUCKET: usize = 2;
/// The same in the whole table.
const MAX_PER_TABLE: usize = 3;
/// Trusted peers that enter whatever their addresses are.
const MAX_TRUSTED: usize = 20;
/// How long a peer that was let in counts although it is not in the table: Kademlia asks the one whose place it wants
/// first.
const PENDING: Duration = Duration::from_secs(120);

/// Whether a peer is trusted by the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Trusted,
    Stranger,
}

/// What becomes of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may enter if there is room.
    Enters,
    /// It enters, if need be in place of a stranger.
    EntersFirst,
    /// Others of its group are there.
    Crowded,
}

/// Who was let in.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    entered: HashMap<PeerId, Entry>,
    refused: u64,
}

#[derive(Debug)]
struct Entry {
    bucket: u32,
    groups: Vec<Group>,
    since: Instant,
    standing: Standing,
}

impl Admission {
    /// Judges a peer of a bucket (the bits that its place and this node's have in common), connected at these addresses.
    /// `table`: who is there now.
    pub(crate) fn judge<'a>(
        &mut self,
        now: Instant,
        (peer, standing, bucket): (&PeerId, Standing, u32),
        at: impl Iterator<Item = &'a Multiaddr>,
        table: &HashSet<PeerId>,
    ) -> Verdict {
        self.entered.retain(|peer, entry| table.contains(peer) || now.saturating_duration_since(entry.since) < PENDING);
        let mut groups: Vec<Group> = at.filter_map(|at| group_of(at, Width::Customer)).collect();
        groups.sort_unstable();
        groups.dedup();
        let others = || self.entered.iter().filter(|(other, _)| *other != peer).map(|(_, entry)| entry);
        let is_kept = standing == Standing::Trusted
            && others().filter(|entry| entry.standing == Standing::Trusted).count() < MAX_TRUSTED;
        let is_crowded = |group: &Group| {
            let same = || others().filter(|entry| entry.groups.contains(group));
            same().count() >= MAX_PER_TABLE || same().filter(|entry| entry.bucket == bucket).count() >= MAX_PER_BUCKET
        };
        // Who is in stays in: it did not come to crowd anybody out.
        if !is_kept && !table.contains(peer) && groups.iter().any(is_crowded) {
            self.refused += 1;
            return Verdict::Crowded;
        }
        let since = self.entered.get(peer).map_or(now, |known| known.since);
        self.entered.insert(*peer, Entry { bucket, groups, since, standing });
        if is_kept { Verdict::EntersFirst } else { Verdict::Enters }
    }

    /// A peer is no server any more.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.entered.remove(peer);
    }

    /// Peers kept out so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene {
        admission: Admission,
        table: HashSet<PeerId>,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            Self { admission: Admission::default(), table: HashSet::new(), now: Instant::now() }
        }

        fn comes(&mut self, peer: PeerId, standing: Standing, bucket: u32, at: &str) -> Verdict {
            let at: Multiaddr = at.parse().expect("an address");
            let verdict = self.admission.judge(self.now, (&peer, standing, bucket), std::iter::once(&at), &self.table);
            if verdict != Verdict::Crowded {
                self.table.insert(peer);
            }
            verdict
        }

        fn strangers(&mut self, count: usize, bucket: impl Fn(usize) -> u32, at: impl Fn(usize) -> String) -> usize {
            let verdicts = (0..count).map(|n| self.comes(PeerId::random(), Standing::Stranger, bucket(n), &at(n)));
            verdicts.filter(|verdict| *verdict == Verdict::Enters).count()
        }
    }

    #[test]
    fn fifty_nodes_of_one_network_get_two_places_in_a_bucket_and_three_in_the_table() {
        let mut scene = Scene::new();
        assert_eq!(scene.strangers(50, |_| 3, |n| format!("/ip4/9.9.9.{n}/tcp/1")), 2);
        assert_eq!(scene.strangers(50, |n| n as u32, |n| format!("/ip4/9.9.9.{n}/tcp/1")), 1);
        assert_eq!(scene.strangers(50, |n| n as u32, |n| format!("/ip6/2606:4700:1:{n}::1/tcp/1")), 3);
        assert_eq!(scene.strangers(50, |_| 3, |n| format!("/ip4/9.9.{}.1/tcp/1", 10 + n)), 50);
        assert_eq!(scene.strangers(50, |_| 3, |n| format!("/ip4/192.168.1.{n}/tcp/1")), 50, "local ones have no group");
        assert_eq!(scene.admission.refused(), 48 + 49 + 47);
    }

    #[test]
    fn trusted_peers_enter_and_who_is_in_stays() {
        let mut scene = Scene::new();
        let first = PeerId::random();
        assert_eq!(scene.comes(first, Standing::Stranger, 3, "/ip4/9.9.9.1/tcp/1"), Verdict::Enters);
        assert_eq!(scene.strangers(9, |n| n as u32, |n| format!("/ip4/9.9.9.{n}/tcp/1")), 2);
        let trusted = (0..30).map(|_| scene.comes(PeerId::random(), Standing::Trusted, 3, "/ip4/9.9.9.9/tcp/1"));
        let trusted: Vec<Verdict> = trusted.collect();
        assert_eq!(trusted.iter().filter(|verdict| **verdict == Verdict::EntersFirst).count(), MAX_TRUSTED);
        assert_eq!(trusted.last(), Some(&Verdict::Crowded));
        assert_eq!(scene.comes(first, Standing::Stranger, 3, "/ip4/9.9.9.1/tcp/1"), Verdict::Enters);
    }

    #[test]
    fn who_left_makes_room_after_a_while() {
        let mut scene = Scene::new();
        let at = |n: usize| format!("/ip4/9.9.9.{n}/tcp/1");
        assert_eq!(scene.strangers(9, |_| 3, at), 2);
        scene.table.clear();
        assert_eq!(scene.strangers(9, |_| 3, at), 0, "they may be waiting for a place");
        scene.now += PENDING;
        assert_eq!(scene.strangers(9, |_| 3, at), 2);
    }
}
