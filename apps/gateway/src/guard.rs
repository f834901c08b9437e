//! Who may ask (specs/drives.md, 13.2): the same origin, the address bar, and links that open a page of their own.
//!
//! Browsers call two hosts below `localhost` the same site, so `same-site` is as foreign here as `cross-site`: else any
//! web page could find out which drives this node holds, by timing or by what an image's error tells.

use http::{HeaderMap, Method};

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It was made by a page of another origin.
    Foreign,
}

/// Checks a request to the place whose origin is `own`, if it has a single one.
pub(crate) fn check(method: &Method, headers: &HeaderMap, own: Option<&str>) -> Result<(), Refused> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    match text("sec-fetch-site") {
        Some("none") => {}
        Some("same-origin") => check_origin(text("origin"), own)?,
        Some(_) => {
            let is_page = text("sec-fetch-mode") == Some("navigate") && text("sec-fetch-dest") == Some("document");
            // A page that is fetched before anybody asked for it shows nothing and tells its maker something.
            let is_ahead_of_time = text("sec-purpose").is_some() || text("purpose").is_some();
            if !is_read || !is_page || is_ahead_of_time {
                return Err(Refused::Foreign);
            }
        }
        None => check_origin(text("origin"), own)?,
    }
    // A client that is no browser may leave both headers out; a form of a browser never does.
    if !is_read && text("origin").is_none() {
        return Err(Refused::Foreign);
    }
    Ok(())
}

fn check_origin(origin: Option<&str>, own: Option<&str>) -> Result<(), Refused> {
    match origin {
        Some(origin) if own != Some(origin) => Err(Refused::Foreign),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const OWN: &str = "http://a.p2p.localhost:8642";

    fn verdict(method: &Method, headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        check(method, &headers, Some(OWN)).is_ok()
    }

    #[test]
    fn the_own_origin_the_address_bar_and_other_programs_may_ask() {
        for headers in [
            &[][..],
            &[("origin", OWN)],
            &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")],
            &[("sec-fetch-site", "same-origin"), ("origin", OWN)],
        ] {
            assert!(verdict(&Method::GET, headers), "{headers:?}");
        }
    }

    #[test]
    fn other_sites_may_link_and_nothing_more() {
        for site in ["cross-site", "same-site", "something-new"] {
            let page = [("sec-fetch-site", site), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
            assert!(verdict(&Method::GET, &page), "{site}");
            assert!(!verdict(&Method::POST, &page), "{site}");
            let ahead = [page[0], page[1], page[2], ("sec-purpose", "prefetch")];
            assert!(!verdict(&Method::GET, &ahead), "{site}");
            for (mode, dest) in [("no-cors", "image"), ("cors", "empty"), ("navigate", "iframe"), ("no-cors", "script")]
            {
                let other = [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
                assert!(!verdict(&Method::GET, &other), "{site} {mode} {dest}");
            }
        }
    }

    #[test]
    fn a_foreign_origin_is_refused_where_nothing_else_is_told() {
        for origin in ["null", "http://b.p2p.localhost:8642", "https://example.org"] {
            assert!(!verdict(&Method::GET, &[("origin", origin)]), "{origin}");
            assert!(!verdict(&Method::GET, &[("origin", origin), ("sec-fetch-site", "same-origin")]), "{origin}");
        }
    }

    #[test]
    fn nothing_is_changed_without_an_origin() {
        assert!(!verdict(&Method::POST, &[]));
        assert!(!verdict(&Method::POST, &[("sec-fetch-site", "same-origin")]));
        assert!(verdict(&Method::POST, &[("sec-fetch-site", "same-origin"), ("origin", OWN)]));
        assert!(verdict(&Method::POST, &[("origin", OWN)]));
    }
}
