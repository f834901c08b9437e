//! Connections that become streams, by hand.

use std::time::Duration;

use p2p_api::testing::FakeNode;
use p2p_api::{DialStream, ErrorKind, StreamPath};
use p2p_client::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::scene::Scene;

const ECHO: &str = "/app/chat/echo/1";

async fn upgrade(scene: &Scene, path: &str, kind: &str, body: &str) -> (UnixStream, String) {
    let mut stream = UnixStream::connect(scene.socket()).await.expect("connect");
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: {kind}\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("write");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the head of an answer"));
    }
    (stream, String::from_utf8(head).expect("a text").to_ascii_lowercase())
}

#[tokio::test]
async fn two_connections_become_one_stream() {
    let fake = FakeNode::new();
    let me = fake.node().info().await.expect("info").peer_id;
    let scene = Scene::new(fake.node(), Vec::new());
    let listen = format!(r#"{{"protocol": "{ECHO}"}}"#);
    let dial = format!(r#"{{"protocol": "{ECHO}", "peer": "{me}"}}"#);
    let listening = upgrade(&scene, "/v1/streams/listen", "p2p-stream", &listen);
    let dialling = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        upgrade(&scene, "/v1/streams/dial", "p2p-stream", &dial).await
    };
    let ((mut far, far_head), (mut near, near_head)) = tokio::join!(listening, dialling);
    for head in [&far_head, &near_head] {
        assert!(head.starts_with("http/1.1 101"), "{head}");
        assert!(head.contains("upgrade: p2p-stream") && head.contains("p2p-path: lan"), "{head}");
        assert!(head.contains(&format!("p2p-peer: {me}").to_ascii_lowercase()), "{head}");
    }
    let sent: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
    let writing = async {
        near.write_all(&sent).await.expect("write");
        near.flush().await.expect("flush");
    };
    let mut got = vec![0; sent.len()];
    let reading = async { far.read_exact(&mut got).await.expect("read") };
    tokio::join!(writing, reading);
    assert!(got == sent);
    drop(far);
    assert_eq!(near.read(&mut [0; 1]).await.expect("an end"), 0);
    scene.end().await;
}

#[tokio::test]
async fn datagrams_are_whole() {
    let fake = FakeNode::new();
    let me = fake.node().info().await.expect("info").peer_id;
    let scene = Scene::new(fake.node(), Vec::new());
    let listen = format!(r#"{{"protocol": "{ECHO}"}}"#);
    let dial = format!(r#"{{"protocol": "{ECHO}", "peer": "{me}"}}"#);
    let listening = upgrade(&scene, "/v1/streams/listen", "p2p-dgram", &listen);
    let dialling = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        upgrade(&scene, "/v1/streams/dial", "p2p-dgram", &dial).await
    };
    let ((mut far, _), (mut near, head)) = tokio::join!(listening, dialling);
    assert!(head.contains("upgrade: p2p-dgram"), "{head}");
    near.write_all(b"\x00\x05hello\x00\x00\x00\x02yo").await.expect("write");
    let mut got = [0; 13];
    far.read_exact(&mut got).await.expect("read");
    assert_eq!(&got, b"\x00\x05hello\x00\x00\x00\x02yo");
    // Half a datagram is none.
    near.write_all(b"\x00\x09half").await.expect("write");
    near.shutdown().await.expect("shutdown");
    let mut rest = Vec::new();
    far.read_to_end(&mut rest).await.expect("an end");
    assert!(rest.is_empty(), "{rest:?}");
    scene.end().await;
}

#[tokio::test]
async fn a_stream_needs_an_upgrade_and_ends_with_the_token() {
    let fake = FakeNode::new();
    let me = fake.node().info().await.expect("info").peer_id;
    let scene = Scene::new(fake.node(), Vec::new());
    let dial = format!(r#"{{"protocol": "{ECHO}", "peer": "{me}"}}"#);
    assert_eq!(scene.ask("POST /v1/streams/dial", &[], &dial).await.code(), "invalid_input");

    let manifest = format!(
        r#"{{"id": "chat", "name": "Chat", "scopes": ["stream.listen:{ECHO}", "stream.dial:{ECHO}@any"], "protocols": ["{ECHO}"]}}"#
    );
    scene.ask("POST /v1/apps", &[], &manifest).await;
    let info = scene.ask("PUT /v1/apps/chat", &[], r#"{"state": "approved"}"#).await.body;
    let info: serde_json::Value = serde_json::from_str(&info).expect("JSON");
    let token = std::fs::read_to_string(info["token_file"].as_str().expect("a file")).expect("the token");
    let client = Client::connect(scene.socket()).await.expect("it answers").with_token(&token).expect("a token");
    let node = client.node();
    let refused = node.streams().accept("/app/other/1").await.expect_err("another app's");
    assert_eq!(refused.kind, ErrorKind::NotAllowed);
    let accepting = {
        let node = node.clone();
        tokio::spawn(async move { node.streams().accept(ECHO).await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    let dial =
        |protocol: &str| DialStream { peer: me, protocol: protocol.to_owned(), path: StreamPath::Any, timeout_s: None };
    assert_eq!(node.streams().open(dial("/app/x/1")).await.expect_err("not granted").kind, ErrorKind::NotAllowed);
    let mut near = node.streams().open(dial(ECHO)).await.expect("granted");
    let mut far = accepting.await.expect("no panic").expect("granted");
    near.write_all(b"hi").await.expect("write");
    near.flush().await.expect("flush");
    far.read_exact(&mut [0; 2]).await.expect("read");
    let streams = async || {
        let info = scene.ask("GET /v1/apps/chat", &[], "").await.body;
        serde_json::from_str::<serde_json::Value>(&info).expect("JSON")["streams"].clone()
    };
    assert_eq!(streams().await, 2);
    let info = scene.ask("GET /v1/apps/chat", &[], "").await.body;
    let info: serde_json::Value = serde_json::from_str(&info).expect("JSON");
    assert_eq!(info["stream_bytes"], 4, "two bytes in and two out, while the streams are open");
    scene.ask("DELETE /v1/apps/chat", &[], "").await;
    let ended = tokio::time::timeout(Duration::from_secs(5), far.read(&mut [0; 1])).await.expect("it ends");
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    scene.end().await;
}
