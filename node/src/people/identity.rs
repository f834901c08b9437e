//! The user's identity: made once, shown, and published under the apex of a zone.

use data_encoding::HEXLOWER;
use p2p_api::{ApiError, CreatedIdentity, ErrorKind, IdentityInfo, NewIdentity, NewZone, Result, SetRecord, ZoneInfo};
use p2p_identity::{
    AgreementKey, GenesisLink, IdentityId, MAX_CARD_NAME_BYTES, RecoveryWords, SecretKey, SecretKind,
    TransportCertificate,
};
use p2p_names::{IdentityRecord, base32gns_encode};

use super::rows::{Changes, IdentityRow};
use super::{Inner, People, blocking, device_bytes, ledger_error, now_s};
use crate::keys::key_error;

/// The name of the zone that is made for an identity.
const ZONE: &str = "me";

impl People {
    /// The identity.
    pub(crate) async fn identity(&self) -> Result<IdentityInfo> {
        let (genesis, certificate, row) = self.inner.own()?;
        let zones = self.inner.names.zones().await?;
        let zone = zones.into_iter().find(|zone| zone.ztld == row.ztld).map(|zone| zone.zone);
        Ok(info(&genesis, &certificate, &row, zone.unwrap_or_default()))
    }

    /// Makes one. The words behind it are in the answer and nowhere else.
    pub(crate) async fn create_identity(&self, new: NewIdentity) -> Result<CreatedIdentity> {
        let name = new.name.trim().to_owned();
        if name.is_empty() || name.len() > MAX_CARD_NAME_BYTES || name.chars().any(char::is_control) {
            let message = format!("a name has 1 to {MAX_CARD_NAME_BYTES} bytes and no control characters");
            return Err(ApiError::invalid(message));
        }
        if self.inner.rows().identity().is_some() {
            return Err(ApiError::new(ErrorKind::Conflict, "this node has an identity already")
                .with_hint("see it: p2p identity show"));
        }
        if self.inner.keys.is_locked() {
            return Err(ApiError::locked());
        }
        let zone = self.zone(new.zone).await?;
        let ztld = zone.ztld.clone();
        let (words, genesis, certificate, row) = blocking(&self.inner, move |inner| {
            let words = RecoveryWords::generate();
            let (signing, agreement) = (SecretKey::generate(), AgreementKey::generate());
            let next = words.root(1).public();
            let genesis = GenesisLink::sign(&words.root(0), &next, &signing, agreement.public(), now_s());
            let id = genesis.id();
            let certificate = TransportCertificate::sign(id, &signing, inner.me, now_s());
            let row = IdentityRow {
                genesis: genesis.as_bytes().to_vec(),
                certificate: certificate.as_bytes().to_vec(),
                name,
                ztld,
            };
            // The keys first: an identity without them could do nothing.
            let keys = device_bytes(&signing, &agreement);
            let stored = inner.keys.open().insert_bytes(SecretKind::DEVICE, id.as_bytes(), &keys);
            stored.map_err(|error| key_error(&error))?;
            let mut rows = inner.rows();
            if rows.identity().is_some() {
                return Err(ApiError::new(ErrorKind::Conflict, "this node has an identity already"));
            }
            rows.apply(Changes { identity: Some(row.clone()), ..Changes::default() })
                .map_err(|error| ledger_error(&error))?;
            Ok((words.text(), genesis, certificate, row))
        })
        .await?;
        self.inner.publish_identity().await;
        Ok(CreatedIdentity { info: info(&genesis, &certificate, &row, zone.zone), words: words.to_string() })
    }

    /// The zone that is to speak for the user: the one that is named, the only one, or a new one.
    async fn zone(&self, wanted: Option<String>) -> Result<ZoneInfo> {
        let zones = self.inner.names.zones().await?;
        if let Some(wanted) = wanted {
            let found = zones.into_iter().find(|zone| zone.zone == wanted || zone.ztld == wanted);
            return found.ok_or_else(|| ApiError::not_found(format!("there is no zone {wanted:?} here")));
        }
        match zones.as_slice() {
            [one] => Ok(one.clone()),
            [] => {
                self.inner.names.create_zone(NewZone { name: ZONE.into(), kind: Default::default(), key: None }).await
            }
            _ => Err(ApiError::invalid("there are several zones").with_hint("say which speaks for you: --zone NAME")),
        }
    }
}

impl Inner {
    /// Puts identity and node under the apex of the user's zone. What fails is tried again when the node starts.
    pub(super) async fn publish_identity(&self) {
        let Ok((genesis, certificate, row)) = self.own() else { return };
        let record = IdentityRecord {
            number: 0,
            head: *genesis.id().as_bytes(),
            genesis: row.genesis,
            certificates: vec![row.certificate],
        };
        let peer = format!("{} device={}", certificate.peer, base32gns_encode(&certificate.device));
        for (record_type, value) in [("P2PIDENTITY", record.to_text()), ("P2PPEER", peer)] {
            let set = SetRecord {
                label: "@".into(),
                record_type: record_type.into(),
                value,
                zone: Some(row.ztld.clone()),
                ..SetRecord::default()
            };
            if let Err(error) = self.names.set(set).await {
                tracing::warn!(%error, "the identity was not published");
            }
        }
    }

    /// After the transport key was replaced the device certifies the new one.
    pub(super) async fn certify_again(self: &std::sync::Arc<Self>) {
        let Ok((genesis, certificate, row)) = self.own() else { return };
        if certificate.peer == self.me {
            return;
        }
        let certified = blocking(self, move |inner| {
            let device = inner.device(&genesis.id())?;
            let time = now_s().max(certificate.time.saturating_add(1));
            let certificate = TransportCertificate::sign(genesis.id(), &device.signing, inner.me, time);
            let row = IdentityRow { certificate: certificate.as_bytes().to_vec(), ..row };
            inner
                .rows()
                .apply(Changes { identity: Some(row), ..Changes::default() })
                .map_err(|error| ledger_error(&error))
        });
        match certified.await {
            Ok(()) => self.publish_identity().await,
            Err(error) => tracing::warn!(%error, "the new transport key was not certified"),
        }
    }
}

fn info(genesis: &GenesisLink, certificate: &TransportCertificate, row: &IdentityRow, zone: String) -> IdentityInfo {
    let identity: IdentityId = genesis.id();
    IdentityInfo {
        identity,
        name: row.name.clone(),
        zone,
        ztld: row.ztld.clone(),
        device: HEXLOWER.encode(&genesis.device),
        peer: certificate.peer,
        created: genesis.time,
        genesis: HEXLOWER.encode(genesis.as_bytes()),
        certificate: HEXLOWER.encode(certificate.as_bytes()),
    }
}

/// The identity that a record of a zone tells, if its signatures are right.
pub(super) fn told_by(text: &str) -> Option<(GenesisLink, Option<TransportCertificate>)> {
    let record = IdentityRecord::from_text(text).ok()?;
    let genesis = GenesisLink::read(&record.genesis).ok()?;
    if record.number != 0 || record.head != *genesis.id().as_bytes() {
        return None;
    }
    let certificates = record.certificates.iter().filter_map(|bytes| TransportCertificate::read(bytes, &genesis).ok());
    let newest = certificates.max_by_key(|certificate| certificate.time);
    Some((genesis, newest))
}
