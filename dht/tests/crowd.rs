//! A value is found though hostile nodes crowd the neighbourhood of its key.

mod network;

use network::{Network, Regions};

const KEY: [u8; 32] = [7; 32];
const HONEST: usize = 60;
/// More than the twenty nodes at which Kademlia alone stores a value.
const HOSTILE: usize = 24;

/// Nodes far from the key that look for the value.
const READERS: usize = 14;
/// A network at a time: with three the deadlines of lookups would measure the machine.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Whose neighbourhood is crowded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Key,
    /// That of the key, and that of the node that publishes: it is to believe that there are many more nodes.
    KeyAndPublisher,
}

async fn found(regions: Regions, beside: Beside) -> (usize, usize) {
    let _turn = ONE_AT_A_TIME.lock().await;
    let mut network = Network::new(HONEST, regions).await;
    network.crowd(&KEY, HOSTILE).await;
    if beside == Beside::KeyAndPublisher {
        let publisher = network.by_rank(&KEY, 40).id;
        network.crowd(&publisher.to_bytes(), HOSTILE).await;
    }
    let stored = network.by_rank(&KEY, 40).put(KEY, vec![1, 1]).await;
    let mut found = 0;
    for rank in HONEST - READERS..HONEST {
        let got = network.by_rank(&KEY, rank).get(KEY).await;
        found += usize::from(got.value.is_some());
    }
    println!("stored on {stored}, found by {found} of {READERS}");
    (stored, found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_finds_a_value_beside_whose_key_hostile_nodes_crowd() {
    let (stored, found) = found(Regions::With, Beside::Key).await;
    assert!(stored >= 10, "stored on {stored}");
    assert_eq!(found, READERS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_around_the_publisher_does_not_make_its_regions_small() {
    let (stored, found) = found(Regions::With, Beside::KeyAndPublisher).await;
    assert!(stored >= 10, "stored on {stored}");
    assert_eq!(found, READERS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_regions_the_crowd_has_it_all() {
    let (stored, found) = found(Regions::Without, Beside::Key).await;
    assert!(stored <= 2 && found < READERS / 2, "stored on {stored}, {found} found it: the crowd proves nothing");
}
