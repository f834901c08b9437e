//! The engine and the client of its socket do what the contract says: the same suite as on the fake.

use p2p_api::testing::conformance;
use p2p_client::Client;
use p2p_node::{Config, NodeOptions, RunningNode, start};

async fn alone(dir: &tempfile::TempDir) -> RunningNode {
    let mut config = Config::default();
    config.transport.mdns = false;
    // All nodes of a test are one process, and each takes its memory for its own.
    config.transport.limits.memory_mib = 4_096;
    config.transport.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
    let home = dir.path().join("home");
    start(NodeOptions {
        home,
        api: None,
        config,
        gateway: None,
        apps: Vec::new(),
        bootstrap: Vec::new(),
        notices: Vec::new(),
    })
    .await
    .expect("starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_keeps_the_contract() {
    let dir = tempfile::tempdir().expect("a directory");
    let running = alone(&dir).await;
    conformance::run(running.node(), &dir.path().join("scratch")).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_of_a_real_node_keeps_the_contract() {
    let dir = tempfile::tempdir().expect("a directory");
    let running = alone(&dir).await;
    let client = Client::connect(running.socket()).await.expect("it answers");
    conformance::run(client.node(), &dir.path().join("scratch")).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_node_stops_when_asked() {
    let dir = tempfile::tempdir().expect("a directory");
    let running = alone(&dir).await;
    let node = running.node();
    let stopping = async {
        running.stop_requested().await;
        running.shutdown().await;
    };
    tokio::join!(conformance::stop(node), stopping);
}
