//! Names: zones of this node, their records, and the way from a name to records.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use p2p_identity::{Link, PeerId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ApiError, Contract, ErrorKind, Result};

/// The two types of zones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ZoneKind {
    /// ECDSA; what most of GNUnet's zones are.
    Pkey,
    /// Ed25519.
    #[default]
    Edkey,
}

/// `POST /v1/names/zones`: a new zone, or one whose key was made elsewhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewZone {
    /// Its local name, one label.
    pub name: String,
    /// Its type; that of `key` if there is one.
    #[serde(default, rename = "type")]
    pub kind: ZoneKind,
    /// A secret key in GNUnet's text form, to go on with a zone made elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl fmt::Debug for NewZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_ref().map(|_| "..");
        f.debug_struct("NewZone").field("name", &self.name).field("kind", &self.kind).field("key", &key).finish()
    }
}

/// A zone of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ZoneInfo {
    /// Its local name.
    pub zone: String,
    /// Its name everywhere.
    pub ztld: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ZoneKind,
    /// Labels with records.
    pub labels: u64,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// What is done with a zone that has records when it is to be removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZoneRecords {
    /// The zone stays.
    #[default]
    Keep,
    /// They go with it.
    Lose,
}

/// `DELETE /v1/names/zones/{zone}`: a zone that is gone from this node, with its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovedZone {
    /// Its local name.
    pub zone: String,
    /// Its name everywhere.
    pub ztld: String,
    /// Labels with records that went with it.
    pub labels: u64,
    /// Labels that had been published.
    pub published: u64,
    /// Labels of them that other nodes know to be empty now; the others live on there until they expire.
    pub withdrawn: u64,
}

/// The secret key of a zone, because its owner asked for it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ZoneSecretText {
    /// The zone's local name.
    pub zone: String,
    /// Its name everywhere.
    pub ztld: String,
    /// The key in GNUnet's text form.
    pub key: String,
}

impl fmt::Debug for ZoneSecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ZoneSecretText({})", self.ztld)
    }
}

/// The public records of a zone in the syntax of zone files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ZoneFile {
    /// The zone's local name.
    pub zone: String,
    /// Its name everywhere.
    pub ztld: String,
    /// The file.
    pub text: String,
}

/// `POST /v1/names/zones/{zone}/file`: a zone file to be taken in; labels that it does not name stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportZoneFile {
    /// The file, absolute; the node reads it.
    #[schema(value_type = String)]
    pub path: PathBuf,
    /// The DNS name of the zone, if the file does not say it.
    #[serde(default)]
    pub origin: String,
}

/// What a zone file came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportedZoneFile {
    /// The zone's local name.
    pub zone: String,
    /// Labels taken in.
    pub labels: u64,
    /// Records taken in.
    pub records: u64,
    /// What was left out.
    pub skipped: Vec<SkippedRecord>,
}

/// A line of a zone file that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SkippedRecord {
    /// Its number, from 1.
    pub line: u64,
    /// What stands there.
    pub what: String,
    /// Why it was left out.
    pub reason: String,
}

/// `POST /v1/names/zones/{zone}/revoke`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevokeZone {
    /// A revocation that was computed before, hexadecimal. Without it the node computes one, which takes days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Compute it, but keep it back.
    #[serde(default)]
    pub compute_only: bool,
}

/// How far a revocation is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Revoking {
    /// The zone's local name, or its zTLD if it is none of this node.
    pub zone: String,
    /// Whether the zone is revoked now.
    pub revoked: bool,
    /// Leading zero bits of the proofs of work so far, on average.
    pub average: f64,
    /// How many there have to be.
    pub difficulty: u32,
    /// Other nodes that store the revocation.
    pub stored_on: u32,
    /// The revocation, hexadecimal, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// `POST /v1/names/records`: replaces the records of a type under a label.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SetRecord {
    /// The zone's local name; not needed where there is one zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The label; `@` for the zone itself.
    pub label: String,
    /// The type, e.g. `A`, `TXT`, `P2PDRIVE`.
    #[serde(rename = "type")]
    pub record_type: String,
    /// The value as text.
    pub value: String,
    /// Seconds that the record lives after each publication; seven days by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_s: Option<f64>,
    /// Never leaves this node.
    #[serde(default)]
    pub private: bool,
    /// Counts only when all others of the type have expired.
    #[serde(default)]
    pub shadow: bool,
}

