//! Writes that may be repeated: a second call with the same `Idempotency-Key` is answered as the first one was
//! (specs/overlay.md, 2.2).
//!
//! Only what succeeded is remembered: a call that failed may be tried again. Calls that answer with a stream are not
//! remembered, for they go on where they were when they are made again; nor are streams to peers.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use p2p_api::wire::{IDEMPOTENCY_KEY, MAX_BODY_BYTES};
use p2p_api::{ApiError, ErrorKind, routes};
use p2p_drives::{Batch, Ledger, LedgerTable};

use super::body::read_body;
use super::caller::Caller;
use super::problem::Refusal;
use super::router::Server;

const TABLE: LedgerTable = LedgerTable::Answers;
/// How long an answer is remembered.
const REMEMBER: Duration = Duration::from_secs(24 * 3600);
/// Answers remembered; the oldest go first.
const MAX_ANSWERS: usize = 10_000;
/// Longest key, in bytes.
const MAX_KEY_BYTES: usize = 255;
/// Largest answer that is remembered, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Says that an answer is one that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

type CallHash = [u8; 32];

/// The answers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Answers {
    ledger: Arc<dyn Ledger>,
    state: Arc<Mutex<Known>>,
}

/// What is in the ledger: rows have the time and the hash of caller and key as their key.
#[derive(Default)]
struct Known {
    is_read: bool,
    times: HashMap<CallHash, u64>,
    by_time: BTreeSet<(u64, CallHash)>,
    running: HashSet<CallHash>,
}

struct Answer {
    request: CallHash,
    status: u16,
    content_type: String,
    body: Vec<u8>,
}

impl Answers {
    pub(super) fn new(ledger: Arc<dyn Ledger>) -> Self {
        Self { ledger, state: Arc::default() }
    }

    /// What was answered to this call, if anything. Else the call runs from now on, until the guard is dropped.
    fn begin(&self, call: CallHash) -> Result<Result<Answer, Running>, ApiError> {
        let mut known = self.lock();
        self.read_once(&mut known)?;
        if let Some(time) = known.times.get(&call).filter(|time| since(**time) < REMEMBER) {
            let row = self.ledger.get(TABLE, &row_key(*time, &call)).map_err(|error| failed(&error))?;
            if let Some(answer) = row.as_deref().and_then(Answer::decode) {
                return Ok(Ok(answer));
            }
        }
        if !known.running.insert(call) {
            return Err(ApiError::new(ErrorKind::Busy, "the call with this Idempotency-Key is still running"));
        }
        Ok(Err(Running { answers: self.clone(), call }))
    }

    fn remember(&self, call: CallHash, answer: &Answer) -> Result<(), ApiError> {
        let now = micros(SystemTime::now());
        let mut known = self.lock();
        let mut batch = Batch::new();
        if let Some(time) = known.times.insert(call, now) {
            known.by_time.remove(&(time, call));
            batch.delete(TABLE, row_key(time, &call));
        }
        while known.by_time.len() >= MAX_ANSWERS
            || known.by_time.first().is_some_and(|(time, _)| since(*time) >= REMEMBER)
        {
            let Some((time, old)) = known.by_time.pop_first() else { break };
            known.times.remove(&old);
            batch.delete(TABLE, row_key(time, &old));
        }
        known.by_time.insert((now, call));
        batch.put(TABLE, row_key(now, &call), answer.encode());
        self.ledger.commit(&batch).map_err(|error| failed(&error))
    }

    /// Reads the rows' keys the first time anybody uses this, so that the start of the node does not.
    fn read_once(&self, known: &mut Known) -> Result<(), ApiError> {
        if known.is_read {
            return Ok(());
        }
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.ledger.scan(TABLE, &[], after.as_deref(), 256).map_err(|error| failed(&error))?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, _) in page {
                if let Some((time, call)) = parse_row_key(&key) {
                    known.times.insert(call, time);
                    known.by_time.insert((time, call));
                }
            }
        }
        known.is_read = true;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that runs.
struct Running {
    answers: Answers,
    call: CallHash,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.answers.lock().running.remove(&self.call);
    }
}

impl Answer {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.request.to_vec();
        bytes.extend_from_slice(&self.status.to_be_bytes());
        bytes.push(u8::try_from(self.content_type.len()).unwrap_or_default());
        bytes.extend_from_slice(self.content_type.as_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (request, rest) = bytes.split_first_chunk::<32>()?;
        let (status, rest) = rest.split_first_chunk::<2>()?;
        let (&length, rest) = rest.split_first()?;
        let (content_type, body) = rest.split_at_checked(usize::from(length))?;
        Some(Self {
            request: *request,
            status: u16::from_be_bytes(*status),
            content_type: String::from_utf8(content_type.to_vec()).ok()?,
            body: body.to_vec(),
        })
    }

    fn into_response(self) -> Response {
        let mut response = self.body.into_response();
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        response.headers_mut().remove(header::CONTENT_TYPE);
        if let Ok(content_type) = HeaderValue::from_str(&self.content_type)
            && !content_type.is_empty()
        {
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        }
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        response
    }
}

