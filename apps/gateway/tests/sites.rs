//! What a site answers.

#![allow(clippy::unwrap_used)]

mod support;

use http::{Method, StatusCode};
use support::Scene;

const PAGE: &[u8] = b"<!doctype html><title>Home</title>";

fn long() -> Vec<u8> {
    (0..400_000_u32).map(|at| (at % 251) as u8).collect()
}

#[tokio::test]
async fn a_folder_shows_its_index() {
    let scene = Scene::with(&[("index.html", PAGE), ("a b/index.html", b"deep"), ("a b/style.css", b"x{}")]).await;
    let answer = scene.get("/").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body.as_ref().unwrap(), PAGE);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "no-cache");
    assert_eq!(answer.header("content-length"), PAGE.len().to_string());
    assert_eq!(scene.get("/a%20b/").await.text(), "deep");
    assert_eq!(scene.get("/a%20b/style.css").await.header("content-type"), "text/css; charset=utf-8");

    let answer = scene.get("/a%20b?x=1").await;
    assert_eq!(answer.status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(answer.header("location"), format!("http://{}/a%20b/?x=1", scene.host()));
    scene.end().await;
}

#[tokio::test]
async fn a_folder_without_an_index_is_listed() {
    let scene = Scene::with(&[("docs/<b>.txt", b"x"), ("docs/deep/y", b"y"), ("z", b"")]).await;
    let listing = scene.get("/docs/").await;
    assert_eq!(listing.status, StatusCode::OK);
    let text = listing.text();
    assert!(text.contains("&lt;b&gt;.txt") && !text.contains("<b>"), "{text}");
    assert!(text.contains("href=\"./%3Cb%3E.txt\"") && text.contains("href=\"./deep/\""), "{text}");
    assert!(scene.get("/").await.text().contains("A site"));
    for missing in ["/nowhere", "/nowhere/", "/docs/deep/y/", "/docs/x/"] {
        assert_eq!(scene.get(missing).await.status, StatusCode::NOT_FOUND, "{missing}");
    }
}

#[tokio::test]
async fn what_is_known_is_not_sent_again() {
    let scene = Scene::with(&[("a.txt", b"one")]).await;
    let first = scene.get("/a.txt").await;
    let tag = first.header("etag").to_owned();
    let same = scene.get_with("/a.txt", &[("if-none-match", &tag)]).await;
    assert_eq!((same.status, same.text()), (StatusCode::NOT_MODIFIED, ""));
    assert_eq!(same.header("etag"), tag);
    let dated = scene.get_with("/a.txt", &[("if-modified-since", first.header("last-modified"))]).await;
    assert_eq!(dated.status, StatusCode::NOT_MODIFIED);
    assert_eq!(scene.get_with("/a.txt", &[("if-match", "\"x\"")]).await.status, StatusCode::PRECONDITION_FAILED);

    scene.write("a.txt", b"two");
    scene.publish().await;
    let changed = scene.get_with("/a.txt", &[("if-none-match", &tag)]).await;
    assert_eq!((changed.status, changed.text()), (StatusCode::OK, "two"), "a new version shows at once");
    assert_ne!(changed.header("etag"), tag);
}

