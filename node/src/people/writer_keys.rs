//! The keys with which contacts write to drives: asked for on their node, and remembered.

use std::sync::Arc;

use p2p_api::{ApiError, AskWriterKey, ErrorKind, OwnWriterKey, Result};
use p2p_drives::{NewWriter, PathKey};
use p2p_identity::{DriveId, IdentityId, WriterKey};

use super::rows::{Changes, ContactRow};
use super::{Inner, People, blocking, ledger_error, meet};

impl People {
    /// Asks a contact's node.
    pub(crate) async fn ask_writer_key(&self, contact: &str, ask: AskWriterKey) -> Result<OwnWriterKey> {
        let id = self.inner.find(contact)?;
        let writer_key = self.inner.writer_key_of(id, ask.drive).await?;
        Ok(OwnWriterKey { drive: ask.drive, writer_key })
    }

    /// The contact that writes to a drive with this key.
    pub(crate) fn contact_of_writer(&self, drive: &DriveId, writer: &WriterKey) -> Option<String> {
        let rows = self.inner.rows();
        let found = rows.contacts().values().find(|row| row.writers.contains(&(*drive, *writer)));
        found.map(|row| row.name.clone())
    }
}

impl Inner {
    async fn writer_key_of(self: &Arc<Self>, id: IdentityId, drive: DriveId) -> Result<WriterKey> {
        let info = self.contact(&id)?;
        if info.changed {
            let message = format!("another identity now speaks for the zone of {}", info.name);
            return Err(ApiError::new(ErrorKind::NotAllowed, message).with_hint("see p2p contact verify"));
        }
        let asked = meet::ask_key(self, info.peer, drive).await.map_err(|error| {
            let message = format!("{} did not tell the key: {}", info.name, error.message);
            let hint = "try again when their node is online, or have them send what `p2p writers key LINK` prints";
            ApiError::new(error.kind, message).with_hint(hint)
        })?;
        let writer = WriterKey::from(asked);
        blocking(self, move |inner| {
            let mut rows = inner.rows();
            let Some(row) = rows.contacts().get(&id).cloned() else { return Ok(()) };
            if row.writers.contains(&(drive, writer)) {
                return Ok(());
            }
            let mut writers = row.writers.clone();
            writers.retain(|(of, _)| *of != drive);
            writers.push((drive, writer));
            let changed = ContactRow { writers, ..row };
            rows.apply(Changes { contacts: vec![(id, Some(changed))], ..Changes::default() })
                .map_err(|error| ledger_error(&error))
        })
        .await?;
        Ok(writer)
    }
}

/// Lets those write who were invited to, as far as their nodes can be asked now.
pub(super) async fn let_in(inner: Arc<Inner>) {
    let wanted: Vec<(IdentityId, DriveId, String)> = {
        let rows = inner.rows();
        let of = rows.contacts().iter().filter(|(_, row)| row.changed.is_none());
        of.flat_map(|(id, row)| row.wanted.iter().map(|(drive, prefix)| (*id, *drive, prefix.clone()))).collect()
    };
    for (id, drive, prefix) in wanted {
        let done = async {
            let writer = inner.writer_key_of(id, drive).await?;
            let prefix = match prefix.trim_matches('/') {
                "" => None,
                path => Some(PathKey::from_path(path).map_err(|error| ApiError::invalid(error.to_string()))?),
            };
            let new = NewWriter { writer, prefix, not_after_ms: None, max_counter: None };
            inner
                .drives
                .add_writer(&drive, new)
                .await
                .map_err(|error| ApiError::new(ErrorKind::Io, error.to_string()))?;
            blocking(&inner, move |inner| {
                let mut rows = inner.rows();
                let Some(row) = rows.contacts().get(&id).cloned() else { return Ok(()) };
                let mut changed = row;
                changed.wanted.retain(|(of, _)| *of != drive);
                rows.apply(Changes { contacts: vec![(id, Some(changed))], ..Changes::default() })
                    .map_err(|error| ledger_error(&error))
            })
            .await
        };
        if let Err(error) = done.await {
            tracing::debug!(%error, "an invited writer was not let in yet");
        }
    }
}
