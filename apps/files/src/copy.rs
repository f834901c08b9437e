//! Copying a drive into a folder.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use p2p_api::files::{CloneEvent, CloneRequest, SyncRequest};
use p2p_api::{ApiError, ErrorKind, Follow, Node, Result, Stream, SyncEvent, TransferEvent};

use crate::keep::Keeper;

/// Copies the drive and tells how far it is. What is there already is not fetched again.
pub(crate) async fn copy(node: &Node, request: CloneRequest) -> Result<Stream<CloneEvent>> {
    let mut started = Instant::now();
    check_target(&request.target).await?;
    let follow = Follow {
        timeout: request.timeout_s.map(timeout).transpose()?,
        link: request.link,
        target: request.target,
        allow_external_links: request.allow_external_links,
        stay: request.follow,
    };
    let events = match &request.at {
        Some(_) if follow.stay => {
            return Err(ApiError::invalid("an earlier version does not change: it cannot be followed"));
        }
        Some(at) => node.history().copy(follow, at).await?,
        None => node.drives().follow(follow).await?,
    };
    let told = events.map_ok(move |event| {
        let is_done = matches!(event, TransferEvent::Done { .. });
        let told = told(event, started);
        if is_done {
            started = Instant::now();
        }
        told
    });
    Ok(told.boxed())
}

/// Brings a folder in step with a drive; the keeper publishes its edits from then on.
pub(crate) async fn sync(node: &Node, keeper: &Keeper, request: SyncRequest) -> Result<Stream<SyncEvent>> {
    check_target(&request.target).await?;
    let target = request.target.clone();
    let follow = Follow {
        timeout: request.timeout_s.map(timeout).transpose()?,
        link: request.link,
        target: request.target,
        allow_external_links: request.allow_external_links,
        stay: true,
    };
    let keeper = keeper.clone();
    let events = node.writers().sync(follow).await?.and_then(move |event| {
        let (keeper, target) = (keeper.clone(), target.clone());
        async move {
            if let SyncEvent::Done { drive, .. } = &event {
                keeper.keep(*drive, target).await;
            }
            Ok(event)
        }
    });
    Ok(events.boxed())
}

fn told(event: TransferEvent, started: Instant) -> CloneEvent {
    match event {
        TransferEvent::Progress(progress) => CloneEvent::Progress(progress),
        TransferEvent::Done { drive, version, files, bytes, bytes_fetched, peers, skipped } => CloneEvent::Done {
            drive,
            version,
            files,
            bytes,
            bytes_fetched,
            seconds: started.elapsed().as_secs_f64(),
            peers,
            skipped,
        },
    }
}

fn timeout(seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| ApiError::invalid(format!("{seconds:e} seconds are no time limit")))
}

/// A missing folder is fine, anything else in its place is not.
async fn check_target(target: &Path) -> Result<()> {
    let shown = target.display();
    if !target.is_absolute() {
        return Err(ApiError::invalid(format!("cannot copy into {shown}: the path is not absolute"))
            .with_hint("send the full path, beginning with /"));
    }
    match tokio::fs::metadata(target).await {
        Ok(metadata) if !metadata.is_dir() => {
            Err(ApiError::new(ErrorKind::Conflict, format!("cannot copy into {shown}: it is not a folder"))
                .with_hint("name another folder, or move that file away"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_that_is_no_time_is_refused() {
        for seconds in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(timeout(seconds).unwrap_err().kind, ErrorKind::InvalidInput, "{seconds}");
        }
        assert_eq!(timeout(1.5).unwrap(), Duration::from_millis(1500));
    }
}
