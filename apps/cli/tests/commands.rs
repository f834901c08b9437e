//! The commands against a server in front of the fake node, without any daemon.

#![allow(clippy::unwrap_used)]

#[path = "commands/files.rs"]
mod files;
#[path = "commands/scene.rs"]
mod scene;

use std::fs;

use p2p_api::PathKind;
use p2p_identity::{DriveId, PeerId};
use serde_json::Value;

use scene::{Daemon, Done, Scene};

#[tokio::test]
async fn share_with_a_daemon_returns_when_published() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene).await;
    let site = scene.site();
    let done = scene.p2p(&["share", &site]).await;
    assert_eq!((done.status, done.err.as_str()), (0, ""));
    let lines: Vec<&str> = done.out.lines().collect();
    assert!(lines[0].starts_with(&format!("Sharing {site} as p2p://")), "{}", done.out);
    assert!(lines[1].starts_with("  3 files, 1.0 KiB, version 1, published in "), "{}", done.out);

    let again = scene.json(&["share", &site]).await;
    let events: Vec<&str> = again.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!((events.first(), events.last()), (Some(&"link"), Some(&"published")));
    let published = again.last().unwrap();
    for field in ["link", "drive", "browser", "version", "files", "bytes", "seconds", "skipped"] {
        assert!(published.get(field).is_some(), "{field} is missing");
    }
    assert_eq!(published["version"], 1, "the same folder has the same version");
    assert!(done.out.contains(published["link"].as_str().unwrap()), "the same folder has the same link");
    daemon.stop().await;
}

#[tokio::test]
async fn share_without_a_daemon_runs_a_node_and_tells_who_comes() {
    let scene = Scene::new();
    let site = scene.site();
    let args = ["share", &site];
    let run = scene.p2p(&args);
    let act = async {
        let client = scene.wait_for_node().await;
        scene.wait_for_output("published in").await;
        scene.fake.connect(PeerId::from([1; 32]), PathKind::Lan);
        scene.wait_for_output("  1 peer connected (LAN)").await;
        scene.fake.connect(PeerId::from([2; 32]), PathKind::Lan);
        scene.wait_for_output("  2 peers connected (LAN)").await;
        let drive = client.node().drives().list().await.unwrap()[0].drive;
        client.node().drives().remove(drive).await.unwrap();
    };
    let (done, ()) = tokio::join!(run, act);
    assert_eq!(done.status, 0, "{done:?}");
    assert_eq!(done.err, "No node is running: this command runs one until Ctrl-C.\n");
    assert_eq!(scene.nodes_running(), 0, "the node ended with the command");
}

#[tokio::test]
async fn names_are_set_resolved_and_taken_for_links() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene).await;
    let published = scene.json(&["share", &scene.site()]).await.pop().unwrap();
    let link = published["link"].as_str().unwrap();
    let zone = scene.json(&["name", "zone", "create", "alice"]).await.remove(0);
    assert_eq!((zone["zone"].as_str(), zone["ztld"].as_str().map(str::len)), (Some("alice"), Some(58)));
    let set = scene.p2p(&["name", "set", "www", "A", "192.0.2.7", "--expires", "1d"]).await;
    assert_eq!(set.out, "Set www.alice: stored here, published as soon as another node is in reach\n", "{set:?}");
    let found = scene.json(&["name", "resolve", "www.alice", "A"]).await.remove(0);
    assert_eq!(found["records"][0]["value"], "192.0.2.7");
    for field in ["name", "source", "age_s"] {
        assert!(found.get(field).is_some(), "{field} is missing");
    }
    let listed = scene.p2p(&["name", "ls"]).await;
    assert!(listed.out.contains("www.alice") && listed.out.contains("waiting"), "{listed:?}");
    for (args, status) in [
        (&["name", "resolve", "nothing.alice"][..], 4),
        (&["name", "set", "www", "A", "no address"], 2),
        (&["name", "set", "www", "A", "192.0.2.7", "--expires", "soon"], 2),
        (&["clone", "docs.nowhere"], 4),
        (&["name", "rm", "www", "TXT"], 4),
    ] {
        let done = scene.p2p(args).await;
        assert_eq!(done.status, status, "{args:?}: {done:?}");
        assert!(done.err.starts_with("error: ") || status == 2, "{args:?}: {done:?}");
    }
    scene.p2p(&["name", "set", "docs", "P2PDRIVE", link]).await;
    for args in [&["ls", "docs.alice"][..], &["info", "p2p://docs.alice/"], &["cat", "docs.alice/index.html"]] {
        let done = scene.p2p(args).await;
        assert_eq!((done.status, done.err.as_str()), (0, ""), "{args:?}");
    }
    let copy = scene.path("named");
    assert_eq!(scene.p2p(&["clone", "docs.alice", &copy]).await.status, 0);
    assert!(fs::metadata(format!("{copy}/img/a.txt")).is_ok());
    assert_eq!(scene.p2p(&["name", "rm", "www"]).await.status, 0);
    let kept = scene.p2p(&["name", "zone", "rm", "alice"]).await;
    assert!(kept.status != 0 && kept.err.contains("would be lost") && kept.err.contains("--yes"), "{kept:?}");
    let removed = scene.p2p(&["name", "zone", "rm", "alice", "--yes"]).await;
    assert_eq!(
        (removed.status, removed.out.as_str()),
        (0, "Removed zone alice with 1 label, and its key\n"),
        "{removed:?}"
    );
    assert_eq!(scene.p2p(&["name", "zone", "rm", "alice", "--yes"]).await.status, 4);
    daemon.stop().await;
}

