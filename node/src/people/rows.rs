//! What is remembered of people, in the ledger: nothing that is secret.
//!
//! `i`: the identity. `c` and an identity: a contact. `v` and an invite's id: an invite that was made here, or is being
//! accepted here. Values are JSON, so that a later version can add to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use p2p_api::Verified;
use p2p_drives::{Batch, Ledger, LedgerError, LedgerTable};
use p2p_identity::{ChainError, DriveId, GenesisLink, IdentityId, InviteId, PeerId, TransportCertificate, WriterKey};
use serde::{Deserialize, Serialize};

const TABLE: LedgerTable = LedgerTable::People;
/// Rows read at a time.
const PAGE: usize = 1_000;

/// Bytes in hexadecimal.
pub(super) mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in super::super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&data_encoding::HEXLOWER.encode(bytes))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(de::Error::custom)
    }
}

/// The user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct IdentityRow {
    #[serde(with = "hex")]
    pub(super) genesis: Vec<u8>,
    #[serde(with = "hex")]
    pub(super) certificate: Vec<u8>,
    pub(super) name: String,
    /// The zTLD of the zone that speaks for it.
    pub(super) ztld: String,
}

/// A contact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ContactRow {
    #[serde(with = "hex")]
    pub(super) genesis: Vec<u8>,
    #[serde(with = "hex")]
    pub(super) certificate: Vec<u8>,
    /// What the user calls them.
    pub(super) name: String,
    /// What they call themselves.
    pub(super) own_name: String,
    pub(super) ztld: String,
    #[serde(default)]
    pub(super) verified: Verified,
    /// Another identity that now speaks for their zone.
    #[serde(default)]
    pub(super) changed: Option<IdentityId>,
    /// Milliseconds since 1970.
    pub(super) added: u64,
    /// The keys with which they write to drives of this node.
    #[serde(default)]
    pub(super) writers: Vec<(DriveId, WriterKey)>,
    /// Drives that they are to write to as soon as they have told their key, with the path.
    #[serde(default)]
    pub(super) wanted: Vec<(DriveId, String)>,
    #[serde(default)]
    pub(super) addresses: Vec<String>,
}

impl ContactRow {
    pub(super) fn genesis(&self) -> Result<GenesisLink, ChainError> {
        GenesisLink::read(&self.genesis)
    }

    /// Their node.
    pub(super) fn peer(&self) -> Option<PeerId> {
        let genesis = self.genesis().ok()?;
        TransportCertificate::read(&self.certificate, &genesis).ok().map(|certificate| certificate.peer)
    }
}

/// How far an invite has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub(super) enum Stage {
    /// Made here; nobody has used it.
    Open,
    /// Made here; this card waits for the user.
    Waiting {
        #[serde(with = "hex")]
        card: Vec<u8>,
    },
    /// Being accepted here.
    Accepting,
    /// Done, with whom.
    Used { identity: IdentityId },
    /// In vain.
    Failed { reason: String },
}

/// An invite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct InviteRow {
    /// Whether it was made here.
    pub(super) is_ours: bool,
    pub(super) in_person: bool,
    /// Seconds since 1970.
    pub(super) created: u64,
    pub(super) expires: u64,
    #[serde(default)]
    pub(super) drive: Option<DriveId>,
    #[serde(default)]
    pub(super) prefix: String,
    /// What the user will call them.
    #[serde(default)]
    pub(super) name: Option<String>,
    pub(super) stage: Stage,
    /// Who made it, where it is being accepted here.
    #[serde(default)]
    pub(super) inviter: Option<(IdentityId, PeerId)>,
    /// Where that node can be dialled.
    #[serde(default)]
    pub(super) addresses: Vec<String>,
}

/// All rows in memory, and the ledger behind them: what is changed is written first.
pub(super) struct Rows {
    ledger: Arc<dyn Ledger>,
    identity: Option<IdentityRow>,
    contacts: BTreeMap<IdentityId, ContactRow>,
    invites: BTreeMap<InviteId, InviteRow>,
}

