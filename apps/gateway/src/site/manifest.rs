//! `/.p2p/site.json`: what a site says about itself (specs/drives.md, 13.4). It is content like any other, so nothing in
//! it can weaken what keeps sites apart.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use p2p_api::wire::parse_line;
use p2p_api::{ApiError, Link, Result};
use serde::Deserialize;

use super::path::SitePath;
use crate::host::Urls;

/// Where it lies.
pub(crate) const PATH: &str = ".p2p/site.json";
/// Largest manifest, in bytes; a bigger one is ignored.
pub(crate) const MAX_BYTES: u64 = 64 * 1024;
/// Most redirects, header rules, and paths to load ahead. More are cut off.
const MAX_RULES: usize = 256;
/// Headers that a site may set: they say something about its own pages, and none of them opens anything.
const ALLOWED: [HeaderName; 7] = [
    header::CONTENT_LANGUAGE,
    header::CONTENT_SECURITY_POLICY,
    header::LINK,
    header::REFERRER_POLICY,
    HeaderName::from_static("permissions-policy"),
    HeaderName::from_static("cross-origin-opener-policy"),
    HeaderName::from_static("service-worker-allowed"),
];

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Wire {
    title: String,
    spa: Spa,
    #[serde(rename = "404")]
    not_found: Option<String>,
    redirects: Vec<Redirect>,
    headers: Vec<HeaderRule>,
    prefetch: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Spa {
    Switch(bool),
    Page(String),
}

impl Default for Spa {
    fn default() -> Self {
        Self::Switch(false)
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Redirect {
    from: String,
    to: String,
    status: Option<u16>,
}

#[derive(Clone, Debug, Deserialize)]
struct HeaderRule {
    #[serde(rename = "for")]
    pattern: String,
    set: std::collections::BTreeMap<String, String>,
}

/// A manifest that was read; the default says nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manifest {
    /// What the site is called; may be empty.
    pub(crate) title: String,
    /// The page for paths that are no file, in a single-page application.
    pub(crate) spa: Option<String>,
    /// The page for what is not there.
    pub(crate) not_found: Option<String>,
    /// What to have ready when a page is opened, in this order.
    pub(crate) prefetch: Vec<String>,
    redirects: Vec<Redirect>,
    headers: Vec<(String, HeaderMap)>,
    /// Why the file was ignored, if it was.
    pub(crate) fault: Option<String>,
}

/// Where a redirect leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirection {
    pub(crate) status: StatusCode,
    /// A path of the same site beginning with `/`, or a whole address.
    pub(crate) location: String,
}

impl Manifest {
    /// Reads the file's bytes. Unknown fields are ignored.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() as u64 > MAX_BYTES {
            return Err(ApiError::invalid(format!("site.json is larger than {MAX_BYTES} bytes")));
        }
        let wire: Wire = parse_line(bytes)?;
        let page = |url: &str| SitePath::of_url(url).filter(|path| !path.is_folder).map(|path| path.path);
        Ok(Self {
            title: wire.title,
            spa: match wire.spa {
                Spa::Switch(false) => None,
                Spa::Switch(true) => Some("index.html".to_owned()),
                Spa::Page(url) => page(&url),
            },
            not_found: wire.not_found.as_deref().and_then(page),
            prefetch: wire.prefetch.iter().take(MAX_RULES).filter_map(|url| page(url)).collect(),
            redirects: wire.redirects.into_iter().take(MAX_RULES).collect(),
            headers: wire.headers.into_iter().take(MAX_RULES).map(HeaderRule::checked).collect(),
            fault: None,
        })
    }

    /// A manifest that says nothing, because the file could not be used.
    pub(crate) fn faulty(fault: String) -> Self {
        Self { fault: Some(fault), ..Self::default() }
    }

    /// The redirect for a path of a URL, not decoded.
    pub(crate) fn redirect(&self, url_path: &str, urls: Urls) -> Option<Redirection> {
        self.redirects.iter().find_map(|rule| rule.apply(url_path, urls))
    }

    /// The headers for a path of a URL, not decoded.
    pub(crate) fn headers(&self, url_path: &str) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let rules = self.headers.iter().filter(move |(pattern, _)| matched(pattern, url_path).is_some());
        rules.flat_map(|(_, headers)| headers)
    }
}

impl Redirect {
    fn apply(&self, url_path: &str, urls: Urls) -> Option<Redirection> {
        let rest = matched(&self.from, url_path)?;
        let target = self.to.replace('*', rest);
        let location = if target.starts_with('/') && !target.starts_with("//") && !target.contains('\\') {
            target
        } else if target.starts_with("p2p://") {
            urls.of_link(&target.parse::<Link>().ok()?)?
        } else if target.starts_with("https://") {
            target
        } else {
            return None;
        };
        // A page that leads to itself would be asked for again and again.
        if location == url_path {
            return None;
        }
        let status = self.status.and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.filter(|status| matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308));
        Some(Redirection { status: status.unwrap_or(StatusCode::FOUND), location })
    }
}

