use libp2p::multihash::Multihash;

use super::*;
use crate::point::{common_bits, of_bytes};

/// Peer ids with nothing behind them.
fn peer(n: u64) -> PeerId {
    PeerId::from_multihash(Multihash::wrap(0, &[n.to_be_bytes(), [7; 8]].concat()).expect("short")).expect("an id")
}

fn honest(nodes: u64) -> Vec<PeerId> {
    (0..nodes).map(peer).collect()
}

/// Ids ground so that they lie nearer to a place than any honest node does.
fn crowd(center: &Point, nodes: usize, bits: u32) -> Vec<PeerId> {
    (1_000_000..).map(peer).filter(|peer| common_bits(center, &of_peer(peer)) >= bits).take(nodes).collect()
}

/// The twenty nearest to a place.
fn nearest(all: &[PeerId], at: &Point) -> Vec<Found> {
    let mut sorted: Vec<(Point, PeerId)> = all.iter().map(|peer| (distance(at, &of_peer(peer)), *peer)).collect();
    sorted.sort_unstable();
    sorted.into_iter().take(20).map(|(_, peer)| Found { peer, group: None }).collect()
}

/// Walks among these nodes.
fn walk(all: &[PeerId], mut walk: Walk) -> Walk {
    let center = walk.center;
    let mut salt = 0;
    loop {
        let (at, cell) = match walk.poll_next() {
            Next::Center => (center, None),
            Next::Cell(cell) => {
                salt += 1;
                let mut search = crate::point::MadeUp::new(cell, salt);
                (search.search(u32::MAX).expect("one is found").1, Some(cell))
            }
            Next::Done => return walk,
            Next::Wait => panic!("nothing runs"),
        };
        walk.on_lookup(at, cell, nearest(all, &at), true);
    }
}

fn honest_within(all: &[PeerId], center: &Point, radius: f64) -> Vec<PeerId> {
    all.iter().filter(|peer| fraction(&distance(center, &of_peer(peer))) <= radius).copied().collect()
}

#[test]
fn everybody_in_the_region_is_found_beside_a_crowd_as_without_one() {
    for key in 0..20u8 {
        let center = of_bytes(&[key]);
        let honest = honest(300);
        let inside = honest_within(&honest, &center, 20.0 / 300.0);
        let calm = walk(&honest, Walk::new(center, 300.0, 1.0, 0));
        assert!(inside.iter().all(|peer| calm.peers(1).contains(peer)), "key {key}");
        assert!(calm.lookups() <= 4, "{} lookups", calm.lookups());
        let first =
            nearest(&honest, &center).into_iter().map(|found| common_bits(&center, &of_peer(&found.peer))).max();
        let crowd = crowd(&center, 45, first.expect("some") + 1);
        let all = [honest.clone(), crowd].concat();
        let plain: Vec<PeerId> = nearest(&all, &center).into_iter().map(|found| found.peer).collect();
        assert!(plain.iter().all(|peer| !honest.contains(peer)), "the twenty nearest are all of the crowd");
        let beside = walk(&all, Walk::new(center, 300.0, 1.0, 0));
        let peers = beside.peers(1);
        assert!(inside.iter().all(|peer| peers.contains(peer)), "key {key}");
        assert!(peers.len() <= MAX_REGION_PEERS && beside.lookups() <= MAX_LOOKUPS, "{}", beside.lookups());
    }
}

#[test]
fn a_small_network_is_one_lookup() {
    let center = of_bytes(b"key");
    let all = honest(12);
    let done = walk(&all, Walk::new(center, 12.0, 1.0, 0));
    assert_eq!((done.lookups(), done.peers(1).len(), done.is_everybody()), (1, 12, true));
}

#[test]
fn without_a_region_only_the_nearest_are_found() {
    let center = of_bytes(b"key");
    let honest = honest(300);
    let done = walk(&honest, Walk::nearest_only(center));
    let nearest: Vec<PeerId> = nearest(&honest, &center).into_iter().map(|found| found.peer).collect();
    assert_eq!((done.lookups(), done.peers(1)), (1, nearest));
}

#[test]
fn a_crowd_of_any_size_leaves_places_to_others() {
    let center = of_bytes(b"key");
    let honest = honest(300);
    let all = [honest.clone(), crowd(&center, 200, 9)].concat();
    let peers = walk(&all, Walk::new(center, 300.0, 1.0, 0)).peers(1);
    assert_eq!(peers.len(), MAX_REGION_PEERS);
    assert!(peers.iter().filter(|peer| honest.contains(peer)).count() >= 3);
}

#[test]
fn what_is_known_already_is_not_looked_up() {
    let center = of_bytes(b"key");
    let all = honest(300);
    let mut known = Walk::new(center, 300.0, 1.0, 0);
    let found = all.iter().map(|peer| Found { peer: *peer, group: None });
    known.on_known(Cell { at: center, bits: 2 }, found);
    assert_eq!(known.poll_next(), Next::Done);
    assert!(known.peers(1).len() >= 15);
    let mut halves = Walk::new(center, 300.0, 1.0, 0);
    for half in (Cell { at: center, bits: 2 }).halves() {
        halves.on_known(half, std::iter::empty());
    }
    assert_eq!(halves.poll_next(), Next::Done, "several cells together cover one");
}

#[test]
fn lookups_that_are_cut_short_end_the_walk_all_the_same() {
    let center = of_bytes(b"key");
    let mut walk = Walk::new(center, 300.0, 1.0, 5);
    for _ in 0..MAX_LOOKUPS + 1 {
        match walk.poll_next() {
            Next::Center => drop(walk.on_lookup(center, None, Vec::new(), false)),
            Next::Cell(cell) => drop(walk.on_lookup(cell.at, Some(cell), Vec::new(), false)),
            Next::Done => return,
            Next::Wait => panic!("nothing runs"),
        }
    }
    panic!("it goes on and on");
}

#[test]
fn a_region_of_one_provider_is_made_larger() {
    let center = of_bytes(b"key");
    let all = honest(300);
    let few = walk(&all, Walk::new(center, 300.0, 1.0, 0)).peers(1).len();
    let more = walk(&all, Walk::new(center, 300.0, 1.0, 9)).peers(1).len();
    assert!(more > few * 2, "{more} beside {few}");
}
