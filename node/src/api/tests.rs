//! The server in front of the fake, asked by the client and by hand.

mod apps;
mod cancel;
mod hand;
mod pages;
mod repeated;
mod scene;
mod schema;
mod streams;

use p2p_api::testing::{FakeNode, conformance};

use self::scene::Scene;

#[tokio::test]
async fn the_client_of_the_socket_conforms() {
    let scene = Scene::new(FakeNode::new().node(), Vec::new());
    let scratch = tempfile::tempdir().expect("a folder");
    conformance::run(scene.client().await.node(), scratch.path()).await;
    scene.end().await;
}

#[tokio::test]
async fn a_node_is_stopped_over_the_socket() {
    let fake = FakeNode::new();
    let scene = Scene::new(fake.node(), Vec::new());
    conformance::stop(scene.client().await.node()).await;
    assert!(fake.is_stopped());
    scene.end().await;
}
