//! Sites, pages of other origins and strange hosts do not get at each other.

#![allow(clippy::unwrap_used)]

mod support;

use http::{Method, StatusCode};
use p2p_api::DriveId;
use support::Scene;

const FILES: [(&str, &[u8]); 1] = [("index.html", b"home")];

#[tokio::test]
async fn unknown_hosts_are_misdirected() {
    let scene = Scene::with(&FILES).await;
    let port = scene.port();
    for host in [
        "example.org".to_owned(),
        format!("example.org:{port}"),
        format!("p2p.localhost:{port}"),
        format!("evil.p2p.localhost:{port}"),
        format!("{}.p2p.localhost", scene.drive),
        format!("{}.p2p.localhost:{}", scene.drive, port.wrapping_add(1)),
        format!("{}.p2p.localhost.example.org:{port}", scene.drive),
    ] {
        let answer = scene.ask_host(&host, Method::GET, "/", &[], "").await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
    }
    let answer = scene.get_with("/", &[("host", &scene.host()), ("host", &scene.host())]).await;
    assert!(answer.status.is_client_error(), "two hosts");
}

#[tokio::test]
async fn what_cannot_be_shown_says_so() {
    let scene = Scene::with(&FILES).await;
    let port = scene.port();
    let mut damaged = scene.drive.to_string();
    damaged.truncate(55);
    damaged.push(if scene.drive.to_string().ends_with('y') { 'b' } else { 'y' });
    for (host, status) in [
        (format!("{damaged}.p2p.localhost:{port}"), StatusCode::NOT_FOUND),
        (format!("docs.n.p2p.localhost:{port}"), StatusCode::NOT_IMPLEMENTED),
    ] {
        assert_eq!(scene.ask_host(&host, Method::GET, "/", &[], "").await.status, status, "{host}");
    }
}

#[tokio::test]
async fn every_answer_of_a_site_carries_the_shield() {
    let scene = Scene::with(&FILES).await;
    for path in ["/", "/missing", "/.p2p/live.js", "/%ff"] {
        let answer = scene.get(path).await;
        assert_eq!(answer.header("origin-agent-cluster"), "?1", "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        let policies: Vec<_> = answer.headers.get_all("content-security-policy").iter().collect();
        assert!(
            policies.iter().any(|policy| *policy == "frame-ancestors 'self'; treat-as-public-address"),
            "{path}: {policies:?}"
        );
        assert!(!answer.headers.contains_key("set-cookie"), "{path}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_link_and_nothing_else() {
    let scene = Scene::with(&FILES).await;
    for host in [scene.host(), scene.dashboard()] {
        for site in ["cross-site", "same-site"] {
            for (mode, dest) in [("no-cors", "image"), ("cors", "empty"), ("navigate", "iframe"), ("no-cors", "video")]
            {
                let headers = [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
                let answer = scene.ask_host(&host, Method::GET, "/", &headers, "").await;
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{host} {site} {dest}");
            }
            let page = [("sec-fetch-site", site), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
            assert_ne!(scene.ask_host(&host, Method::GET, "/", &page, "").await.status, StatusCode::FORBIDDEN);
        }
        let foreign = [("origin", "http://example.org")];
        assert_eq!(scene.ask_host(&host, Method::GET, "/", &foreign, "").await.status, StatusCode::FORBIDDEN);
    }
    let own = format!("http://{}", scene.host());
    assert_eq!(scene.get_with("/", &[("origin", &own)]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn refusals_are_the_same_whether_a_drive_is_here_or_not() {
    let scene = Scene::with(&FILES).await;
    let image = [("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")];
    let held = scene.get_with("/", &image).await;
    let host = format!("{}.p2p.localhost:{}", DriveId::from([9; 32]), scene.port());
    let other = scene.ask_host(&host, Method::GET, "/", &image, "").await;
    assert_eq!((held.status, held.text()), (other.status, other.text()));
}

#[tokio::test]
async fn a_flood_of_cookies_is_cleared() {
    let scene = Scene::with(&FILES).await;
    let few = scene.get_with("/", &[("cookie", "theme=dark")]).await;
    assert!(!few.headers.contains_key("clear-site-data"));
    let flood = format!("a={}", "x".repeat(40_000));
    let many = scene.get_with("/", &[("cookie", &flood)]).await;
    assert_eq!((many.text(), many.header("clear-site-data")), ("home", "\"cookies\""));
}

#[tokio::test]
async fn sites_are_only_read() {
    let scene = Scene::with(&FILES).await;
    let own = format!("http://{}", scene.host());
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE, Method::PATCH] {
        let answer = scene.ask(method.clone(), "/", &[("origin", &own)]).await;
        assert_eq!((answer.status, answer.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"), "{method}");
    }
}

#[tokio::test]
async fn the_path_form_leads_to_the_host_form() {
    let scene = Scene::with(&FILES).await;
    let (drive, port) = (scene.drive, scene.port());
    let site = format!("http://{}", scene.host());
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        for (path, location) in [
            (format!("/p2p/{drive}"), format!("{site}/")),
            (format!("/p2p/{drive}/"), format!("{site}/")),
            (format!("/p2p/{drive}/a%20b/?x=1"), format!("{site}/a%20b/?x=1")),
            (format!("/p2p://{drive}/c.html?v=3"), format!("{site}/c.html?v=3")),
        ] {
            let answer = scene.ask_host(&host, Method::GET, &path, &[], "").await;
            assert_eq!((answer.status, answer.header("location")), (StatusCode::MOVED_PERMANENTLY, location.as_str()));
        }
        for path in ["/p2p/evil.example/", "/p2p//example.org/", "/etc/passwd", "/p2p/"] {
            let answer = scene.ask_host(&host, Method::GET, path, &[], "").await;
            assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{path}");
        }
    }
}

#[tokio::test]
async fn browsers_that_need_it_can_ask_us_as_a_proxy() {
    let scene = Scene::with(&FILES).await;
    let host = format!("localhost:{}", scene.port());
    let file = scene.ask_host(&host, Method::GET, "/proxy.pac", &[], "").await;
    assert_eq!(file.header("content-type"), "application/x-ns-proxy-autoconfig");
    assert!(file.text().contains(&format!("PROXY 127.0.0.1:{}", scene.port())));
    let target = format!("http://{}/", scene.host());
    assert_eq!(scene.ask_host("p2pnode.localhost", Method::GET, &target, &[], "").await.text(), "home");
    let other = scene.ask_host(&host, Method::GET, "http://example.org/", &[], "").await;
    assert_eq!(other.status, StatusCode::MISDIRECTED_REQUEST, "it is no proxy for others");
}
