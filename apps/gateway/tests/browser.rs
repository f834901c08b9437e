//! A real browser: sites on their own origins, and every page of the dashboard with a picture of it.
//!
//! Needs `chromium`, `node`, and once `npm install --no-package-lock` in `tests/browser`; without them it says so and
//! does nothing. Pictures go to `tests/browser/shots`.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use p2p_api::{NewZone, PathKind, PeerId, SetRecord, ZoneKind};
use serde_json::json;
use support::Scene;
use tokio::process::Command;

/// How long the browser may take for all of it.
const BROWSER_TIME: Duration = Duration::from_secs(240);

const HOME: &[u8] = br#"<!doctype html><html lang="en"><meta charset="utf-8"><title>Home</title>
<link rel="stylesheet" href="assets/style.css"><h1>Home</h1><a id="next" href="pages/next.html">next</a>
<img id="picture" src="assets/picture.svg" alt=""><script src="/.p2p/live.js"></script>"#;
const NEXT: &[u8] =
    b"<!doctype html><title>Next</title><link rel=stylesheet href=../assets/style.css><a href=../>home</a>";
const STYLE: &[u8] = b"@font-face{font-family:Own;src:url(own.ttf)} h1{color:rgb(1, 2, 3);font-family:Own,serif}";
const PICTURE: &[u8] =
    b"<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'><rect width='8' height='8'/></svg>";
const WORKER: &[u8] = b"self.addEventListener('fetch', e => { if (e.request.url.endsWith('/from-worker')) \
    e.respondWith(new Response('made by the worker')); });\
    self.addEventListener('activate', e => e.waitUntil(clients.claim()));";
const APP: &[u8] = b"<!doctype html><title>App</title><p id=route></p>\
    <script>document.getElementById('route').textContent = location.pathname</script>";
const MANIFEST: &[u8] = br#"{"spa": "/app.html", "title": "A site"}"#;

#[tokio::test]
async fn a_browser_shows_sites_and_the_dashboard() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let Some(chromium) = program(&["chromium", "chromium-browser"]) else { return skip("there is no chromium") };
    let Some(node) = program(&["node", "nodejs"]) else { return skip("there is no node") };
    if !folder.join("node_modules/playwright-core").exists() {
        return skip("playwright-core is missing; run npm install --no-package-lock in tests/browser");
    }
    let (sound, font) = (wave(), support::font::font());
    let scene = Scene::with(&[
        (".p2p/site.json", MANIFEST),
        ("index.html", HOME),
        ("pages/next.html", NEXT),
        ("assets/style.css", STYLE),
        ("assets/picture.svg", PICTURE),
        ("assets/own.ttf", &font),
        ("sound.wav", &sound),
        ("worker.js", WORKER),
        ("app.html", APP),
    ])
    .await;
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("index.html"), "<!doctype html><title>Other</title>other").unwrap();
    std::fs::create_dir(other.path().join("notes")).unwrap();
    std::fs::write(other.path().join("notes/a long name of a file.txt"), "x").unwrap();
    let second = support::publish(&scene.fake.node(), other.path()).await;
    for (byte, kind) in [(1, PathKind::Lan), (2, PathKind::Direct), (3, PathKind::Relayed)] {
        scene.fake.connect(PeerId::from([byte; 32]), kind);
    }
    names(&scene).await;
    scene.node.seem_busy();
    scene.node.seem_old();
    let slow = other.path().join("slow");
    std::fs::create_dir(&slow).unwrap();
    let empty = Scene::with(&[]).await;
    empty.fake.node().drives().remove(empty.drive).await.unwrap();

    let shots = folder.join("shots");
    std::fs::create_dir_all(&shots).unwrap();
    let profile = tempfile::tempdir().unwrap();
    let publish_file = scene.folder.path().join("index.html");
    let task = json!({
        "chromium": chromium,
        "profile": profile.path(),
        "shots": shots,
        "site": format!("http://{}", scene.host()),
        "other": format!("http://{second}.p2p.localhost:{}", scene.port()),
        "dashboard": format!("http://{}", scene.dashboard()),
        "drive": scene.drive.to_string(),
        "enter": scene.gateway.dashboard_url().unwrap(),
        "enter_empty": empty.gateway.dashboard_url().unwrap(),
        "empty": format!("http://{}", empty.dashboard()),
        "share": other.path(),
        "folder": scene.folder.path(),
        "slow": slow,
    });
    let mut browser = Command::new(node)
        .arg(folder.join("run.mjs"))
        .env("TASK", task.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // The script says when it wants a new version to be published.
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(browser.stdout.take().unwrap()));
    let run = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            println!("{line}");
            if line == "publish" {
                std::fs::write(&publish_file, [HOME, b"<p id=new>new</p>"].concat()).unwrap();
                scene.publish().await;
            } else if line == "publish video" {
                scene.publish().await;
            }
        }
        browser.wait().await.unwrap()
    };
    let status = tokio::time::timeout(BROWSER_TIME, run).await.expect("the browser takes too long");
    assert!(status.success(), "the browser saw something else, see above");
    scene.end().await;
    empty.end().await;
}

/// A zone with a few records.
async fn names(scene: &Scene) {
    let node = scene.fake.node();
    let zone = NewZone { name: "alice".into(), kind: ZoneKind::default(), key: None };
    node.names().create_zone(zone).await.unwrap();
    let link = format!("p2p://{}/", scene.drive);
    for (label, record_type, value, private) in [
        ("docs", "P2PDRIVE", link.as_str(), false),
        ("www", "A", "192.0.2.7", false),
        ("home", "TXT", "not for all", true),
    ] {
        let set = SetRecord {
            label: label.into(),
            record_type: record_type.into(),
            value: value.into(),
            private,
            ..SetRecord::default()
        };
        node.names().set(set).await.unwrap();
    }
}

fn skip(why: &str) {
    eprintln!("skipped: {why}");
}

fn program(names: &[&str]) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths)
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|p| p.is_file())
}

/// A minute of sound that can be played from any place: 8,000 bytes a second.
fn wave() -> Vec<u8> {
    let samples = 60 * 8_000_u32;
    let mut bytes = Vec::new();
    bytes.extend_from_slice(b"RIFF");
    bytes.extend_from_slice(&(36 + samples).to_le_bytes());
    bytes.extend_from_slice(b"WAVEfmt ");
    bytes.extend_from_slice(&16_u32.to_le_bytes());
    // Uncompressed, one channel, samples and bytes a second, bytes and bits of a sample.
    bytes.extend_from_slice(&[1, 0, 1, 0]);
    bytes.extend_from_slice(&8_000_u32.to_le_bytes());
    bytes.extend_from_slice(&8_000_u32.to_le_bytes());
    bytes.extend_from_slice(&[1, 0, 8, 0]);
    bytes.extend_from_slice(b"data");
    bytes.extend_from_slice(&samples.to_le_bytes());
    bytes.extend((0..samples).map(|at| if at / 20 % 2 == 0 { 120 } else { 136 }));
    bytes
}