/// `POST /v1/names/records/remove`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemoveRecords {
    /// The zone's local name; not needed where there is one zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The label.
    pub label: String,
    /// Only records of this type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub record_type: Option<String>,
}

/// How far the publication of a label is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Publication {
    /// Stored here; nothing of it is public.
    Stored,
    /// Waits until another node stores it.
    Waiting,
    /// Other nodes store it.
    Published,
}

/// What a change of a label came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NameChange {
    /// The zone's local name.
    pub zone: String,
    /// Its name everywhere.
    pub ztld: String,
    /// The label.
    pub label: String,
    /// How far it is.
    pub state: Publication,
    /// Other nodes that store it and gave it back.
    pub stored_on: u32,
    /// Other nodes in reach.
    pub nodes: u32,
    /// What the owner should know, e.g. that DNS programs cannot ask for this label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// A record of a zone of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ZoneRecord {
    /// The zone's local name.
    pub zone: String,
    /// The label.
    pub label: String,
    /// Its type.
    #[serde(rename = "type")]
    pub record_type: String,
    /// Its value.
    pub value: String,
    /// Seconds it lives after each publication; none if it ends at a fixed time.
    pub expires_s: Option<u64>,
    /// The fixed time, in microseconds since 1970.
    pub expires: Option<u64>,
    /// Never leaves this node.
    pub private: bool,
    /// Counts only when all others of the type have expired.
    pub shadow: bool,
    /// How far the publication of its label is.
    pub state: Publication,
}

/// What publishing a zone came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Published {
    /// The zone's local name.
    pub zone: String,
    /// Its name everywhere.
    pub ztld: String,
    /// Labels with something public.
    pub labels: u64,
    /// Labels of them that other nodes store.
    pub published: u64,
    /// Other nodes that store the one that fewest store.
    pub stored_on: u32,
    /// Other nodes in reach.
    pub nodes: u32,
}

/// `POST /v1/names/resolve`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResolveName {
    /// A name that ends in a zTLD or in the name of a zone here.
    pub name: String,
    /// Only records of this type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub record_type: Option<String>,
    /// Ask the network even if the answer is in the cache.
    #[serde(default)]
    pub fresh: bool,
    /// Seconds until it counts as failed; 30 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<f64>,
}

/// The records of a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Resolved {
    /// The name as it was asked.
    pub name: String,
    /// The records that count now.
    pub records: Vec<NameRecord>,
    /// Where they came from: `local`, `cache`, `dht` or `dns`.
    pub source: String,
    /// Who had them, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Seconds since they came from the network.
    pub age_s: f64,
}

/// One record of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NameRecord {
    /// Its type.
    #[serde(rename = "type")]
    pub record_type: String,
    /// Its value.
    pub value: String,
    /// Its value as bytes, in hexadecimal; those of DNS types as DNS has them, but for TXT, which is the bare text. Nothing
    /// where the node does not tell.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub data: String,
    /// When it expires, in microseconds since 1970.
    pub expires: u64,
    /// The 16 bits of its flags.
    pub flags: u16,
}

/// Who this node is in the name system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// The node.
    #[schema(value_type = String)]
    pub peer_id: PeerId,
    /// Its zones.
    pub zones: Vec<ZoneInfo>,
}

