//! `p2p writers …`.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use p2p_api::{AskWriterKey, ErrorKind, NewWriter, Open, Writers};
use p2p_identity::WriterKey;

use crate::console::Console;
use crate::drive;
use crate::failure::{Failure, Result};
use crate::human::{date, printable};
use crate::link;
use crate::session::{Context, Need};

const DAY_MS: u64 = 86_400_000;

/// Says who may write to a drive, and prints this node's key for one.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p writers add ./site bob --prefix notes")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists who may write.
    #[command(after_help = "Example: p2p writers ls ./site")]
    Ls {
        /// The folder, or the drive's id, link or name.
        drive: String,
    },
    /// Lets somebody write; again, to change how far. Only the owner can.
    #[command(after_help = "Example: p2p writers add ./site WRITER_KEY --prefix notes")]
    Add {
        /// The folder, or the drive's id or link.
        drive: String,
        /// A contact, whose node is asked for its key; or the writer's key, which `p2p writers key LINK` prints there.
        #[arg(value_name = "CONTACT_OR_KEY")]
        writer: String,
        /// Only at and under this path.
        #[arg(long, value_name = "PATH", default_value = "")]
        prefix: String,
        /// For so many days from now.
        #[arg(long, value_name = "DAYS")]
        days: Option<u64>,
        /// Only so many versions.
        #[arg(long, value_name = "COUNT")]
        versions: Option<u64>,
    },
    /// Lets somebody write no more; what it wrote stays. Only the owner can.
    #[command(after_help = "Example: p2p writers rm ./site WRITER_KEY")]
    Rm {
        /// The folder, or the drive's id or link.
        drive: String,
        /// A contact that was let in, or the writer's key.
        #[arg(value_name = "CONTACT_OR_KEY")]
        writer: String,
    },
    /// Prints this node's key for a drive, for its owner.
    #[command(after_help = "Example: p2p writers key p2p://…/")]
    Key {
        /// The link, a bare id, or a name.
        link: String,
    },
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let timeout = context.global.timeout;
    context
        .with_node(Need::Running, async |console, client, _| {
            let writers = client.node().writers();
            let now = match arguments.command {
                Command::Key { link } => {
                    let link = link::reference(&link)?.link(client, timeout).await?;
                    let own = writers.own_key(Open { link: link.text, timeout }).await?;
                    console.emit(&own)?;
                    return console.say(own.writer_key);
                }
                Command::Ls { drive } => writers.list(drive::find(client, &drive, timeout).await?).await?,
                Command::Add { drive, writer, prefix, days, versions } => {
                    let drive = drive::find(client, &drive, timeout).await?;
                    let writer_key = match writer.parse::<WriterKey>() {
                        Ok(key) => key,
                        Err(_) => client.node().people().writer_key(&writer, AskWriterKey { drive }).await?.writer_key,
                    };
                    let prefix = drive::path_inside(&prefix)?;
                    let not_after = days.map(end_of).transpose()?;
                    writers.add(drive, NewWriter { writer_key, prefix, not_after, max_counter: versions }).await?
                }
                Command::Rm { drive, writer } => {
                    let drive = drive::find(client, &drive, timeout).await?;
                    let writer_key = match writer.parse::<WriterKey>() {
                        Ok(key) => key,
                        Err(_) => key_of(&writers.list(drive).await?, &writer)?,
                    };
                    writers.remove(drive, writer_key).await?
                }
            };
            console.emit(&now)?;
            show(console, &now)
        })
        .await
}

/// The key of a contact that was let in.
pub(super) fn key_of(writers: &Writers, contact: &str) -> Result<WriterKey> {
    let found = writers.writers.iter().find(|writer| writer.contact.as_deref() == Some(contact));
    found.map(|writer| writer.writer_key).ok_or_else(|| {
        let message = format!("no contact {contact:?} may write to this drive");
        Failure::hinted(ErrorKind::NotFound, message, "see who may: p2p writers ls DRIVE".to_owned())
    })
}

fn end_of(days: u64) -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
    let end = days.checked_mul(DAY_MS).and_then(|length| now.checked_add(length));
    end.ok_or_else(|| Failure::usage(format!("{days} days are more than can be counted")))
}

fn show(console: &mut Console, writers: &Writers) -> Result<()> {
    if writers.writers.is_empty() {
        console.say("The owner alone writes.")?;
    }
    for writer in &writers.writers {
        let mut line = writer.writer_key.to_string();
        if let Some(contact) = &writer.contact {
            line.push_str(&format!("  {}", printable(contact)));
        }
        if !writer.prefix.is_empty() {
            line.push_str(&format!("  only {}", printable(&writer.prefix)));
        }
        if let Some(end) = writer.not_after {
            line.push_str(&format!(
                "  until {}",
                date(i64::try_from(end).unwrap_or(i64::MAX).saturating_mul(1_000_000))
            ));
        }
        if let Some(most) = writer.max_counter {
            line.push_str(&format!("  up to version {most}"));
        }
        if writer.counter > 0 {
            line.push_str(&format!("  has written {}", writer.counter));
        }
        if writers.own == Some(writer.writer_key) {
            line.push_str("  (this node)");
        }
        console.say(line)?;
    }
    for revoked in &writers.revoked {
        console.say(format!("{}  no more, since its version {}", revoked.writer_key, revoked.last))?;
    }
    Ok(())
}
