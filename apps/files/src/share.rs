//! Sharing a folder: check, link, scan, import.

use std::io::ErrorKind as IoErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures::{StreamExt, TryStreamExt, future, stream};
use p2p_api::files::{ShareEvent, ShareRequest};
use p2p_api::{ApiError, DriveInfo, ErrorKind, Import, ImportEvent, NewDrive, Node, Result, Skipped, Stream};
use p2p_identity::{DriveId, is_cut_name};
use tracing::{debug, info};

use crate::keep::Keeper;
use crate::profile::{self, Profile};
use crate::scan::{Report, Scan};
use crate::turns::Turns;
use crate::watch::Touched;

/// Longest title of a drive, in bytes.
const MAX_TITLE_BYTES: usize = 255;

/// Makes (or finds) the folder's drive and publishes what is in the folder. The first event is the link.
/// Unless it is to be published only once, the keeper has it from then on.
pub(crate) async fn share(
    node: &Node,
    turns: &Arc<Turns>,
    keeper: &Keeper,
    request: ShareRequest,
) -> Result<Stream<ShareEvent>> {
    let started = Instant::now();
    let path = check_folder(&request.path).await?;
    let title = title(request.title, &path)?;
    let profiled = if request.profile {
        let folder = path.clone();
        let written = tokio::task::spawn_blocking(move || profile::write(&folder)).await;
        Some(written.map_err(|error| ApiError::internal(error.to_string()))??)
    } else {
        None
    };
    let drive = node.drives().create(NewDrive { path: Some(path.clone()), title }).await?;
    let link = ShareEvent::Link { link: drive.link.clone(), drive: drive.drive };
    let (node, turns) = (node.clone(), turns.clone());
    let keeper = (!request.once).then(|| keeper.clone());
    let rest = stream::once(async move {
        let (events, report) = import(&node, &turns, &drive, path.clone(), &Touched::Anything).await?;
        let of = drive.drive;
        let events = events.and_then(move |event| {
            let (keeper, path) = (keeper.clone(), path.clone());
            async move {
                if let (ImportEvent::Published { .. }, Some(keeper)) = (&event, keeper) {
                    keeper.keep(of, path).await;
                }
                Ok(event)
            }
        });
        let told = events.and_then(move |event| told(node.clone(), drive.clone(), report.clone(), started, event));
        Ok::<_, ApiError>(told)
    })
    .try_flatten();
    let profiled = profiled.map(|Profile { files, bytes }| Ok(ShareEvent::Profiled { files, bytes }));
    Ok(stream::once(future::ready(Ok(link))).chain(stream::iter(profiled)).chain(rest).boxed())
}

/// Publishes what changed in a shared folder, as far as it was touched.
pub(crate) async fn publish_changes(
    node: &Node,
    turns: &Turns,
    drive: &DriveInfo,
    path: &Path,
    touched: &Touched,
) -> Result<()> {
    let path = check_folder(path).await?;
    let (mut events, report) = import(node, turns, drive, path, touched).await?;
    while let Some(event) = events.try_next().await? {
        let ImportEvent::Published { version, files, changed, skipped, .. } = event else { continue };
        let skipped = report.skipped().len() + skipped.len();
        if changed {
            info!(drive = %drive.drive, version, files, skipped, "a new version");
        } else {
            debug!(drive = %drive.drive, version, files, skipped, "nothing changed");
        }
    }
    Ok(())
}

async fn import(
    node: &Node,
    turns: &Turns,
    drive: &DriveInfo,
    path: PathBuf,
    touched: &Touched,
) -> Result<(Stream<ImportEvent>, Report)> {
    let turn = turns.take(&drive.drive.to_string()).await;
    let report = Report::default();
    let touched = if drive.version > 0 { touched } else { &Touched::Anything };
    let events = scanned(node, drive.drive, path.clone(), touched, report.clone()).await?;
    let (node, of, again) = (node.clone(), drive.drive, report.clone());
    let events = events.then(move |event| {
        // The turn lives as long as the stream.
        let _ = &turn;
        let (node, path, report) = (node.clone(), path.clone(), again.clone());
        async move {
            match event {
                // The node has put something into the folder meanwhile: what was read before is void, once.
                Err(error) if error.kind == ErrorKind::Conflict => {
                    debug!(drive = %of, %error, "the folder is gone through again");
                    report.clear();
                    match scanned(&node, of, path, &Touched::Anything, report).await {
                        Ok(events) => events,
                        Err(error) => stream::once(future::ready(Err(error))).boxed(),
                    }
                }
                event => stream::once(future::ready(event)).boxed(),
            }
        }
    });
    Ok((events.flatten().boxed(), report))
}

