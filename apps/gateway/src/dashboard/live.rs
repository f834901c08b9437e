//! Tells open pages that something happened; they fetch themselves again.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use http::StatusCode;
use tokio::sync::broadcast::error::RecvError;

use super::Desk;

/// Between two signs of life.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Without news a page is made again this often: times and rates change by themselves.
const AT_LEAST_EVERY: Duration = Duration::from_secs(15);

pub(crate) async fn events(State(desk): State<Desk>) -> Response {
    let Some(place) = desk.watchers.take() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many open pages").into_response();
    };
    let news = desk.news.subscribe();
    let events = stream::unfold((news, place), |(mut news, place)| async move {
        let name = match tokio::time::timeout(AT_LEAST_EVERY, news.recv()).await {
            Ok(Ok(event)) => event.name.clone(),
            // What was lost is on the page that is fetched next.
            Ok(Err(RecvError::Lagged(_))) => "gap".to_owned(),
            Ok(Err(RecvError::Closed)) => return None,
            Err(_) => "time".to_owned(),
        };
        Some((Ok::<_, Infallible>(Event::default().data(name)), (news, place)))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}
