//! `p2p shares`.

use p2p_api::{DriveInfo, DriveRole, routes};

use crate::failure::Result;
use crate::human::{bytes, number, printable};
use crate::session::{Context, Need};
use crate::withheld;

pub(crate) async fn run(context: &mut Context) -> Result<()> {
    context
        .with_node(Need::Running, async |console, client, _| {
            let shares: Vec<DriveInfo> = client.list(routes::SHARES).await?;
            console.emit(&shares)?;
            if shares.is_empty() {
                return console.say("Nothing is shared. Share a folder with: p2p share DIR");
            }
            let heading = ["PATH", "ROLE", "VERSION", "FILES", "SIZE", "PEERS", "LINK"];
            let rows = shares.iter().map(row).collect();
            console.table(heading, rows)?;
            for share in &shares {
                withheld::note(console, share);
            }
            Ok(())
        })
        .await
}

fn row(share: &DriveInfo) -> [String; 7] {
    let path = share.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    [
        printable(&path),
        role(share.role).to_owned(),
        share.version.to_string(),
        number(share.files),
        bytes(share.bytes),
        share.peers.to_string(),
        share.link.clone(),
    ]
}

/// The text of a role, as in JSON.
pub(crate) fn role(role: DriveRole) -> &'static str {
    match role {
        DriveRole::Owner => "owner",
        DriveRole::Mirror => "mirror",
        DriveRole::Reader => "reader",
    }
}
