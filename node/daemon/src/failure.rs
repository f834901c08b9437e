//! What ends a program, with its exit status (cli.md, "Everywhere").

use std::fmt;

use p2p_api::{ApiError, ErrorKind};
use serde_json::json;

/// Why a program ends, for people and for scripts.
#[derive(Debug)]
pub struct Failure {
    /// The exit status: 1 failed, 2 wrong usage.
    pub status: u8,
    /// What was tried, what went wrong.
    pub error: anyhow::Error,
    /// What to do next.
    pub hint: Option<String>,
}

impl Failure {
    /// Something did not work.
    pub fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self { status: 1, error: error.into(), hint: None }
    }

    /// The command or its settings are wrong.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { status: 2, error: error.into(), hint: None }
    }

    /// The same with a sentence that says what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// One line of JSON, as `--json` prints it on stderr.
    pub fn to_json(&self) -> String {
        let code = if self.status == 2 { "invalid_input" } else { "failed" };
        json!({ "error": { "code": code, "message": format!("{:#}", self.error), "hint": self.hint } }).to_string()
    }
}

/// The same for the command line, which prints it and knows the status of each kind.
pub fn api_error(failure: Failure) -> anyhow::Error {
    let kind = if failure.status == 2 { ErrorKind::InvalidInput } else { ErrorKind::Conflict };
    let mut error = ApiError::new(kind, format!("{:#}", failure.error));
    error.hint = failure.hint;
    error.into()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {:#}", self.error)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_scripts_read_the_same() {
        let failure = Failure::usage(anyhow::anyhow!("inner").context("outer")).with_hint("do this");
        assert_eq!(failure.to_string(), "error: outer: inner\n  do this");
        let json: serde_json::Value = serde_json::from_str(&failure.to_json()).unwrap();
        assert_eq!(json, json!({"error": {"code": "invalid_input", "message": "outer: inner", "hint": "do this"}}));
    }
}
