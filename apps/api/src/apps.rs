//! Apps that run outside the node: what they ask for, and what they were granted (overlay.md 2.4, 2.5).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use p2p_identity::DriveId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ApiError, Result};

/// Longest id of an app, in bytes.
pub const MAX_APP_ID_BYTES: usize = 64;
/// Most scopes, and most protocols, of one app.
pub const MAX_SCOPES: usize = 64;
/// Longest text of a scope, in bytes.
const MAX_SCOPE_BYTES: usize = 256;
/// Ids of the apps that run inside the node.
const RESERVED_IDS: [&str; 3] = ["files", "gateway", "dns"];
/// Longest name or version, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// `POST /v1/apps`: who an app is and what it wants to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppManifest {
    /// Its id, e.g. `org.example.chat`: lower-case letters, digits, `.`, `-` and `_`, at most 64 bytes.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Its version, for people.
    #[serde(default)]
    pub version: String,
    /// What it may do; see the guide for the list. All else is refused.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Protocols it accepts streams of: `/app/<id>/…`.
    #[serde(default)]
    pub protocols: Vec<String>,
    /// Bytes that drives may put into its storage folder; 0: nothing is put there.
    #[serde(default)]
    pub storage_quota: u64,
    /// Whether it wants to run without being seen.
    #[serde(default)]
    pub background: bool,
}

impl AppManifest {
    /// Checks everything a stranger may have written.
    ///
    /// # Errors
    /// A text is too long or not as it should be, or a scope is not known.
    pub fn check(&self) -> Result<()> {
        check_app_id(&self.id)?;
        for (what, text) in [("name", &self.name), ("version", &self.version)] {
            if text.len() > MAX_NAME_BYTES || !is_shown_as_written(text) {
                return Err(ApiError::invalid(format!(
                    "the {what} is longer than {MAX_NAME_BYTES} bytes, or no plain text"
                )));
            }
        }
        if self.name.is_empty() {
            return Err(ApiError::invalid("the app has no name"));
        }
        if self.scopes.len() > MAX_SCOPES || self.protocols.len() > MAX_SCOPES {
            return Err(ApiError::invalid(format!("at most {MAX_SCOPES} scopes and {MAX_SCOPES} protocols")));
        }
        for protocol in &self.protocols {
            if crate::app_of_protocol(protocol)? != self.id {
                let error = ApiError::invalid(format!("{protocol:?} belongs to another app"));
                return Err(error.with_hint(format!("its own begin with /app/{}/", self.id)));
            }
        }
        if RESERVED_IDS.contains(&self.id.as_str()) {
            return Err(ApiError::invalid(format!("{:?} is an app of the node itself", self.id)));
        }
        for scope in self.parsed_scopes()? {
            match scope {
                Scope::StreamListen(protocol) if crate::app_of_protocol(&protocol)? != self.id => {
                    return Err(ApiError::invalid(format!("{protocol:?} belongs to another app")));
                }
                Scope::StreamDial(protocol, _) => drop(crate::app_of_protocol(&protocol)?),
                _ => {}
            }
        }
        Ok(())
    }

    /// Its scopes.
    pub fn parsed_scopes(&self) -> Result<Vec<Scope>> {
        self.scopes.iter().map(|text| text.parse()).collect()
    }
}

/// No control characters, and none that turn the direction of writing: what the user approves must look like what it is.
fn is_shown_as_written(text: &str) -> bool {
    let turns =
        |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !text.chars().any(|c| c.is_control() || turns(c))
}

/// Checks the id of an app.
pub fn check_app_id(id: &str) -> Result<()> {
    let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b".-_".contains(&c);
    let starts_well = id.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if id.len() > MAX_APP_ID_BYTES || !starts_well || !id.bytes().all(is_plain) {
        return Err(ApiError::invalid(format!("{id:?} is no id of an app"))
            .with_hint("an id is like org.example.chat: lower-case letters, digits, . - _, at most 64"));
    }
    Ok(())
}

/// Who may be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Peers the user trusts.
    Contacts,
    /// Everybody.
    Any,
}

/// One thing an app may do. What no scope names is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// `node.read`: status, metrics, own addresses, connections, events of the node.
    NodeRead,
    /// `dht.get`: look up values and providers.
    DhtGet,
    /// `dht.put:<prefix>`: put the app's own values whose name begins like this, and provide keys.
    DhtPut(String),
    /// `names.resolve`: look up names.
    NamesResolve,
    /// `names.write:<zone>`: read and change the records of a zone.
    NamesWrite(String),
    /// `stream.listen:<protocol>`: accept streams of this protocol of its own.
    StreamListen(String),
    /// `stream.dial:<protocol>@contacts` or `@any`: open streams.
    StreamDial(String, Whom),
    /// `pubsub:<prefix>`: topics that begin like this.
    Pubsub(String),
    /// `drives.read` or `drives.read:<drive>`.
    DrivesRead(Option<DriveId>),
    /// `drives.write` or `drives.write:<drive>`.
    DrivesWrite(Option<DriveId>),
    /// `contacts.read`: the people the user knows.
    ContactsRead,
    /// `contacts.pick`: one contact at a time, which the user picks.
    ContactsPick,
    /// `identity.sign:<context>`: sign in this context with its own key.
    IdentitySign(String),
}

