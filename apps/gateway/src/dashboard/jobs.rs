//! Beginning to share and to copy, as the forms ask for it.

use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use futures::StreamExt;
use http::Method;
use p2p_api::files::{ShareEvent, ShareRequest};
use p2p_api::wire::{MAX_ANSWER_LINE_BYTES, MAX_BODY_BYTES, json_lines, lines};
use p2p_api::{ApiError, AppRequest, ErrorKind, Follow, Link, Problem, Result, Skipped, Target, TransferEvent};

use super::Desk;
use super::transfers::{Kind, Reporter};
use crate::human;

/// Begins to share a folder; returns when its drive is known.
pub(crate) async fn share(desk: &Desk, path: &str, title: &str) -> Result<()> {
    let Some(files) = desk.files.clone() else {
        return Err(ApiError::new(ErrorKind::Unsupported, "sharing is not possible from here")
            .with_hint("the command line can do it: p2p share DIR"));
    };
    let path = folder(path)?;
    let request = ShareRequest { path: path.clone(), title: title.trim().to_owned(), once: false, profile: false };
    let body = serde_json::to_vec(&request).map_err(|error| ApiError::invalid(error.to_string()))?;
    let mut reporter = desk.transfers.begin(Kind::Share, path.display().to_string())?;
    let request =
        AppRequest { method: Method::POST, path: "shares".to_owned(), query: String::new(), body: Bytes::from(body) };
    let response = files.handle(&desk.node, request).await;
    if response.status >= 400 {
        reporter.withdraw();
        return Err(problem(response.body).await);
    }
    let mut events = json_lines::<ShareEvent>(lines(response.body, MAX_ANSWER_LINE_BYTES));
    desk.jobs.spawn(async move {
        let stop = reporter.stop.clone();
        let told = async {
            while let Some(event) = events.next().await {
                match event? {
                    ShareEvent::Link { drive, .. } => reporter.drive(drive),
                    ShareEvent::Profiled { .. } => {}
                    ShareEvent::Progress(progress) => reporter.progress(progress),
                    ShareEvent::Published { files, bytes, skipped, .. } => return Ok(words(files, bytes, &skipped)),
                }
            }
            Err(ApiError::internal("sharing ended before anything was published"))
        };
        let ended = tokio::select! {
            ended = told => Some(ended),
            () = stop.cancelled() => None,
        };
        finish(reporter, ended);
    });
    Ok(())
}

/// Begins to copy a drive into a folder.
pub(crate) async fn clone(desk: &Desk, link: &str, target: &str) -> Result<()> {
    let parsed: Link = link.trim().parse().map_err(|error| ApiError::invalid(format!("{error}")))?;
    let Target::Drive(drive) = parsed.target else {
        return Err(ApiError::new(ErrorKind::Unsupported, "this link is not one of a drive"));
    };
    let target = folder(target)?;
    let mut reporter = desk.transfers.begin(Kind::Clone, target.display().to_string())?;
    reporter.drive(drive);
    let follow =
        Follow { link: link.trim().to_owned(), target, allow_external_links: false, stay: false, timeout: None };
    let node = desk.node.clone();
    desk.jobs.spawn(async move {
        let stop = reporter.stop.clone();
        let started = Instant::now();
        let told = async {
            let mut events = node.drives().follow(follow).await?;
            while let Some(event) = events.next().await {
                match event? {
                    TransferEvent::Progress(progress) => reporter.progress(progress),
                    TransferEvent::Done { files, bytes, skipped, .. } => {
                        let time = human::span(started.elapsed().as_secs());
                        return Ok(format!("{} in {time}", words(files, bytes, &skipped)));
                    }
                }
            }
            Err(ApiError::internal("copying ended before everything was here"))
        };
        let ended = tokio::select! {
            ended = told => Some(ended),
            () = stop.cancelled() => None,
        };
        finish(reporter, ended);
    });
    Ok(())
}

fn finish(reporter: Reporter, ended: Option<Result<String>>) {
    match ended {
        Some(result) => reporter.end(result),
        None => drop(reporter),
    }
}

fn words(files: u64, bytes: u64, skipped: &[Skipped]) -> String {
    let all = format!("{}, {}", human::count(files, "file", "files"), human::bytes(bytes));
    match skipped.len() {
        0 => all,
        left_out => format!("{all}, {} left out", human::grouped(left_out as u64)),
    }
}

fn folder(text: &str) -> Result<PathBuf> {
    let text = text.trim();
    // What file managers copy and drop.
    let decoded = text.strip_prefix("file://").map(|address| {
        let path = address.strip_prefix("localhost").unwrap_or(address);
        percent_encoding::percent_decode_str(path).decode_utf8().map(std::borrow::Cow::into_owned)
    });
    let path = match decoded {
        None => PathBuf::from(text),
        Some(Ok(path)) => PathBuf::from(path),
        Some(Err(_)) => return Err(ApiError::invalid("the folder's address is no UTF-8")),
    };
    if path.is_absolute() {
        return Ok(path);
    }
    Err(ApiError::invalid("the folder has to be a full path").with_hint("it begins with /, as in /home/ada/site"))
}

/// The error in an answer of an app.
async fn problem(mut body: p2p_api::AppBody) -> ApiError {
    let mut bytes = Vec::new();
    while let Some(Ok(piece)) = body.next().await {
        bytes.extend_from_slice(&piece);
        if bytes.len() > MAX_BODY_BYTES {
            break;
        }
    }
    match serde_json::from_slice::<Problem>(&bytes) {
        Ok(problem) => problem.into(),
        Err(_) => ApiError::internal("sharing failed, and did not say why"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_full_paths_or_file_addresses() {
        for (text, path) in [
            (" /a b ", "/a b"),
            ("file:///home/ada/my%20site", "/home/ada/my site"),
            ("file://localhost/x%C3%BC", "/xü"),
        ] {
            assert_eq!(folder(text).unwrap(), PathBuf::from(path), "{text}");
        }
        for text in ["", "site", "file://", "file://other/x", "file:///%ff", "https://example.org/"] {
            assert!(folder(text).is_err(), "{text}");
        }
    }
}