/// Answers a repeated write from memory.
pub(super) async fn repeatable(
    State(server): State<Server>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let Some(key) = request.headers().get(IDEMPOTENCY_KEY).cloned() else { return Ok(next.run(request).await) };
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    if !is_write(request.method()) || is_streamed(&route) || is_secret(&route) {
        return Ok(next.run(request).await);
    }
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(ApiError::invalid(format!("an Idempotency-Key has 1 to {MAX_KEY_BYTES} bytes")).into());
    }
    let (parts, body) = request.into_parts();
    let body = read_body(body).await?;
    let asked = hash(&[parts.method.as_str().as_bytes(), parts.uri.to_string().as_bytes(), &body]);
    let call = hash(&[caller.key().as_bytes(), key.as_bytes()]);
    let answers = server.access.answers.clone();
    let begun = blocking({
        let answers = answers.clone();
        move || answers.begin(call)
    });
    let running = match begun.await? {
        Ok(answer) if answer.request == asked => return Ok(answer.into_response()),
        Ok(_) => {
            return Err(ApiError::new(ErrorKind::Conflict, "this Idempotency-Key was used for another call")
                .with_hint("use a new key for every call that is not a repetition")
                .into());
        }
        Err(running) => running,
    };
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    if !response.status().is_success() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = http_body_util::Limited::new(body, MAX_BODY_BYTES).collect().await;
    let body = body.map_err(|error| ApiError::internal(format!("the answer broke off: {error}")))?.to_bytes();
    if body.len() <= MAX_ANSWER_BYTES {
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let answer = Answer {
            request: asked,
            status: parts.status.as_u16(),
            content_type: content_type.unwrap_or_default().to_owned(),
            body: body.to_vec(),
        };
        // On disk before the caller has it: whoever repeats the call after a crash gets the same.
        blocking(move || answers.remember(call, &answer)).await?;
    }
    drop(running);
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn is_write(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::DELETE | Method::PATCH)
}

/// What holds a secret is not written down for those who repeat a call.
fn is_secret(route: &str) -> bool {
    matches!(
        route,
        routes::ZONE_EXPORT
            | routes::IDENTITY
            | routes::INVITES
            | routes::INVITE_ACCEPT
            | routes::LOCK
            | routes::UNLOCK
            | routes::PASSPHRASE
    )
}

fn is_streamed(route: &str) -> bool {
    matches!(route, routes::IMPORT | routes::FOLLOW | routes::STREAM_DIAL | routes::STREAM_LISTEN | routes::APPS)
}

fn hash(parts: &[&[u8]]) -> CallHash {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
    }
    *hasher.finalize().as_bytes()
}

fn row_key(time: u64, call: &CallHash) -> Vec<u8> {
    [time.to_be_bytes().as_slice(), call].concat()
}

fn parse_row_key(key: &[u8]) -> Option<(u64, CallHash)> {
    let (time, call) = key.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*time), call.try_into().ok()?))
}

fn micros(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

fn since(time: u64) -> Duration {
    Duration::from_micros(micros(SystemTime::now()).saturating_sub(time))
}

fn failed(error: &p2p_drives::LedgerError) -> ApiError {
    ApiError::new(ErrorKind::Io, error.to_string())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(error.to_string()))?
}

#[cfg(test)]
mod tests {
    use p2p_drives::MemoryLedger;

    use super::*;

    fn answer(body: &str) -> Answer {
        Answer { request: [1; 32], status: 200, content_type: "application/json".into(), body: body.into() }
    }

    #[test]
    fn answers_are_remembered_over_a_restart_and_bounded() {
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
        let answers = Answers::new(ledger.clone());
        let number = |n: usize| hash(&[&n.to_be_bytes()]);
        for n in 0..MAX_ANSWERS + 3 {
            let running = answers.begin(number(n)).expect("works").err().expect("it is new");
            answers.remember(number(n), &answer(&n.to_string())).expect("remembered");
            drop(running);
        }
        let again = Answers::new(ledger);
        for old in 0..3 {
            assert!(again.begin(number(old)).expect("works").is_err(), "the oldest are gone");
        }
        let kept = again.begin(number(MAX_ANSWERS)).expect("works").ok().expect("it is there");
        assert_eq!((kept.status, kept.body), (200, MAX_ANSWERS.to_string().into_bytes()));
        assert_eq!(again.lock().times.len(), MAX_ANSWERS);
    }

    #[test]
    fn a_call_runs_once_at_a_time() {
        let answers = Answers::new(Arc::new(MemoryLedger::default()));
        let running = answers.begin([7; 32]).expect("works").err().expect("it is new");
        assert_eq!(answers.begin([7; 32]).err().expect("it runs").kind, ErrorKind::Busy);
        drop(running);
        assert!(answers.begin([7; 32]).expect("works").is_err());
    }
}
