//! What the server answers is what the OpenAPI document says (specs/overlay.md, 2.7).

use p2p_api::testing::FakeNode;
use p2p_api::{NewDrive, PathKind, routes};
use p2p_identity::{Link, PeerId, Target};
use serde_json::{Value, json};

use super::scene::Scene;

/// The schema of what an operation answers with this status, and the media type.
fn schema_of(document: &Value, method: &str, route: &str, status: u16) -> (String, Value) {
    let path = route.replace("{*", "{");
    let answers = &document["paths"][&path][method.to_lowercase()]["responses"];
    let status = if status < 300 { status.to_string() } else { "default".to_owned() };
    let content = answers[&status]["content"].as_object();
    let content = content.unwrap_or_else(|| panic!("{method} {path} does not say what it answers with {status}"));
    let (media, content) = content.iter().next().expect("a media type");
    // Types refer to each other by their place in the whole document.
    let mut schema = content["schema"].clone();
    schema["components"] = document["components"].clone();
    (media.clone(), schema)
}

#[tokio::test]
async fn answers_are_as_the_document_says() {
    let document: Value = serde_json::from_str(&p2p_api::openapi_json()).expect("JSON");
    let fake = FakeNode::new();
    let peer = PeerId::from([7; 32]);
    fake.connect(peer, PathKind::Direct);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("sub")).expect("a folder");
    std::fs::write(folder.path().join("sub/file"), "content").expect("write");
    let new = NewDrive { path: Some(folder.path().to_owned()), title: "Title".into() };
    let drive = fake.node().drives().create(new).await.expect("a drive").drive;
    let link = Link::to(Target::Drive(drive)).to_string();
    let scene = Scene::new(fake.node(), Vec::new());
    let (drive, key) = (drive.to_string(), "00".repeat(32));
    let lines = "{\"path\": \"sub\"}\n{\"path\": \"sub/file\"}\n";
    let at = |route: &str| {
        route
            .replace("{drive}", &drive)
            .replace("{peer}", &peer.to_string())
            .replace("{key}", &key)
            .replace("{app}", "chat")
            .replace("{zone}", "alice")
            .replace("{*topic}", "news")
    };
    let target = folder.path().join("copy");
    let manifest = json!({ "id": "chat", "name": "Chat", "scopes": ["node.read"] }).to_string();
    let calls = [
        ("GET", routes::NODE, String::new()),
        ("GET", routes::PEERS, String::new()),
        ("POST", routes::DIAL, json!({ "target": peer }).to_string()),
        ("POST", routes::DIAL, json!({ "target": "nonsense" }).to_string()),
        ("POST", routes::PEER_PING, String::new()),
        ("GET", routes::PROVIDERS, String::new()),
        ("POST", routes::VALUES, json!({ "name": "status", "value": "aGk=" }).to_string()),
        ("GET", routes::VALUE, String::new()),
        ("POST", routes::TOPIC, "a message".to_owned()),
        ("POST", routes::SIGN, json!({ "context": "login", "hash": key }).to_string()),
        ("POST", routes::APP_LIST, manifest),
        ("PUT", routes::APP, json!({ "state": "approved" }).to_string()),
        ("GET", routes::APP, String::new()),
        ("GET", routes::APP_LIST, String::new()),
        ("GET", routes::DRIVES, String::new()),
        ("POST", routes::DRIVES, json!({ "path": folder.path(), "title": "again" }).to_string()),
        ("POST", routes::IMPORT, lines.to_owned()),
        ("GET", routes::DRIVE, String::new()),
        ("GET", routes::TREE, String::new()),
        ("POST", routes::OPEN, json!({ "link": link }).to_string()),
        ("POST", routes::FOLLOW, json!({ "link": link, "target": target }).to_string()),
        ("POST", routes::ZONES, json!({ "name": "alice" }).to_string()),
        ("GET", routes::ZONES, String::new()),
        ("GET", routes::RECORDS, String::new()),
        ("POST", routes::RESOLVE, json!({ "name": "www.alice" }).to_string()),
        ("GET", routes::IDENTITY, String::new()),
        ("POST", routes::IDENTITY, json!({ "name": "Alice" }).to_string()),
        ("GET", routes::IDENTITY, String::new()),
        ("POST", routes::INVITES, json!({}).to_string()),
        ("GET", routes::INVITES, String::new()),
        ("POST", routes::INVITE_ACCEPT, json!({ "link": "nonsense" }).to_string()),
        ("GET", routes::CONTACTS, String::new()),
        ("GET", routes::KEYSTORE, String::new()),
        ("POST", routes::PASSPHRASE, json!({ "new": { "plain": "x" } }).to_string()),
        ("POST", routes::LOCK, String::new()),
        ("POST", routes::UNLOCK, json!({ "plain": "x" }).to_string()),
        ("DELETE", routes::DRIVE, String::new()),
        ("GET", routes::DRIVE, String::new()),
        ("POST", routes::STREAM_DIAL, "{}".to_owned()),
    ];
    for (method, route, body) in calls {
        let answer = scene.ask(&format!("{method} {}", at(route)), &[], &body).await;
        let (media, schema) = schema_of(&document, method, route, answer.status);
        assert_eq!(answer.header("content-type"), Some(media.as_str()), "{method} {route}: {answer:?}");
        let validator = jsonschema::draft202012::new(&schema).expect("a schema");
        let values: Vec<&str> =
            if media.contains("ndjson") { answer.body.lines().collect() } else { vec![answer.body.as_str()] };
        assert!(!values.is_empty(), "{method} {route} answers nothing");
        for text in values {
            let value: Value = serde_json::from_str(text).expect("JSON");
            if let Err(error) = validator.validate(&value) {
                panic!("{method} {route}: {error} at {}: {value}", error.instance_path());
            }
        }
    }
    scene.end().await;
}
