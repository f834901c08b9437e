//! Apps with a token: what they may do, and that all else is refused.

use p2p_api::testing::FakeNode;
use p2p_client::Client;
use serde_json::{Value, json};

use super::scene::Scene;

/// Asks, is approved, and returns the token.
async fn approved(scene: &Scene, scopes: &[&str]) -> String {
    let manifest = json!({ "id": "chat", "name": "Chat", "scopes": scopes }).to_string();
    let asked = scene.ask("POST /v1/apps", &[], &manifest).await;
    assert_eq!(asked.status, 200, "{asked:?}");
    let decided = scene.ask("PUT /v1/apps/chat", &[], r#"{"state": "approved"}"#).await;
    let info: Value = serde_json::from_str(&decided.body).expect("JSON");
    let file = info["token_file"].as_str().expect("a token");
    std::fs::read_to_string(file).expect("the token").trim().to_owned()
}

#[tokio::test]
async fn an_app_may_do_what_it_was_granted_and_nothing_else() {
    let scene = Scene::new(FakeNode::new().node(), Vec::new());
    let token = approved(&scene, &["node.read", "dht.put:chat/", "pubsub:chat/", "identity.sign:login"]).await;
    let bearer = format!("authorization: Bearer {token}");
    let as_app = async |line: &str, body: &str| scene.ask(line, &[&bearer], body).await;
    for line in ["GET /v1/node", "GET /v1/peers", "GET /v1/metrics", "GET /v1/_ping", "GET /v1/apps/chat"] {
        let answer = as_app(line, "").await;
        assert!(answer.status < 300, "{line}: {answer:?}");
    }
    let put = |name: &str| json!({ "app": "other", "name": name, "value": "aGk=" }).to_string();
    assert_eq!(as_app("POST /v1/dht/values", &put("chat/status")).await.status, 200);
    assert_eq!(as_app("POST /v1/topics/chat%2Froom", "hello").await.status, 200);
    let sign = |context: &str| json!({ "context": context, "hash": "00".repeat(32) }).to_string();
    assert_eq!(as_app("POST /v1/identity/sign", &sign("login")).await.status, 200);

    let drive = p2p_identity::DriveId::from([7; 32]);
    let refused = [
        ("POST /v1/node/stop".to_owned(), String::new()),
        ("GET /v1/apps".into(), String::new()),
        ("PUT /v1/apps/chat".into(), r#"{"state": "approved"}"#.into()),
        ("DELETE /v1/apps/chat".into(), String::new()),
        ("GET /v1/audit".into(), String::new()),
        ("GET /v1/drives".into(), String::new()),
        ("POST /v1/drives".into(), r#"{"title": ""}"#.into()),
        (format!("GET /v1/drives/{drive}"), String::new()),
        (format!("GET /v1/drives/{drive}/tree"), String::new()),
        (format!("GET /v1/drives/{drive}/files/x"), String::new()),
        (format!("DELETE /v1/drives/{drive}"), String::new()),
        ("GET /v1/names/zones".into(), String::new()),
        ("POST /v1/names/zones/alice/export".into(), String::new()),
        ("POST /v1/names/resolve".into(), r#"{"name": "x.alice"}"#.into()),
        ("POST /v1/peers/dial".into(), r#"{"target": "x"}"#.into()),
        ("POST /v1/dht/values".into(), put("status")),
        (format!("GET /v1/dht/values/{}", "00".repeat(32)), String::new()),
        ("POST /v1/topics/news".into(), "hello".into()),
        ("GET /v1/topics/news".into(), String::new()),
        ("POST /v1/identity/sign".into(), sign("payment")),
        ("GET /v1/events?topics=drives".into(), String::new()),
        ("GET /v1/apps/files/shares".into(), String::new()),
        ("POST /v1/contacts/pick".into(), "{}".into()),
    ];
    for (line, body) in &refused {
        let answer = as_app(line, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "not_allowed"), "{line}: {answer:?}");
    }
    let audit = scene.ask("GET /v1/audit", &[], "").await.body;
    assert!(audit.lines().count() >= refused.len(), "{audit}");
    assert!(audit.contains("chat POST /v1/node/stop"), "{audit}");

    scene.ask("DELETE /v1/apps/chat", &[], "").await;
    let answer = as_app("GET /v1/node", "").await;
    assert_eq!(answer.code(), "not_allowed", "the token is over: {answer:?}");
    scene.end().await;
}

#[tokio::test]
async fn an_app_gets_the_one_contact_that_the_user_picks_and_sees_no_other() {
    let fake = FakeNode::new();
    let new_zone = p2p_api::NewZone { name: "me".into(), kind: Default::default(), key: None };
    fake.node().names().create_zone(new_zone).await.expect("a zone");
    let identity = p2p_api::NewIdentity { name: "Me".into(), zone: None };
    fake.node().people().create_identity(identity).await.expect("an identity");
    let (bob, carol) = (fake.meet("bob"), fake.meet("carol"));
    let scene = Scene::new(fake.node(), Vec::new());
    let token = approved(&scene, &["contacts.pick"]).await;
    let bearer = format!("authorization: Bearer {token}");
    let as_app = async |line: &str, body: &str| scene.ask(line, &[&bearer], body).await;
    let asked = as_app("POST /v1/contacts/pick", r#"{"app": "other", "reason": "to send it"}"#).await;
    assert_eq!(asked.status, 200, "{asked:?}");
    let asked: Value = serde_json::from_str(&asked.body).expect("JSON");
    assert_eq!((&asked["app"], &asked["state"]), (&json!("chat"), &json!("waiting")));
    let pick = asked["pick"].as_str().expect("an id");
    // It neither answers itself nor sees whom there is, nor what others ask.
    let answer = format!("POST /v1/picks/{pick}");
    for (line, body) in [
        (answer.as_str(), r#"{"contact": "bob"}"#),
        ("GET /v1/picks", ""),
        ("GET /v1/contacts", ""),
        ("PUT /v1/contacts/pick", r#"{"name": "x"}"#),
        ("DELETE /v1/contacts/pick", ""),
    ] {
        assert_eq!(as_app(line, body).await.code(), "not_allowed", "{line}");
    }
    let other = scene.ask("POST /v1/contacts/pick", &[], r#"{"reason": "mine"}"#).await;
    let other: Value = serde_json::from_str(&other.body).expect("JSON");
    let not_its_own = format!("GET /v1/picks/{}", other["pick"].as_str().expect("an id"));
    assert_eq!(as_app(&not_its_own, "").await.code(), "not_found");
    let answered = scene.ask(&answer, &[], r#"{"contact": "bob"}"#).await;
    assert_eq!(answered.status, 200, "{answered:?}");
    let got = as_app(&format!("GET /v1/picks/{pick}?wait_s=30"), "").await;
    assert!(got.body.contains(&bob.identity.to_string()) && got.body.contains(&bob.peer.to_string()), "{got:?}");
    assert!(!got.body.contains(&carol.identity.to_string()) && !got.body.contains(&bob.safety_number), "{got:?}");
    let audit = scene.ask("GET /v1/audit", &[], "").await.body;
    assert!(audit.contains("chat POST /v1/contacts/pick: the user picked a contact"), "{audit}");
    assert!(!audit.contains("bob"), "{audit}");
    // A contact may be called as the call is.
    fake.meet("pick");
    let renamed = scene.ask("PUT /v1/contacts/pick", &[], r#"{"name": "picky"}"#).await;
    assert_eq!(renamed.status, 200, "{renamed:?}");
    fake.meet("pick");
    assert_eq!(scene.ask("DELETE /v1/contacts/pick", &[], "").await.status, 204);
    scene.end().await;
}

#[tokio::test]
async fn drives_are_granted_one_by_one_and_folders_within_the_app_s_own() {
    let fake = FakeNode::new();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), "content").expect("write");
    let new = p2p_api::NewDrive { path: Some(folder.path().to_owned()), title: String::new() };
    let drive = fake.node().drives().create(new).await.expect("a drive").drive;
    let scene = Scene::new(fake.node(), Vec::new());
    let token = approved(&scene, &[&format!("drives.read:{drive}"), "drives.write"]).await;
    let bearer = format!("authorization: Bearer {token}");
    let as_app = async |line: &str, body: &str| scene.ask(line, &[&bearer], body).await;
    assert_eq!(as_app(&format!("GET /v1/drives/{drive}"), "").await.status, 200);
    let create = |path: &str| json!({ "path": path, "title": "" }).to_string();
    for outside in ["/etc", folder.path().to_str().expect("UTF-8"), "/"] {
        assert_eq!(as_app("POST /v1/drives", &create(outside)).await.code(), "not_allowed", "{outside}");
    }
    let info: Value = serde_json::from_str(&as_app("GET /v1/apps/chat", "").await.body).expect("JSON");
    let storage = info["storage"].as_str().expect("a folder").to_owned();
    assert_eq!(as_app("POST /v1/drives", &create(&format!("{storage}/../../.."))).await.code(), "not_allowed");
    std::os::unix::fs::symlink("/etc", format!("{storage}/out")).expect("a link");
    assert_eq!(as_app("POST /v1/drives", &create(&format!("{storage}/out"))).await.code(), "not_allowed");
    std::fs::create_dir(format!("{storage}/site")).expect("a folder");
    assert_eq!(as_app("POST /v1/drives", &create(&format!("{storage}/site"))).await.status, 200);
    let link = p2p_identity::Link::to(p2p_identity::Target::Drive(drive)).to_string();
    let follow = |target: &str| json!({ "link": link, "target": target }).to_string();
    assert_eq!(as_app("POST /v1/drives/follow", &follow("/tmp/elsewhere")).await.code(), "not_allowed");
    scene.end().await;
}

#[tokio::test]
async fn other_tokens_and_too_many_requests_are_refused() {
    let scene = Scene::new(FakeNode::new().node(), Vec::new());
    let token = approved(&scene, &["node.read"]).await;
    for bad in ["Bearer", "Bearer xyz", "Basic YTpi", &format!("Bearer {}", "0".repeat(64))] {
        let answer = scene.ask("GET /v1/node", &[&format!("authorization: {bad}")], "").await;
        assert!(answer.status == 403 || answer.status == 400, "{bad}: {answer:?}");
    }
    let client = Client::connect(scene.socket()).await.expect("it answers").with_token(&token).expect("a token");
    let mut busy = 0;
    for _ in 0..250 {
        match client.node().info().await {
            Ok(_) => {}
            Err(error) if error.kind == p2p_api::ErrorKind::Busy => busy += 1,
            Err(other) => panic!("{other}"),
        }
    }
    // More than one second may have passed on a busy machine, but hardly ten.
    assert!(busy > 0, "the limit is 100 a second");
    assert!(!format!("{client:?}").contains(&token), "tokens are not shown");
    scene.end().await;
}
