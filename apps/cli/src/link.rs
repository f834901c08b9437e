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
    /// The version that the link names, if any.
    pub(crate) version: Option<String>,
}

impl DriveLink {
    /// Which version is meant: what was asked for, else what the link names.
    pub(crate) fn at(&self, asked: Option<&str>) -> Result<Option<String>> {
        match (asked, &self.version) {
            (Some(asked), Some(named)) if asked != named => {
                Err(Failure::usage(format!("the link names version {named}, and --at another one")))
            }
            (asked, named) => Ok(asked.map(str::to_owned).or_else(|| named.clone())),
        }
    }

    fn newest(self) -> Result<Self> {
        match self.version {
            None => Ok(self),
            Some(_) => Err(Failure::usage_with_hint(
                "this link names one version, which this command cannot show",
                "without ?v=… it leads to the newest one; ls, cat and clone take versions",
            )),
        }
    }
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

    /// As [`Self::link`], where the link may name a version.
    pub(crate) async fn link_at(self, client: &Client, timeout: Option<Duration>) -> Result<DriveLink> {
        match self {
            Self::Link(link) => Ok(link),
            Self::Name(name) => parse_any(&client.node().names().link(&name, timeout).await?),
        }
    }
}

/// Reads a LINK argument that may be a name.
pub(crate) fn reference(text: &str) -> Result<Reference> {
    if p2p_api::is_name(text) { Ok(Reference::Name(text.trim().to_owned())) } else { parse(text).map(Reference::Link) }
}

/// Reads a LINK argument that may be a name, or a link to one version.
pub(crate) fn reference_at(text: &str) -> Result<Reference> {
    if p2p_api::is_name(text) {
        Ok(Reference::Name(text.trim().to_owned()))
    } else {
        parse_any(text).map(Reference::Link)
    }
}

/// Reads a link to the newest version; all mistakes are wrong usage.
pub(crate) fn parse(text: &str) -> Result<DriveLink> {
    parse_any(text)?.newest()
}

fn parse_any(text: &str) -> Result<DriveLink> {
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
    let version = link.version.map(|version| version.to_string());
    Ok(DriveLink { text: text.trim().to_owned(), drive, path: link.path, version })
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
    fn a_link_may_name_a_version_where_one_can_be_shown() {
        let Reference::Link(link) = reference_at(&format!("p2p://{}/a?v=3", id())).unwrap() else { panic!("a link") };
        assert_eq!((link.path.as_str(), link.at(None).unwrap().as_deref()), ("a", Some("3")));
        assert_eq!(link.at(Some("3")).unwrap().as_deref(), Some("3"));
        assert_eq!(link.at(Some("yesterday")).unwrap_err().exit_status(), 2);
        let Reference::Link(newest) = reference_at(&id().to_string()).unwrap() else { panic!("a link") };
        assert_eq!(newest.at(Some("yesterday")).unwrap().as_deref(), Some("yesterday"));
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
