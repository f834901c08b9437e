//! `p2p ls LINK[/path]`.

use clap::Args;
use futures::StreamExt;
use p2p_api::{EntryKind, ErrorKind, Open, TreeEntry, TreeQuery};

use crate::failure::{Failure, Result};
use crate::human::{bytes, date, mode, printable};
use crate::link;
use crate::session::{Context, Need};

/// Widest size: `1023 KiB`.
const SIZE_CHARS: usize = 8;

/// Lists a folder of a drive without fetching its files.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p ls p2p://…/photos")]
pub(crate) struct Arguments {
    /// The link or name, with or without a path.
    #[arg(value_name = "LINK[/path]")]
    link: String,
    /// Also list what is in the folders below.
    #[arg(short, long)]
    recursive: bool,
    /// As of this version: its number, hash or tag, or a time as `yesterday` or `2 days ago`.
    #[arg(long, value_name = "VERSION_OR_TIME")]
    at: Option<String>,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let link = link::reference_at(&arguments.link)?;
    let timeout = context.global.timeout;
    context
        .with_node(Need::RunningOrInside, async |console, client, _| {
            let link = link.link_at(client, timeout).await?;
            let query = TreeQuery { prefix: link.path.clone(), depth: (!arguments.recursive).then_some(1) };
            let at = link.at(arguments.at.as_deref())?;
            let open = Open { link: link.text, timeout };
            let drives = client.node().drives();
            let drive = drives.open(open).await?.drive;
            let mut entries = match at {
                Some(at) => client.node().history().tree(drive, query, &at).await?,
                None => drives.tree(drive, query).await?,
            };
            let mut is_found = link.path.is_empty();
            while let Some(entry) = entries.next().await {
                let entry = entry?;
                is_found = true;
                // A folder is listed by what is in it.
                if entry.path != link.path || entry.kind != EntryKind::Directory {
                    console.emit(&entry)?;
                    console.say(line(&entry))?;
                }
            }
            match is_found {
                true => Ok(()),
                false => Err(Failure::new(ErrorKind::NotFound, format!("there is no {:?} in this drive", link.path))),
            }
        })
        .await
}

fn line(entry: &TreeEntry) -> String {
    let (kind, end) = match entry.kind {
        EntryKind::File => ('-', ""),
        EntryKind::Directory => ('d', "/"),
        EntryKind::Symlink => ('l', "@"),
    };
    let (mode, size, date) = (mode(kind, entry.mode), bytes(entry.size), date(entry.mtime));
    format!("{mode}  {size:>SIZE_CHARS$}  {date}  {}{end}", printable(&entry.path))
}

#[cfg(test)]
mod tests {
    use p2p_identity::ContentId;

    use super::*;

    #[test]
    fn a_line_has_mode_size_date_and_path() {
        let entry = TreeEntry {
            path: "a/b\u{1b}[2J".to_owned(),
            kind: EntryKind::File,
            size: 2048,
            mtime: 0,
            mode: 0o640,
            hash: ContentId::from([0; 32]),
        };
        assert_eq!(line(&entry), "-rw-r-----   2.0 KiB  1970-01-01 00:00  a/b\\u{1b}[2J");
    }
}
