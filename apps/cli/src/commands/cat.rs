//! `p2p cat LINK/path`.

use clap::Args;
use futures::StreamExt;
use p2p_api::Open;
use p2p_api::wire::ByteRange;

use crate::failure::{Failure, Result};
use crate::link::{self, DriveLink, Reference};
use crate::session::{Context, Need};

/// Writes a file of a drive to stdout, fetching only what is written.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p cat p2p://…/README.md --range 0-99")]
pub(crate) struct Arguments {
    /// The link or name of a file.
    #[arg(value_name = "LINK/path")]
    link: String,
    /// Only these bytes, the first being 0, both ends included: A-B, A- or -N for the last N.
    #[arg(long, value_name = "A-B", allow_hyphen_values = true)]
    range: Option<ByteRange>,
    /// As of this version: its number, hash or tag, or a time as `yesterday` or `2 days ago`.
    #[arg(long, value_name = "VERSION_OR_TIME")]
    at: Option<String>,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let link = link::reference_at(&arguments.link)?;
    if let Reference::Link(link) = &link {
        check_path(link)?;
    }
    let timeout = context.global.timeout;
    context
        .with_node(Need::RunningOrInside, async |console, client, _| {
            let link = link.link_at(client, timeout).await?;
            check_path(&link)?;
            let at = link.at(arguments.at.as_deref())?;
            let open = Open { link: link.text, timeout };
            let drive = client.node().drives().open(open).await?.drive;
            let answer = client.file_at(drive, &link.path, arguments.range, at.as_deref()).await?.ok().await?;
            let mut bytes = answer.into_stream();
            while let Some(piece) = bytes.next().await {
                console.write(&piece?)?;
            }
            Ok(())
        })
        .await
}

fn check_path(link: &DriveLink) -> Result<()> {
    if link.path.is_empty() {
        return Err(Failure::usage_with_hint(
            "the link names no file",
            format!("list the drive: p2p ls {}", link.drive),
        ));
    }
    Ok(())
}
