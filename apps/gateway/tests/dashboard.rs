//! The dashboard: who gets in, what it shows, what its forms do.

#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use http::{Method, StatusCode};
use p2p_api::gateway::Opened;
use p2p_api::{App, AppRequest, PathKind, PeerId};
use support::{Answer, PATIENCE, Scene};

const FILES: [(&str, &[u8]); 2] = [("index.html", b"home"), ("docs/<b>.txt", b"x")];

/// A browser that was let in.
struct Browser<'scene> {
    scene: &'scene Scene,
    cookie: String,
}

impl<'scene> Browser<'scene> {
    async fn enter(scene: &'scene Scene) -> Self {
        let url = scene.gateway.dashboard_url().unwrap();
        let path = url.strip_prefix(&format!("http://{}", scene.dashboard())).unwrap();
        let answer = scene.ask_host(&scene.dashboard(), Method::GET, path, &[], "").await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/"));
        let cookie = answer.header("set-cookie");
        for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        assert!(!cookie.to_lowercase().contains("domain"), "{cookie}");
        Self { scene, cookie: cookie.split(';').next().unwrap().to_owned() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.scene.ask_host(&self.scene.dashboard(), Method::GET, path, &[("cookie", &self.cookie)], "").await
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.form_token().await;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("form_token", &token).extend_pairs(fields);
        self.post_raw(path, &form.finish()).await
    }

    async fn post_raw(&self, path: &str, body: &str) -> Answer {
        let host = self.scene.dashboard();
        let origin = format!("http://{host}");
        let headers = [
            ("cookie", self.cookie.as_str()),
            ("origin", &origin),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        self.scene.ask_host(&host, Method::POST, path, &headers, body).await
    }

    async fn form_token(&self) -> String {
        let page = self.get("/drives").await;
        let (_, rest) = page.text().split_once("name=\"form_token\" value=\"").expect("a form");
        rest.split('"').next().unwrap().to_owned()
    }
}

#[tokio::test]
async fn nobody_gets_in_without_an_invitation() {
    let scene = Scene::with(&FILES).await;
    for path in
        ["/", "/drives", "/names", "/people", "/peers", "/storage", "/doctor", "/events", "/nowhere", "/?token=guessed"]
    {
        for cookie in ["", "p2pnode_session=guessed"] {
            let answer = scene.ask_host(&scene.dashboard(), Method::GET, path, &[("cookie", cookie)], "").await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
            assert!(answer.text().contains("p2p open"));
            assert!(!answer.text().contains(&scene.drive.to_string()));
        }
    }
    let url = scene.gateway.dashboard_url().unwrap();
    let path = url.split_once(&scene.dashboard()).unwrap().1;
    let first = scene.ask_host(&scene.dashboard(), Method::GET, path, &[], "").await;
    let second = scene.ask_host(&scene.dashboard(), Method::GET, path, &[], "").await;
    assert_eq!((first.status, second.status), (StatusCode::SEE_OTHER, StatusCode::UNAUTHORIZED), "it counts once");
}

#[tokio::test]
async fn pages_show_what_the_node_knows() {
    let scene = Scene::with(&FILES).await;
    let peer = PeerId::from([7; 32]);
    scene.fake.connect(peer, PathKind::Lan);
    let browser = Browser::enter(&scene).await;
    let overview = browser.get("/").await;
    assert!(overview.text().contains("Not known yet") && overview.text().contains("/memory/1"));
    let peers = browser.get("/peers").await;
    assert!(peers.text().contains(&peer.to_string()) && peers.text().contains("Local"));
    assert!(peers.text().contains("1.5 ms"));
    let drives = browser.get("/drives").await;
    assert!(drives.text().contains("A site") && drives.text().contains(&scene.host()));
    let drive = browser.get(&format!("/drives/{}?path=docs", scene.drive)).await;
    assert!(drive.text().contains("&lt;b&gt;.txt") && !drive.text().contains("<b>.txt"));
    let storage = browser.get("/storage").await;
    assert!(storage.text().contains("A site") && storage.text().contains("switched off"));
    scene.node.seem_busy();
    let storage = browser.get("/storage").await;
    assert!(storage.text().contains("of at most 9.3 GiB") && storage.text().contains("A film archive"));
    let doctor = browser.get("/doctor").await;
    for word in ["1 node is connected", "Nobody from outside", "Clock", "171 GiB are free"] {
        assert!(doctor.text().contains(word), "{word}");
    }
    assert_eq!(browser.get("/drives/nonsense").await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get("/nowhere").await.status, StatusCode::NOT_FOUND);
    scene.end().await;
}

#[tokio::test]
async fn every_page_is_locked_down_and_loads_only_its_own() {
    let scene = Scene::with(&FILES).await;
    let browser = Browser::enter(&scene).await;
    let drive = format!("/drives/{}", scene.drive);
    for path in ["/", "/drives", "/names", "/people", "/peers", "/storage", "/doctor", &drive, "/nowhere", "/style.css"]
    {
        let page = browser.get(path).await;
        assert!(page.header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
        let text = page.text();
        assert!(!text.contains("<script>") && !text.contains("style=\"") && !text.contains("onclick"), "{path}");
        for address in text.split("src=\"").skip(1) {
            assert!(address.starts_with('/'), "{path} loads {address:.40}");
        }
    }
    assert_eq!(browser.get("/").await.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_form_counts_only_from_its_own_page() {
    let scene = Scene::with(&FILES).await;
    let browser = Browser::enter(&scene).await;
    let other = Browser::enter(&scene).await;
    let path = format!("/drives/{}/remove", scene.drive);
    for body in [String::new(), "form_token=".into(), format!("form_token={}", other.form_token().await)] {
        assert_eq!(browser.post_raw(&path, &body).await.status, StatusCode::FORBIDDEN, "{body}");
    }
    let body = format!("form_token={}", browser.form_token().await);
    let host = scene.dashboard();
    for headers in [
        vec![("cookie", browser.cookie.as_str())],
        vec![("cookie", browser.cookie.as_str()), ("origin", "http://example.org")],
        vec![("cookie", browser.cookie.as_str()), ("origin", "null")],
    ] {
        let answer = scene.ask_host(&host, Method::POST, &path, &headers, &body).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
    }
    let large = format!("form_token={}&x={}", browser.form_token().await, "x".repeat(100_000));
    assert_eq!(browser.post_raw(&path, &large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(scene.fake.node().drives().get(scene.drive).await.is_ok(), "nothing was done");
    assert_eq!(browser.post(&path, &[]).await.status, StatusCode::SEE_OTHER);
    assert!(scene.fake.node().drives().get(scene.drive).await.is_err(), "now it was");
}

#[tokio::test]
async fn a_folder_is_shared_by_its_path() {
    let scene = Scene::with(&FILES).await;
    let browser = Browser::enter(&scene).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), "x").unwrap();
    let path = folder.path().to_str().unwrap();
    assert_eq!(browser.post("/drives/share", &[("path", path)]).await.status, StatusCode::SEE_OTHER);
    until(&browser, "/drives", |page| page.contains("Done")).await;
    for bad in ["relative", "", "/nowhere/at/all"] {
        let refused = browser.post("/drives/share", &[("path", bad)]).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{bad}");
        assert!(refused.text().contains("role=\"alert\"") && refused.text().contains(&format!("value=\"{bad}\"")));
    }
}

#[tokio::test]
async fn a_drive_is_copied_by_its_link() {
    let scene = Scene::with(&FILES).await;
    let browser = Browser::enter(&scene).await;
    let target = tempfile::tempdir().unwrap();
    let target = target.path().join("copy");
    let link = format!("p2p://{}/", scene.drive);
    let fields = [("link", link.as_str()), ("target", target.to_str().unwrap())];
    assert_eq!(browser.post("/drives/clone", &fields).await.status, StatusCode::SEE_OTHER);
    until(&browser, "/drives", |page| page.contains("Done")).await;
    assert_eq!(std::fs::read(target.join("index.html")).unwrap(), b"home");
    let page = browser.get("/drives").await;
    let dismiss = page.text().split("action=\"").find(|rest| rest.starts_with("/transfers/")).unwrap();
    let dismiss = dismiss.split('"').next().unwrap().to_owned();
    browser.post(&dismiss, &[]).await;
    assert!(!browser.get("/drives").await.text().contains("Done"));
    for bad in ["p2p://example.org/", "", "https://example.org"] {
        let answer = browser.post("/drives/clone", &[("link", bad), ("target", "/nowhere/x")]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn people_are_invited_listed_and_verified() {
    let scene = Scene::with(&FILES).await;
    let (fake, browser) = (&scene.fake, Browser::enter(&scene).await);
    assert!(browser.get("/people").await.text().contains("Who are you?"));
    let refused = browser.post("/people/invite", &[("name", "bob")]).await;
    assert!(refused.status == StatusCode::BAD_REQUEST && refused.text().contains("no identity"), "{}", refused.text());
    assert_eq!(browser.post("/names/zones", &[("zone", "me")]).await.status, StatusCode::SEE_OTHER);
    let made = browser.post("/people/identity", &[("name", "Alice <b>")]).await;
    assert_eq!(made.text().matches("<li>").count(), 7 + 24, "the menu and 24 words");
    assert!(made.text().contains("Alice &lt;b&gt;"));
    assert!(!browser.get("/people").await.text().contains("24 words"), "they are told once");
    let invite = browser.post("/people/invite", &[("name", "bob"), ("in_person", "1")]).await;
    assert!(invite.text().contains("p2pn:1:") && invite.text().contains("as a QR code"), "{}", invite.text());
    let page = browser.get("/people").await;
    assert!(page.text().contains("Take back") && !page.text().contains("p2pn:1:a"), "an invite is told once");
    let bad = browser.post("/people/accept", &[("link", "hello")]).await;
    assert!(bad.status == StatusCode::BAD_REQUEST && bad.text().contains("This is not an invite"), "{}", bad.text());
    let contact = fake.meet("carol");
    assert!(browser.get("/people").await.text().contains(&contact.safety_number));
    let wrong = browser.post("/people/verify", &[("contact", "carol"), ("number", "1")]).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    let right = [("contact", "carol"), ("number", contact.safety_number.as_str())];
    assert_eq!(browser.post("/people/verify", &right).await.status, StatusCode::SEE_OTHER);
    assert!(browser.get("/people").await.text().contains("Number compared"));
    // By a code as well: shown beside the number, and taken in the same field.
    let dave = fake.meet("dave");
    assert!(browser.get("/people").await.text().contains("The code that dave scans"));
    let (them, me) = dave.code.rsplit_once(':').map(|(rest, them)| (them, &rest[7..])).unwrap();
    let scanned = async |text: &str| browser.post("/people/verify", &[("contact", "dave"), ("number", text)]).await;
    let own = scanned(&dave.code).await;
    assert!(own.status == StatusCode::BAD_REQUEST && own.text().contains("another identity"), "{}", own.text());
    assert_eq!(scanned(&format!("P2PV:1:{them}:{me}")).await.status, StatusCode::SEE_OTHER);
    assert!(browser.get("/people").await.text().contains("Code scanned"));
}

#[tokio::test]
async fn names_are_made_set_resolved_and_removed() {
    let scene = Scene::with(&FILES).await;
    let browser = Browser::enter(&scene).await;
    assert!(browser.get("/names").await.text().contains("No zones yet"));
    assert_eq!(browser.post("/names/zones", &[("zone", "alice")]).await.status, StatusCode::SEE_OTHER);
    let record = [("of", "alice"), ("label", "www"), ("type", "a"), ("value", "192.0.2.7")];
    assert_eq!(browser.post("/names/records", &record).await.status, StatusCode::SEE_OTHER);
    let page = browser.get("/names?name=www.alice").await;
    assert!(page.text().contains("Found in a zone of this node") && page.text().contains("192.0.2.7"));
    for name in ["nothing.alice", "%3Cscript%3E", "%00", "a..b"] {
        let page = browser.get(&format!("/names?name={name}")).await;
        assert!(page.status == StatusCode::OK && page.text().contains("role=\"alert\""), "{name}");
        assert!(!page.text().contains("<script>"));
    }
    for (path, fields) in [
        ("/names/zones", vec![("zone", "alice")]),
        ("/names/zones", vec![("zone", "")]),
        ("/names/records", vec![("of", "alice"), ("label", "www"), ("type", "A"), ("value", "no address")]),
        ("/names/records", vec![("of", "nobody"), ("label", "www"), ("type", "A"), ("value", "192.0.2.7")]),
        ("/names/remove", vec![("of", "alice"), ("label", "other"), ("type", "A")]),
    ] {
        let refused = browser.post(path, &fields).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path} {fields:?}");
        assert!(refused.text().contains("role=\"alert\""));
    }
    let gone = [("of", "alice"), ("label", "www"), ("type", "A")];
    assert_eq!(browser.post("/names/remove", &gone).await.status, StatusCode::SEE_OTHER);
    assert!(browser.get("/names").await.text().contains("No records yet"));
    // A zone goes with its records, after a form that says so.
    assert_eq!(browser.post("/names/records", &record).await.status, StatusCode::SEE_OTHER);
    let page = browser.get("/names").await;
    assert!(page.text().contains("Remove the zone") && page.text().contains("1 label"), "{}", page.text());
    let nowhere = browser.post("/names/zones/remove", &[("zone", "nowhere")]).await;
    assert_eq!(nowhere.status, StatusCode::BAD_REQUEST);
    assert_eq!(browser.post("/names/zones/remove", &[("zone", "alice")]).await.status, StatusCode::SEE_OTHER);
    assert!(browser.get("/names").await.text().contains("No zones yet"));
    scene.end().await;
}

#[tokio::test]
async fn what_was_looked_at_can_be_freed() {
    let scene = Scene::with(&FILES).await;
    let browser = Browser::enter(&scene).await;
    assert_eq!(browser.post("/storage/free", &[]).await.status, StatusCode::SEE_OTHER);
    let drive = scene.drive.to_string();
    assert_eq!(browser.post("/storage/free", &[("drive", &drive)]).await.status, StatusCode::SEE_OTHER);
    assert!(browser.post("/storage/free", &[("drive", "nonsense")]).await.text().contains("role=\"alert\""));
    assert!(scene.fake.node().drives().get(scene.drive).await.is_ok(), "what is shared stays");
    scene.end().await;
}

async fn until(browser: &Browser<'_>, path: &str, is_there: impl Fn(&str) -> bool) {
    let wait = async {
        while !is_there(browser.get(path).await.text()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it never showed");
}

#[tokio::test]
async fn the_local_socket_hands_out_addresses() {
    let scene = Scene::with(&FILES).await;
    let node = scene.fake.node();
    let ask = async |body: &'static str| {
        let request = AppRequest {
            method: Method::POST,
            path: "open".to_owned(),
            query: String::new(),
            body: Bytes::from_static(body.as_bytes()),
        };
        scene.gateway.handle(&node, request).await
    };
    let dashboard = ask("{}").await;
    assert_eq!(dashboard.status, 200);
    let opened: Opened = read(dashboard).await;
    assert!(opened.url.starts_with(&format!("http://{}/?token=", scene.dashboard())));
    let link: &'static str = format!("{{\"link\": \"p2p://{}/a b.html\"}}", scene.drive).leak();
    let opened: Opened = read(ask(link).await).await;
    assert_eq!(opened.url, format!("http://{}/a%20b.html", scene.host()));
    assert_eq!(ask("{\"link\": \"p2p://docs.alice/\"}").await.status, 400);
    assert_eq!(ask("[").await.status, 400);
}

async fn read<T: serde::de::DeserializeOwned>(answer: p2p_api::AppResponse) -> T {
    use futures::TryStreamExt;
    let bytes: Vec<Bytes> = answer.body.try_collect().await.unwrap();
    serde_json::from_slice(&bytes.concat()).unwrap()
}
