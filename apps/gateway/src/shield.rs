//! Headers that keep origins apart. They are put on every answer last, so that nothing else can weaken them.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

const CROSS_ORIGIN_OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const CROSS_ORIGIN_RESOURCE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const ORIGIN_AGENT_CLUSTER: HeaderName = HeaderName::from_static("origin-agent-cluster");

/// Framed by itself only; and for requests to other servers as foreign as any page of the web, although it comes from this
/// computer: what strangers published must not reach the other servers here and in the local network unasked.
const SITE_POLICY: &str = "frame-ancestors 'self'; treat-as-public-address";

/// What no site can change: [`SITE_POLICY`], an agent of its own, readable by itself only, cut off from whoever opened it,
/// no cookies (siblings share a parent domain), and no link in the `Referer` of requests to others, because whoever knows
/// a drive's id can read it.
pub(crate) fn for_site(headers: &mut HeaderMap) {
    common(headers);
    headers.remove(header::SET_COOKIE);
    headers.append(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SITE_POLICY));
    let opener = headers.get(CROSS_ORIGIN_OPENER).is_some_and(|value| value == "same-origin");
    let opener = if opener { "same-origin" } else { "same-origin-allow-popups" };
    headers.insert(CROSS_ORIGIN_OPENER, HeaderValue::from_static(opener));
    let referrer = headers.get(header::REFERRER_POLICY).is_some_and(|value| value == "no-referrer");
    let referrer = if referrer { "no-referrer" } else { "same-origin" };
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static(referrer));
}

/// Cookies larger than this are thrown away by the browser, in bytes.
const MAX_COOKIE_BYTES: usize = 8 * 1024;

/// Takes the cookies out of a request: a sibling may have set them for the parent domain, so nothing of them is ever
/// looked at. Whether there were so many that some site may be about to make all others unreachable.
pub(crate) fn without_cookies(headers: &mut HeaderMap) -> bool {
    let bytes: usize = headers.get_all(header::COOKIE).iter().map(HeaderValue::len).sum();
    headers.remove(header::COOKIE);
    bytes > MAX_COOKIE_BYTES
}

/// Tells the browser to forget the cookies of all sites.
pub(crate) fn clear_cookies(headers: &mut HeaderMap) {
    headers.insert(HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"cookies\""));
}

/// The same for our own pages, which load nothing but their own style and script and are never framed.
pub(crate) fn for_dashboard(headers: &mut HeaderMap) {
    common(headers);
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                  form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(CROSS_ORIGIN_OPENER, HeaderValue::from_static("same-origin"));
    // Not `no-referrer`: with it browsers hide the origin of our own forms from us.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

fn common(headers: &mut HeaderMap) {
    headers.insert(ORIGIN_AGENT_CLUSTER, HeaderValue::from_static("?1"));
    headers.insert(CROSS_ORIGIN_RESOURCE, HeaderValue::from_static("same-origin"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