#[tokio::test]
async fn a_range_is_a_part_of_the_file() {
    let whole = long();
    let scene = Scene::with(&[("v.mp4", &whole), ("small", b"0123456789")]).await;
    for (range, start, end) in
        [("bytes=0-0", 0, 1), ("bytes=100000-", 100_000, 400_000), ("bytes=-5", 399_995, 400_000)]
    {
        let part = scene.get_with("/v.mp4", &[("range", range)]).await;
        assert_eq!(part.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(part.header("content-range"), format!("bytes {start}-{}/400000", end - 1));
        assert_eq!(part.header("content-type"), "video/mp4");
        assert!(part.body.unwrap() == whole[start..end], "{range}");
    }
    let none = scene.get_with("/v.mp4", &[("range", "bytes=400000-")]).await;
    assert_eq!((none.status, none.header("content-range")), (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */400000"));
    // Once from the node, then from memory.
    for _ in 0..2 {
        assert_eq!(scene.get_with("/small", &[("range", "bytes=2-4")]).await.text(), "234");
        assert_eq!(scene.get("/small").await.text(), "0123456789");
    }
    assert_eq!(scene.get_with("/small", &[("range", "bytes=x")]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_range_of_another_content_is_the_whole_file() {
    let scene = Scene::with(&[("a", b"0123456789")]).await;
    let tag = scene.get("/a").await.header("etag").to_owned();
    let same = scene.get_with("/a", &[("range", "bytes=0-1"), ("if-range", &tag)]).await;
    assert_eq!((same.status, same.text()), (StatusCode::PARTIAL_CONTENT, "01"));
    let other = scene.get_with("/a", &[("range", "bytes=0-1"), ("if-range", "\"x\"")]).await;
    assert_eq!((other.status, other.text()), (StatusCode::OK, "0123456789"));
}

#[tokio::test]
async fn several_ranges_come_in_one_body() {
    let whole = long();
    let scene = Scene::with(&[("v.mp4", &whole)]).await;
    let answer = scene.get_with("/v.mp4", &[("range", "bytes=0-9,200000-299999,-7")]).await;
    assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
    let boundary = answer.header("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap();
    let body = answer.body.as_ref().unwrap();
    assert_eq!(answer.header("content-length"), body.len().to_string());
    let mut expected = Vec::new();
    for (start, end) in [(0, 10), (200_000, 300_000), (399_993, 400_000)] {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: video/mp4\r\nContent-Range: bytes {start}-{}/400000\r\n\r\n",
            end - 1
        );
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&whole[start..end]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(*body == expected);
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let whole = long();
    let scene = Scene::with(&[("v.mp4", &whole), ("index.html", PAGE)]).await;
    for path in ["/v.mp4", "/"] {
        let (head, get) = (scene.ask(Method::HEAD, path, &[]).await, scene.get(path).await);
        assert_eq!(head.status, get.status);
        for name in ["content-length", "content-type", "etag", "last-modified", "cache-control"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
        assert!(head.body.unwrap().is_empty());
    }
}

#[tokio::test]
async fn links_inside_the_drive_are_followed_and_others_are_not_there() {
    let scene = Scene::with(&[("real/page.html", b"here")]).await;
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, scene.folder.path().join(name)).unwrap();
    link("real/page.html", "good.html");
    link("good.html", "chain.html");
    link("../../etc/passwd", "out");
    link("/etc/passwd", "absolute");
    link("loop", "loop");
    scene.publish().await;
    assert_eq!(scene.get("/good.html").await.text(), "here");
    assert_eq!(scene.get("/chain.html").await.text(), "here");
    for name in ["/out", "/absolute", "/loop"] {
        assert_eq!(scene.get(name).await.status, StatusCode::NOT_FOUND, "{name}");
    }
}

#[tokio::test]
async fn the_manifest_says_what_is_not_a_file() {
    let manifest = br#"{
        "spa": true, "404": "/lost.html", "title": "My app",
        "redirects": [{"from": "/old/*", "to": "/new/*", "status": 301}, {"from": "/index.html", "to": "/x"}],
        "headers": [{"for": "*.html", "set": {"Content-Language": "de", "Set-Cookie": "a=b",
            "Content-Security-Policy": "default-src 'self'", "Cross-Origin-Resource-Policy": "cross-origin",
            "Referrer-Policy": "unsafe-url"}}]
    }"#;
    let files: [(&str, &[u8]); 3] = [(".p2p/site.json", manifest), ("index.html", b"app"), ("lost.html", b"lost")];
    let scene = Scene::with(&files).await;
    let html = [("accept", "text/html,*/*")];
    let app = scene.get_with("/some/route", &html).await;
    assert_eq!((app.status, app.text()), (StatusCode::OK, "app"));
    let lost = scene.get_with("/missing.js", &[("accept", "*/*")]).await;
    assert_eq!((lost.status, lost.text()), (StatusCode::NOT_FOUND, "lost"));
    let moved = scene.get("/old/page").await;
    assert_eq!(moved.status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(moved.header("location"), format!("http://{}/new/page", scene.host()));

    let index = scene.get("/index.html").await;
    assert_eq!(index.text(), "app", "a file wins over a redirect");
    assert_eq!(index.header("content-language"), "de");
    let policies: Vec<_> = index.headers.get_all("content-security-policy").iter().collect();
    assert_eq!(
        policies,
        ["default-src 'self'", "frame-ancestors 'self'; treat-as-public-address"],
        "a site can only add"
    );
    assert_eq!(index.header("cross-origin-resource-policy"), "same-origin");
    assert_eq!(index.header("referrer-policy"), "same-origin");
    assert!(!index.headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn a_broken_manifest_is_ignored_and_told() {
    let scene = Scene::with(&[(".p2p/site.json", b"{\"spa\": "), ("index.html", b"home")]).await;
    let answer = scene.get("/").await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "home"));
    assert!(answer.header("p2p-notice").starts_with("site.json is ignored"));
}

#[tokio::test]
async fn a_version_that_is_the_newest_may_be_kept_for_ever() {
    let scene = Scene::with(&[("a.css", b"x")]).await;
    assert!(scene.get("/a.css?v=1").await.header("cache-control").contains("immutable"));
    let head = scene.fake.node().drives().get(scene.drive).await.unwrap().head.unwrap();
    let text = z_base_32(head.as_bytes());
    for head in [&text[..16], &text] {
        let answer = scene.get(&format!("/a.css?v={head}")).await;
        assert_eq!((answer.text(), answer.header("cache-control").contains("immutable")), ("x", true), "{head}");
    }
    scene.write("a.css", b"y");
    scene.publish().await;
    let older = scene.get("/a.css?v=1").await;
    assert_eq!(older.text(), "x", "what was seen of a version is that version's for ever");
    let older = scene.get(&format!("/a.css?v={text}")).await;
    assert_eq!(older.status, StatusCode::NOT_IMPLEMENTED, "an older one is never answered with the newest");
    assert!(older.text().to_lowercase().contains("keeps no earlier versions"), "{}", older.text());
    assert_eq!(scene.get("/a.css?v=2").await.text(), "y");
    assert_eq!(scene.get("/a.css?v=3").await.status, StatusCode::NOT_IMPLEMENTED);
    assert_eq!(scene.get("/a.css?v=yyyyyyyyyyyyyyyyyyyy").await.status, StatusCode::NOT_IMPLEMENTED);
    // What only looks like one, and what belongs to the page, shows the newest.
    for (query, dest) in [("v=1.2.3", "document"), ("v=7", "style"), ("w=7", "document")] {
        let path = format!("/a.css?{query}");
        let headers = [("sec-fetch-site", "same-origin"), ("sec-fetch-dest", dest)];
        assert_eq!(scene.get_with(&path, &headers).await.header("cache-control"), "no-cache", "{query}");
    }
}

/// As hashes of heads stand in links.
fn z_base_32(bytes: &[u8]) -> String {
    let mut spec = data_encoding::Specification::new();
    spec.symbols.push_str("ybndrfg8ejkmcpqxot1uwisza345h769");
    spec.encoding().unwrap().encode(bytes)
}

#[tokio::test]
async fn small_files_are_read_once_per_version() {
    let scene = Scene::with(&[("index.html", PAGE)]).await;
    scene.get("/").await;
    let reads = scene.node.reads();
    for _ in 0..5 {
        scene.get("/").await;
    }
    assert_eq!(scene.node.reads(), reads);
}

#[tokio::test]
async fn each_range_of_a_large_file_is_one_read() {
    let scene = Scene::with(&[("v.mp4", &long())]).await;
    scene.get_with("/v.mp4", &[("range", "bytes=0-99")]).await;
    let reads = scene.node.reads();
    for _ in 0..5 {
        scene.get_with("/v.mp4", &[("range", "bytes=100-199")]).await;
    }
    assert_eq!(scene.node.reads(), reads + 5);
}

#[tokio::test]
async fn a_visited_drive_that_changed_meanwhile_is_never_mixed_up() {
    let scene = Scene::with(&[("v.mp4", &long())]).await;
    scene.node.set_role(p2p_api::DriveRole::Reader);
    let first = scene.get_with("/v.mp4", &[("range", "bytes=0-99")]).await;
    let mut changed = long();
    changed[0] ^= 1;
    scene.write("v.mp4", &changed);
    scene.publish().await;
    let second = scene.get_with("/v.mp4", &[("range", "bytes=0-99")]).await;
    assert_eq!(second.status, StatusCode::PARTIAL_CONTENT);
    assert!(second.body.as_ref().unwrap()[..] == changed[..100]);
    assert_ne!(first.header("etag"), second.header("etag"));
}

#[tokio::test]
async fn what_a_page_needs_is_loaded_ahead() {
    let manifest = br#"{"prefetch": ["/a.css", "/missing", "/b.css"]}"#;
    let files: [(&str, &[u8]); 4] =
        [(".p2p/site.json", manifest), ("index.html", PAGE), ("a.css", b"a"), ("b.css", b"b")];
    let scene = Scene::with(&files).await;
    let page = [("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    scene.get_with("/", &page).await;
    let warmed = async {
        // The page and the manifest, then one read for each path in the list.
        while scene.node.reads() < 5 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(support::PATIENCE, warmed).await.expect("nothing was loaded ahead");
    assert_eq!(scene.get("/b.css").await.text(), "b");
}

#[tokio::test]
async fn a_new_version_is_told_to_pages_that_watch() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let scene = Scene::with(&[("a", b"1")]).await;
    assert!(scene.get("/.p2p/live.js").await.text().contains("/.p2p/events"));
    let mut stream = scene.connect().await;
    let request = format!("GET /.p2p/events HTTP/1.1\r\nhost: {}\r\n\r\n", scene.host());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = String::new();
    let mut published = false;
    let watch = async {
        while !seen.contains("event: head") {
            let mut buffer = [0; 1024];
            let count = stream.read(&mut buffer).await.unwrap();
            assert!(count > 0, "the events ended: {seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
            if !published {
                published = true;
                scene.write("a", b"2");
                scene.publish().await;
            }
        }
    };
    tokio::time::timeout(support::PATIENCE, watch).await.expect("no event came");
    assert!(seen.contains("text/event-stream"));
    drop(stream);
    scene.end().await;
}