async fn scanned(
    node: &Node,
    drive: DriveId,
    path: PathBuf,
    touched: &Touched,
    report: Report,
) -> Result<Stream<ImportEvent>> {
    if let Touched::Paths(paths) = touched {
        if let Some(changes) = Scan::part(path.clone(), paths, report.clone()).await {
            let how = Import { part: true, ..Import::default() };
            return node.drives().import(drive, how, changes).await;
        }
        report.clear();
    }
    // Names that were cut do not say what they stand for.
    let names = node.drives().local_names(drive).await?;
    let cut = names.into_iter().filter(|name| name.local.rsplit('/').next().is_some_and(is_cut_name));
    let changes = Scan::spawn(path, cut.map(|name| (name.local, name.path)).collect(), report);
    node.drives().import(drive, Import::default(), changes).await
}

async fn told(
    node: Node,
    drive: DriveInfo,
    report: Report,
    started: Instant,
    event: ImportEvent,
) -> Result<ShareEvent> {
    let (version, files, bytes, skipped) = match event {
        ImportEvent::Progress(progress) => return Ok(ShareEvent::Progress(progress)),
        ImportEvent::Published { version, files, bytes, skipped, changed: _ } => (version, files, bytes, skipped),
    };
    // By now the node may have addresses that it lacked when the link was first told.
    let link = match node.drives().get(drive.drive).await {
        Ok(now) => now.link,
        Err(_) => drive.link,
    };
    let gateway = node.info().await.ok().and_then(|info| info.gateway);
    Ok(ShareEvent::Published {
        link,
        drive: drive.drive,
        browser: gateway.and_then(|gateway| p2p_api::gateway::site_address(&gateway, drive.drive)),
        version,
        files,
        bytes,
        seconds: started.elapsed().as_secs_f64(),
        skipped: merged(report.skipped(), skipped),
    })
}

fn merged(mut scan: Vec<Skipped>, import: Vec<Skipped>) -> Vec<Skipped> {
    scan.extend(import);
    scan.sort_by(|a, b| a.path.cmp(&b.path));
    scan
}

/// The folder's real path, so that it gives the same drive whichever way it was reached.
async fn check_folder(path: &Path) -> Result<PathBuf> {
    let shown = path.display();
    if !path.is_absolute() {
        return Err(ApiError::invalid(format!("cannot share {shown}: the path is not absolute"))
            .with_hint("send the full path, beginning with /"));
    }
    let real = tokio::fs::canonicalize(path).await.map_err(|error| unreachable_folder(path, &error))?;
    if ["/proc", "/sys", "/dev"].iter().any(|system| real.starts_with(system)) {
        let error = format!("cannot share {shown}: what lies there is made by the system as it is read");
        return Err(ApiError::invalid(error).with_hint("copy what you want to share into a folder"));
    }
    let metadata = tokio::fs::metadata(&real).await.map_err(|error| unreachable_folder(path, &error))?;
    if !metadata.is_dir() {
        return Err(ApiError::invalid(format!("cannot share {shown}: it is not a folder"))
            .with_hint("share the folder that it is in"));
    }
    Ok(real)
}

fn unreachable_folder(path: &Path, error: &std::io::Error) -> ApiError {
    let shown = path.display();
    match error.kind() {
        IoErrorKind::NotFound => {
            ApiError::not_found(format!("cannot share {shown}: there is no such folder")).with_hint("check the path")
        }
        IoErrorKind::PermissionDenied => {
            ApiError::new(ErrorKind::NotAllowed, format!("cannot share {shown}: the node may not read it"))
                .with_hint("give the user that runs the node the right to read it")
        }
        IoErrorKind::NotADirectory => {
            ApiError::invalid(format!("cannot share {shown}: a part of the path is not a folder"))
        }
        _ => ApiError::new(ErrorKind::Io, format!("cannot share {shown}: {error}")),
    }
}

fn title(wanted: String, path: &Path) -> Result<String> {
    if wanted.len() > MAX_TITLE_BYTES {
        let len = wanted.len();
        return Err(ApiError::invalid(format!("the title is {len} bytes, at most {MAX_TITLE_BYTES}")));
    }
    if !wanted.is_empty() {
        return Ok(wanted);
    }
    let mut name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.truncate(name.floor_char_boundary(MAX_TITLE_BYTES));
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_is_the_folders_name_unless_given() {
        assert_eq!(title(String::new(), Path::new("/home/ada/photos")).unwrap(), "photos");
        assert_eq!(title("Trip".into(), Path::new("/home/ada/photos")).unwrap(), "Trip");
        assert_eq!(title(String::new(), Path::new("/")).unwrap(), "");
    }

    #[test]
    fn a_title_is_never_longer_than_a_header_can_hold() {
        assert_eq!(title("x".repeat(256), Path::new("/a")).unwrap_err().kind, ErrorKind::InvalidInput);
        let long = format!("/{}", "€".repeat(100));
        let cut = title(String::new(), Path::new(&long)).unwrap();
        assert_eq!(cut, "€".repeat(85));
    }

    #[test]
    fn what_scan_and_import_left_out_is_one_list_in_path_order() {
        let skipped = |path: &str| Skipped { path: path.into(), reason: "x".into() };
        let all = merged(vec![skipped("b"), skipped("d")], vec![skipped("a"), skipped("c")]);
        assert_eq!(all.iter().map(|s| s.path.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    }
}
