//! Pages for people, where a site has none: errors, waiting, folders. They load nothing.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Only the page's own style, and nothing else, may take effect.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
const STYLE: &str = include_str!("pages.css");
/// Seconds until a page that waits asks again.
const RETRY_SECONDS: u32 = 5;

/// What a page says.
pub(crate) struct Message<'text> {
    pub(crate) status: StatusCode,
    pub(crate) title: &'text str,
    pub(crate) text: Markup,
    /// Whether the page asks again by itself.
    pub(crate) retry: bool,
}

/// A page with a message.
pub(crate) fn message(message: &Message<'_>) -> Response {
    let body = html! {
        main.message {
            p.status { (message.status.as_u16()) }
            h1 { (message.title) }
            (message.text)
            @if message.retry {
                p.retry role="status" { "Trying again in " (RETRY_SECONDS) " seconds …" }
            }
        }
    };
    let mut response = respond(message.status, document(message.title, message.retry, &body));
    if message.retry {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
    }
    response
}

/// A page with anything in it.
pub(crate) fn page(title: &str, body: &Markup) -> Response {
    respond(StatusCode::OK, document(title, false, body))
}

fn document(title: &str, retry: bool, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if retry { meta http-equiv="refresh" content=(RETRY_SECONDS); }
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    }
}

fn respond(status: StatusCode, markup: Markup) -> Response {
    let mut response = Response::new(Body::from(markup.into_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
