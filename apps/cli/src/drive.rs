//! DRIVE arguments: a link, a bare id, a name, or the folder that a drive is shared from or copied to.

use std::path::Path;
use std::time::Duration;

use p2p_api::{ErrorKind, Open};
use p2p_client::Client;
use p2p_identity::DriveId;

use crate::failure::{Failure, Result};
use crate::{link, place};

/// The drive that was meant; one that this node does not know is found first.
pub(crate) async fn find(client: &Client, text: &str, timeout: Option<Duration>) -> Result<DriveId> {
    let drives = client.node().drives();
    let is_path = Path::new(text).is_dir() || text.starts_with(['.', '/']);
    if is_path && !text.contains("://") {
        let path = place::absolute(Path::new(text))?;
        let known = drives.list().await?.into_iter().find(|drive| drive.path.as_deref() == Some(&path));
        return known.map(|drive| drive.drive).ok_or_else(|| {
            let error = p2p_api::ApiError::new(ErrorKind::NotFound, format!("{text} is no folder of a drive"));
            error.with_hint("p2p shares lists them").into()
        });
    }
    let link = link::reference(text)?.link(client, timeout).await?;
    if drives.get(link.drive).await.is_ok() {
        return Ok(link.drive);
    }
    Ok(drives.open(Open { link: link.text, timeout }).await?.drive)
}

/// A path inside a drive, as people type it: `/`, `.` and nothing mean all of it.
pub(crate) fn path_inside(text: &str) -> Result<String> {
    let path = text.trim_start_matches("./").trim_matches('/');
    match path {
        "." => Ok(String::new()),
        path if path.split('/').any(|part| part == "..") => Err(Failure::usage("the path leads out of the drive")),
        path => Ok(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_inside_a_drive_have_no_slashes_at_their_ends() {
        for (typed, path) in [("a/b/", "a/b"), ("/", ""), (".", ""), ("./a", "a"), ("/a", "a"), ("", "")] {
            assert_eq!(path_inside(typed).unwrap(), path, "{typed:?}");
        }
        assert_eq!(path_inside("a/../b").unwrap_err().exit_status(), 2);
    }
}
