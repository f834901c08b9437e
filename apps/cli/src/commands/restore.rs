//! `p2p restore DRIVE PATH --at V`.

use clap::Args;
use p2p_api::Restore;

use crate::drive;
use crate::failure::Result;
use crate::human::{bytes, count};
use crate::session::{Context, Need};

/// Brings a file or folder back as it was. Deletes nothing; the result becomes a new version.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p restore ./site notes.txt --at yesterday")]
pub(crate) struct Arguments {
    /// The folder, or the drive's id or link. This node must write to it.
    drive: String,
    /// The path in the drive; `/` for everything.
    path: String,
    /// As of this version: its number, hash or tag, or a time as `yesterday` or `2 days ago`.
    #[arg(long, value_name = "VERSION_OR_TIME")]
    at: String,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let timeout = context.global.timeout;
    let path = drive::path_inside(&arguments.path)?;
    context
        .with_node(Need::Running, async |console, client, _| {
            let drive = drive::find(client, &arguments.drive, timeout).await?;
            let done = client.node().history().restore(drive, Restore { path, at: arguments.at }).await?;
            console.emit(&done)?;
            let from = done.version.map(|version| format!(" from version {version}")).unwrap_or_default();
            let what = count(done.files, "file", "files");
            let unchanged = match done.unchanged {
                0 => String::new(),
                unchanged => format!("; {} as they were", count(unchanged, "file", "files")),
            };
            console.say(format!("Restored {what}, {}{from}{unchanged}.", bytes(done.bytes)))?;
            console.note_skipped(&done.skipped);
            Ok(())
        })
        .await
}
