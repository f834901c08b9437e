//! `/.p2p/events` and `/.p2p/live.js`: a page can know when a new version was published.
//!
//! No page is changed for this, because what is sent is what the owner signed. A page that wants to reload itself says
//! `<script src="/.p2p/live.js"></script>`.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use http::{HeaderValue, header};
use p2p_api::{ApiError, DriveId, ErrorKind, Result};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::store::Store;
use crate::news::News;
use crate::places::Places;

/// Where a page gets the events.
pub(crate) const EVENTS: &str = "/.p2p/events";
/// Where a page gets the script.
pub(crate) const SCRIPT: &str = "/.p2p/live.js";
const SCRIPT_TEXT: &str = include_str!("live.js");
/// How often a drive that is only looked at is looked at again, while somebody watches it.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// How long one such look may take.
const LOOK_TIME: Duration = Duration::from_secs(15);
/// Between two signs of life, so that a reader who is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The script.
pub(crate) fn script() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, Body::from(SCRIPT_TEXT)).into_response()
}

/// Server-sent events `head` with the number of each new version.
pub(crate) async fn events(
    store: Store,
    news: &News,
    watchers: &Places,
    drive: DriveId,
    deadline: Instant,
) -> Result<Response> {
    let Some(place) = watchers.take() else {
        return Err(ApiError::new(ErrorKind::Busy, "too many pages watch for new versions"));
    };
    let heads = news.subscribe();
    let version = store.info(drive, deadline).await?.version;
    let start = (store, heads, version, place);
    let events = stream::unfold(start, move |(store, mut heads, mut version, place)| async move {
        loop {
            let is_told = tokio::select! {
                event = heads.recv() => match event {
                    Ok(event) => event.name == "gap" || is_about(&event.data, drive),
                    Err(RecvError::Lagged(_)) => true,
                    Err(RecvError::Closed) => return None,
                },
                () = tokio::time::sleep(LOOK_EVERY) => true,
            };
            if !is_told {
                continue;
            }
            let newest = store.info(drive, Instant::now() + LOOK_TIME).await.map_or(version, |info| info.version);
            if newest != version {
                version = newest;
                let event = Event::default().event("head").id(version.to_string()).data(version.to_string());
                return Some((Ok::<_, Infallible>(event), (store, heads, version, place)));
            }
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn is_about(data: &serde_json::Value, drive: DriveId) -> bool {
    data.get("drive").and_then(serde_json::Value::as_str).is_some_and(|named| named == drive.to_string())
}
