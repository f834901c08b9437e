//! Why a command did not do what it was asked, and the exit status for it (cli.md, "Everywhere").

use std::io;

use p2p_api::{ApiError, ErrorKind};
use p2p_client::ConnectError;
use serde::Serialize;

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// A command's end before its goal.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The node, or this program, could not do it.
    Api(ApiError),
    /// The command itself is wrong.
    Usage { message: String, hint: Option<String> },
    /// No node answers.
    NoNode(String),
    /// SIGINT or SIGTERM.
    Interrupted,
    /// The reader of our results went away, as `head` does: no failure at all.
    BrokenPipe,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: None }
    }

    pub(crate) fn usage_with_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: Some(hint.into()) }
    }

    /// A failure with what to do next.
    pub(crate) fn hinted(kind: ErrorKind, message: String, hint: String) -> Self {
        ApiError::new(kind, message).with_hint(hint).into()
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Api(ApiError::new(kind, message))
    }

    /// An error of the local disk, by what was tried.
    pub(crate) fn disk(what: &str, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::PermissionDenied => ErrorKind::NotAllowed,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::StorageFull,
            _ => ErrorKind::Io,
        };
        Self::new(kind, format!("cannot {what}: {error}"))
    }

    /// From the program around us; an [`ApiError`] inside keeps its kind.
    pub(crate) fn program(error: &anyhow::Error) -> Self {
        match error.downcast_ref::<ApiError>() {
            Some(found) => Self::Api(ApiError { message: format!("{error:#}"), ..found.clone() }),
            None => Self::new(ErrorKind::Internal, format!("{error:#}")),
        }
    }

    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::BrokenPipe => 0,
            Self::Usage { .. } => 2,
            Self::NoNode(_) => 3,
            Self::Interrupted => 130,
            Self::Api(error) => match error.kind {
                ErrorKind::InvalidInput => 2,
                ErrorKind::NodeStopped => 3,
                ErrorKind::NotFound | ErrorKind::NotKept | ErrorKind::Revoked => 4,
                ErrorKind::NotAllowed | ErrorKind::Locked => 5,
                ErrorKind::TimedOut => 6,
                _ => 1,
            },
        }
    }

    /// What to tell, if anything.
    pub(crate) fn report(&self) -> Option<Report> {
        let (code, message, hint) = match self {
            Self::BrokenPipe => return None,
            Self::Api(error) => (error.kind.code(), error.message.clone(), error.hint.clone()),
            Self::Usage { message, hint } => (ErrorKind::InvalidInput.code(), message.clone(), hint.clone()),
            Self::NoNode(message) => ("no_node", message.clone(), Some("start one with: p2pnode start".to_owned())),
            Self::Interrupted => ("interrupted", "interrupted".to_owned(), None),
        };
        Some(Report { code, message, hint })
    }
}

/// `{code, message, hint}` on stderr.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match &error {
            ConnectError::NoNode { .. } => Self::NoNode(error.to_string()),
            ConnectError::NotAllowed { .. } => Self::new(ErrorKind::NotAllowed, error.to_string()),
            ConnectError::OtherVersion { .. } => Self::new(ErrorKind::Unsupported, error.to_string()),
            ConnectError::Io { source, .. } => Self::new(ErrorKind::Io, format!("{error}: {source}")),
            _ => Self::new(ErrorKind::Internal, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_statuses_are_those_that_scripts_rely_on() {
        for (kind, status) in [
            (ErrorKind::InvalidInput, 2),
            (ErrorKind::NodeStopped, 3),
            (ErrorKind::NotFound, 4),
            (ErrorKind::NotKept, 4),
            (ErrorKind::Revoked, 4),
            (ErrorKind::NotAllowed, 5),
            (ErrorKind::Locked, 5),
            (ErrorKind::TimedOut, 6),
            (ErrorKind::Io, 1),
            (ErrorKind::Conflict, 1),
        ] {
            assert_eq!(Failure::new(kind, "").exit_status(), status, "{kind:?}");
        }
        assert_eq!(Failure::usage("").exit_status(), 2);
        assert_eq!(Failure::NoNode(String::new()).exit_status(), 3);
        assert_eq!(Failure::Interrupted.exit_status(), 130);
        assert_eq!(Failure::BrokenPipe.exit_status(), 0);
    }

    #[test]
    fn an_api_error_inside_of_others_keeps_its_kind() {
        let inner = ApiError::new(ErrorKind::Conflict, "the home is in use").with_hint("stop the other node");
        let failure = Failure::program(&anyhow::Error::new(inner).context("cannot start"));
        let report = failure.report().unwrap();
        assert_eq!((report.code, report.message.as_str()), ("conflict", "cannot start: the home is in use"));
        assert_eq!(report.hint.as_deref(), Some("stop the other node"));
    }
}