#[tokio::test]
async fn mistakes_about_folders_are_told_before_a_node_is_started() {
    let scene = Scene::new();
    let file = format!("{}/index.html", scene.site());
    let id = DriveId::from([1; 32]).to_string();
    for (args, status, message) in [
        (["share", "/not/there"], 4, "there is no folder /not/there"),
        (["share", &file], 2, "is a file, only folders can be shared"),
        (["clone", &id[..30]], 2, "no link and no id"),
        (["cat", &DriveId::from([1; 32]).to_string()], 2, "names no file"),
        (["ls", "http://example.org/"], 2, "p2p://"),
    ] {
        let done = scene.p2p(&args).await;
        assert_eq!(done.status, status, "{args:?}: {done:?}");
        assert!(done.err.contains(message), "{args:?}: {done:?}");
        assert_eq!(done.out, "");
    }
    assert_eq!(scene.nodes_started(), 0);
}

#[tokio::test]
async fn commands_that_need_a_running_node_exit_3() {
    let scene = Scene::new();
    let peer = PeerId::from([1; 32]).to_string();
    for args in [
        vec!["shares"],
        vec!["unshare", "."],
        vec!["peers"],
        vec!["dial", "/ip4/127.0.0.1/tcp/1"],
        vec!["ping", &peer],
        vec!["dht", "find", "00"],
        vec!["api", "GET", "/v1/node"],
    ] {
        let done = scene.p2p(&args).await;
        let expected = if args[0] == "dht" { 2 } else { 3 };
        assert_eq!(done.status, expected, "{args:?}: {done:?}");
    }
    let done = scene.p2p(&["--json", "peers"]).await;
    let error: Value = serde_json::from_str(&done.err).unwrap();
    assert_eq!((done.status, &error["error"]["code"]), (3, &Value::from("no_node")));
    assert!(error["error"]["hint"].as_str().unwrap().contains("p2pnode start"));
    assert_eq!(scene.p2pnode(&["status"]).await.status, 3);
    assert_eq!(scene.p2pnode(&["stop"]).await.status, 3);
    assert_eq!(scene.nodes_started(), 0);
}

