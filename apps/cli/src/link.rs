//! LINK arguments: `p2p://…`, a bare id, or a name.

use std::time::Duration;

use p2p_client::Client;
use p2p_identity::{DriveId, Link, LinkError, Target};

use crate::failure::{Failure, Result};

/// A link to a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DriveLink {
    /// As it was typed, for the node: with hints.
    pub(crate) text: String,
    pub(crate) drive: DriveId,
    /// The path inside, without slashes at its ends; may be empty.
    pub(crate) path: String,
}

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    Link(DriveLink),
    /// A name, perhaps with a path behind it: `docs.alice/notes`.
    Name(String),
}

impl Reference {
    /// The link, for which a name is resolved.
    pub(crate) async fn link(self, client: &Client, timeout: Option<Duration>) -> Result<DriveLink> {
        match self {
            Self::Link(link) => Ok(link),
            Self::Name(name) => parse(&client.node().names().link(&name, timeout).await?),
        }
    }
}

/// Reads a LINK argument that may be a name.
pub(crate) fn reference(text: &str) -> Result<Reference> {
    if p2p_api::is_name(text) { Ok(Reference::Name(text.trim().to_owned())) } else { parse(text).map(Reference::Link) }
}

/// Reads a link; all mistakes are wrong usage.
pub(crate) fn parse(text: &str) -> Result<DriveLink> {
    let link: Link = text.parse().map_err(|error| match error {
        LinkError::NotAnId { host } => Failure::usage_with_hint(
            format!("{host:?} is no link and no id"),
            "a link looks like p2p://…/ and is printed by: p2p share DIR",
        ),
        error => Failure::usage(error.to_string()),
    })?;
    let Target::Drive(drive) = link.target else {
        return Err(Failure::usage("this link is not one of a drive; only those can be opened so far"));
    };
    if link.version.is_some() {
        return Err(Failure::usage_with_hint(
            "this link names one version; earlier versions come with a later version of this program",
            "without ?v=… it leads to the newest one",
        ));
    }
    Ok(DriveLink { text: text.trim().to_owned(), drive, path: link.path })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> DriveId {
        DriveId::from([3; 32])
    }

    #[test]
    fn links_and_bare_ids_lead_to_drives() {
        for (text, path) in [
            (format!("p2p://{}/", id()), ""),
            (format!("{}", id()), ""),
            (format!("p2p://{}/a%20b/c", id()), "a b/c"),
            (format!("{}/a/c/", id()), "a/c"),
        ] {
            let link = parse(&text).unwrap();
            assert_eq!((link.drive, link.path.as_str(), link.text), (id(), path, text));
        }
    }

    #[test]
    fn names_are_kept_for_the_node() {
        for name in ["docs.alice", "p2p://docs.alice/x", " docs.alice/x "] {
            assert_eq!(reference(name).unwrap(), Reference::Name(name.trim().to_owned()));
        }
        assert!(matches!(reference(&id().to_string()).unwrap(), Reference::Link(_)));
        assert!(reference("http://example.org/").is_err());
    }

    #[test]
    fn everything_else_is_wrong_usage() {
        let versioned = format!("p2p://{}/?v=3", id());
        let snapshot = Link::to(Target::Snapshot([1; 32])).to_string();
        for (text, message) in [
            ("docs.alice", "no link and no id"),
            ("p2p://docs.alice/x", "no link and no id"),
            ("http://example.org/", "p2p://"),
            ("", "no id"),
            (versioned.as_str(), "one version"),
            (snapshot.as_str(), "not one of a drive"),
        ] {
            let failure = parse(text).unwrap_err();
            assert_eq!(failure.exit_status(), 2, "{text}");
            assert!(failure.report().unwrap().message.contains(message), "{text}: {failure:?}");
        }
    }
}
