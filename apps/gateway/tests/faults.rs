//! Providers that vanish, readers that do not read, ports that are taken.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use http::{Method, StatusCode};
use p2p_api::{ApiError, App, DriveRole, ErrorKind};
use p2p_gateway::{Gateway, Settings};
use support::{Fault, PATIENCE, Scene};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

fn long() -> Vec<u8> {
    (0..3_000_000_u32).map(|at| (at % 251) as u8).collect()
}

fn hasty() -> Settings {
    Settings { patience: Duration::from_millis(800), write_timeout: Duration::from_millis(300), ..Settings::default() }
}

#[tokio::test]
async fn a_body_that_breaks_off_never_looks_complete() {
    let scene = Scene::with_settings(&[("v.mp4", &long())], hasty()).await;
    for fault in [Fault::BreaksAfter(3), Fault::EndsAfter(3), Fault::StallsAfter(3)] {
        scene.node.set(fault.clone());
        for headers in [&[][..], &[("range", "bytes=10-2000000")], &[("range", "bytes=0-9,100000-2000000")]] {
            // A reset may overtake the headers on their way.
            let answer = scene.try_ask_host(&scene.host(), Method::GET, "/v.mp4", headers, "").await;
            let Ok(answer) = answer else { continue };
            assert!(answer.status.is_success(), "{fault:?}: the first bytes came");
            answer.body.expect_err("a body that is cut");
        }
    }
    scene.node.set(Fault::None);
    assert_eq!(scene.get("/v.mp4").await.body.unwrap().len(), 3_000_000, "the next try succeeds");
    scene.end().await;
}

#[tokio::test]
async fn a_broken_body_ends_in_a_reset() {
    let scene = Scene::with(&[("v.mp4", &long())]).await;
    scene.node.set(Fault::BreaksAfter(3));
    let mut stream = scene.connect().await;
    let request = format!("GET /v.mp4 HTTP/1.1\r\nhost: {}\r\n\r\n", scene.host());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("an end");
    assert_eq!(ended.expect_err("no good end").kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn who_waits_too_long_gets_a_page_that_tries_again() {
    let scene = Scene::with_settings(&[("v.mp4", &long())], hasty()).await;
    scene.node.set(Fault::StallsAfter(0));
    let answer = scene.get("/v.mp4").await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert!(answer.headers.contains_key("retry-after"));
    assert!(answer.text().contains("http-equiv=\"refresh\"") && answer.text().contains("Trying again"));
}

#[tokio::test]
async fn errors_before_the_first_byte_have_pages() {
    let scene = Scene::with(&[("a", b"x")]).await;
    for (kind, status) in [
        (ErrorKind::Corrupt, StatusCode::BAD_GATEWAY),
        (ErrorKind::StorageFull, StatusCode::INSUFFICIENT_STORAGE),
        (ErrorKind::TimedOut, StatusCode::GATEWAY_TIMEOUT),
        (ErrorKind::Internal, StatusCode::INTERNAL_SERVER_ERROR),
    ] {
        scene.node.set(Fault::Fails(ApiError::new(kind, "<because>")));
        let answer = scene.get("/a").await;
        assert_eq!(answer.status, status);
        assert!(!answer.text().contains("<because>"), "messages are escaped");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    scene.node.set(Fault::Unknown);
    let answer = scene.get("/a").await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert!(answer.text().contains("Nobody who has this site was found"));
}

#[tokio::test]
async fn a_drive_that_is_only_visited_is_looked_for() {
    let scene = Scene::with(&[("index.html", b"home")]).await;
    scene.node.set_role(DriveRole::Reader);
    assert_eq!(scene.get("/").await.text(), "home");
    scene.node.set(Fault::Unknown);
    let gone = scene.get("/other").await;
    assert_eq!(gone.status, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn a_copy_that_is_under_way_is_shown_as_it_is_at_its_peers() {
    let scene = Scene::with(&[("index.html", b"one")]).await;
    scene.node.set_role(DriveRole::Mirror);
    assert_eq!(scene.get("/").await.text(), "one");
    scene.write("index.html", b"two");
    scene.publish().await;
    assert_eq!(scene.get("/").await.text(), "two", "nothing is kept without a version");
}

#[tokio::test]
async fn an_own_drive_without_a_version_says_not_yet() {
    let scene = Scene::with(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let new = p2p_api::NewDrive { path: Some(folder.path().into()), title: String::new() };
    let drive = scene.fake.node().drives().create(new).await.unwrap().drive;
    let host = format!("{drive}.p2p.localhost:{}", scene.port());
    let answer = scene.ask_host(&host, Method::GET, "/", &[], "").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text().contains("Nothing was published in this drive yet."));
}

#[tokio::test]
async fn a_search_goes_on_while_its_page_says_so() {
    let settings = Settings { patience: Duration::from_millis(300), ..Settings::default() };
    let scene = Scene::with_settings(&[("index.html", b"home")], settings).await;
    scene.node.set(Fault::FoundAfter(Duration::from_millis(600)));
    let first = scene.get("/").await;
    assert_eq!(first.status, StatusCode::GATEWAY_TIMEOUT);
    assert!(first.text().contains("Looking for this site"), "{}", first.text());
    let found = async { while scene.get("/").await.status != StatusCode::OK {} };
    tokio::time::timeout(PATIENCE, found).await.expect("it is never found");
}

#[tokio::test]
async fn slow_readers_are_cut_and_others_are_served_meanwhile() {
    let settings = Settings { max_connections: 220, ..hasty() };
    let scene = Scene::with_settings(&[("v.mp4", &long()), ("a", b"quick")], settings).await;
    let request = format!("GET /v.mp4 HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", scene.host());
    let mut slow = Vec::new();
    for _ in 0..200 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        let mut stream = socket.connect(([127, 0, 0, 1], scene.port()).into()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    assert_eq!(scene.get("/a").await.text(), "quick");
    // Reading begins after the time limit: what the system holds by then comes, the rest never does.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for stream in &mut slow {
        let mut all = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("an end");
        assert!(ended.is_err() || all.len() < 3_000_000, "a slow reader got everything");
    }
    scene.end().await;
}

#[tokio::test]
async fn too_large_headers_are_refused() {
    let scene = Scene::with(&[("a", b"x")]).await;
    let big = "x".repeat(200_000);
    let answer = scene.get_with("/a", &[("x-big", &big)]).await;
    assert!(answer.status.is_client_error(), "{}", answer.status);
}

#[tokio::test]
async fn a_taken_port_leaves_the_node_without_a_gateway() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = Gateway::bind(Settings::at(taken.local_addr().unwrap())).unwrap();
    assert_eq!(gateway.address(), None);
    assert!(gateway.dashboard_url().is_err());
    let stop = tokio_util::sync::CancellationToken::new();
    stop.cancel();
    let node = p2p_api::testing::FakeNode::new().node();
    gateway.run(node, stop).await.unwrap();
}

#[tokio::test]
async fn nobody_else_can_reach_it() {
    let open = Settings::at("0.0.0.0:0".parse().unwrap());
    assert!(Gateway::bind(open).is_err());
}