#[tokio::test]
async fn ls_cat_and_info_look_into_a_drive() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene).await;
    let shared = scene.json(&["share", &scene.site()]).await;
    let link = shared[0]["link"].as_str().unwrap();
    let id = shared[0]["drive"].as_str().unwrap();

    let listed = scene.json(&["ls", link]).await;
    let paths: Vec<&str> = listed.iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["img", "index.html"]);
    for field in ["path", "kind", "size", "mtime", "mode", "hash"] {
        assert!(listed[0].get(field).is_some(), "{field} is missing");
    }
    let all = scene.json(&["ls", "--recursive", id]).await;
    assert_eq!(all.len(), 4);
    let inner = scene.p2p(&["ls", &format!("{id}/img")]).await;
    assert_eq!(inner.out.lines().count(), 2, "{inner:?}");
    assert!(inner.out.contains(" 1000 B ") && inner.out.contains("img/b.bin"), "{inner:?}");
    assert_eq!(scene.json(&["ls", &format!("{id}/index.html")]).await[0]["path"], "index.html");
    let missing = scene.p2p(&["ls", &format!("{id}/none")]).await;
    assert_eq!((missing.status, missing.out.as_str()), (4, ""));

    let index = format!("{link}index.html");
    assert_eq!(scene.p2p(&["cat", &index]).await.out, "<h1>site</h1>");
    assert_eq!(scene.p2p(&["cat", &index, "--range", "1-2"]).await.out, "h1");
    assert_eq!(scene.p2p(&["cat", &index, "--range", "-5"]).await.out, "</h1>");
    assert_eq!(scene.p2p(&["cat", &index, "--range", "9-"]).await.out, "/h1>");
    assert_eq!(scene.p2p(&["cat", &index, "--range", "100-"]).await.status, 2);
    assert_eq!(scene.p2p(&["cat", &format!("{link}none")]).await.status, 4);

    let info = scene.json(&["info", link]).await;
    assert_eq!((&info[0]["drive"], &info[0]["version"], &info[0]["files"]), (&id.into(), &1.into(), &3.into()));
    assert!(scene.p2p(&["info", id]).await.out.contains("content  3 files, 1.0 KiB"));
    let unknown = scene.p2p(&["--json", "--timeout", "1", "info", &DriveId::from([1; 32]).to_string()]).await;
    assert_eq!(unknown.status, 4);
    let error: Value = serde_json::from_str(&unknown.err).unwrap();
    assert_eq!(error["error"]["code"], "not_found");
    daemon.stop().await;
}

#[tokio::test]
async fn clone_copies_and_tells_what_it_did() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene).await;
    let shared = scene.json(&["share", &scene.site()]).await;
    let link = shared[0]["link"].as_str().unwrap();
    let target = scene.path("copies/one");
    let done = scene.p2p(&["clone", link, &target]).await;
    assert_eq!((done.status, done.err.as_str()), (0, ""));
    assert!(done.out.starts_with(&format!("Cloned into {target}\n  3 files, 1.0 KiB, version 1\n")), "{done:?}");
    assert_eq!(fs::read_to_string(format!("{target}/index.html")).unwrap(), "<h1>site</h1>");

    let lines = scene.json(&["clone", link, &scene.path("copies/two")]).await;
    let progress = &lines[0];
    for field in ["files_done", "files_total", "bytes_done", "bytes_total", "bytes_per_second"] {
        assert!(progress.get(field).is_some(), "{field} is missing");
    }
    assert_eq!(progress["event"], "progress");
    let last = lines.last().unwrap();
    for field in ["drive", "version", "files", "bytes", "bytes_fetched", "seconds", "peers", "skipped"] {
        assert!(last.get(field).is_some(), "{field} is missing");
    }
    let file = format!("{}/index.html", scene.site());
    assert_eq!(scene.p2p(&["clone", link, &file]).await.status, 2);
    daemon.stop().await;
}

#[tokio::test]
async fn clone_without_a_daemon_runs_a_node_and_stops_it() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene).await;
    let shared = scene.json(&["share", &scene.site()]).await;
    daemon.stop().await;
    let link = shared[0]["link"].as_str().unwrap();
    let done = scene.p2p(&["clone", link, &scene.path("copy")]).await;
    assert_eq!(done.status, 0, "{done:?}");
    assert_eq!((scene.nodes_started(), scene.nodes_running()), (1, 0));
}

#[tokio::test]
async fn what_is_left_out_is_listed_up_to_twenty() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene).await;
    let site = scene.site();
    for at in 0..25 {
        fs::write(format!("{site}/skip{at:02}"), "").unwrap();
    }
    let done = scene.p2p(&["share", &site]).await;
    assert!(done.err.starts_with("Left out 25 entries:\n  skip00: not wanted\n"), "{done:?}");
    assert!(done.err.ends_with("  skip19: not wanted\n  and 5 more; --json lists all\n"), "{done:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn shares_are_listed_and_ended() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene).await;
    assert!(scene.p2p(&["shares"]).await.out.starts_with("Nothing is shared."));
    let site = scene.site();
    scene.p2p(&["share", &site]).await;
    let listed = scene.json(&["shares"]).await;
    for field in ["drive", "link", "path", "role", "version", "files", "bytes", "peers"] {
        assert!(listed[0][0].get(field).is_some(), "{field} is missing");
    }
    assert_eq!(listed[0][0]["role"], "owner");
    let table = scene.p2p(&["shares"]).await.out;
    assert!(table.contains("PATH") && table.contains(&site), "{table}");

    let done = scene.p2p(&["unshare", &site]).await;
    assert_eq!((done.status, done.out.as_str()), (0, format!("No longer shared: {site}. Its files stay.\n").as_str()));
    assert!(fs::metadata(format!("{site}/index.html")).is_ok());
    assert_eq!(scene.p2p(&["unshare", &site]).await.status, 4);
    daemon.stop().await;
}

