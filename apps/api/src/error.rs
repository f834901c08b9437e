//! What can go wrong, and what an app should do about it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The result of every call of the contract.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;

/// The kinds of failure. The text form is stable: it is the `code` on the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is wrong. Give up: the same call fails again.
    InvalidInput,
    /// There is no such thing, or nobody who was reached has it. Ask the user, or retry later.
    NotFound,
    /// Nobody who could know was reached, so it may well be there. Retry when others can be reached.
    Unreachable,
    /// It was, and nobody who was asked keeps it any more. Ask the user, or retry when others can be reached.
    NotKept,
    /// Its owner has given it up. Do not trust it any more, and take nothing else in its place.
    Revoked,
    /// The caller may not do this. Ask the user.
    NotAllowed,
    /// The keys of the node are locked, and this needs one. Ask the user to unlock them, then retry.
    Locked,
    /// Time ran out. Retry, with a longer limit.
    TimedOut,
    /// Something else is doing this already, or the target is in the way. Ask the user.
    Conflict,
    /// No space, or a quota is full. Ask the user.
    StorageFull,
    /// Stored or received data is not what it should be. Retry with other peers, or repair.
    Corrupt,
    /// The other side, or the data, needs a version or a feature that is not here. Give up.
    Unsupported,
    /// Too much at once. Retry after a moment.
    Busy,
    /// The node is stopping or gone. Retry when it runs again.
    NodeStopped,
    /// A read or write of the local disk failed. Ask the user.
    Io,
    /// A mistake of the node's own. Report it.
    Internal,
}

impl ErrorKind {
    /// The stable text form, as in the `code` of a problem document.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::NotFound => "not_found",
            Self::Unreachable => "unreachable",
            Self::NotKept => "not_kept",
            Self::Revoked => "revoked",
            Self::NotAllowed => "not_allowed",
            Self::Locked => "locked",
            Self::TimedOut => "timed_out",
            Self::Conflict => "conflict",
            Self::StorageFull => "storage_full",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "unsupported",
            Self::Busy => "busy",
            Self::NodeStopped => "node_stopped",
            Self::Io => "io",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status that carries this kind on the socket.
    pub fn http_status(self) -> u16 {
        match self {
            Self::InvalidInput => 400,
            Self::NotFound => 404,
            Self::NotKept | Self::Revoked => 410,
            Self::NotAllowed => 403,
            Self::Locked => 423,
            Self::TimedOut | Self::Unreachable => 504,
            Self::Conflict => 409,
            Self::StorageFull => 507,
            Self::Corrupt => 502,
            Self::Unsupported => 501,
            Self::Busy => 429,
            Self::NodeStopped => 503,
            Self::Io | Self::Internal => 500,
        }
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind of failure it is; decides what to do.
    pub kind: ErrorKind,
    /// What was tried and what went wrong, for people.
    pub message: String,
    /// What to do next, for people, where there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl ApiError {
    /// An error of `kind` with a message for people.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// The same with a sentence that says what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// The keys of the node are locked.
    pub fn locked() -> Self {
        Self::new(ErrorKind::Locked, "the keys of this node are locked, and this needs one")
            .with_hint("unlock them: p2p unlock")
    }

    /// The node is stopping or gone.
    pub fn stopped() -> Self {
        Self::new(ErrorKind::NodeStopped, "the node is stopping")
    }

    /// A mistake of the node's own.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }
}

/// The form of an error on the socket: RFC 9457 problem JSON (`application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The HTTP status again.
    pub status: u16,
    /// The stable kind; see [`ErrorKind`].
    pub code: ErrorKind,
    /// What was tried and what went wrong.
    pub detail: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self { status: error.kind.http_status(), code: error.kind, detail: error.message, hint: error.hint }
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self { kind: problem.code, message: problem.detail, hint: problem.hint }
    }
}
