//! Streams, topics, values, signatures: what apps say to each other.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use p2p_identity::{ContentId, PeerId, verify};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::PATIENCE;
use crate::{
    Datagrams, DialStream, ErrorKind, MAX_MESSAGE_BYTES, MAX_VALUE_BYTES, Node, PutValue, Sign, StreamPath,
    signed_message,
};

const ECHO: &str = "/app/conformance/echo/1";
const NOBODY: &str = "/app/conformance/nobody/1";

fn dial(peer: PeerId, protocol: &str) -> DialStream {
    DialStream { peer, protocol: protocol.to_owned(), path: StreamPath::Any, timeout_s: Some(2.0) }
}

/// A stream to an app of this very node carries bytes both ways.
pub(super) async fn streams(node: &Node) {
    let me = node.info().await.expect("info").peer_id;
    let server = node.clone();
    let echo = tokio::spawn(async move {
        for _ in 0..2 {
            let mut stream = server.streams().accept(ECHO).await.expect("accept");
            assert_eq!(stream.peer, me);
            let mut bytes = vec![0; 5];
            stream.read_exact(&mut bytes).await.expect("the request");
            stream.write_all(&bytes).await.expect("the answer");
            stream.flush().await.expect("flush");
            let mut rest = Vec::new();
            // An end or a reset: both say that the other side is done.
            let _ = stream.read_to_end(&mut rest).await;
        }
    });
    for _ in 0..2 {
        let mut stream = opened(node, dial(me, ECHO)).await;
        stream.write_all(b"hello").await.expect("write");
        stream.flush().await.expect("flush");
        let mut answer = vec![0; 5];
        stream.read_exact(&mut answer).await.expect("the echo");
        assert_eq!(answer, b"hello");
    }
    tokio::time::timeout(PATIENCE, echo).await.expect("the streams end").expect("no panic");
}

/// The listener may not be there yet.
async fn opened(node: &Node, dial: DialStream) -> crate::AppStream {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match node.streams().open(dial.clone()).await {
            Ok(stream) => return stream,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Datagrams keep their bounds over a stream.
pub(super) async fn datagrams(node: &Node) {
    const PROTOCOL: &str = "/app/conformance/datagrams/1";
    let me = node.info().await.expect("info").peer_id;
    let server = node.clone();
    let receiving = tokio::spawn(async move {
        let mut datagrams = Datagrams::new(server.streams().accept(PROTOCOL).await.expect("accept"));
        let first = datagrams.receive().await.expect("good").expect("one");
        datagrams.send(&first).await.expect("back");
        // It stays open until the other side has read.
        let _ = datagrams.receive().await;
    });
    let mut datagrams = Datagrams::new(opened(node, dial(me, PROTOCOL)).await);
    datagrams.send(b"a datagram").await.expect("send");
    assert_eq!(datagrams.receive().await.expect("good").expect("one"), "a datagram");
    drop(datagrams);
    tokio::time::timeout(PATIENCE, receiving).await.expect("it ends").expect("no panic");
}

pub(super) async fn streams_refused(node: &Node) {
    let me = node.info().await.expect("info").peer_id;
    let refused = async |dial| node.streams().open(dial).await.expect_err("refused").kind;
    assert_eq!(refused(dial(me, NOBODY)).await, ErrorKind::Unsupported);
    assert_eq!(refused(dial(me, "/p2pnode/drives/1")).await, ErrorKind::InvalidInput);
    assert_eq!(refused(DialStream { path: StreamPath::Anon, ..dial(me, ECHO) }).await, ErrorKind::Unsupported);
    let stranger = refused(dial(PeerId::from([9; 32]), ECHO)).await;
    assert!(matches!(stranger, ErrorKind::NotFound | ErrorKind::TimedOut), "{stranger:?}");
    let error = node.streams().accept("chat").await.expect_err("no protocol of an app");
    assert_eq!(error.kind, ErrorKind::InvalidInput);
}

/// This node's own subscribers get what it publishes.
pub(super) async fn topics(node: &Node) {
    let topics = node.topics();
    let topic = "conformance/news & more";
    assert_eq!(topics.publish(topic, Bytes::from_static(b"too early")).await.expect("nobody reads").peers, 0);
    let mut messages = topics.subscribe(topic).await.expect("subscribe");
    let data = Bytes::from_static(b"\x00bytes, not text\xff");
    topics.publish(topic, data.clone()).await.expect("publish");
    let got = tokio::time::timeout(PATIENCE, messages.next()).await.expect("in time").expect("one").expect("good");
    assert_eq!((got.from, got.data), (node.info().await.expect("info").peer_id, data));
    for (topic, bytes) in [("", 1), (topic, MAX_MESSAGE_BYTES + 1)] {
        let error = topics.publish(topic, Bytes::from(vec![0; bytes])).await.expect_err("a limit");
        assert_eq!(error.kind, ErrorKind::InvalidInput);
    }
}

pub(super) async fn values(node: &Node) {
    let dht = node.dht();
    let put = |app: Option<&str>, value: &str| PutValue {
        app: app.map(str::to_owned),
        name: "status".to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
        expires_s: Some(60),
    };
    let first = dht.put(put(None, "one")).await.expect("put");
    let second = dht.put(put(None, "two")).await.expect("put again");
    assert_eq!(first.key, second.key);
    assert!(second.sequence > first.sequence);
    let key: ContentId = second.key.parse().expect("64 hexadecimal digits");
    let found = dht.get(*key.as_bytes(), PATIENCE).await.expect("found");
    assert_eq!((found.value.as_ref(), found.name.as_str(), found.sequence), (&b"two"[..], "status", second.sequence));
    let other = dht.put(put(Some("conformance"), "an app's")).await.expect("put");
    assert_ne!(other.key, second.key, "apps have keys of their own");
    let long = "x".repeat(MAX_VALUE_BYTES + 1);
    assert_eq!(dht.put(put(None, &long)).await.expect_err("too long").kind, ErrorKind::InvalidInput);
    let error = dht.get(*ContentId::of(b"nothing").as_bytes(), Duration::from_secs(1)).await.expect_err("nothing");
    assert!(matches!(error.kind, ErrorKind::NotFound | ErrorKind::TimedOut));
}

/// A signature is the app's own and holds for its context only.
pub(super) async fn signatures(node: &Node) {
    let hash = ContentId::of(b"what is signed");
    let wanted = |app: &str| Sign { app: Some(app.to_owned()), context: "login".to_owned(), hash };
    let one = node.identity().sign(wanted("conformance")).await.expect("sign");
    let again = node.identity().sign(wanted("conformance")).await.expect("sign");
    let other = node.identity().sign(wanted("conformance.other")).await.expect("sign");
    assert_eq!(one.public_key, again.public_key);
    assert_ne!(one.public_key, other.public_key);
    let bytes = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hexadecimal digits");
    let public: [u8; 32] = bytes(&one.public_key).try_into().expect("32 bytes");
    let signature: [u8; 64] = bytes(&one.signature).try_into().expect("64 bytes");
    verify(&public, &signed_message("conformance", "login", &hash), &signature).expect("it is right");
    assert!(verify(&public, &signed_message("conformance", "logout", &hash), &signature).is_err());
    let error = node.identity().sign(wanted("No App")).await.expect_err("no id of an app");
    assert_eq!(error.kind, ErrorKind::InvalidInput);
}
