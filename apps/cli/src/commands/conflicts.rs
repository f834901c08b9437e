//! `p2p conflicts DRIVE`.

use clap::Args;
use p2p_api::ConflictInfo;

use crate::console::Console;
use crate::drive;
use crate::failure::Result;
use crate::human::{bytes, date, printable};
use crate::session::{Context, Need};

/// Lists what several wrote at once. Writing the file settles it.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p conflicts ./site")]
pub(crate) struct Arguments {
    /// The folder, or the drive's id, link or name.
    drive: String,
    /// Write the versions that are not shown beside the files, as `name (conflict WRITER DATE).ext`.
    #[arg(long)]
    write: bool,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let timeout = context.global.timeout;
    context
        .with_node(Need::Running, async |console, client, _| {
            let drive = drive::find(client, &arguments.drive, timeout).await?;
            if arguments.write {
                for done in client.node().writers().write_conflicts(drive).await? {
                    console.emit(&done)?;
                    let (path, written) = (printable(&done.path), printable(&done.written));
                    match done.failure {
                        None => console.say(format!("{path}: wrote {written}"))?,
                        Some(failure) => console.note(format!("{path}: {failure}")),
                    }
                }
                return Ok(());
            }
            let conflicts = client.node().writers().conflicts(drive).await?;
            if conflicts.is_empty() {
                console.note("No conflicts.");
            }
            for conflict in &conflicts {
                console.emit(conflict)?;
                show(console, conflict)?;
            }
            Ok(())
        })
        .await
}

fn show(console: &mut Console, conflict: &ConflictInfo) -> Result<()> {
    console.say(printable(&conflict.path))?;
    for version in &conflict.versions {
        let mark = if version.shown { '*' } else { ' ' };
        let writer = version.writer.map_or_else(|| "nobody now".to_owned(), |key| key.to_string());
        let writer: String = writer.chars().take(10).collect();
        let time = date(i64::try_from(version.time).unwrap_or(i64::MAX).saturating_mul(1_000_000));
        console.say(format!("  {mark} {time}  {writer}…  {}", bytes(version.entry.size)))?;
    }
    Ok(())
}
