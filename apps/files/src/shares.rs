//! What is shared and followed, and how to stop.

use std::path::Path;

use p2p_api::{ApiError, DriveInfo, Node, Removed, Result};

/// Every drive with a folder.
pub(crate) async fn list(node: &Node) -> Result<Vec<DriveInfo>> {
    let mut drives = node.drives().list().await?;
    drives.retain(|drive| drive.path.is_some());
    Ok(drives)
}

/// Stops sharing or mirroring the drive named by its id, its link or its folder.
pub(crate) async fn remove(node: &Node, which: &str) -> Result<Removed> {
    let drives = node.drives().list().await?;
    let real = tokio::fs::canonicalize(which).await.ok();
    let found = drives.iter().find(|drive| is_called(drive, which, real.as_deref()));
    let Some(drive) = found else {
        return Err(ApiError::not_found(format!("{which} is no drive and no folder that this node shares or follows"))
            .with_hint("p2p shares lists them"));
    };
    node.drives().remove(drive.drive).await
}

fn is_called(drive: &DriveInfo, which: &str, real: Option<&Path>) -> bool {
    if drive.drive.to_string() == id_part(which) {
        return true;
    }
    let Some(path) = drive.path.as_deref() else { return false };
    // Equal as paths: `/a/b/` and `/a/b` are.
    path == Path::new(which) || real.is_some_and(|real| path == real)
}

/// The id in a link (`p2p://<id>/path?query`), or the text itself.
fn id_part(which: &str) -> &str {
    let text = which.strip_prefix("p2p://").unwrap_or(which);
    text.split(['/', '?', '#']).next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_and_a_bare_id_name_the_same_drive() {
        for text in ["abc", "p2p://abc", "p2p://abc/", "p2p://abc/a/b?v=3", "p2p://abc?x"] {
            assert_eq!(id_part(text), "abc", "{text}");
        }
        assert_eq!(id_part("/home/ada"), "");
    }
}