impl FromStr for Scope {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            ApiError::invalid(format!("{text:?} is no scope of this node"))
                .with_hint("scopes are like node.read, drives.read:<drive>, stream.dial:/app/chat/1@any")
        };
        if text.len() > MAX_SCOPE_BYTES || !is_shown_as_written(text) {
            return Err(bad());
        }
        let (name, detail) = match text.split_once(':') {
            Some((name, detail)) if !detail.is_empty() => (name, Some(detail)),
            Some(_) => return Err(bad()),
            None => (text, None),
        };
        let drive = || detail.map(|id| id.parse::<DriveId>().map_err(|_| bad())).transpose();
        Ok(match (name, detail) {
            ("node.read", None) => Self::NodeRead,
            ("dht.get", None) => Self::DhtGet,
            ("dht.put", Some(prefix)) => Self::DhtPut(prefix.to_owned()),
            ("names.resolve", None) => Self::NamesResolve,
            ("names.write", Some(zone)) => Self::NamesWrite(zone.to_owned()),
            ("stream.listen", Some(protocol)) => Self::StreamListen(protocol.to_owned()),
            ("stream.dial", Some(detail)) => match detail.rsplit_once('@') {
                Some((protocol, "any")) => Self::StreamDial(protocol.to_owned(), Whom::Any),
                Some((protocol, "contacts")) => Self::StreamDial(protocol.to_owned(), Whom::Contacts),
                _ => return Err(bad()),
            },
            ("pubsub", Some(prefix)) => Self::Pubsub(prefix.to_owned()),
            ("drives.read", _) => Self::DrivesRead(drive()?),
            ("drives.write", _) => Self::DrivesWrite(drive()?),
            ("contacts.read", None) => Self::ContactsRead,
            ("contacts.pick", None) => Self::ContactsPick,
            ("identity.sign", Some(context)) => Self::IdentitySign(context.to_owned()),
            _ => return Err(bad()),
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeRead => f.write_str("node.read"),
            Self::DhtGet => f.write_str("dht.get"),
            Self::DhtPut(prefix) => write!(f, "dht.put:{prefix}"),
            Self::NamesResolve => f.write_str("names.resolve"),
            Self::NamesWrite(zone) => write!(f, "names.write:{zone}"),
            Self::StreamListen(protocol) => write!(f, "stream.listen:{protocol}"),
            Self::StreamDial(protocol, Whom::Any) => write!(f, "stream.dial:{protocol}@any"),
            Self::StreamDial(protocol, Whom::Contacts) => write!(f, "stream.dial:{protocol}@contacts"),
            Self::Pubsub(prefix) => write!(f, "pubsub:{prefix}"),
            Self::DrivesRead(None) => f.write_str("drives.read"),
            Self::DrivesRead(Some(drive)) => write!(f, "drives.read:{drive}"),
            Self::DrivesWrite(None) => f.write_str("drives.write"),
            Self::DrivesWrite(Some(drive)) => write!(f, "drives.write:{drive}"),
            Self::ContactsRead => f.write_str("contacts.read"),
            Self::ContactsPick => f.write_str("contacts.pick"),
            Self::IdentitySign(context) => write!(f, "identity.sign:{context}"),
        }
    }
}

/// What the user decided about an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AppState {
    /// Nothing yet; it can do nothing.
    Pending,
    /// It may do what its scopes say.
    Approved,
    /// Refused, or taken back; it can do nothing.
    Denied,
}

/// `PUT /v1/apps/{app}`: what the user decides. Approving an approved app makes a new token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DecideApp {
    /// `approved` or `denied`.
    pub state: AppState,
}

/// An app that asked for something, and what it does (`p2p app ls`, `p2p app top`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppInfo {
    /// Who it is and what it was granted. While it is pending after a change: what it had before, if anything.
    pub manifest: AppManifest,
    /// What the user decided.
    pub state: AppState,
    /// A newer manifest that asks for more and waits for the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks_for: Option<AppManifest>,
    /// The file with its token, readable for this user only; once it was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub token_file: Option<PathBuf>,
    /// Its own folder.
    #[schema(value_type = String)]
    pub storage: PathBuf,
    /// Requests since the node started.
    pub requests: u64,
    /// Requests of the last second.
    pub requests_per_second: u32,
    /// Requests refused since the node started.
    pub refused: u64,
    /// Streams open now.
    pub streams: u32,
    /// Bytes that its streams moved since the node started, both ways, those still open included.
    pub stream_bytes: u64,
    /// Bytes of the last second.
    #[serde(default)]
    pub bytes_per_second: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_come_back_as_they_were_written() {
        for text in [
            "node.read",
            "dht.get",
            "dht.put:chat/",
            "names.resolve",
            "names.write:alice",
            "stream.listen:/app/chat/1",
            "stream.dial:/app/chat/1@any",
            "stream.dial:/app/chat/1@contacts",
            "pubsub:chat/",
            "drives.read",
            "drives.write",
            "identity.sign:login",
        ] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        let drive = DriveId::from([7; 32]);
        assert_eq!(format!("drives.read:{drive}").parse::<Scope>().unwrap(), Scope::DrivesRead(Some(drive)));
        for bad in [
            "",
            "node",
            "node.read:x",
            "dht.put",
            "dht.put:",
            "drives.read:xyz",
            "stream.dial:/app/chat/1",
            "stream.dial:/app/chat/1@all",
            "everything",
            "names.write",
            "pubsub",
        ] {
            assert!(bad.parse::<Scope>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_manifest_speaks_of_its_own_protocols_only() {
        let mut manifest = AppManifest {
            id: "org.example.chat".into(),
            name: "Chat".into(),
            version: "1".into(),
            scopes: vec!["node.read".into()],
            protocols: vec!["/app/org.example.chat/1".into()],
            storage_quota: 0,
            background: false,
        };
        manifest.check().unwrap();
        manifest.protocols = vec!["/app/other/1".into()];
        assert!(manifest.check().unwrap_err().message.contains("another app"));
        manifest.protocols.clear();
        for bad in ["", "UPPER", "a b", "../x", ".x", &"x".repeat(65)] {
            manifest.id = bad.to_owned();
            assert!(manifest.check().is_err(), "{bad:?}");
        }
    }
}
