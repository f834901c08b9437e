//! `p2p diff DRIVE V1 [V2]`.

use clap::Args;
use futures::StreamExt;
use p2p_api::{DiffEntry, DiffKind};

use crate::drive;
use crate::failure::Result;
use crate::human::{bytes, printable};
use crate::session::{Context, Need};

/// Lists what differs between two versions of a drive.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p diff ./site 3 7")]
pub(crate) struct Arguments {
    /// The folder, or the drive's id, link or name.
    drive: String,
    /// The version before: its number, hash or tag, or a time as `yesterday` or `2 days ago`.
    from: String,
    /// The version after; the newest one without it.
    to: Option<String>,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let timeout = context.global.timeout;
    context
        .with_node(Need::Running, async |console, client, _| {
            let drive = drive::find(client, &arguments.drive, timeout).await?;
            let history = client.node().history();
            let mut changes = history.diff(drive, &arguments.from, arguments.to.as_deref()).await?;
            while let Some(change) = changes.next().await {
                let change = change?;
                console.emit(&change)?;
                console.say(line(&change))?;
            }
            Ok(())
        })
        .await
}

fn line(change: &DiffEntry) -> String {
    let size = |entry: &Option<p2p_api::TreeEntry>| entry.as_ref().map(|entry| bytes(entry.size)).unwrap_or_default();
    let path = printable(&change.path);
    match change.change {
        DiffKind::Added => format!("+ {path}  {}", size(&change.after)),
        DiffKind::Removed => format!("- {path}  {}", size(&change.before)),
        DiffKind::Changed => {
            let hash = |entry: &Option<p2p_api::TreeEntry>| entry.as_ref().map(|entry| entry.hash);
            match hash(&change.before) == hash(&change.after) {
                true => format!("~ {path}  (time, mode or writer)"),
                false => format!("~ {path}  {} -> {}", size(&change.before), size(&change.after)),
            }
        }
    }
}
