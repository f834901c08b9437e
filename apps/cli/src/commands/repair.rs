//! `p2p repair`.

use futures::StreamExt;
use p2p_api::files::{ShareEvent, ShareRequest};
use p2p_api::{ErrorKind, Loss, Lost, Progress, RepairEvent, Repaired, routes};
use p2p_client::Client;

use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::human::{bytes, count, printable};
use crate::progress::Bar;
use crate::session::{Context, Need};

pub(crate) async fn run(context: &mut Context) -> Result<()> {
    context
        .with_node(Need::Running, async |console, client, _| {
            let done = repair(console, client).await?;
            for line in lines(&done) {
                console.say(line)?;
            }
            for folder in &done.to_share {
                share_again(console, client, folder).await?;
            }
            Ok(())
        })
        .await
}

async fn repair(console: &mut Console, client: &Client) -> Result<Repaired> {
    let bar = Bar::new(console);
    let mut events = client.node().drives().repair().await?;
    while let Some(event) = events.next().await {
        let event = event?;
        console.emit(&event)?;
        match event {
            RepairEvent::Progress { files_done, files_total, bytes_done, bytes_total, doing: _ } => {
                let (files_total, bytes_total) = (files_total.max(files_done), bytes_total.max(bytes_done));
                bar.show(&Progress { files_done, files_total, bytes_done, bytes_total, ..Progress::default() });
            }
            RepairEvent::Done(done) => return Ok(done),
        }
    }
    Err(Failure::new(ErrorKind::Internal, "the node ended the answer before the repair was done"))
}

/// The index of a folder that nobody has any more is made anew, from the folder.
async fn share_again(console: &mut Console, client: &Client, folder: &std::path::Path) -> Result<()> {
    let request = ShareRequest { path: folder.to_owned(), title: String::new(), once: false, profile: false };
    let mut events = client.post(routes::SHARES, &request).await?.lines::<ShareEvent>();
    while let Some(event) = events.next().await {
        if let ShareEvent::Published { version, files, .. } = event? {
            let (files, folder) = (count(files, "file", "files"), folder.display().to_string());
            console.say(format!("The index of {} was made anew: version {version}, {files}.", printable(&folder)))?;
        }
    }
    Ok(())
}

fn lines(done: &Repaired) -> Vec<String> {
    let found = [
        (done.nodes, "index node found again", "index nodes found again"),
        (done.damaged_nodes, "damaged index node", "damaged index nodes"),
        (done.fetched, "version completed from peers", "versions completed from peers"),
        (done.proofs, "proof made again", "proofs made again"),
    ];
    let found: Vec<_> = found.iter().filter(|(n, ..)| *n > 0).map(|(n, one, many)| count(*n, one, many)).collect();
    let files = format!("{}, {}", count(done.files, "file", "files"), bytes(done.bytes));
    let is_lost = !done.lost.is_empty() || !done.to_share.is_empty();
    let mut lines = match (found.is_empty(), is_lost) {
        (true, false) => vec![format!("Everything was in order ({files}).")],
        (true, true) => vec![format!("Looked through {files}; there was nothing that could be rebuilt.")],
        (false, _) => vec![format!("Looked through {files}: {}.", found.join(", "))],
    };
    if let Some(moved_to) = &done.cache_moved_to {
        let moved_to = printable(&moved_to.display().to_string());
        lines.insert(0, format!("The cache had failed; it lies in {moved_to}, and a new one was made."));
    }
    lines.extend(done.lost.iter().map(lost));
    if done.lost_beside > 0 {
        lines.push(format!("  and {} more", done.lost_beside));
    }
    if !found.is_empty() && !is_lost {
        lines.push("Nothing is lost.".to_owned());
    }
    lines
}

fn lost(lost: &Lost) -> String {
    let path = lost.path.as_deref().map(printable).unwrap_or_default();
    let version = lost.version.map(|version| format!("version {version} of ")).unwrap_or_default();
    let drive = lost.drive.map(|drive| format!("{version}{}", drive.fmt_short())).unwrap_or_default();
    match lost.what {
        Loss::Index => format!("  lost: part of the index of {drive}; no peer that was asked has it"),
        Loss::Content if lost.drive.is_none() => "  lost: content that no kept version speaks of".to_owned(),
        Loss::Content => format!("  lost: what was in {path} in {drive}"),
        Loss::File => format!("  not what {drive} says: {path}"),
        Loss::Folder => format!("  cannot be read: the folder of {drive}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_said_by_name() {
        assert!(
            lines(&Repaired { files: 3, ..Repaired::default() })[0].starts_with("Everything was in order (3 files")
        );
        let of = |what, path: Option<&str>| Lost {
            drive: Some(p2p_identity::DriveId::from([7; 32])),
            version: Some(4),
            path: path.map(str::to_owned),
            what,
        };
        let lost = vec![of(Loss::Content, Some("a/b")), of(Loss::Index, None), of(Loss::File, Some("c\u{1b}[2J"))];
        assert_eq!(lines(&Repaired { proofs: 2, ..Repaired::default() })[1], "Nothing is lost.");
        assert!(lines(&Repaired { lost: lost.clone(), ..Repaired::default() })[0].ends_with("could be rebuilt."));
        let told = lines(&Repaired { proofs: 1, lost, lost_beside: 2, ..Repaired::default() });
        assert!(told[0].ends_with(": 1 proof made again."), "{told:?}");
        assert!(told[1].contains("a/b") && told[1].contains("version 4"), "{told:?}");
        assert!(!told[3].contains('\u{1b}'), "{told:?}");
        assert_eq!((told.len(), told[4].as_str()), (5, "  and 2 more"));
    }
}
