//! `p2p gc`.

use clap::Args;
use p2p_api::Freed;

use crate::failure::Result;
use crate::human::{bytes, count};
use crate::link;
use crate::session::{Context, Need};

/// Frees what nobody needs: what looking at drives has left, and the index, proofs and contents of versions that are no
/// longer kept. What is shared, copied or tagged stays.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p gc")]
pub(crate) struct Arguments {
    /// Only what looking at this drive has left: its id or link.
    #[arg(value_name = "DRIVE")]
    drive: Option<String>,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let drive = arguments.drive.as_deref().map(link::parse).transpose()?.map(|link| link.drive);
    context
        .with_node(Need::Running, async |console, client, _| {
            let freed = client.node().drives().free(drive).await?;
            console.emit(&freed)?;
            for drive in &freed.damaged {
                console
                    .note(format!("Part of the index of {drive} is missing, so no index was freed: run p2p repair."));
            }
            for line in lines(&freed) {
                console.say(line)?;
            }
            Ok(())
        })
        .await
}

fn lines(freed: &Freed) -> Vec<String> {
    let parts = [
        (freed.drives, "drive that was only looked at", "drives that were only looked at"),
        (freed.nodes, "index node", "index nodes"),
        (freed.proofs, "proof", "proofs"),
        (freed.contents, "content of an earlier version", "contents of earlier versions"),
    ];
    let parts: Vec<_> = parts.iter().filter(|(n, ..)| *n > 0).map(|(n, one, many)| count(*n, one, many)).collect();
    let mut lines = match parts.is_empty() {
        true => vec!["There was nothing to free.".to_owned()],
        false => vec![format!("Freed {}: {}.", bytes(freed.bytes), parts.join(", "))],
    };
    if freed.waiting_bytes > 0 {
        lines.push(format!("{} more may be in use by a transfer, and go later.", bytes(freed.waiting_bytes)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_was_freed_and_what_has_to_wait() {
        assert_eq!(lines(&Freed::default()), ["There was nothing to free."]);
        let freed = Freed { bytes: 5_000, nodes: 1, contents: 2, waiting_bytes: 300, ..Freed::default() };
        let told = lines(&freed);
        assert!(told[0].ends_with(": 1 index node, 2 contents of earlier versions."), "{told:?}");
        assert!(told[1].contains("go later"), "{told:?}");
    }
}
