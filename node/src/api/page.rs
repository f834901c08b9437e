//! Lists in pages over the socket; see [`p2p_api::page`].

use axum::response::Response;
use http::{HeaderValue, Uri};
use p2p_api::page::{Cursor, Page, PageQuery};
use p2p_api::{ApiError, routes};
use serde::Serialize;

use super::body::{json, query};
use super::problem::Refusal;

/// Tells an answer where the next page begins.
pub(super) fn put_next(cursor: Cursor, answer: &mut Response) -> Result<(), Refusal> {
    put_text(&cursor.to_text(), answer)
}

fn put_text(cursor: &str, answer: &mut Response) -> Result<(), Refusal> {
    let text = HeaderValue::from_str(cursor).map_err(|error| ApiError::internal(error.to_string()))?;
    answer.headers_mut().insert(routes::NEXT_CURSOR, text);
    Ok(())
}

/// The page of a list that a query asks for. `key` tells items apart.
pub(super) fn page<T: Serialize>(uri: &Uri, items: &[T], key: impl Fn(&T) -> String) -> Result<Response, Refusal> {
    let asked: PageQuery = query(uri)?;
    let page = Page::of(items, &asked, key)?;
    let mut answer = json(&page.items)?;
    if let Some(next) = &page.next {
        put_text(next, &mut answer)?;
    }
    Ok(answer)
}
