//! `p2p clone LINK [DIR]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use p2p_api::files::{CloneEvent, CloneRequest};
use p2p_api::{ApiError, ErrorKind, Open, routes};
use p2p_client::Client;

use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::human::{bytes, count, printable, seconds};
use crate::link::{self, DriveLink};
use crate::local_names;
use crate::place;
use crate::progress::Bar;
use crate::session::{Context, Course, Need};
use crate::withheld;

/// Fetches everything into a folder and exits when it is complete. Run again, it goes on where it was interrupted.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p clone p2p://…/ ./site")]
pub(crate) struct Arguments {
    /// The link, a bare id, or a name.
    link: String,
    /// The folder; by default named as the drive is.
    dir: Option<PathBuf>,
    /// Also make symlinks that lead out of the folder; else they are left out and listed.
    #[arg(long)]
    allow_external_links: bool,
    /// Stay, and apply new versions as they come.
    #[arg(long, conflicts_with = "at")]
    follow: bool,
    /// An earlier state: a version's number, hash or tag, or a time as `yesterday` or `2 days ago`.
    #[arg(long, value_name = "VERSION_OR_TIME")]
    at: Option<String>,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let link = link::reference_at(&arguments.link)?;
    let target = arguments.dir.as_deref().map(place::target_folder).transpose()?;
    let timeout = context.global.timeout;
    context
        .with_node(Need::RunningOrInside, async |console, client, course| {
            let bar = Bar::new(console);
            bar.message("looking for peers");
            let link = link.link_at(client, timeout).await?;
            let at = link.at(arguments.at.as_deref())?;
            let target = match target {
                Some(target) => target,
                None => default_target(client, &link, timeout).await?,
            };
            let request = CloneRequest {
                link: link.text,
                target,
                allow_external_links: arguments.allow_external_links,
                follow: arguments.follow,
                at,
                timeout_s: timeout.map(|timeout| timeout.as_secs_f64()),
            };
            fetch(console, client, &bar, &request, course).await
        })
        .await
}

/// A folder here that is named as the drive is; only one that has nothing else in it.
async fn default_target(client: &Client, link: &DriveLink, timeout: Option<Duration>) -> Result<PathBuf> {
    let info = client.node().drives().open(Open { link: link.text.clone(), timeout }).await?;
    let name = place::folder_name(&info.title, &link.drive.to_string());
    let target = place::target_folder(Path::new(&name))?;
    if place::is_in_use(&target) && info.path.as_ref() != Some(&target) {
        let error = ApiError::new(ErrorKind::Conflict, format!("there is already something in ./{name}"));
        return Err(error.with_hint(format!("name the folder: p2p clone {} DIR", link.drive)).into());
    }
    Ok(target)
}

async fn fetch(
    console: &mut Console,
    client: &Client,
    bar: &Bar,
    request: &CloneRequest,
    course: &Course,
) -> Result<()> {
    let mut is_first = true;
    let mut events = client.post(routes::CLONES, request).await?.lines::<CloneEvent>();
    while let Some(event) = events.next().await {
        let event = event?;
        console.emit(&event)?;
        match event {
            CloneEvent::Progress(progress) => bar.show(&progress),
            CloneEvent::Done {
                drive,
                version,
                files,
                bytes: size,
                bytes_fetched,
                seconds: time,
                peers,
                skipped,
                ..
            } => {
                // An earlier version is no drive of this node.
                let info = client.node().drives().get(drive).await.ok();
                let target = printable(&request.target.display().to_string());
                let what = format!("{}, {}, version {version}", count(files, "file", "files"), bytes(size));
                let from = count(u64::from(peers), "peer", "peers");
                let how = format!("{} fetched from {from} in {}", bytes(bytes_fetched), seconds(time));
                bar.hidden_while(|| {
                    if is_first {
                        console.say(format!("Cloned into {target}"))?;
                    }
                    console.say(format!("  {what}"))?;
                    console.say(format!("  {how}"))?;
                    console.note_skipped(&skipped);
                    if let Some(info) = &info {
                        withheld::note(console, info);
                    }
                    Ok::<(), Failure>(())
                })?;
                if info.is_some() && is_first {
                    local_names::note(console, client, drive).await?;
                }
                if !request.follow {
                    return Ok(());
                }
                // The folder is complete: to stop here is no failure.
                course.may_end();
                is_first = false;
                bar.message("waiting for changes");
            }
        }
    }
    Err(Failure::new(ErrorKind::Internal, "the node ended the answer before everything was here"))
}
