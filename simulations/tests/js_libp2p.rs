//! An independent implementation talks to us: js-libp2p connects over TCP, Noise and yamux, identifies and pings a node,
//! and asks its DHT by our protocol id. Skipped with a sentence where Node.js or the library is not there.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use p2p_node::{Config, NodeOptions, RunningNode, start};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Everything the other side does takes a second or two; a busy machine may take longer to load its libraries.
const PATIENCE: Duration = Duration::from_secs(120);

/// A node on loopback, and a multiaddr at which it is reached.
async fn node(home: PathBuf, bootstrap: Vec<String>) -> (RunningNode, String) {
    let mut config = Config::default();
    config.transport.mdns = false;
    config.transport.port_mapping = false;
    config.transport.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
    let options =
        NodeOptions { home, api: None, config, gateway: None, apps: Vec::new(), bootstrap, notices: Vec::new() };
    let node = start(options).await.expect("starts");
    let info = node.node().info().await.expect("info");
    let address = format!("{}/p2p/{}", info.listen.first().expect("it listens"), info.peer_id);
    (node, address)
}

fn program(names: &[&str]) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths)
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|path| path.is_file())
}

#[tokio::test]
async fn js_libp2p_connects_pings_identifies_and_asks_the_dht() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/js_libp2p");
    let Some(program) = program(&["node", "nodejs"]) else {
        eprintln!("skipped: there is no Node.js");
        return;
    };
    if !folder.join("node_modules/libp2p").exists() {
        eprintln!("skipped: js-libp2p is missing; run npm install --no-package-lock in simulations/tests/js_libp2p");
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let (first, at) = node(dir.path().join("first"), Vec::new()).await;
    let (second, _) = node(dir.path().join("second"), vec![at.clone()]).await;
    let ids = [&first, &second].map(|node| node.node());
    let [first_id, second_id] =
        [ids[0].info().await.expect("info").peer_id, ids[1].info().await.expect("info").peer_id];
    // Whoever asks the first is told of the second.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while ids[0].info().await.expect("info").dht_peers == 0 {
        assert!(tokio::time::Instant::now() < deadline, "the two nodes do not meet");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let mut other = Command::new(program)
        .arg(folder.join("run.mjs"))
        .args(["main", &at])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Node.js starts");
    let mut lines = BufReader::new(other.stdout.take().expect("its output")).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("an answer in time");
    let line = line.expect("its output").expect("an answer, and no error");
    let told: serde_json::Value = serde_json::from_str(&line).expect("JSON");

    assert!(told["agentVersion"].as_str().expect("an agent").starts_with("p2pnode/"), "{line}");
    assert_eq!(told["protocolVersion"], "p2pnode/main/1");
    let protocols = told["protocols"].as_array().expect("protocols");
    assert!(protocols.iter().any(|protocol| protocol == "/p2pnode/main/kad/1"), "{line}");
    assert!(told["pingMs"].is_number(), "{line}");
    let closer = told["answers"][first_id.to_string()].as_array().expect("the node asked answers");
    assert!(closer.iter().any(|peer| *peer == second_id.to_string()), "{line}");
    // And we know who it is.
    let me = told["me"].as_str().expect("its id");
    let peers = ids[0].peers().list().await.expect("peers");
    let seen = peers.iter().find(|peer| peer.peer.to_string() == me).expect("it is connected");
    assert!(seen.agent.as_deref().is_some_and(|agent| agent.contains("js-libp2p")), "{seen:?}");
    // Its DHT is a client: nobody is sent there.
    assert!(ids[0].info().await.expect("info").dht_peers == 1);

    drop(other.stdin.take());
    let ended = tokio::time::timeout(PATIENCE, other.wait()).await.expect("it ends when told");
    assert!(ended.expect("it ends").success());
    second.shutdown().await;
    first.shutdown().await;
}
