//! A peer of which nothing but its id is known is found.

mod network;

use libp2p::PeerId;
use libp2p::multiaddr::Protocol;
use network::{Network, Regions};

const NODES: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_is_found_by_its_id_and_one_that_does_not_exist_is_not() {
    let network = Network::new(NODES, Regions::With).await;
    for (asking, wanted) in [(3, 55), (41, 0), (59, 20)] {
        let wanted = &network.nodes[wanted];
        let found = network.nodes[asking].find(wanted.id).await;
        let address = wanted.address.clone().with(Protocol::P2p(wanted.id));
        assert!(found.contains(&address), "{address} is not in {found:?}");
    }
    assert!(network.nodes[3].find(PeerId::random()).await.is_empty());
}
