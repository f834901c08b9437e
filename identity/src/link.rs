//! Links: `p2p://<id>[.<secret>]/<path>[?v=<version>][#<hints>]` (specs/drives.md, section 9).
//!
//! Two steps, because a host may be a name: [`LinkParts`] splits any link, [`Link`] is one whose host is an id. A name is
//! resolved elsewhere; [`LinkParts::with_target`] then puts both together.

mod hints;
mod percent;

use std::{fmt, str::FromStr};

use thiserror::Error;

pub use hints::{Hints, MAX_HINT_PEERS};

use crate::{
    ContentId, DriveId,
    text::{self, HASH_TEXT_CHARS, ID_CHARS, IdText, id_type},
};

/// Longest link we parse, in bytes: a path of 4,096 bytes, each as `%xx`, and room for the rest.
pub const MAX_LINK_BYTES: usize = 14 * 1024;
/// Longest path in a link after decoding, in bytes; keys of a drive have the same limit (specs/drives.md, 4.1).
const MAX_PATH_BYTES: usize = 4096;
/// Longest host, in bytes: a DNS name, or an id and a secret.
const MAX_HOST_BYTES: usize = 253;
/// Fewest characters of a head hash that name a version.
const MIN_HEAD_CHARS: usize = 16;
/// A number of more digits is the beginning of a head hash. No drive gets to 10^15 versions.
const MAX_COUNTER_DIGITS: usize = 15;

/// What a link points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// A drive: always its newest version, unless the link names one.
    Drive(DriveId),
    /// The root hash of one state of a drive.
    Snapshot([u8; 32]),
    /// One blob.
    Blob(ContentId),
    /// A one-time invitation to write.
    WriterInvitation([u8; 32]),
}

/// Which version of a drive.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum VersionRef {
    /// The owner's head with this counter. Counters above 10^15 - 1 cannot be told from a hash in text.
    Counter(u64),
    /// The head whose hash in z-base-32 begins with these 16 to 52 characters.
    Head(String),
}

/// A link whose host is an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What it points to.
    pub target: Target,
    /// Path inside, percent-decoded, without `/` at either end; empty for the root.
    pub path: String,
    /// The version it names, if any.
    pub version: Option<VersionRef>,
    /// Where to find peers without asking anybody.
    pub hints: Hints,
}

/// A link that was split, but whose host may still be a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkParts {
    /// Id or name, in lower case.
    pub host: String,
    /// As in [`Link`].
    pub path: String,
    /// As in [`Link`].
    pub version: Option<VersionRef>,
    /// As in [`Link`].
    pub hints: Hints,
}

/// Why a text is not a link we can open.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The checksum of the id is wrong.
    #[error("this link is damaged: a character of its id is wrong or missing; copy it again")]
    DamagedId,
    /// A good id of a type that this version does not know.
    #[error("this link is of type {0}, which needs a newer version of p2pnode")]
    UnknownType(u8),
    /// A link with a secret.
    #[error("private drives are not supported yet")]
    PrivateNotSupported,
    /// The host is not an id; it may be a name.
    #[error("{host:?} is not an id; it may be a name")]
    NotAnId {
        /// The host, in lower case.
        host: String,
    },
    /// Something else is wrong.
    #[error("not a link: {0}")]
    Malformed(&'static str),
}

impl LinkParts {
    /// Reads the host: an id gives a [`Link`], a name [`LinkError::NotAnId`].
    pub fn into_link(self) -> Result<Link, LinkError> {
        let target = target_of_host(&self.host)?;
        Ok(self.with_target(target))
    }

    /// The link to `target`, which the host stands for.
    pub fn with_target(self, target: Target) -> Link {
        Link { target, path: self.path, version: self.version, hints: self.hints }
    }
}

impl FromStr for LinkParts {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        if text.len() > MAX_LINK_BYTES {
            return Err(LinkError::Malformed("it is longer than 14 KiB"));
        }
        let text = text.trim();
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("p2p") => rest,
            Some(_) => return Err(LinkError::Malformed("it must begin with p2p://")),
            None => text,
        };
        let (rest, hints) = match rest.split_once('#') {
            Some((rest, hints)) => (rest, Hints::from_text(hints)?),
            None => (rest, Hints::default()),
        };
        let (rest, version) = match rest.split_once('?') {
            Some((rest, query)) => (rest, version_of_query(query)?),
            None => (rest, None),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = percent::decode(path.trim_matches('/'))
            .ok_or(LinkError::Malformed("its path has a wrong percent code, or one that no file name can have"))?;
        if path.len() > MAX_PATH_BYTES {
            return Err(LinkError::Malformed("its path is longer than 4,096 bytes"));
        }
        check_host(host)?;
        Ok(Self { host: host.to_lowercase(), path, version, hints })
    }
}

impl FromStr for Link {
    type Err = LinkError;

