//! Greets whoever opens a stream, or the peer that is named: `cargo run -p p2p-client --example hello [PEER_ID]`.

use p2p_api::{DialStream, StreamPath};
use p2p_client::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HELLO: &str = "/app/hello/1";

#[tokio::main]
async fn main() {
    if let Err(error) = hello().await {
        eprintln!("hello: {error}");
        std::process::exit(1);
    }
}

async fn hello() -> Result<(), Box<dyn std::error::Error>> {
    let api = std::env::var_os("P2PNODE_API").map(std::path::PathBuf::from);
    let node = Client::connect(p2p_api::socket::default_path(None, api.as_deref())?.path).await?.node();
    if let Some(peer) = std::env::args().nth(1) {
        let dial = DialStream { peer: peer.parse()?, protocol: HELLO.into(), path: StreamPath::Any, timeout_s: None };
        let mut text = String::new();
        node.streams().open(dial).await?.read_to_string(&mut text).await?;
        println!("{text}");
        return Ok(());
    }
    println!("waiting as {}", node.info().await?.peer_id);
    loop {
        let mut stream = node.streams().accept(HELLO).await?;
        stream.write_all(format!("Hello, {}!", stream.peer).as_bytes()).await?;
        stream.shutdown().await?;
    }
}
