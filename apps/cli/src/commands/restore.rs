//! `p2p restore DRIVE PATH --at V` and `p2p restore DRIVE --before-writer KEY`.

use clap::Args;
use p2p_api::{Restore, Restored};
use p2p_client::Client;
use p2p_identity::{DriveId, WriterKey};

use super::writers;
use crate::console::Console;
use crate::drive;
use crate::failure::Result;
use crate::human::{bytes, count, printable};
use crate::session::{Context, Need};

/// Brings a file or folder back as it was, or all that one writer changed or deleted. Deletes nothing unless told to; the
/// result becomes a new version.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p restore ./site notes.txt --at yesterday\n\
                        Example: p2p restore ./site --before-writer WRITER_KEY --dry-run")]
pub(crate) struct Arguments {
    /// The folder, or the drive's id or link. This node must write to it; for `--before-writer` it must own it.
    drive: String,
    /// The path in the drive; `/` for everything, as without a path with `--before-writer`.
    #[arg(required_unless_present = "before_writer")]
    path: Option<String>,
    /// As of this version: its number, hash or tag, or a time as `yesterday` or `2 days ago`.
    #[arg(long, value_name = "VERSION_OR_TIME", required_unless_present = "before_writer")]
    at: Option<String>,
    /// Undoes what this writer did, and keeps what others wrote since. A contact, or the writer's key.
    #[arg(long, value_name = "CONTACT_OR_KEY", conflicts_with = "at")]
    before_writer: Option<String>,
    /// Only what the writer did from this version of its own on.
    #[arg(long, value_name = "COUNTER", requires = "before_writer", value_parser = clap::value_parser!(u64).range(1..))]
    since: Option<u64>,
    /// Also removes what was not there before that writer.
    #[arg(long, requires = "before_writer")]
    remove_added: bool,
    /// Only lists what would be done.
    #[arg(long, requires = "before_writer")]
    dry_run: bool,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let timeout = context.global.timeout;
    let path = drive::path_inside(arguments.path.as_deref().unwrap_or("/"))?;
    context
        .with_node(Need::Running, async |console, client, _| {
            let drive = drive::find(client, &arguments.drive, timeout).await?;
            let history = client.node().history();
            if let Some(writer) = &arguments.before_writer {
                let restore = Restore {
                    path,
                    since: arguments.since,
                    remove_added: arguments.remove_added,
                    dry_run: arguments.dry_run,
                    ..Restore::before_writer(key_of(client, drive, writer).await?)
                };
                let done = history.restore(drive, restore).await?;
                console.emit(&done)?;
                return say_undone(console, &done, arguments.dry_run);
            }
            let done = history.restore(drive, Restore::at(path, arguments.at.unwrap_or_default())).await?;
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

/// A writer's key as it is, or that of a contact who may write.
async fn key_of(client: &Client, drive: DriveId, text: &str) -> Result<WriterKey> {
    match text.parse::<WriterKey>() {
        Ok(key) => Ok(key),
        Err(_) => writers::key_of(&client.node().writers().list(drive).await?, text),
    }
}

fn say_undone(console: &mut Console, done: &Restored, is_dry: bool) -> Result<()> {
    let paths = |list: &[String]| count(list.len() as u64, "path", "paths");
    if done.restored.is_empty() && done.removed.is_empty() && done.skipped.is_empty() {
        console.say("There is nothing of that writer to undo.")?;
    } else {
        let (would, removed) = match (is_dry, done.removed.len()) {
            (true, _) => ("Would restore", format!(", remove {}", paths(&done.removed))),
            (false, _) => ("Restored", format!(", removed {}", paths(&done.removed))),
        };
        let removed = if done.removed.is_empty() { String::new() } else { removed };
        let from = done.version.map(|version| format!(" from version {version}")).unwrap_or_default();
        let made = done.made.map(|version| format!(": version {version}")).unwrap_or_default();
        console.say(format!("{would} {}{removed}{from}{made}.", paths(&done.restored)))?;
    }
    for path in &done.restored {
        console.say(format!("  {}", printable(path)))?;
    }
    for path in &done.removed {
        console.say(format!("  {} (removed)", printable(path)))?;
    }
    if !done.kept.is_empty() {
        console.note(format!("Kept {}:", count(done.kept.len() as u64, "path", "paths")));
        for kept in &done.kept {
            console.note(format!("  {}: {}", printable(&kept.path), printable(&kept.reason)));
        }
    }
    console.note_skipped(&done.skipped);
    Ok(())
}