#[tokio::test]
async fn network_commands_tell_what_the_node_says() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene).await;
    let peer = PeerId::from([1; 32]);
    let id = peer.to_string();
    assert_eq!(scene.p2p(&["peers"]).await.out, "No peer is connected.\n");
    assert_eq!(scene.p2p(&["ping", &id]).await.status, 4);
    scene.fake.connect(peer, PathKind::Direct);
    assert!(scene.p2p(&["peers"]).await.out.contains("direct"));
    let peers = scene.json(&["peers"]).await;
    assert_eq!(peers[0][0]["kind"], "direct");
    let ping = scene.json(&["ping", &id]).await[0].clone();
    assert_eq!((&ping["rtt_ms"], &ping["path"], &ping["relay"]), (&1.5.into(), &"direct".into(), &Value::Null));
    let times = ["min_ms", "avg_ms", "max_ms"].map(|field| ping[field].as_f64().unwrap());
    assert_eq!((times, ping["round_trips_ms"].as_array().unwrap().len()), ([1.0, 1.5, 2.0], 3));
    let other = PeerId::from([2; 32]);
    scene.fake.connect(other, PathKind::Relayed);
    let said = scene.p2p(&["ping", &other.to_string()]).await.out;
    let relay = PeerId::from([9; 32]);
    assert!(said.contains(&format!("relayed through {relay}")) && said.contains("1.0/1.5/2.0 ms"), "{said}");
    let all = scene.json(&["peers"]).await;
    let through: Vec<_> = all[0].as_array().unwrap().iter().filter(|peer| peer["path"] == "relayed").collect();
    assert!(through.len() == 1 && through[0]["relay"] == relay.to_string(), "{all:?}");
    scene.fake.disconnect(other);
    assert_eq!(scene.p2p(&["ping", "12D3KooWwrong"]).await.status, 2);
    let findings = scene.json(&["doctor"]).await[0].as_array().unwrap().clone();
    let all: Vec<_> = findings.iter().map(|finding| finding["title"].as_str().unwrap()).collect();
    assert!(all.contains(&"Other nodes") && all.contains(&"From the Internet") && all.contains(&"Clock"), "{all:?}");
    let lan = scene.json(&["doctor", "lan"]).await[0].as_array().unwrap().clone();
    assert!(lan.len() == 1 && lan[0]["area"] == "lan", "{lan:?}");
    let said = scene.p2p(&["doctor", "nat"]).await.out;
    assert!(said.contains("From the Internet (") && said.contains("transport.listen"), "{said}");
    assert_eq!(scene.p2p(&["doctor", "teeth"]).await.status, 2);
    assert_eq!(scene.json(&["dial", &id]).await[0]["peer"], id);
    assert_eq!(scene.p2p(&["dial", "nonsense"]).await.status, 2);

    let key = "00".repeat(32);
    assert_eq!(scene.json(&["dht", "find", &key]).await, [Value::Array(Vec::new())]);
    assert_eq!(scene.json(&["dht", "provide", &key]).await[0]["provided"], true);
    assert_eq!(scene.json(&["dht", "find", &key]).await[0].as_array().unwrap().len(), 1);
    assert_eq!(scene.json(&["dht", "provide", "--stop", &key]).await[0]["provided"], false);
    let stored = &scene.json(&["dht", "put", "status", "away", "--expires", "60"]).await[0];
    let at = stored["key"].as_str().unwrap();
    assert_eq!(scene.json(&["dht", "get", at]).await[0]["value"], "YXdheQ==");
    assert_eq!(scene.p2p(&["dht", "get", at]).await.out, "away");
    assert_eq!(scene.p2p(&["dht", "get", &"00".repeat(32)]).await.status, 4);

    let node: Value = serde_json::from_str(&scene.p2p(&["api", "GET", "/v1/node"]).await.out).unwrap();
    assert_eq!(node["network"], "fake");
    let dialed = scene.p2p(&["api", "/v1/peers/dial", "--data", &format!("{{\"target\":\"{id}\"}}")]).await;
    assert!(dialed.out.contains(&id), "{dialed:?}");
    assert_eq!(scene.p2p(&["api", "GET", "/v1/none"]).await.status, 4);
    assert_eq!(scene.p2p(&["api", "v1"]).await.status, 2);
    daemon.stop().await;
}

