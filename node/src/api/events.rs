//! `GET /v1/events`: server-sent events or lines (overlay.md 2.3).

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Uri, header};
use p2p_api::wire::{EVENT_STREAM, ErrorLine};
use p2p_api::{ApiError, Event, EventQuery, EventStream, Result, Scope};
use serde::Deserialize;

use super::body::{json_lines, query};
use super::caller::Caller;
use super::problem::Refusal;
use super::router::Server;

/// Most topics one reader can name.
const MAX_TOPICS: usize = 32;
const LAST_EVENT_ID: &str = "last-event-id";

#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    topics: String,
    after: Option<u64>,
}

pub(super) async fn stream(
    State(server): State<Server>,
    caller: Caller,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Refusal> {
    let parameters: Parameters = query(&uri)?;
    let topics: Vec<String> =
        parameters.topics.split(',').filter(|topic| !topic.is_empty()).map(str::to_owned).collect();
    if topics.len() > MAX_TOPICS {
        return Err(ApiError::invalid(format!("{} topics, at most {MAX_TOPICS}", topics.len())).into());
    }
    require_topics(&caller, &topics)?;
    // A browser resumes with the address it was given first and this header, so the header is newer.
    let after = match headers.get(LAST_EVENT_ID) {
        Some(id) => Some(event_id(id.as_bytes())?),
        None => parameters.after,
    };
    let events = server.node.events(EventQuery { topics, after }).await?;
    Ok(if wants_event_stream(&headers) { server_sent(events) } else { json_lines(events) })
}

/// An app names the topics it wants: those of drives take the right to read drives, the others that to read the node.
fn require_topics(caller: &Caller, topics: &[String]) -> Result<()> {
    if matches!(caller, Caller::App(_)) && topics.is_empty() {
        return Err(ApiError::invalid("an app names the topics it wants, e.g. ?topics=network"));
    }
    topics.iter().try_for_each(|topic| match topic.as_str() {
        "drives" => caller.require_drive_read(None),
        "streams" => caller.require("stream.listen:PROTOCOL", |scope| matches!(scope, Scope::StreamListen(_))),
        _ => caller.require("node.read", |scope| matches!(scope, Scope::NodeRead)),
    })
}

fn event_id(text: &[u8]) -> Result<u64> {
    let number = str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| ApiError::invalid("Last-Event-ID is not the id of an event"))
}

fn wants_event_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|media| {
        let media = media.split(';').next().unwrap_or_default();
        media.trim().eq_ignore_ascii_case(EVENT_STREAM)
    })
}

fn server_sent(events: EventStream) -> Response {
    let headers = [(header::CONTENT_TYPE, EVENT_STREAM), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(events.map(|event| frame(event).map(Bytes::from)))).into_response()
}

/// JSON has no line ends, so one `data` line is enough.
fn frame(event: Result<Event>) -> Result<String> {
    let text = match event {
        Ok(event) => serde_json::to_string(&event).map(|data| format!("id: {}\ndata: {data}\n\n", event.id)),
        Err(error) => serde_json::to_string(&ErrorLine { error: error.into() }).map(|data| format!("data: {data}\n\n")),
    };
    text.map_err(|error| ApiError::internal(format!("cannot encode an event: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_frame() {
        let data = serde_json::json!({ "note": "two\nlines" });
        let event = Event { id: 7, topic: "node".to_owned(), name: "x".to_owned(), data };
        let text = frame(Ok(event)).expect("a frame");
        let expected = r#"id: 7|data: {"id":7,"topic":"node","name":"x","data":{"note":"two\nlines"}}||"#;
        assert_eq!(text, expected.replace('|', "\n"));
    }

    #[test]
    fn the_media_type_is_found_among_others() {
        let accepts = |value: &'static str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, value.parse().expect("a header"))]);
            wants_event_stream(&headers)
        };
        assert!(accepts("text/event-stream"));
        assert!(accepts("application/json;q=0.5, Text/Event-Stream;q=1"));
        assert!(!accepts("*/*"));
        assert!(!accepts("application/x-ndjson"));
    }
}