/// What stands behind [`Names`]. A node without names answers [`ErrorKind::Unsupported`]: that is what each call does if
/// it is not written.
#[async_trait]
pub trait NamesContract: Send + Sync + 'static {
    /// Zones of this node, in the order of their names.
    async fn zones(&self) -> Result<Vec<ZoneInfo>> {
        Err(unsupported())
    }
    /// Makes a zone, or takes in one with its key. [`ErrorKind::Conflict`] if there is one of this name.
    async fn create_zone(&self, _new: NewZone) -> Result<ZoneInfo> {
        Err(unsupported())
    }
    /// Removes a zone and its key; what was published is withdrawn first, as far as nodes are in reach.
    /// [`ErrorKind::Conflict`] if it has records that are to be kept.
    async fn remove_zone(&self, _zone: &str, _records: ZoneRecords) -> Result<RemovedZone> {
        Err(unsupported())
    }
    /// The secret key of a zone.
    async fn export_zone(&self, _zone: &str) -> Result<ZoneSecretText> {
        Err(unsupported())
    }
    /// The public records of a zone as a zone file.
    async fn zone_file(&self, _zone: &str) -> Result<ZoneFile> {
        Err(unsupported())
    }
    /// Takes in a zone file.
    async fn import_zone_file(&self, _zone: &str, _import: ImportZoneFile) -> Result<ImportedZoneFile> {
        Err(unsupported())
    }
    /// Revokes a zone, or goes on computing the revocation.
    async fn revoke_zone(&self, _zone: &str, _revoke: RevokeZone) -> Result<Revoking> {
        Err(unsupported())
    }
    /// Replaces the records of a type under a label; waits a moment for the publication.
    async fn set_record(&self, _set: SetRecord) -> Result<NameChange> {
        Err(unsupported())
    }
    /// Removes records. [`ErrorKind::NotFound`] if there are none.
    async fn remove_records(&self, _remove: RemoveRecords) -> Result<NameChange> {
        Err(unsupported())
    }
    /// Records of one zone, or of all, private ones too.
    async fn records(&self, _zone: Option<&str>) -> Result<Vec<ZoneRecord>> {
        Err(unsupported())
    }
    /// Publishes a zone again.
    async fn publish(&self, _zone: Option<&str>) -> Result<Published> {
        Err(unsupported())
    }
    /// The records of a name. [`ErrorKind::NotFound`] if there are none, [`ErrorKind::Unreachable`] if nobody who could know was
    /// reached.
    async fn resolve(&self, _resolve: ResolveName) -> Result<Resolved> {
        Err(unsupported())
    }
}

fn unsupported() -> ApiError {
    ApiError::new(ErrorKind::Unsupported, "this node has no names")
}

/// Of a node without names.
pub(crate) struct NoNames;

impl NamesContract for NoNames {}

/// Names.
#[derive(Clone)]
pub struct Names {
    pub(crate) contract: Arc<dyn Contract>,
}

impl Names {
    /// Zones of this node.
    pub async fn zones(&self) -> Result<Vec<ZoneInfo>> {
        self.contract.names().zones().await
    }

    /// Makes a zone, or takes in one with its key.
    pub async fn create_zone(&self, new: NewZone) -> Result<ZoneInfo> {
        self.contract.names().create_zone(new).await
    }

    /// Removes a zone and its key; what was published is withdrawn first, as far as nodes are in reach. Not cancel safe: a zone
    /// may lose its records and stay.
    pub async fn remove_zone(&self, zone: &str, records: ZoneRecords) -> Result<RemovedZone> {
        self.contract.names().remove_zone(zone, records).await
    }

    /// The secret key of a zone.
    pub async fn export_zone(&self, zone: &str) -> Result<ZoneSecretText> {
        self.contract.names().export_zone(zone).await
    }

    /// The public records of a zone as a zone file.
    pub async fn zone_file(&self, zone: &str) -> Result<ZoneFile> {
        self.contract.names().zone_file(zone).await
    }

    /// Takes in a zone file.
    pub async fn import_zone_file(&self, zone: &str, import: ImportZoneFile) -> Result<ImportedZoneFile> {
        self.contract.names().import_zone_file(zone, import).await
    }

    /// Revokes a zone, or goes on computing the revocation.
    pub async fn revoke_zone(&self, zone: &str, revoke: RevokeZone) -> Result<Revoking> {
        self.contract.names().revoke_zone(zone, revoke).await
    }

    /// Replaces the records of a type under a label.
    pub async fn set(&self, set: SetRecord) -> Result<NameChange> {
        self.contract.names().set_record(set).await
    }

