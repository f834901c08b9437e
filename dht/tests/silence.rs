//! What was put is found right after a third of the nodes fell silent, without a word to anybody.

mod network;

use std::collections::HashSet;

use network::{Network, Regions};

const NODES: usize = 40;
const SILENT: usize = 12;
const KEYS: u8 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_found_and_put_although_a_third_of_the_nodes_is_silent() {
    let network = Network::new(NODES, Regions::With).await;
    for number in 0..KEYS {
        assert!(network.by_rank(&[number; 32], 30).put([number; 32], vec![1, 1]).await >= 10);
    }
    let (reader, writer) = (network.nodes[3].id, network.nodes[7].id);
    network.silence(SILENT, &HashSet::from([reader, writer]));
    let mut lookups = Vec::new();
    for number in 0..KEYS {
        lookups.push(network.nodes[3].get([number; 32]));
    }
    for got in futures::future::join_all(lookups).await {
        assert_eq!(got.value, Some(vec![1, 1]));
    }
    let begun = std::time::Instant::now();
    assert!(network.nodes[7].put([0; 32], vec![2, 1]).await >= 5, "those who answer store it");
    println!("put among silent nodes in {:?}", begun.elapsed());
    assert_eq!(network.nodes[3].get([0; 32]).await.value, Some(vec![2, 1]), "the newest wins");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_provides_a_key_is_known_although_a_third_of_the_nodes_is_silent() {
    let network = Network::new(NODES, Regions::With).await;
    let (reader, provider) = (&network.nodes[3], &network.nodes[7]);
    network.silence(SILENT, &HashSet::from([reader.id, provider.id]));
    for number in 0..3 {
        let begun = std::time::Instant::now();
        assert!(provider.provide([number; 32]).await);
        println!("announced among silent nodes in {:?}", begun.elapsed());
        assert_eq!(reader.providers([number; 32]).await, HashSet::from([provider.id]));
    }
}
