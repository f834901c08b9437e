//! `p2p cat LINK/path`.

use clap::Args;
use futures::StreamExt;
use p2p_api::Open;
use p2p_api::wire::ByteRange;

use crate::failure::{Failure, Result};
use crate::link;
use crate::session::{Context, Need};

/// Writes a file of a drive to stdout, fetching only what is written.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p cat p2p://…/README.md --range 0-99")]
pub(crate) struct Arguments {
    /// The link of a file.
    #[arg(value_name = "LINK/path")]
    link: String,
    /// Only these bytes, the first being 0, both ends included: A-B, A- or -N for the last N.
    #[arg(long, value_name = "A-B", allow_hyphen_values = true)]
    range: Option<ByteRange>,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let link = link::parse(&arguments.link)?;
    if link.path.is_empty() {
        return Err(Failure::usage_with_hint(
            "the link names no file",
            format!("list the drive: p2p ls {}", link.drive),
        ));
    }
    let open = Open { link: link.text, timeout: context.global.timeout };
    context
        .with_node(Need::RunningOrInside, async |console, client, _| {
            let drive = client.node().drives().open(open).await?.drive;
            let answer = client.file(drive, &link.path, arguments.range).await?.ok().await?;
            let mut bytes = answer.into_stream();
            while let Some(piece) = bytes.next().await {
                console.write(&piece?)?;
            }
            Ok(())
        })
        .await
}