/// Several changes that are written together or not at all.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) identity: Option<IdentityRow>,
    pub(super) contacts: Vec<(IdentityId, Option<ContactRow>)>,
    pub(super) invites: Vec<(InviteId, Option<InviteRow>)>,
}

impl Rows {
    pub(super) fn open(ledger: Arc<dyn Ledger>) -> Result<Self, LedgerError> {
        let mut rows = Self { ledger, identity: None, contacts: BTreeMap::new(), invites: BTreeMap::new() };
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = rows.ledger.scan(TABLE, &[], after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(rows) };
            after = Some(last.clone());
            for (key, value) in page {
                if rows.take(&key, &value).is_none() {
                    tracing::warn!("what is remembered of a person cannot be read");
                }
            }
        }
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (kind, id) = key.split_first()?;
        match kind {
            b'i' => self.identity = Some(serde_json::from_slice(value).ok()?),
            b'c' => {
                let id: [u8; 32] = id.try_into().ok()?;
                self.contacts.insert(id.into(), serde_json::from_slice(value).ok()?);
            }
            b'v' => drop(self.invites.insert(id.try_into().ok()?, serde_json::from_slice(value).ok()?)),
            _ => return None,
        }
        Some(())
    }

    pub(super) fn identity(&self) -> Option<&IdentityRow> {
        self.identity.as_ref()
    }

    pub(super) fn contacts(&self) -> &BTreeMap<IdentityId, ContactRow> {
        &self.contacts
    }

    pub(super) fn invites(&self) -> &BTreeMap<InviteId, InviteRow> {
        &self.invites
    }

    /// Writes, then remembers. Blocks on the disk.
    pub(super) fn apply(&mut self, changes: Changes) -> Result<(), LedgerError> {
        let mut batch = Batch::new();
        if let Some(row) = &changes.identity {
            batch.put(TABLE, b"i".to_vec(), json(row));
        }
        for (id, row) in &changes.contacts {
            let key = [b"c", id.as_bytes().as_slice()].concat();
            match row {
                Some(row) => batch.put(TABLE, key, json(row)),
                None => batch.delete(TABLE, key),
            };
        }
        for (id, row) in &changes.invites {
            let key = [b"v", id.as_slice()].concat();
            match row {
                Some(row) => batch.put(TABLE, key, json(row)),
                None => batch.delete(TABLE, key),
            };
        }
        self.ledger.commit(&batch)?;
        self.identity = changes.identity.or(self.identity.take());
        for (id, row) in changes.contacts {
            match row {
                Some(row) => drop(self.contacts.insert(id, row)),
                None => drop(self.contacts.remove(&id)),
            }
        }
        for (id, row) in changes.invites {
            match row {
                Some(row) => drop(self.invites.insert(id, row)),
                None => drop(self.invites.remove(&id)),
            }
        }
        Ok(())
    }
}

/// A row as JSON; all of them can be.
fn json(row: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(row).expect("a row has string keys only")
}

#[cfg(test)]
mod tests {
    use super::*;
    use p2p_drives::MemoryLedger;

    #[test]
    fn rows_are_there_again_after_a_restart_and_changes_go_together() {
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
        let mut rows = Rows::open(ledger.clone()).expect("rows");
        let invite = InviteRow {
            is_ours: true,
            in_person: true,
            created: 1,
            expires: 2,
            drive: None,
            prefix: String::new(),
            name: Some("bob".into()),
            stage: Stage::Waiting { card: vec![1, 2] },
            inviter: Some((IdentityId::from([1; 32]), PeerId::from([2; 32]))),
            addresses: vec!["/ip4/192.0.2.1/tcp/1".into()],
        };
        let changes = Changes { invites: vec![([7; 16], Some(invite.clone()))], ..Changes::default() };
        rows.apply(changes).expect("written");
        let mut again = Rows::open(ledger.clone()).expect("rows");
        assert_eq!(again.invites().get(&[7; 16]), Some(&invite));
        again.apply(Changes { invites: vec![([7; 16], None)], ..Changes::default() }).expect("written");
        assert!(Rows::open(ledger).expect("rows").invites().is_empty());
    }
}
