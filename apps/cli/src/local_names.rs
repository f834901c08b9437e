//! Names that lie otherwise in a folder than they are called in the drive, in words.

use p2p_api::LocalName;
use p2p_client::Client;
use p2p_identity::DriveId;

use crate::console::Console;
use crate::failure::Result;
use crate::human::{count, printable};

/// Names that are listed one by one.
const LISTED: usize = 10;

/// Says which names the folder could not hold as they are, if any.
pub(crate) async fn note(console: &mut Console, client: &Client, drive: DriveId) -> Result<()> {
    for line in lines(&client.node().drives().local_names(drive).await?) {
        console.note(line);
    }
    Ok(())
}

fn lines(names: &[LocalName]) -> Vec<String> {
    if names.is_empty() {
        return Vec::new();
    }
    let verb = if names.len() == 1 { "lies" } else { "lie" };
    let mut lines = vec![format!(
        "{} {verb} in the folder under other names, as this file system has them; in the drive they keep theirs:",
        count(names.len() as u64, "path", "paths")
    )];
    lines.extend(
        names
            .iter()
            .take(LISTED)
            .map(|LocalName { path, local }| format!("  {}: {}", printable(path), printable(local))),
    );
    if let Some(more) = names.len().checked_sub(LISTED).filter(|more| *more > 0) {
        lines.push(format!("  and {more} more: p2p api GET /v1/drives/DRIVE/names"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_names_are_listed_and_the_rest_counted() {
        assert!(lines(&[]).is_empty());
        let name = |number: usize| LocalName { path: format!("{number}:"), local: format!("{number}%3A~p2p") };
        let names: Vec<_> = (0..12).map(name).collect();
        let lines = lines(&names);
        assert_eq!(lines.len(), 12);
        assert!(lines[0].starts_with("12 paths lie in the folder under other names"), "{}", lines[0]);
        assert_eq!(lines[1], "  0:: 0%3A~p2p");
        assert!(lines[11].starts_with("  and 2 more"), "{}", lines[11]);
    }
}
