//! `p2p gc`.

use clap::Args;

use crate::failure::Result;
use crate::human::{bytes, count};
use crate::link;
use crate::session::{Context, Need};

/// Frees what looking at drives has left on disk; what is shared or copied stays.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p gc")]
pub(crate) struct Arguments {
    /// Only of this drive: its id or link.
    #[arg(value_name = "DRIVE")]
    drive: Option<String>,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let drive = arguments.drive.as_deref().map(link::parse).transpose()?.map(|link| link.drive);
    context
        .with_node(Need::Running, async |console, client, _| {
            let freed = client.node().drives().free(drive).await?;
            console.emit(&freed)?;
            if freed.drives == 0 {
                return console.say("There was nothing to free.");
            }
            let drives = count(freed.drives, "drive", "drives");
            console.say(format!("Freed {} of {drives} that were only looked at.", bytes(freed.bytes)))
        })
        .await
}