#[tokio::test]
async fn apps_ask_and_the_user_decides() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene).await;
    let said = async |args: &[&str]| scene.p2p(args).await.out;
    assert!(said(&["app", "requests"]).await.contains("No app waits"));
    let manifest =
        r#"{"id": "chat", "name": "Chat", "scopes": ["node.read", "pubsub:chat/"], "storage_quota": 1048576}"#;
    assert_eq!(scene.p2p(&["api", "/v1/apps", "-d", manifest]).await.status, 0);
    let asked = said(&["app", "requests"]).await;
    assert!(asked.contains("Chat (chat) asks for 2 things") && asked.contains("pubsub:chat/"), "{asked}");
    let info = &scene.json(&["app", "approve", "chat"]).await[0];
    let token = fs::read_to_string(info["token_file"].as_str().unwrap()).unwrap();
    assert_eq!(token.trim().len(), 64);
    assert!(said(&["app", "ls"]).await.contains("approved"));
    assert!(said(&["app", "top"]).await.contains("chat"));
    let bearer = format!("Authorization: Bearer {}", token.trim());
    assert_eq!(scene.p2p(&["api", "/v1/node", "-H", &bearer]).await.status, 0);
    assert_eq!(scene.p2p(&["api", "POST", "/v1/node/stop", "-H", &bearer]).await.status, 5);
    assert!(said(&["app", "audit"]).await.contains("POST /v1/node/stop"));
    assert_eq!(scene.p2p(&["app", "revoke", "chat"]).await.status, 0);
    assert_eq!(scene.p2p(&["api", "/v1/node", "-H", &bearer]).await.status, 5);
    assert_eq!(scene.p2p(&["app", "approve", "nobody"]).await.status, 4);
    let bad = r#"{"id": "Chat", "name": "Chat", "scopes": ["everything"]}"#;
    assert_eq!(scene.p2p(&["api", "/v1/apps", "-d", bad]).await.status, 2);
    daemon.stop().await;
}

