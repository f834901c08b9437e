//! Writes with an `Idempotency-Key`.

use p2p_api::testing::FakeNode;

use super::scene::Scene;

const PUT: &str = "POST /v1/dht/values";
const BODY: &str = r#"{"name": "status", "value": "aGk="}"#;

#[tokio::test]
async fn a_repeated_write_is_done_once() {
    let scene = Scene::new(FakeNode::new().node(), Vec::new());
    let first = scene.ask(PUT, &["idempotency-key: one"], BODY).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, None));
    let again = scene.ask(PUT, &["idempotency-key: one"], BODY).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!((again.status, &again.body), (200, &first.body), "the same sequence number: it was done once");
    assert_eq!(again.header("content-type"), Some("application/json"));
    let next = scene.ask(PUT, &["idempotency-key: two"], BODY).await;
    assert_ne!(next.body, first.body, "another key is another call");
    let other = scene.ask(PUT, &["idempotency-key: one"], r#"{"name": "other", "value": "aGk="}"#).await;
    assert_eq!(other.code(), "conflict");
    let long = format!("idempotency-key: {}", "x".repeat(300));
    assert_eq!(scene.ask(PUT, &[&long], BODY).await.code(), "invalid_input");
    scene.end().await;
}

#[tokio::test]
async fn a_failed_write_may_be_tried_again() {
    let scene = Scene::new(FakeNode::new().node(), Vec::new());
    let key = ["idempotency-key: one"];
    assert_eq!(scene.ask("POST /v1/drives/open", &key, r#"{"link": "nonsense"}"#).await.status, 404);
    let again = scene.ask("POST /v1/drives/open", &key, r#"{"link": "nonsense"}"#).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (404, None));
    scene.end().await;
}
