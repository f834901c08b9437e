//! Who speaks for the zones of contacts now: another identity there is a warning, a new transport key is taken over.

use std::sync::Arc;

use p2p_api::ResolveName;
use p2p_identity::IdentityId;

use super::identity::told_by;
use super::rows::{Changes, ContactRow};
use super::{Inner, blocking, ledger_error};

/// How long one lookup may take, in seconds.
const PATIENCE_S: f64 = 10.0;

/// Looks at all of them, one after the other. Who tells nothing stays as they are.
pub(super) async fn refresh(inner: &Arc<Inner>) {
    let zones: Vec<(IdentityId, String)> =
        inner.rows().contacts().iter().map(|(id, row)| (*id, row.ztld.clone())).collect();
    for (id, ztld) in zones {
        let ask = ResolveName {
            name: ztld,
            record_type: Some("P2PIDENTITY".into()),
            fresh: true,
            timeout_s: Some(PATIENCE_S),
        };
        let Ok(found) = inner.names.resolve(ask).await else { continue };
        let told = found.records.iter().filter(|record| record.record_type == "P2PIDENTITY");
        let Some((genesis, certificate)) = told.filter_map(|record| told_by(&record.value)).next() else { continue };
        let speaks = genesis.id();
        let taken = blocking(inner, move |inner| {
            let mut rows = inner.rows();
            let Some(row) = rows.contacts().get(&id).cloned() else { return Ok(false) };
            let mut now = ContactRow { changed: (speaks != id).then_some(speaks), ..row.clone() };
            if let Some(certificate) = certificate.filter(|_| speaks == id) {
                let known = row
                    .genesis()
                    .ok()
                    .and_then(|genesis| p2p_identity::TransportCertificate::read(&row.certificate, &genesis).ok());
                if known.is_none_or(|known| known.time < certificate.time) {
                    now.certificate = certificate.as_bytes().to_vec();
                }
            }
            let changed = now != row;
            if changed {
                rows.apply(Changes { contacts: vec![(id, Some(now))], ..Changes::default() })
                    .map_err(|error| ledger_error(&error))?;
            }
            Ok(changed)
        });
        match taken.await {
            Ok(true) => {
                inner.tell_contacts();
                inner.events.push("contacts", "contact.changed", serde_json::json!({ "identity": id }));
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "what a contact's zone tells was not remembered"),
        }
    }
}
