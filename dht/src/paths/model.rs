//! Lookups among tens of thousands of nodes in virtual time: the driver as it is, with nodes that are nothing but their place
//! and what their table would hold. `P2P_MODEL_NODES=100000` makes the network larger; the figures are printed.

mod report;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use libp2p::multihash::Multihash;

use super::*;
use crate::point::{common_bits, of_bytes};

const NODES: usize = 10_000;
const LOOKUPS: u64 = 300;
/// Nodes that store each value.
const HOLDERS: usize = 20;

/// Round trips, of 10 to 90 ms each, from a dial to the answer: connection, security, multiplexing, negotiation, request.
/// With two the model was three times as fast as real nodes.
const ROUND_TRIPS: u64 = 5;

/// What a node does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Honest,
    /// It never answers.
    Silent,
    /// It names liars only, and has no value.
    Lying,
}

struct Model {
    /// By place.
    nodes: Vec<(Point, PeerId, Kind)>,
    liars: Vec<usize>,
}

fn mix(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Model {
    fn new(count: usize, bad_percent: u64, bad: Kind) -> Self {
        let mut nodes: Vec<(Point, PeerId, Kind)> = (0..count as u64)
            .map(|n| {
                let id = Multihash::wrap(0, &[n.to_be_bytes(), [3; 8]].concat()).expect("short");
                let peer = PeerId::from_multihash(id).expect("an id");
                let kind = if mix(n ^ 0xbad) % 100 < bad_percent { bad } else { Kind::Honest };
                (of_peer(&peer), peer, kind)
            })
            .collect();
        nodes.sort_unstable_by_key(|(place, ..)| *place);
        let liars = (0..count).filter(|at| nodes[*at].2 == Kind::Lying).collect();
        Self { nodes, liars }
    }

    fn at(&self, peer: &PeerId) -> usize {
        let place = of_peer(peer);
        self.nodes.partition_point(|(at, ..)| *at < place)
    }

    /// Nodes that share at least so many bits with a place.
    fn cell(&self, place: &Point, bits: u32) -> std::ops::Range<usize> {
        let (mut low, mut high) = (*place, *place);
        for bit in bits..256 {
            let (byte, mask) = (bit as usize / 8, 0x80u8 >> (bit % 8));
            low[byte] &= !mask;
            high[byte] |= mask;
        }
        let start = self.nodes.partition_point(|(at, ..)| *at < low);
        let end = self.nodes.partition_point(|(at, ..)| *at <= high);
        start..end
    }

    /// The nodes nearest to a place.
    fn nearest(&self, place: &Point, count: usize) -> Vec<usize> {
        let bits = (0..256).rev().find(|bits| self.cell(place, *bits).len() >= count).unwrap_or(0);
        self.sorted(place, self.cell(place, bits).collect(), count)
    }

    fn sorted(&self, place: &Point, mut among: Vec<usize>, count: usize) -> Vec<usize> {
        among.sort_unstable_by_key(|at| distance(&self.nodes[*at].0, place));
        among.dedup();
        among.truncate(count);
        among
    }

    /// What a node answers: the twenty nearest of its table, which holds twenty nodes, any of them, of each bucket.
    fn answer(&self, asked: usize, place: &Point) -> Vec<usize> {
        if self.nodes[asked].2 == Kind::Lying {
            let start = mix(asked as u64) as usize;
            return (0..20).map(|n| self.liars[(start + n * 7) % self.liars.len()]).collect();
        }
        let own = self.nodes[asked].0;
        let mut bucket = common_bits(&own, place);
        let mut known: Vec<usize> = Vec::new();
        // Its own bucket for the place is the nearest; deeper ones lie around itself, wider ones beyond both.
        for deeper in (bucket + 1)..(bucket + 24) {
            known.extend(self.entries(asked, deeper));
        }
        loop {
            known.extend(self.entries(asked, bucket));
            if bucket == 0 || known.len() >= 20 {
                break;
            }
            bucket -= 1;
        }
        self.sorted(place, known, 20)
    }

    /// The entries of one bucket of a node.
    fn entries(&self, of: usize, bucket: u32) -> Vec<usize> {
        let own = self.nodes[of].0;
        let other = crate::point::Cell { at: own, bits: bucket }.halves()[1].at;
        let cell = self.cell(&other, bucket + 1);
        if cell.len() <= 20 {
            return cell.collect();
        }
        let pick = |n: u64| cell.start + mix(of as u64 * 977 + u64::from(bucket) * 31 + n) as usize % cell.len();
        (0..20).map(pick).collect()
    }

    /// One lookup: milliseconds until the first holder answered and hops to it, if one did.
    fn look_up(&self, number: u64) -> Option<(u64, u32)> {
        let place = of_bytes(&mix(number).to_be_bytes());
        let readers = (0..).map(|n| mix(number ^ 77 ^ (n << 32)) as usize % self.nodes.len());
        let reader = readers.into_iter().find(|at| self.nodes[*at].2 == Kind::Honest).expect("most are");
        // Values are stored before anybody falls silent, at whoever did not lie.
        let near = self.nearest(&place, 2 * HOLDERS);
        let holders: HashSet<usize> =
            near.into_iter().filter(|at| self.nodes[*at].2 != Kind::Lying).take(HOLDERS).collect();
        let name = |at: usize| Candidate { peer: self.nodes[at].1, addresses: Vec::new(), group: None, hops: 0 };
        let start: Vec<Candidate> = self.answer(reader, &place).into_iter().map(name).collect();
        let mut named: HashMap<usize, Vec<Candidate>> = HashMap::new();
        let mut lookup = Paths::new(place, start.into_iter());
        let begin = Instant::now();
        let mut events: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
        let mut now_ms = 0;
        while now_ms < 10_000 {
            let now = begin + Duration::from_millis(now_ms);
            lookup.on_time(now);
            while let Some(next) = lookup.poll_ask(now) {
                let at = self.at(&next.peer);
                if self.nodes[at].2 != Kind::Silent {
                    let round_trip = 10 + mix(at as u64 ^ number) % 81;
                    events.push(Reverse((now_ms + ROUND_TRIPS * round_trip, at)));
                    let closer: Vec<Candidate> = self.answer(at, &place).into_iter().map(name).collect();
                    named.insert(at, closer);
                }
            }
            let due = events.peek().map(|Reverse((due, _))| *due);
            match due {
                Some(due) if due <= now_ms + 50 => {
                    let Reverse((due, at)) = events.pop()?;
                    now_ms = due;
                    let (peer, now) = (self.nodes[at].1, begin + Duration::from_millis(now_ms));
                    if lookup.on_answer(now, &peer, named.remove(&at).unwrap_or_default().into_iter()).is_some()
                        && holders.contains(&at)
                    {
                        return Some((now_ms, lookup.hops(&peer)));
                    }
                }
                _ if lookup.is_at_end() => return None,
                _ => now_ms += 50,
            }
        }
        None
    }
}

fn measure(name: &str, nodes: usize, bad_percent: u64, bad: Kind) -> (f64, [u64; 2], [u32; 2]) {
    let model = Model::new(nodes, bad_percent, bad);
    let found: Vec<(u64, u32)> = (0..LOOKUPS).filter_map(|number| model.look_up(number)).collect();
    let mut times: Vec<u64> = found.iter().map(|(ms, _)| *ms).collect();
    let mut hops: Vec<u32> = found.iter().map(|(_, hops)| *hops).collect();
    times.sort_unstable();
    hops.sort_unstable();
    let at = |part: usize| (found.len() * part / 100).min(found.len().saturating_sub(1));
    let success = found.len() as f64 / LOOKUPS as f64;
    let (times, hops) = ([times[at(50)], times[at(90)]], [hops[at(50)], hops[at(90)]]);
    println!("{nodes} nodes, {name}: found {success:.3}, ms {times:?}, hops {hops:?} (median, p90)");
    (success, times, hops)
}

#[test]
fn ten_thousand_nodes_are_three_hops_wide_also_when_many_are_silent_or_lie() {
    let nodes = std::env::var("P2P_MODEL_NODES").ok().and_then(|text| text.parse().ok()).unwrap_or(NODES);
    let (success, times, hops) = measure("calm", nodes, 0, Kind::Honest);
    assert_eq!(success, 1.0);
    assert!(hops[0] <= 4 && hops[1] <= 5 && times[1] < 1_500, "{hops:?} {times:?}");
    let (success, ..) = measure("30 % silent", nodes, 30, Kind::Silent);
    assert!(success >= 0.99, "{success}");
    let (success, ..) = measure("20 % lie", nodes, 20, Kind::Lying);
    assert!(success >= 0.99, "{success}");
}
