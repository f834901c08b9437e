//! The answer that carries a file: whole, in parts, or only its headers.

use std::time::SystemTime;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use p2p_api::Result;
use tokio::time::Instant;

use super::body::Bytestream;
use super::conditions::{self, Verdict};
use super::media;
use super::ranges::{self, Part, Wanted};
use super::store::{Found, Reader, within};

/// How long a browser may keep what it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// The address always shows the newest version: asked for again each time, mostly answered with 304.
    Live,
    /// The address names this version, which never changes.
    Fixed,
}

/// What a file is sent as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How<'request> {
    pub(crate) method: &'request Method,
    pub(crate) headers: &'request HeaderMap,
    /// 200, or 404 for a site's own page for what is not there.
    pub(crate) status: StatusCode,
    pub(crate) lifetime: Lifetime,
    pub(crate) deadline: Instant,
}

/// Answers with a file.
pub(crate) async fn answer(found: Found, how: How<'_>) -> Result<Response> {
    let entry = found.file.entry.clone();
    let tag = conditions::entity_tag(&entry);
    let modified = conditions::last_modified(&entry, SystemTime::now());
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    set(headers, header::ETAG, &tag);
    if let Some(modified) = &modified {
        set(headers, header::LAST_MODIFIED, modified);
    }
    let lifetime = match how.lifetime {
        Lifetime::Live => HeaderValue::from_static("no-cache"),
        Lifetime::Fixed => HeaderValue::from_static("public, max-age=31536000, immutable"),
    };
    headers.insert(header::CACHE_CONTROL, lifetime);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));

    let media = media::of(&entry.path, found.file.in_memory());
    let is_usual = how.status == StatusCode::OK;
    if is_usual {
        match conditions::verdict(how.headers, &tag, modified.as_deref()) {
            Verdict::Send => {}
            Verdict::NotModified => return Ok(with_status(response, StatusCode::NOT_MODIFIED)),
            Verdict::Failed => return Ok(with_status(response, StatusCode::PRECONDITION_FAILED)),
        }
    }
    let range = how.headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let may_be_part = is_usual && *how.method == Method::GET && conditions::range_is_fresh(how.headers, &tag);
    match ranges::wanted(range.filter(|_| may_be_part), entry.size) {
        Wanted::Whole => {
            set(response.headers_mut(), header::CONTENT_TYPE, &media);
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(entry.size));
            if *how.method != Method::HEAD {
                *response.body_mut() = match found.file.in_memory() {
                    Some(bytes) => Body::from(bytes.clone()),
                    None => started(within(how.deadline, found.read_whole()).await?, how.deadline).await?,
                };
            }
            Ok(with_status(response, how.status))
        }
        Wanted::Nothing => {
            set(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{}", entry.size));
            Ok(with_status(response, StatusCode::RANGE_NOT_SATISFIABLE))
        }
        Wanted::Parts(parts) => {
            match parts.as_slice() {
                [part] => {
                    set(response.headers_mut(), header::CONTENT_TYPE, &media);
                    set(response.headers_mut(), header::CONTENT_RANGE, &content_range(*part, entry.size));
                    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(part.len()));
                    let stream = within(how.deadline, found.file.read((*part).into())).await?;
                    *response.body_mut() = started(stream, how.deadline).await?;
                }
                _ => {
                    let parts = Multipart::new(parts, entry.size, &media)?;
                    set(response.headers_mut(), header::CONTENT_TYPE, &parts.content_type());
                    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(parts.len()));
                    *response.body_mut() = Body::from_stream(parts.stream(found.file));
                }
            }
            Ok(with_status(response, StatusCode::PARTIAL_CONTENT))
        }
    }
}

/// The body, once its first bytes are there: until then an error can still have a status and a page of its own.
async fn started(mut stream: Bytestream, deadline: Instant) -> Result<Body> {
    let first = within(deadline, async { stream.next().await.transpose() }).await?;
    Ok(Body::from_stream(stream::iter(first.map(Ok)).chain(stream)))
}

fn content_range(part: Part, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1))
}

fn with_status(mut response: Response, status: StatusCode) -> Response {
    *response.status_mut() = status;
    response
}

/// Sets a header whose value was made here; one that cannot be a header is left out.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// Several parts in one body (`multipart/byteranges`, RFC 9110, section 14.6).
struct Multipart {
    boundary: String,
    /// Each with what stands in front of it.
    parts: Vec<(Bytes, Part)>,
    end: Bytes,
}

impl Multipart {
    fn new(parts: Vec<Part>, size: u64, media: &str) -> Result<Self> {
        // Random, so that no content can be made that holds it.
        let boundary = crate::random::text()?;
        let parts = parts.into_iter().map(|part| {
            let range = content_range(part, size);
            let head = format!("\r\n--{boundary}\r\nContent-Type: {media}\r\nContent-Range: {range}\r\n\r\n");
            (Bytes::from(head), part)
        });
        Ok(Self { parts: parts.collect(), end: Bytes::from(format!("\r\n--{boundary}--\r\n")), boundary })
    }

    fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    fn len(&self) -> u64 {
        let parts: u64 = self.parts.iter().map(|(head, part)| head.len() as u64 + part.len()).sum();
        parts + self.end.len() as u64
    }

    fn stream(self, file: Reader) -> Bytestream {
        let end = self.end;
        let parts = stream::iter(self.parts).flat_map(move |(head, part)| {
            let file = file.clone();
            let bytes = stream::once(async move { file.read(part.into()).await }).flat_map(|read| match read {
                Ok(bytes) => bytes,
                Err(error) => stream::iter([Err(error)]).boxed(),
            });
            stream::iter([Ok(head)]).chain(bytes)
        });
        parts.chain(stream::iter([Ok(end)])).boxed()
    }
}
