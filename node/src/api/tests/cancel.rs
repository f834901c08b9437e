//! Connections that end early: by the client, by the server, by an error.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use p2p_api::testing::FakeNode;
use p2p_api::{ApiError, App, AppRequest, AppResponse, Change, ErrorKind, EventQuery, Import, Node, Result};
use p2p_client::RequestBody;
use p2p_identity::DriveId;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::scene::Scene;

/// Longer than anything here takes, short enough for a test that fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers with a line and then nothing more; tells when the work behind it is dropped.
struct Endless(Mutex<Option<oneshot::Sender<()>>>);

#[async_trait]
impl App for Endless {
    fn name(&self) -> &'static str {
        "endless"
    }

    async fn run(&self, _node: Node, stop: CancellationToken) -> Result<()> {
        stop.cancelled().await;
        Ok(())
    }

    async fn handle(&self, _node: &Node, _request: AppRequest) -> AppResponse {
        let held = self.0.lock().ok().and_then(|mut sender| sender.take());
        let line = stream::iter([Ok(1)]);
        AppResponse::lines(
            line.chain(stream::once(async move {
                let _held = held;
                futures::future::pending().await
            }))
            .boxed(),
        )
    }
}

fn endless() -> (Arc<Endless>, oneshot::Receiver<()>) {
    let (sender, receiver) = oneshot::channel();
    (Arc::new(Endless(Mutex::new(Some(sender)))), receiver)
}

/// Sends a piece and then breaks.
struct Broken;

#[async_trait]
impl App for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    async fn run(&self, _node: Node, _stop: CancellationToken) -> Result<()> {
        Ok(())
    }

    async fn handle(&self, _node: &Node, _request: AppRequest) -> AppResponse {
        let pieces = [Ok(Bytes::from_static(b"half of it")), Err(ApiError::internal("no more"))];
        AppResponse { status: 200, content_type: "text/plain", next: None, body: stream::iter(pieces).boxed() }
    }
}

#[tokio::test]
async fn a_client_that_goes_away_stops_the_work() {
    let (app, dropped) = endless();
    let scene = Scene::new(FakeNode::new().node(), vec![app]);
    let answer = scene.client().await.get("/v1/apps/endless/x").await.expect("an answer");
    let mut lines = answer.lines::<u32>();
    assert_eq!(lines.next().await, Some(Ok(1)));
    drop(lines);
    let ended = tokio::time::timeout(PATIENCE, dropped).await.expect("the work is dropped");
    assert!(ended.is_err(), "the sender was dropped, not used");
    scene.end().await;
}

#[tokio::test]
async fn a_server_that_ends_cuts_what_goes_on() {
    let (app, dropped) = endless();
    let scene = Scene::new(FakeNode::new().node(), vec![app]);
    let answer = scene.client().await.get("/v1/apps/endless/x").await.expect("an answer");
    let mut lines = answer.lines::<u32>();
    assert_eq!(lines.next().await, Some(Ok(1)));
    scene.end().await;
    assert!(dropped.await.is_err(), "nothing runs when the server has ended");
    let cut = lines.next().await.expect("an error, not an end").expect_err("the connection was cut");
    assert_eq!(cut.kind, ErrorKind::NodeStopped);
}

#[tokio::test]
async fn an_answer_that_breaks_never_looks_complete() {
    let scene = Scene::new(FakeNode::new().node(), vec![Arc::new(Broken)]);
    let client = scene.client().await;
    let whole = async { client.get("/v1/apps/broken/x").await?.bytes().await };
    assert_eq!(whole.await.expect_err("it broke").kind, ErrorKind::NodeStopped);
    scene.end().await;
}

#[tokio::test]
async fn an_import_that_is_refused_early_tells_the_reason_to_a_client_that_still_writes() {
    let scene = Scene::new(FakeNode::new().node(), Vec::new());
    let drives = scene.client().await.node().drives();
    let drive = DriveId::from([9; 32]);
    let change = |at: usize| Ok(Change { path: format!("{at:04000}"), ..Change::default() });
    let many = stream::iter((0..5_000).map(change)).boxed();
    let refused =
        tokio::time::timeout(PATIENCE, drives.import(drive, Import::default(), many)).await.expect("an answer");
    assert_eq!(refused.err().map(|error| error.kind), Some(ErrorKind::NotFound));
    scene.end().await;
}

#[tokio::test]
async fn an_event_reaches_a_reader_at_once() {
    let fake = FakeNode::new();
    let scene = Scene::new(fake.node(), Vec::new());
    let mut events = scene.client().await.node().events(EventQuery::default()).await.expect("events");
    fake.connect(p2p_identity::PeerId::from([1; 32]), p2p_api::PathKind::Direct);
    let event = tokio::time::timeout(PATIENCE, events.next()).await.expect("no delay").expect("an event");
    assert_eq!(event.expect("no error").name, "peer.connected");
    scene.end().await;
}

#[tokio::test]
async fn many_calls_at_once_are_answered() {
    let scene = Scene::new(FakeNode::new().node(), Vec::new());
    let client = scene.client().await;
    let calls = (0..200).map(|_| client.request(http::Method::GET, "/v1/node", RequestBody::Empty));
    let answers = futures::future::join_all(calls).await;
    assert!(answers.into_iter().all(|answer| answer.is_ok_and(|answer| answer.status() == 200)));
    scene.end().await;
}
