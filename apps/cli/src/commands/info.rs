//! `p2p info LINK`.

use clap::Args;
use p2p_api::Open;

use super::shares::role;
use crate::failure::Result;
use crate::human::{bytes, count, number, printable};
use crate::link;
use crate::session::{Context, Need};

/// Tells what a drive is: version, files, size, who has it.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p info p2p://…/")]
pub(crate) struct Arguments {
    /// The link, a bare id, or a name.
    link: String,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let link = link::reference(&arguments.link)?;
    let timeout = context.global.timeout;
    context
        .with_node(Need::RunningOrInside, async |console, client, _| {
            let open = Open { link: link.link(client, timeout).await?.text, timeout };
            let info = client.node().drives().open(open).await?;
            console.emit(&info)?;
            if !info.title.is_empty() {
                let title = console.bold(&printable(&info.title));
                console.say(title)?;
            }
            console.say(format!("drive    {}", info.drive))?;
            console.say(format!("link     {}", info.link))?;
            console.say(format!("version  {}", number(info.version)))?;
            console.say(format!("content  {}, {}", count(info.files, "file", "files"), bytes(info.bytes)))?;
            console.say(format!("peers    {}", info.peers))?;
            let held = if info.complete { "complete" } else { "not complete" };
            match &info.path {
                Some(path) => {
                    let path = printable(&path.display().to_string());
                    console.say(format!("here     {path} ({}, {held})", role(info.role)))
                }
                None => console.say(format!("here     in no folder ({})", role(info.role))),
            }
        })
        .await
}
