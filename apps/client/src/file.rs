//! Reading files of a drive: ranges of the contract as ranges of HTTP, which has none that are empty.

use std::str::FromStr;

use futures::StreamExt;
use http::{HeaderMap, Method, Request, StatusCode, header};
use p2p_api::wire::{ByteRange, encode_component, encode_path};
use p2p_api::{ApiError, Content, EntryKind, ReadRange, Result, TreeEntry, routes};
use p2p_identity::DriveId;

use crate::{Client, RequestBody, Response};

impl Client {
    /// The bytes `range` of a file, as `curl` would ask for them; all of them without. Any status is an answer.
    pub async fn file(&self, drive: DriveId, path: &str, range: Option<ByteRange>) -> Result<Response> {
        self.ask_for_file(Method::GET, drive, path, range, None).await
    }

    /// As [`Client::file`], of an earlier version where `at` names one.
    pub async fn file_at(
        &self,
        drive: DriveId,
        path: &str,
        range: Option<ByteRange>,
        at: Option<&str>,
    ) -> Result<Response> {
        self.ask_for_file(Method::GET, drive, path, range, at).await
    }

    async fn ask_for_file(
        &self,
        method: Method,
        drive: DriveId,
        path: &str,
        range: Option<ByteRange>,
        at: Option<&str>,
    ) -> Result<Response> {
        let path = path.trim_matches('/');
        if path.is_empty() {
            return Err(ApiError::invalid("the whole drive is a folder, not a file"));
        }
        let mut uri = routes::FILE.replace("{drive}", &drive.to_string()).replace("{*path}", &encode_path(path));
        if let Some(at) = at {
            uri.push_str(&format!("?at={}", encode_component(at)));
        }
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(range) = range {
            request = request.header(header::RANGE, format!("bytes={range}"));
        }
        let request = request.body(RequestBody::Empty);
        self.send(request.map_err(|error| ApiError::invalid(format!("{path:?} is not a path: {error}")))?).await
    }

    pub(crate) async fn read_file(
        &self,
        drive: DriveId,
        path: &str,
        range: ReadRange,
        at: Option<&str>,
    ) -> Result<Content> {
        let wanted = match range {
            ReadRange { start: 0, end: None } => None,
            ReadRange { start, end: None } => Some(ByteRange::From(start)),
            ReadRange { start, end: Some(end) } if end <= start => {
                return self.read_nothing(drive, path, range, at).await;
            }
            ReadRange { start, end: Some(end) } => Some(ByteRange::Between(start, end - 1)),
        };
        let answer = self.file_at(drive, path, wanted, at).await?;
        if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            return self.read_nothing(drive, path, range, at).await;
        }
        let answer = answer.ok().await?;
        let entry = entry(path, answer.headers())?;
        let len = number(answer.headers(), header::CONTENT_LENGTH.as_str())?;
        Ok(Content { entry, start: range.start, len, stream: answer.into_stream().boxed() })
    }

    /// A range with no byte in it, which is no error up to the file's end.
    async fn read_nothing(&self, drive: DriveId, path: &str, range: ReadRange, at: Option<&str>) -> Result<Content> {
        let answer = self.ask_for_file(Method::HEAD, drive, path, None, at).await?;
        if !answer.status().is_success() {
            // An answer to HEAD has no body that could tell the reason.
            let _ = self.file_at(drive, path, None, at).await?.ok().await?;
            return Err(ApiError::internal(format!("{path:?} cannot be read")));
        }
        let entry = entry(path, answer.headers())?;
        if range.start > entry.size || range.end.is_some_and(|end| end < range.start) {
            return Err(ApiError::invalid(format!("{path:?} has {} bytes, not the range asked for", entry.size)));
        }
        Ok(Content { entry, start: range.start, len: 0, stream: futures::stream::empty().boxed() })
    }
}

fn entry(path: &str, headers: &HeaderMap) -> Result<TreeEntry> {
    let kind = match text(headers, routes::ENTRY_KIND)? {
        "file" => EntryKind::File,
        "symlink" => EntryKind::Symlink,
        other => return Err(unexpected(&format!("{other:?} is no kind of file"))),
    };
    let hash = text(headers, header::ETAG.as_str())?.trim_matches('"').parse();
    Ok(TreeEntry {
        path: path.trim_matches('/').to_owned(),
        kind,
        size: number(headers, routes::ENTRY_SIZE)?,
        mtime: number(headers, routes::ENTRY_MTIME)?,
        mode: number(headers, routes::ENTRY_MODE)?,
        hash: hash.map_err(|_| unexpected("its ETag is no hash"))?,
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.ok_or_else(|| unexpected(&format!("it has no header {name}")))
}

fn number<T: FromStr>(headers: &HeaderMap, name: &str) -> Result<T> {
    text(headers, name)?.parse().map_err(|_| unexpected(&format!("its header {name} is no number")))
}

fn unexpected(what: &str) -> ApiError {
    ApiError::internal(format!("the node's answer is not what was expected: {what}"))
}
