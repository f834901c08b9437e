//! `p2p share DIR`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use p2p_api::files::{ShareEvent, ShareRequest};
use p2p_api::{DriveInfo, ErrorKind, PathKind, Stream, routes};
use p2p_client::Client;
use p2p_identity::DriveId;
use serde_json::json;

use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::human::{bytes, count, seconds};
use crate::local_names;
use crate::place;
use crate::progress::Bar;
use crate::session::{Context, Need};

/// How often to look who is connected.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Shares a folder and follows its changes. The same folder always gives the same link.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p share ./site")]
pub(crate) struct Arguments {
    /// The folder.
    dir: PathBuf,
    /// Publish one version and do not follow changes.
    #[arg(long)]
    once: bool,
    /// For a website: write into the folder's .p2p/site.json which files its index.html needs. They then come to
    /// whoever opens the site together with the page.
    #[arg(long)]
    profile: bool,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let path = place::existing_folder(&arguments.dir)?;
    let request = ShareRequest { path, title: String::new(), once: arguments.once, profile: arguments.profile };
    let shown = arguments.dir.display().to_string();
    context
        .with_node(Need::RunningOrStaying, async move |console, client, course| {
            if course.is_inside() {
                console.note("No node is running: this command runs one until Ctrl-C.");
            }
            let events = client.post(routes::SHARES, &request).await?.lines();
            let (drive, version) = publish(console, client, events, &shown).await?;
            if !course.is_inside() {
                return Ok(());
            }
            course.may_end();
            watch(console, client, drive, version).await
        })
        .await
}

/// Shows what happens until the first version stands.
async fn publish(
    console: &mut Console,
    client: &Client,
    mut events: Stream<ShareEvent>,
    shown: &str,
) -> Result<(DriveId, u64)> {
    let bar = Bar::new(console);
    while let Some(event) = events.next().await {
        let event = event?;
        console.emit(&event)?;
        match event {
            ShareEvent::Link { link, .. } => {
                let line = format!("Sharing {shown} as {}", console.bold(&link));
                bar.hidden_while(|| console.say(line))?;
            }
            ShareEvent::Profiled { files, bytes: size } => {
                let files = count(files.len() as u64, "file", "files");
                let line = format!("  the page comes with {files}, {} in all (listed in .p2p/site.json)", bytes(size));
                bar.hidden_while(|| console.say(line))?;
            }
            ShareEvent::Progress(progress) => bar.show(&progress),
            ShareEvent::Published { drive, browser, version, files, bytes: size, seconds: time, skipped, .. } => {
                drop(bar);
                let (files, size) = (count(files, "file", "files"), bytes(size));
                console.say(format!("  {files}, {size}, version {version}, published in {}", seconds(time)))?;
                if let Some(browser) = browser {
                    console.say(format!("  in a browser: {browser}"))?;
                }
                console.note_skipped(&skipped);
                local_names::note(console, client, drive).await?;
                return Ok((drive, version));
            }
        }
    }
    Err(Failure::new(ErrorKind::Internal, "the node ended the answer before the folder was published"))
}

/// Tells who is connected and which versions follow, until the node goes away.
async fn watch(console: &mut Console, client: &Client, drive: DriveId, mut version: u64) -> Result<()> {
    let mut peers = 0;
    loop {
        let shares: Vec<DriveInfo> = client.list(routes::SHARES).await?;
        let Some(share) = shares.into_iter().find(|share| share.drive == drive) else {
            console.say("  no longer shared")?;
            return Ok(());
        };
        if share.version != version {
            version = share.version;
            let (files, size) = (count(share.files, "file", "files"), bytes(share.bytes));
            console.say(format!("  {files}, {size}, version {version}"))?;
            console.emit(&json!({
                "event": "version", "drive": drive, "version": version, "files": share.files, "bytes": share.bytes,
            }))?;
        }
        if share.peers != peers {
            peers = share.peers;
            let kind = common_kind(client).await?;
            let suffix = kind.map(|kind| format!(" ({})", name_of(kind))).unwrap_or_default();
            console.say(format!("  {} connected{suffix}", count(u64::from(peers), "peer", "peers")))?;
            console.emit(&json!({ "event": "peers", "drive": drive, "peers": peers }))?;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// How the peers are connected, where that is the same for all.
async fn common_kind(client: &Client) -> Result<Option<PathKind>> {
    let peers = client.node().peers().list().await?;
    let mut kinds = peers.into_iter().map(|peer| peer.kind);
    let first = kinds.next();
    Ok(first.filter(|first| kinds.all(|kind| kind == *first)))
}

fn name_of(kind: PathKind) -> &'static str {
    match kind {
        PathKind::Lan => "LAN",
        PathKind::Direct => "direct",
        PathKind::Relayed => "relayed",
    }
}
