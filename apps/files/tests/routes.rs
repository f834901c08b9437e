//! The app's routes, on a node that only remembers.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail it")]

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use http::Method;
use p2p_api::{ApiError, App, AppRequest, AppResponse, DriveRole, ErrorKind};
use p2p_files::Files;
use serde_json::{Value, json};
use support::Fake;
use tokio_util::sync::CancellationToken;

async fn ask(fake: &Fake, method: Method, path: &str, query: &str, body: &Value) -> AppResponse {
    let body = Bytes::from(body.to_string());
    let request = AppRequest { method, path: path.into(), query: query.into(), body };
    Files::new().handle(&fake.node(), request).await
}

async fn lines(response: AppResponse) -> Vec<Value> {
    let body: Vec<Bytes> = response.body.try_collect().await.unwrap();
    let text = String::from_utf8(body.concat()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn share(fake: &Fake, path: &Path) -> AppResponse {
    ask(fake, Method::POST, "shares", "", &json!({ "path": path })).await
}

#[tokio::test]
async fn a_share_tells_its_link_then_progress_then_the_version() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("b"), "b").unwrap();
    fs::create_dir(root.path().join("a")).unwrap();
    // One name in a drive.
    fs::write(root.path().join("a/é"), "x").unwrap();
    fs::write(root.path().join("a/e\u{301}"), "x").unwrap();
    let fake = Fake::default();
    let response = share(&fake, root.path()).await;
    assert_eq!((response.status, response.content_type), (200, "application/x-ndjson"));
    let events = lines(response).await;
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["link", "progress", "published"]);
    assert_eq!(fake.imports(), [["a", "a/é", "b"]]);
    let (link, published) = (&events[0], &events[2]);
    assert_eq!(link["drive"], published["drive"]);
    assert_eq!(link["link"], format!("p2p://{}/", link["drive"].as_str().unwrap()));
    assert!(published["link"].as_str().unwrap().ends_with("?at=hint"), "the link is the newest: {published}");
    assert_eq!(published["browser"], Value::Null);
    assert!(published["seconds"].as_f64().unwrap() >= 0.0);
    let skipped: Vec<_> =
        published["skipped"].as_array().unwrap().iter().map(|s| s["path"].as_str().unwrap()).collect();
    assert_eq!(skipped, ["a/é", "unreadable"], "of the scan and of the node");
}

/// A node that has just brought something into the folder: what was read of it before would delete that again.
#[tokio::test]
async fn a_folder_that_the_node_changed_meanwhile_is_gone_through_again() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a"), "a").unwrap();
    let fake = Fake::default();
    let error = ApiError::new(ErrorKind::Conflict, "it had written more before");
    fake.state.lock().unwrap().import_fails = Some((error, root.path().join("b")));
    let events = lines(share(&fake, root.path()).await).await;
    assert_eq!(events.last().unwrap()["event"], "published", "{events:?}");
    assert_eq!(fake.imports(), [vec!["a"], vec!["a", "b"]]);
}

