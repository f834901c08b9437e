//! A node finds its network again by the peers that it remembers, without a bootstrap node.

mod homes;

use homes::{Home, connected};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_reached_nobody_for_a_while_finds_its_network_again() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let listen = format!("/ip4/127.0.0.1/tcp/{free}");
    let other = Home::with(&[], move |config| config.transport.listen = vec![listen.clone()]).await;
    let one = Home::new(&[other.address()]).await;
    connected(&one.node()).await;
    let (one, other) = (one.stop().await, other.stop().await);

    // Nobody is there, twice: it remembers all the same.
    let one = one.start(&[]).await.restart(&[]).await;
    let other = other.start(&[]).await;
    let one = one.restart(&[]).await;
    connected(&one.node()).await;
    one.running.shutdown().await;
    other.running.shutdown().await;
}
