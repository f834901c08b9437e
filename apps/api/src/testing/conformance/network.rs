//! Who this node is, and whom it reaches.

use std::time::Duration;

use p2p_identity::{ContentId, PeerId};

use crate::{ErrorKind, Node};

/// Long enough for a refusal, short enough not to wait for nothing.
const SHORT: Duration = Duration::from_millis(500);

/// A peer that nobody has: no key is known for it.
fn nobody() -> PeerId {
    PeerId::from(*ContentId::of(b"a peer that does not exist").as_bytes())
}

#[track_caller]
fn assert_unreachable(kind: ErrorKind) {
    assert!(matches!(kind, ErrorKind::NotFound | ErrorKind::TimedOut), "a peer that is not there gave {kind:?}");
}

pub(super) async fn info(node: &Node) {
    let first = node.info().await.expect("info");
    let second = node.info().await.expect("info");
    assert_eq!(first.peer_id, second.peer_id, "a node has one id");
    assert_eq!(first.network, second.network, "a node is in one network");
    assert!(second.uptime_s >= first.uptime_s, "time goes forward");
    assert!(!first.version.is_empty(), "a node knows its version");
}

pub(super) async fn metrics(node: &Node) {
    let text = node.metrics().await.expect("metrics");
    assert!(text.trim_end().ends_with("# EOF"), "OpenMetrics ends with `# EOF`: {text:?}");
}

pub(super) async fn health(node: &Node) {
    let health = node.health().await.expect("health");
    assert!(health.clock.peers <= 8, "at most eight are asked: {:?}", health.clock);
    assert_eq!(health.clock.peers == 0, health.clock.ahead_ms.is_none(), "who was not told the time does not know");
    assert!(!health.bounds.is_empty(), "a node has limits");
    for bound in &health.bounds {
        assert!(bound.most > 0 && bound.used <= bound.most, "what has a limit keeps it: {bound:?}");
    }
}

pub(super) async fn peers(node: &Node) {
    let me = node.info().await.expect("info").peer_id;
    let peers = node.peers().list().await.expect("peers");
    assert!(peers.iter().all(|peer| peer.peer != me), "nobody is their own peer");
    assert!(peers.iter().all(|peer| peer.connections > 0), "a connected peer has a connection");
}

pub(super) async fn dial(node: &Node) {
    for target in ["", "no address", "/ip4/300.0.0.1/tcp/1", "12D3KooW"] {
        let error = node.peers().dial(target, SHORT).await.expect_err("no address at all");
        assert_eq!(error.kind, ErrorKind::InvalidInput, "{target:?}: {error}");
        assert!(!error.message.is_empty(), "an error says what went wrong");
    }
    let peer = nobody();
    for target in [format!("/ip4/127.0.0.1/tcp/1/p2p/{peer}"), peer.to_string()] {
        let error = node.peers().dial(&target, SHORT).await.expect_err("nobody is there");
        assert_unreachable(error.kind);
    }
}

pub(super) async fn ping(node: &Node) {
    let error = node.peers().ping(nobody(), SHORT).await.expect_err("nobody is there");
    assert_unreachable(error.kind);
}

pub(super) async fn providers(node: &Node) {
    let dht = node.dht();
    let key = *ContentId::of(b"a key of the conformance suite").as_bytes();
    let found = dht.find_providers(key, SHORT).await.expect("an answer, if an empty one");
    assert!(found.is_empty(), "nobody provides this key: {found:?}");
    dht.provide(key).await.expect("provide");
    dht.provide(key).await.expect("providing twice is no error");
    dht.stop_providing(key).await.expect("stop providing");
    dht.stop_providing(key).await.expect("stopping twice is no error");
}
