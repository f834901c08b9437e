//! `p2p sync LINK DIR`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use p2p_api::files::SyncRequest;
use p2p_api::{ConflictInfo, DriveInfo, ErrorKind, Stream, SyncEvent, routes};
use p2p_client::Client;
use p2p_identity::DriveId;
use serde_json::json;

use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::human::{bytes, count, printable};
use crate::link;
use crate::local_names;
use crate::place;
use crate::progress::Bar;
use crate::session::{Context, Need};
use crate::withheld;

/// How often to look for a new version.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Keeps a folder and a drive in step, both ways. Prints the key that the owner has to let in, if it has not yet.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p sync p2p://…/ ./site")]
pub(crate) struct Arguments {
    /// The link, a bare id, or a name.
    link: String,
    /// The folder.
    dir: PathBuf,
    /// Also make symlinks that lead out of the folder; else they are left out and listed.
    #[arg(long)]
    allow_external_links: bool,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let link = link::reference(&arguments.link)?;
    let target = place::target_folder(&arguments.dir)?;
    let timeout = context.global.timeout;
    context
        .with_node(Need::RunningOrStaying, async |console, client, course| {
            if course.is_inside() {
                console.note("No node is running: this command runs one until Ctrl-C.");
            }
            let bar = Bar::new(console);
            bar.message("looking for peers");
            let link = link.link(client, timeout).await?;
            let request = SyncRequest {
                link: link.text,
                target: target.clone(),
                allow_external_links: arguments.allow_external_links,
                timeout_s: timeout.map(|timeout| timeout.as_secs_f64()),
            };
            let events = client.post(routes::SYNCS, &request).await?.lines();
            let (drive, version) = first(console, client, events, bar, &target).await?;
            if !course.is_inside() {
                return Ok(());
            }
            course.may_end();
            watch(console, client, drive, version).await
        })
        .await
}

async fn first(
    console: &mut Console,
    client: &Client,
    mut events: Stream<SyncEvent>,
    bar: Bar,
    target: &Path,
) -> Result<(DriveId, u64)> {
    while let Some(event) = events.next().await {
        let event = event?;
        console.emit(&event)?;
        match event {
            SyncEvent::Progress(progress) => bar.show(&progress),
            SyncEvent::Done { drive, version, files, bytes: size, skipped, writer_key, may_write, .. } => {
                drop(bar);
                let target = printable(&target.display().to_string());
                console.say(format!("In step with {target}"))?;
                let what = count(files, "file", "files");
                console.say(format!("  {what}, {}, version {version}", bytes(size)))?;
                if !may_write {
                    console.say("  This node may not write yet, so edits stay here. The owner lets it in with:")?;
                    console.say(format!("  p2p writers add {drive} {writer_key}"))?;
                }
                console.note_skipped(&skipped);
                withheld::note(console, &client.node().drives().get(drive).await?);
                local_names::note(console, client, drive).await?;
                return Ok((drive, version));
            }
        }
    }
    Err(Failure::new(ErrorKind::Internal, "the node ended the answer before the folder was in step"))
}

/// Tells which versions and conflicts follow, until the node goes away.
async fn watch(console: &mut Console, client: &Client, drive: DriveId, mut version: u64) -> Result<()> {
    let mut known: Vec<ConflictInfo> = Vec::new();
    let mut missed = Vec::new();
    let mut state = None;
    loop {
        let info: DriveInfo = client.node().drives().get(drive).await?;
        if info.version != version {
            version = info.version;
            console.say(format!("  {}, version {version}", bytes(info.bytes)))?;
            console.emit(&json!({ "event": "version", "drive": drive, "version": version, "bytes": info.bytes }))?;
        }
        if info.withheld != missed {
            withheld::note(console, &info);
            missed.clone_from(&info.withheld);
        }
        let now = (info.version, info.files, info.bytes);
        if state.replace(now) != Some(now) {
            let conflicts = client.node().writers().conflicts(drive).await?;
            for conflict in conflicts.iter().filter(|conflict| !known.contains(conflict)) {
                console.say(format!("  conflict: {}", printable(&conflict.path)))?;
                console.emit(&json!({ "event": "conflict", "drive": drive, "path": conflict.path }))?;
            }
            known = conflicts;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