    /// Accepts the full form, the same without `p2p://`, and a bare id.
    fn from_str(text: &str) -> Result<Self, LinkError> {
        text.parse::<LinkParts>()?.into_link()
    }
}

impl Link {
    /// A link to the newest version of all of `target`, without hints.
    pub fn to(target: Target) -> Self {
        Self { target, path: String::new(), version: None, hints: Hints::default() }
    }
}

impl Target {
    /// The 56-character id.
    pub fn to_id_text(&self) -> String {
        match self {
            Self::Drive(drive) => drive.to_string(),
            Self::Snapshot(root) => text::encode_id(id_type::SNAPSHOT, root),
            Self::Blob(blob) => text::encode_id(id_type::BLOB, blob.as_bytes()),
            Self::WriterInvitation(key) => text::encode_id(id_type::WRITER_INVITATION, key),
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p2p://{}/{}", self.target.to_id_text(), percent::encode(self.path.trim_matches('/')))?;
        if let Some(version) = &self.version {
            write!(f, "?v={version}")?;
        }
        if !self.hints.is_empty() {
            write!(f, "#{}", self.hints.to_text())?;
        }
        Ok(())
    }
}

impl VersionRef {
    /// The head with this hash, by its full text.
    pub fn of_head(hash: &[u8; 32]) -> Self {
        Self::Head(text::hash_to_text(hash))
    }

    /// Whether `hash` is the hash of the head that this names; never for a counter.
    pub fn matches_head(&self, hash: &[u8; 32]) -> bool {
        match self {
            Self::Counter(_) => false,
            Self::Head(prefix) => {
                prefix.len() >= MIN_HEAD_CHARS && text::hash_to_text(hash).starts_with(prefix.as_str())
            }
        }
    }
}

impl fmt::Display for VersionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counter(counter) => write!(f, "{counter}"),
            Self::Head(prefix) => f.write_str(prefix),
        }
    }
}

impl FromStr for VersionRef {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number && text.len() <= MAX_COUNTER_DIGITS {
            return match text.parse() {
                Ok(0) | Err(_) => Err(LinkError::Malformed("versions count from 1")),
                Ok(counter) => Ok(Self::Counter(counter)),
            };
        }
        let text = text.to_ascii_lowercase();
        if (MIN_HEAD_CHARS..=HASH_TEXT_CHARS).contains(&text.len()) && text::is_zbase32(&text) {
            return Ok(Self::Head(text));
        }
        Err(LinkError::Malformed("the version must be a number, or 16 to 52 characters of a version's hash"))
    }
}

fn version_of_query(query: &str) -> Result<Option<VersionRef>, LinkError> {
    let mut version = None;
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let Some(value) = part.strip_prefix("v=") else {
            return Err(LinkError::Malformed("it has a parameter that this version of p2pnode does not know"));
        };
        if version.replace(value.parse()?).is_some() {
            return Err(LinkError::Malformed("it names two versions"));
        }
    }
    Ok(version)
}

fn check_host(host: &str) -> Result<(), LinkError> {
    if host.is_empty() {
        return Err(LinkError::Malformed("it has no id and no name"));
    }
    if host.len() > MAX_HOST_BYTES {
        return Err(LinkError::Malformed("its name is longer than 253 bytes"));
    }
    if host.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '@' | ':' | '%' | '\\')) {
        return Err(LinkError::Malformed("its name has a character that no name has"));
    }
    Ok(())
}

/// "A host that is `<56>` or `<56>.<52>` characters with a valid checksum is an id, the same with a wrong checksum a damaged
/// link; anything else is a name."
fn target_of_host(host: &str) -> Result<Target, LinkError> {
    let not_an_id = || LinkError::NotAnId { host: host.to_owned() };
    let (id, secret) = match host.split_once('.') {
        None => (host, None),
        Some((id, secret)) => (id, Some(secret)),
    };
    let is_secret =
        |secret: &str| secret.len() == HASH_TEXT_CHARS && secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if id.len() != ID_CHARS || secret.is_some_and(|secret| !is_secret(secret)) {
        return Err(not_an_id());
    }
    let (id_type, key) = match text::decode_id(id) {
        IdText::Id { id_type, key } => (id_type, key),
        IdText::Damaged => return Err(LinkError::DamagedId),
        IdText::NotAnId => return Err(not_an_id()),
    };
    if secret.is_some() {
        return Err(LinkError::PrivateNotSupported);
    }
    match id_type {
        id_type::DRIVE => Ok(Target::Drive(key.into())),
        id_type::SNAPSHOT => Ok(Target::Snapshot(key)),
        id_type::BLOB => Ok(Target::Blob(key.into())),
        id_type::WRITER_INVITATION => Ok(Target::WriterInvitation(key)),
        other => Err(LinkError::UnknownType(other)),
    }
}

#[cfg(test)]
mod tests;