#[tokio::test]
async fn people_are_invited_verified_and_forgotten() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene).await;
    assert_eq!(scene.p2p(&["identity", "show"]).await.status, 4);
    scene.json(&["name", "zone", "create", "me"]).await;
    // The first invite makes an identity as well; its words are on stderr, or a field.
    let first = scene.p2p(&["contact", "invite", "--name", "bob", "--expires", "2h"]).await;
    assert_eq!(first.status, 0, "{}", first.err);
    let link = first.out.lines().next().unwrap();
    assert!(link.starts_with("p2pn:1:") && first.out.contains("█") && first.err.contains("24 words"), "{first:?}");
    let shown = &scene.json(&["identity", "show"]).await[0];
    assert_eq!(shown["zone"], "me");
    assert!(scene.p2p(&["identity", "export"]).await.out.contains("genesis"));
    assert_eq!(scene.p2p(&["identity", "create"]).await.status, 1);
    let invites = scene.json(&["contact", "invites"]).await;
    assert!(invites[0].as_array().unwrap().iter().any(|invite| invite["name"] == "bob" && invite["state"] == "open"));
    let own = scene.p2p(&["contact", "accept", link]).await;
    assert!(own.status == 2 && own.err.contains("invite of your own"), "{}", own.err);
    assert_eq!(scene.p2p(&["contact", "accept", "p2pn:1:xyz"]).await.status, 2);
    assert_eq!(scene.p2p(&["contact", "revoke", "00"]).await.status, 4);
    let contact = scene.fake.meet("carol");
    let listed = scene.p2p(&["contact", "ls"]).await;
    assert!(listed.out.contains("carol") && listed.out.contains("not verified"), "{}", listed.out);
    let number = scene.p2p(&["contact", "verify", "carol"]).await;
    assert!(number.out.contains(&contact.safety_number[..23]), "{}", number.out);
    assert_eq!(scene.p2p(&["contact", "verify", "carol", "--number", "1"]).await.status, 5);
    let verified = scene.json(&["contact", "verify", "carol", "--number", &contact.safety_number]).await;
    assert_eq!(verified[0]["verified"], "number");
    // Or by codes: one's own is no proof, nor is one for somebody else.
    let shown = scene.p2p(&["contact", "verify", "carol", "--qr"]).await.out;
    assert!(shown.contains("█") && shown.contains(&contact.code), "{shown}");
    let mut halves = contact.code.rsplit(':');
    let (carol, own) = (halves.next().unwrap(), halves.next().unwrap());
    let scanned = async |code: &str| scene.p2p(&["contact", "verify", "carol", "--scanned", code]).await;
    let own_code = scanned(&contact.code).await;
    assert!(own_code.status == 5 && own_code.err.contains("another identity"), "{}", own_code.err);
    assert_eq!(scanned(&format!("p2pv:1:{carol}:{carol}")).await.status, 5);
    assert_eq!(scanned("p2pv:1:hello").await.status, 2);
    let theirs = format!("P2PV:1:{}:{}", carol.to_uppercase(), own.to_uppercase());
    assert_eq!(scanned(&theirs).await.status, 0);
    assert!(scene.p2p(&["contact", "ls"]).await.out.contains("code scanned"));
    assert_eq!(scene.p2p(&["contact", "verify", "carol", "--qr", "--number", "1"]).await.status, 2);
    // An app asks for one contact.
    assert!(scene.p2p(&["contact", "pick"]).await.out.contains("No app asks"));
    let ask = r#"{"app": "chat", "reason": "to send a picture"}"#;
    let asked = scene.p2p(&["api", "/v1/contacts/pick", "-d", ask]).await.out;
    let pick = serde_json::from_str::<Value>(&asked).unwrap()["pick"].as_str().unwrap().to_owned();
    let listed = scene.p2p(&["contact", "pick"]).await.out;
    assert!(listed.contains(&pick) && listed.contains("chat") && listed.contains("to send a picture"), "{listed}");
    assert_eq!(scene.p2p(&["contact", "pick", &pick]).await.status, 2);
    assert_eq!(scene.p2p(&["contact", "pick", &pick, "nobody"]).await.status, 4);
    assert_eq!(scene.json(&["contact", "pick", &pick, "carol"]).await[0]["contact"]["name"], "carol");
    assert_eq!(scene.p2p(&["contact", "pick", &pick, "--refuse"]).await.status, 1, "it has been answered");
    assert_eq!(scene.json(&["contact", "rename", "carol", "caro"]).await[0]["name"], "caro");
    assert_eq!(scene.p2p(&["contact", "rename", "caro", "a.b"]).await.status, 2);
    let site = scene.site();
    scene.json(&["share", &site]).await;
    let writer = scene.p2p(&["writers", "add", &site, "caro"]).await;
    assert!(writer.status == 4 && writer.err.contains("cannot reach their node"), "{}", writer.err);
    assert_eq!(scene.p2p(&["writers", "add", &site, "nobody"]).await.status, 4);
    assert_eq!(scene.p2p(&["contact", "rm", "caro"]).await.status, 0);
    assert_eq!(scene.p2p(&["contact", "rm", "caro"]).await.status, 4);
    daemon.stop().await;
}

#[tokio::test]
async fn keys_are_locked_and_unlocked_with_a_passphrase_from_a_private_file() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new();
    let daemon = Daemon::start(&scene).await;
    let file = |name: &str, text: &str, mode: u32| {
        let path = scene.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let (good, other, open) = (file("good", "two words\n", 0o600), file("other", "x", 0o600), file("open", "x", 0o644));
    assert_eq!(scene.p2p(&["lock"]).await.status, 1, "there is no passphrase");
    assert_eq!(scene.p2p(&["passphrase", "--passphrase-file", &open]).await.status, 5, "others can read it");
    let set = scene.json(&["passphrase", "--passphrase-file", &good]).await;
    assert_eq!((&set[0]["protected"], &set[0]["locked"]), (&true.into(), &false.into()));
    assert_eq!(scene.json(&["lock"]).await[0]["locked"], true);
    assert!(scene.p2pnode(&["status"]).await.out.contains("locked: p2p unlock"));
    let refused = scene.p2p(&["--json", "contact", "invite"]).await;
    assert!(refused.status != 0, "{refused:?}");
    assert_eq!(scene.p2p(&["unlock", "--passphrase-file", &other]).await.status, 5);
    assert_eq!(scene.p2p(&["unlock"]).await.status, 2, "there is no terminal to ask at");
    assert_eq!(scene.json(&["unlock", "--passphrase-file", &good]).await[0]["locked"], false);
    let changed = ["passphrase", "--passphrase-file", &good, "--new-passphrase-file", &other];
    assert_eq!(scene.json(&changed).await[0]["protected"], true);
    assert_eq!(scene.p2p(&["passphrase", "--remove", "--passphrase-file", &good]).await.status, 5);
    assert_eq!(scene.json(&["passphrase", "--remove", "--passphrase-file", &other]).await[0]["protected"], false);
    daemon.stop().await;
}

