//! `GET /v1/drives/{drive}/files/{path}`: verified bytes, whole or a single range (RFC 9110, sections 13 and 14).

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use p2p_api::wire::ByteRange;
use p2p_api::{ApiError, Content, EntryKind, ReadRange, TreeEntry, routes};
use p2p_identity::DriveId;

use super::body::{At, id, query};
use super::history::OfVersion;
use super::problem::Refusal;
use super::router::Server;

const BYTES: &str = "application/octet-stream";

/// Also answers `HEAD`: the body is then dropped before it is read.
pub(super) async fn read(
    State(server): State<Server>,
    At((drive, path)): At<(String, String)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let drive: DriveId = id(&drive)?;
    let wanted = headers.get(header::RANGE).and_then(|value| ByteRange::from_header(value.to_str().ok()?));
    let has_condition = headers.contains_key(header::IF_RANGE) || headers.contains_key(header::IF_NONE_MATCH);
    let OfVersion { at } = query(&uri)?;
    let read = async |range| match &at {
        Some(at) => server.node.history().read(drive, &path, range, at).await,
        None => server.node.drives().read(drive, &path, range).await,
    };
    let mut range = None;
    if wanted.is_some() || has_condition {
        let nothing = ReadRange { start: 0, end: Some(0) };
        let entry = read(nothing).await?.entry;
        let tag = entity_tag(&entry);
        if names_tag(&headers, &header::IF_NONE_MATCH, &tag) {
            return Ok((StatusCode::NOT_MODIFIED, entry_headers(&entry)?).into_response());
        }
        let is_same = !headers.contains_key(header::IF_RANGE) || names_tag(&headers, &header::IF_RANGE, &tag);
        if let Some(wanted) = wanted.filter(|_| is_same) {
            let Some(within) = wanted.within(entry.size) else { return Ok(not_satisfiable(wanted, &path, entry.size)) };
            range = Some(within);
        }
    }
    let mut content = read(range.unwrap_or_default()).await?;
    if method != Method::HEAD {
        // As long as no byte has come, an error can still have a status of its own.
        let first = content.stream.next().await.transpose()?;
        content.stream = stream::iter(first.map(Ok)).chain(content.stream).boxed();
    }
    answer(content, range.is_some())
}

fn answer(content: Content, is_part: bool) -> Result<Response, Refusal> {
    let Content { entry, start, len, stream } = content;
    let mut headers = entry_headers(&entry)?;
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(BYTES));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    if is_part && len > 0 {
        let last = start.saturating_add(len - 1);
        headers.insert(header::CONTENT_RANGE, value(&format!("bytes {start}-{last}/{}", entry.size))?);
    }
    let status = if is_part { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    Ok((status, headers, Body::from_stream(stream)).into_response())
}

fn entry_headers(entry: &TreeEntry) -> Result<HeaderMap, Refusal> {
    let kind = match entry.kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symlink",
    };
    Ok(HeaderMap::from_iter([
        (header::ETAG, value(&entity_tag(entry))?),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (HeaderName::from_static(routes::ENTRY_KIND), HeaderValue::from_static(kind)),
        (HeaderName::from_static(routes::ENTRY_MODE), HeaderValue::from(entry.mode)),
        (HeaderName::from_static(routes::ENTRY_MTIME), HeaderValue::from(entry.mtime)),
        (HeaderName::from_static(routes::ENTRY_SIZE), HeaderValue::from(entry.size)),
    ]))
}

fn not_satisfiable(wanted: ByteRange, path: &str, size: u64) -> Response {
    let error = ApiError::invalid(format!("{path:?} has {size} bytes, none of them in {wanted}"));
    let mut response = Refusal::with_status(StatusCode::RANGE_NOT_SATISFIABLE, error).into_response();
    if let Ok(range) = value(&format!("bytes */{size}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    response
}

fn entity_tag(entry: &TreeEntry) -> String {
    format!("\"{}\"", entry.hash)
}

fn names_tag(headers: &HeaderMap, name: &HeaderName, tag: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|named| matches!(named.trim(), named if named == tag || named == "*"))
}

fn value(text: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_str(text).map_err(|_| ApiError::internal("an answer's header has a bad character").into())
}
