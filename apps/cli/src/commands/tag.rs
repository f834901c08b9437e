//! `p2p tag DRIVE [NAME]`.

use clap::Args;
use p2p_api::NewTag;

use crate::drive;
use crate::failure::Result;
use crate::session::{Context, Need};

/// Names a version, which keeps it for ever on this node; lists the names without one.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p tag ./site before-the-move --at yesterday")]
pub(crate) struct Arguments {
    /// The folder, or the drive's id or link.
    drive: String,
    /// A letter, then letters, digits and -_. (64 at most).
    name: Option<String>,
    /// Which version: its number or hash, or a time; the newest without it.
    #[arg(long, value_name = "VERSION_OR_TIME", requires = "name")]
    at: Option<String>,
    /// Take the name away.
    #[arg(long, requires = "name", conflicts_with = "at")]
    rm: bool,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let timeout = context.global.timeout;
    context
        .with_node(Need::Running, async |console, client, _| {
            let drive = drive::find(client, &arguments.drive, timeout).await?;
            let history = client.node().history();
            match arguments.name {
                None => {
                    for tag in history.tags(drive).await? {
                        console.emit(&tag)?;
                        console.say(format!("{}  {}", tag.name, tag.head))?;
                    }
                    Ok(())
                }
                Some(name) if arguments.rm => {
                    history.remove_tag(drive, &name).await?;
                    console.say(format!("The tag {name} is gone."))
                }
                Some(name) => {
                    let tag = history.set_tag(drive, NewTag { name, at: arguments.at }).await?;
                    console.emit(&tag)?;
                    console.say(format!("{} is now the version {}", tag.name, tag.head))
                }
            }
        })
        .await
}
