//! `proxy.pac`: for browsers that do not take `*.localhost` for this computer. With it they ask us as a proxy, for our
//! own hosts only.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderValue};

use crate::host::Urls;

/// Where it lies, at the dashboard's host and at `localhost`.
pub(crate) const PATH: &str = "/proxy.pac";

/// The file. It tells nothing that is not the same on every computer.
pub(crate) fn file(urls: Urls) -> Response {
    let text = format!(
        "function FindProxyForURL(url, host) {{\n  if (host === \"p2pnode.localhost\" || shExpMatch(host, \
         \"*.p2p.localhost\")) return \"PROXY 127.0.0.1:{}\";\n  return \"DIRECT\";\n}}\n",
        urls.port()
    );
    let media = HeaderValue::from_static("application/x-ns-proxy-autoconfig");
    ([(header::CONTENT_TYPE, media)], Body::from(text)).into_response()
}