impl HeaderRule {
    fn checked(self) -> (String, HeaderMap) {
        let allowed = self.set.iter().filter_map(|(name, value)| {
            let name = HeaderName::try_from(name.as_str()).ok().filter(|name| ALLOWED.contains(name))?;
            Some((name, HeaderValue::try_from(value.as_str()).ok()?))
        });
        let headers = allowed.collect();
        (self.pattern, headers)
    }
}

/// What the `*` of a pattern stands for; a pattern without one is the whole path.
fn matched<'path>(pattern: &str, path: &'path str) -> Option<&'path str> {
    match pattern.split_once('*') {
        None => (pattern == path).then_some(""),
        Some((before, after)) => path.strip_prefix(before)?.strip_suffix(after),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn manifest(json: &str) -> Manifest {
        Manifest::parse(json.as_bytes()).unwrap()
    }

    fn location(manifest: &Manifest, path: &str) -> Option<(u16, String)> {
        manifest.redirect(path, Urls::new(8642)).map(|found| (found.status.as_u16(), found.location))
    }

    #[test]
    fn pages_are_paths_of_the_drive() {
        let read = manifest(r#"{"spa": true, "404": "/a%20b.html", "prefetch": ["/x.css", "../up", "/"], "new": 1}"#);
        assert_eq!(read.spa.as_deref(), Some("index.html"));
        assert_eq!(read.not_found.as_deref(), Some("a b.html"));
        assert_eq!(read.prefetch, ["x.css"]);
        assert_eq!(manifest(r#"{"spa": "/app.html"}"#).spa.as_deref(), Some("app.html"));
        assert_eq!(manifest("{}").spa, None);
    }

    #[test]
    fn redirects_stay_here_or_say_where() {
        let read = manifest(
            r#"{"redirects": [
                {"from": "/old", "to": "/new", "status": 308},
                {"from": "/blog/*.php", "to": "/posts/*.html"},
                {"from": "/away", "to": "https://example.org/"},
                {"from": "/scheme", "to": "//example.org/"},
                {"from": "/script", "to": "javascript:alert(1)"},
                {"from": "/loop", "to": "/loop"},
                {"from": "/strange", "to": "/x", "status": 200}
            ]}"#,
        );
        assert_eq!(location(&read, "/old"), Some((308, "/new".to_owned())));
        assert_eq!(location(&read, "/blog/2026/a.php"), Some((302, "/posts/2026/a.html".to_owned())));
        assert_eq!(location(&read, "/away"), Some((302, "https://example.org/".to_owned())));
        assert_eq!(location(&read, "/strange"), Some((302, "/x".to_owned())));
        for path in ["/scheme", "/script", "/loop", "/older", "/"] {
            assert_eq!(location(&read, path), None, "{path}");
        }
    }

    #[test]
    fn only_harmless_headers_are_taken() {
        let read = manifest(
            r#"{"headers": [{"for": "/*", "set": {
                "Content-Language": "de", "Set-Cookie": "a=1", "Access-Control-Allow-Origin": "*",
                "X-Content-Type-Options": "", "Cross-Origin-Resource-Policy": "cross-origin", "Link": "a\nb"
            }}]}"#,
        );
        let names: Vec<_> = read.headers("/a").map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["content-language"]);
        assert_eq!(manifest(r#"{"headers": [{"for": "/b", "set": {"Link": "x"}}]}"#).headers("/a").count(), 0);
    }

    #[test]
    fn a_large_or_deep_file_is_an_error() {
        assert!(Manifest::parse(&vec![b' '; 70_000]).is_err());
        assert!(Manifest::parse(format!("{}{}", "[".repeat(40), "]".repeat(40)).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Manifest::parse(&bytes);
        }

        #[test]
        fn no_redirect_leads_to_another_host_by_a_path(to in "\\PC{0,30}|[/\\\\*a]{0,8}", path in "/[/\\\\a]{0,8}") {
            let json = serde_json::json!({"redirects": [{"from": "/*", "to": to}]}).to_string();
            if let Some(found) = manifest(&json).redirect(&path, Urls::new(1)) {
                let is_path = found.location.starts_with('/');
                prop_assert!(!is_path || !found.location.starts_with("//"), "{:?}", found);
                prop_assert!(is_path || found.location.starts_with("https://") || found.location.starts_with("http://"));
            }
        }
    }
}
