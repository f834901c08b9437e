//! What people read when a site cannot be shown.

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use maud::{Markup, html};
use p2p_api::{ApiError, ErrorKind};

use super::pages::{Message, message};
use crate::host::NoSite;
use crate::human;

/// The page for an error; `peers` are those with the drive, as far as known.
pub(crate) fn of(error: &ApiError, peers: Option<u32>) -> Response {
    let status = StatusCode::from_u16(error.kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (title, retry) = match error.kind {
        ErrorKind::NotFound if peers.is_none() => ("Nobody who has this site was found", true),
        ErrorKind::Unreachable => ("Nobody who knows this site was reached", true),
        ErrorKind::NotFound => ("This page does not exist", false),
        ErrorKind::TimedOut if peers.is_none() => ("Looking for this site", true),
        ErrorKind::TimedOut => ("Still waiting for this page", true),
        ErrorKind::Busy => ("Not yet", true),
        ErrorKind::Unsupported => ("This is not possible yet", false),
        ErrorKind::StorageFull => ("This computer has no room left", false),
        ErrorKind::Corrupt => ("What came is not what the owner signed", true),
        ErrorKind::NodeStopped => ("The node is stopping", true),
        _ => ("Something went wrong", false),
    };
    // Nobody found may change with the next try, so it must not read as if the site were gone for good.
    let status =
        if error.kind == ErrorKind::NotFound && peers.is_none() { StatusCode::GATEWAY_TIMEOUT } else { status };
    let status = if error.kind == ErrorKind::Busy { StatusCode::SERVICE_UNAVAILABLE } else { status };
    message(&Message { status, title, text: explanation(error, peers), retry })
}

fn explanation(error: &ApiError, peers: Option<u32>) -> Markup {
    let waits = matches!(error.kind, ErrorKind::TimedOut) || (error.kind == ErrorKind::NotFound && peers.is_none());
    html! {
        @if waits {
            @match peers {
                None if error.kind == ErrorKind::TimedOut => p {
                    "The search for a computer that has it goes on. It can take a while when few have it."
                }
                None | Some(0) => p {
                    "No computer that has it is connected at the moment. It appears as soon as one is online."
                }
                Some(peers) => p {
                    (human::count(u64::from(peers), "peer", "peers")) " with this site "
                    (if peers == 1 { "is" } else { "are" }) " connected, but none has sent this file so far."
                }
            }
        } @else {
            p { (human::sentence(&error.message)) }
            @if is_missing(error) { p { a href="/" { "To the start page" } } }
        }
        @if let Some(hint) = &error.hint {
            p { (human::sentence(hint)) }
        }
    }
}

/// Whether a page is missing in a site that is there.
fn is_missing(error: &ApiError) -> bool {
    error.kind == ErrorKind::NotFound
}

/// The page for an address below `p2p.localhost` that has no site.
pub(crate) fn unusable(why: NoSite) -> Response {
    match why {
        NoSite::Damaged => message(&Message {
            status: StatusCode::NOT_FOUND,
            title: "This address is damaged",
            text: html! { p { "A character of it is wrong or missing. Copy the link again, all of it." } },
            retry: false,
        }),
        NoSite::Later(what) => message(&Message {
            status: StatusCode::NOT_IMPLEMENTED,
            title: "This is not possible yet",
            text: html! { p { "The address leads to " (what) ". This version shows drives by their id only." } },
            retry: false,
        }),
    }
}

/// For a page of another origin, which sees nothing of it, and for people who wonder.
pub(crate) fn refused() -> Response {
    message(&Message {
        status: StatusCode::FORBIDDEN,
        title: "Refused",
        text: html! { p { "A page of another site asked for this. Sites can link to each other, and nothing more." } },
        retry: false,
    })
}

/// For a host that is not ours.
pub(crate) fn unknown_host() -> Response {
    let mut response = Response::new("This gateway does not serve this host.\n".into());
    *response.status_mut() = StatusCode::MISDIRECTED_REQUEST;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