    /// Removes records.
    pub async fn remove(&self, remove: RemoveRecords) -> Result<NameChange> {
        self.contract.names().remove_records(remove).await
    }

    /// Records of one zone, or of all.
    pub async fn records(&self, zone: Option<&str>) -> Result<Vec<ZoneRecord>> {
        self.contract.names().records(zone).await
    }

    /// Publishes a zone again.
    pub async fn publish(&self, zone: Option<&str>) -> Result<Published> {
        self.contract.names().publish(zone).await
    }

    /// The records of a name.
    pub async fn resolve(&self, resolve: ResolveName) -> Result<Resolved> {
        self.contract.names().resolve(resolve).await
    }

    /// The link that a name stands for: that of its first usable P2PDRIVE record, with the path behind the name. What is
    /// a link already stays as it is.
    pub async fn link(&self, text: &str, timeout: Option<Duration>) -> Result<String> {
        if !is_name(text) {
            return Ok(text.to_owned());
        }
        let (name, path) = split_name(text);
        let resolve = ResolveName {
            name: name.to_owned(),
            record_type: Some("P2PDRIVE".to_owned()),
            fresh: false,
            timeout_s: timeout.map(|timeout| timeout.as_secs_f64()),
        };
        let found = self.resolve(resolve).await?;
        // The text of a record may name peers behind the link.
        let links = found.records.iter().filter_map(|record| record.value.split(' ').next());
        let mut link = links.filter_map(|text| text.parse::<Link>().ok()).next().ok_or_else(|| {
            ApiError::not_found(format!("{name} stands for no drive")).with_hint(format!("see p2p name resolve {name}"))
        })?;
        let parts = [link.path.trim_matches('/'), path.trim_matches('/')];
        link.path = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        Ok(link.to_string())
    }

    /// Who this node is in the name system.
    pub async fn whoami(&self) -> Result<WhoAmI> {
        Ok(WhoAmI { peer_id: self.contract.info().await?.peer_id, zones: self.zones().await? })
    }
}

/// Whether a text that stands where a link may is a name, e.g. `docs.alice/notes`.
pub fn is_name(text: &str) -> bool {
    let is_no_id = matches!(text.parse::<Link>(), Err(p2p_identity::LinkError::NotAnId { .. }));
    let (name, _) = split_name(text);
    is_no_id
        && !is_part_of_an_id(name)
        && !name.is_empty()
        && !name.contains("://")
        && !name.contains(char::is_whitespace)
}

/// Whether a text looks like an id of which the end is missing: it is worth more to say so than to look for a name.
fn is_part_of_an_id(name: &str) -> bool {
    const LEAST_CHARS: usize = 20;
    const ID_CHARS: usize = 56;
    let is_symbol = |byte: u8| b"ybndrfg8ejkmcpqxot1uwisza345h769".contains(&byte);
    (LEAST_CHARS..=ID_CHARS).contains(&name.len()) && name.bytes().all(is_symbol)
}

/// The name and the path behind it.
fn split_name(text: &str) -> (&str, &str) {
    let text = text.trim();
    let text = text.strip_prefix("p2p://").unwrap_or(text);
    text.split_once('/').unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_links() {
        let id = Link::to(p2p_identity::Target::Drive(p2p_identity::DriveId::from([3; 32]))).to_string();
        for name in ["docs.alice", "p2p://docs.alice/x", "docs.alice/a/b", "alice"] {
            assert!(is_name(name), "{name}");
        }
        for other in [id.as_str(), &id[..36], "", "http://example.org/", "a b"] {
            assert!(!is_name(other), "{other}");
        }
        assert_eq!(split_name("p2p://docs.alice/a/b"), ("docs.alice", "a/b"));
    }

    #[test]
    fn secrets_are_not_printed() {
        let new = NewZone { name: "a".into(), kind: ZoneKind::Edkey, key: Some("SECRET".into()) };
        let text = ZoneSecretText { zone: "a".into(), ztld: "b".into(), key: "SECRET".into() };
        assert!(!format!("{new:?}{text:?}").contains("SECRET"));
    }
}