#[tokio::test]
async fn a_daemon_is_asked_how_it_is_and_stopped() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene).await;
    let status = scene.p2pnode(&["status", "--json"]).await;
    let status: Value = serde_json::from_str(&status.out).unwrap();
    for field in [
        "peer_id",
        "version",
        "network",
        "uptime_s",
        "listen",
        "external",
        "reachability",
        "peers",
        "dht_peers",
        "dht_mode",
        "relays",
        "rss_bytes",
        "drives",
        "gateway",
    ] {
        assert!(status.get(field).is_some(), "{field} is missing");
    }
    assert!(scene.p2pnode(&["status"]).await.out.contains("network fake"));
    // The fake does not end its server by itself, as a daemon does.
    let (done, ()) = tokio::join!(scene.p2pnode(&["stop"]), async {
        while !scene.fake.is_stopped() {
            tokio::task::yield_now().await;
        }
        daemon.stop().await;
    });
    assert_eq!((done.status, done.out.as_str()), (0, "Stopped.\n"));
}

#[tokio::test]
async fn usage_errors_and_help_have_their_places() {
    let scene = Scene::new();
    let help = scene.p2p(&["share", "--help"]).await;
    assert_eq!((help.status, help.err.as_str()), (0, ""));
    assert!(help.out.contains("Example: p2p share ./site"));
    let wrong = scene.p2p(&["shar"]).await;
    assert_eq!((wrong.status, wrong.out.as_str()), (2, ""));
    assert!(wrong.err.contains("error"));
    let json = scene.p2p(&["--json", "share"]).await;
    assert_eq!((json.status, json.out.as_str()), (2, ""));
    let error: Value = serde_json::from_str(&json.err).unwrap();
    assert_eq!(error["error"]["code"], "invalid_input");
    assert_eq!(scene.p2pnode(&["start", "--gateway", "x"]).await.status, 2);
}

#[tokio::test]
async fn completions_and_manual_pages_are_written() {
    let scene = Scene::new();
    for shell in ["bash", "zsh", "fish"] {
        let done = scene.p2p(&["completions", shell]).await;
        assert!(done.status == 0 && done.out.contains("unshare"), "{shell}");
    }
    assert!(scene.p2p(&["man"]).await.out.contains(".TH p2p 1"));
    let dir = scene.path("man1");
    assert_eq!(scene.p2p(&["man", &dir]).await.status, 0);
    for page in ["p2p.1", "p2p-share.1", "p2p-dht-find.1", "p2pnode.1", "p2pnode-start.1"] {
        assert!(fs::metadata(format!("{dir}/{page}")).is_ok(), "{page} is missing");
    }
}

#[tokio::test]
async fn the_daemon_gets_its_settings_and_its_errors_are_told() {
    let scene = Scene::new();
    let done: Done = scene.p2pnode(&["config", "--network", "lab"]).await;
    assert_eq!((done.status, done.out.as_str()), (0, "network = \"lab\"\n"));
    let done = scene.p2pnode(&["start", "--json", "--network", "lab"]).await;
    assert_eq!(done.status, 5);
    let error: Value = serde_json::from_str(&done.err).unwrap();
    assert_eq!(error["error"]["message"], "cannot start: the home is not yours");
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_failure() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene).await;
    scene.p2p(&["share", &scene.site()]).await;
    let link = scene.json(&["shares"]).await[0][0]["link"].as_str().unwrap().to_owned();
    let done = scene.p2p_into_broken_pipe(&["cat", &format!("{link}index.html")]).await;
    assert_eq!((done.status, done.err.as_str()), (0, ""));
    daemon.stop().await;
}