#[tokio::test]
async fn the_link_comes_before_the_folder_is_read() {
    let root = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    let mut body = share(&fake, root.path()).await.body;
    let first = body.try_next().await.unwrap().unwrap();
    assert!(first.starts_with(br#"{"event":"link""#), "{first:?}");
    assert!(fake.imports().is_empty());
}

#[tokio::test]
async fn many_shares_come_in_pages() {
    let root = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    for n in 0..5 {
        let folder = root.path().join(n.to_string());
        fs::create_dir(&folder).unwrap();
        lines(share(&fake, &folder).await).await;
    }
    let (mut drives, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = ask(&fake, Method::GET, "shares", &format!("limit=2{cursor}"), &Value::Null).await;
        let next = page.next.clone();
        let items = lines(page).await.remove(0);
        drives.extend(items.as_array().unwrap().iter().map(|drive| drive["drive"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(next) = next else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!((pages, drives.len()), (3, 5));
    let whole = ask(&fake, Method::GET, "shares", "", &Value::Null).await;
    assert_eq!((lines(whole).await[0].as_array().unwrap().len()), 5);
    let nonsense = ask(&fake, Method::GET, "shares", "limit=0", &Value::Null).await;
    assert_eq!(nonsense.status, 400);
}

#[tokio::test]
async fn a_folder_reached_by_two_ways_is_one_drive_with_its_own_name() {
    let root = tempfile::tempdir().unwrap();
    let site = root.path().join("site");
    fs::create_dir(&site).unwrap();
    std::os::unix::fs::symlink("site", root.path().join("alias")).unwrap();
    let fake = Fake::default();
    for path in ["site", "alias", "site/../site"] {
        lines(share(&fake, &root.path().join(path)).await).await;
    }
    let drives = fake.drives();
    assert_eq!((drives.len(), drives[0].title.as_str()), (1, "site"));
    assert_eq!(drives[0].path.as_deref(), Some(site.canonicalize().unwrap().as_path()));
}

#[tokio::test]
async fn what_is_no_folder_is_refused_in_words() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "x").unwrap();
    let fake = Fake::default();
    for (path, code, words) in [
        (root.path().join("missing"), "not_found", "no such folder"),
        (file.clone(), "invalid_input", "not a folder"),
        (file.join("below"), "invalid_input", "not a folder"),
        ("relative/path".into(), "invalid_input", "not absolute"),
    ] {
        let response = share(&fake, &path).await;
        assert_eq!(response.content_type, "application/problem+json");
        let problem = &lines(response).await[0];
        assert_eq!(problem["code"], code, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
    assert!(fake.drives().is_empty());
}

#[tokio::test]
async fn only_drives_with_a_folder_are_listed() {
    let fake = Fake::default().with_drive(DriveRole::Reader, None).with_drive(DriveRole::Mirror, Some("/m".into()));
    let list = &lines(ask(&fake, Method::GET, "shares", "", &Value::Null).await).await[0];
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!((&list[0]["path"], &list[0]["role"]), (&json!("/m"), &json!("mirror")));
}

#[tokio::test]
async fn a_share_ends_by_its_id_its_link_or_its_folder() {
    for way in ["id", "link", "folder"] {
        let root = tempfile::Builder::new().prefix("a b+ü").tempdir().unwrap();
        let path = root.path().canonicalize().unwrap();
        let fake = Fake::default().with_drive(DriveRole::Owner, Some("/other".into()));
        let fake = fake.with_drive(DriveRole::Owner, Some(path.clone()));
        let drive = fake.drives()[1].clone();
        let which = match way {
            "id" => drive.drive.to_string(),
            "link" => format!("{}index.html?v=1", drive.link),
            _ => path.display().to_string(),
        };
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("which", &which).finish();
        let removed = &lines(ask(&fake, Method::DELETE, "shares", &query, &Value::Null).await).await[0];
        assert_eq!(removed["drive"], drive.drive.to_string(), "by {way}");
        assert_eq!(fake.drives().len(), 1);
        assert!(path.exists());
    }
}

#[tokio::test]
async fn ending_an_unknown_share_is_not_found() {
    let fake = Fake::default().with_drive(DriveRole::Reader, None);
    for (query, code) in [("which=%2Fnowhere", "not_found"), ("which=", "invalid_input"), ("", "invalid_input")] {
        let problem = &lines(ask(&fake, Method::DELETE, "shares", query, &Value::Null).await).await[0];
        assert_eq!(problem["code"], code, "{query}");
    }
    assert_eq!(fake.drives().len(), 1);
}

#[tokio::test]
async fn a_clone_passes_on_what_was_asked_and_tells_what_came() {
    let fake = Fake::default();
    let target = tempfile::tempdir().unwrap();
    let target = target.path().join("copy");
    let body = json!({ "link": "p2p://x/", "target": target, "allow_external_links": true, "timeout_s": 2.5 });
    let events = lines(ask(&fake, Method::POST, "clones", "", &body).await).await;
    assert_eq!(events[0]["event"], "progress");
    assert_eq!(events[1]["event"], "done");
    assert_eq!((&events[1]["version"], &events[1]["bytes_fetched"]), (&json!(3), &json!(8)));
    assert!(events[1]["seconds"].as_f64().is_some());
    let followed = fake.state.lock().unwrap().followed.remove(0);
    assert_eq!((followed.link.as_str(), followed.target, followed.allow_external_links), ("p2p://x/", target, true));
    assert_eq!(followed.timeout, Some(Duration::from_millis(2500)));
}

#[tokio::test]
async fn a_clone_that_cannot_begin_is_a_problem_and_not_a_line() {
    let fake = Fake::default();
    fake.state.lock().unwrap().follow_fails = Some(ApiError::new(ErrorKind::TimedOut, "nobody answered"));
    let response = ask(&fake, Method::POST, "clones", "", &json!({ "link": "x", "target": "/t" })).await;
    assert_eq!((response.status, response.content_type), (504, "application/problem+json"));
}

#[tokio::test]
async fn a_clone_never_goes_to_a_file_or_a_relative_path() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (target, code) in [(file.path(), "conflict"), (Path::new("copy"), "invalid_input")] {
        let fake = Fake::default();
        let response = ask(&fake, Method::POST, "clones", "", &json!({ "link": "x", "target": target })).await;
        assert_eq!(lines(response).await[0]["code"], code);
        assert!(fake.state.lock().unwrap().followed.is_empty());
    }
}

#[tokio::test]
async fn unknown_routes_and_bodies_are_problems() {
    let fake = Fake::default();
    for (method, path, body, code) in [
        (Method::GET, "nothing", json!({}), "not_found"),
        (Method::PUT, "shares", json!({}), "not_found"),
        (Method::GET, "clones", json!({}), "not_found"),
        (Method::GET, "", json!({}), "not_found"),
        (Method::POST, "shares", json!([]), "invalid_input"),
        (Method::POST, "clones", json!({ "link": 1 }), "invalid_input"),
    ] {
        let problem = &lines(ask(&fake, method, path, "", &body).await).await[0];
        assert_eq!(problem["code"], code, "{path}");
    }
}

#[tokio::test]
async fn at_start_every_own_folder_is_published_again_and_a_missing_one_stops_nothing() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("file"), "x").unwrap();
    let fake = Fake::default()
        .with_drive(DriveRole::Owner, Some("/does/not/exist".into()))
        .with_drive(DriveRole::Mirror, Some(root.path().into()))
        .with_drive(DriveRole::Owner, None)
        .with_drive(DriveRole::Owner, Some(root.path().into()));
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (node, stop) = (fake.node(), stop.clone());
        async move { Files::new().run(node, stop).await }
    });
    let imported = async {
        while fake.imports().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), imported).await.expect("nothing was imported");
    assert!(!running.is_finished(), "the app lives until it is stopped");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), running).await.expect("it goes on").unwrap().unwrap();
    assert_eq!(fake.imports(), [["file"]]);
}
