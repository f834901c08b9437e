//! What the server remembers of its callers: apps and what they may do, and answers to writes that may be repeated.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use p2p_drives::{Ledger, MemoryLedger};
use p2p_identity::PeerId;

use super::answers::Answers;
use crate::grants::Grants;

/// Who may call, beside the user. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    pub(super) grants: Grants,
    pub(super) answers: Answers,
    contacts: Arc<HashSet<PeerId>>,
}

impl Access {
    /// What the ledger has; the folders of apps lie below `home`.
    ///
    /// # Errors
    /// The ledger failed.
    pub fn open(ledger: Arc<dyn Ledger>, home: &Path) -> Result<Self, String> {
        let grants = Grants::open(ledger.clone(), home)?;
        Ok(Self { grants, answers: Answers::new(ledger), contacts: Arc::default() })
    }

    /// Remembers nothing beyond this process.
    pub fn in_memory(home: &Path) -> Self {
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
        Self::open(ledger, home).expect("an empty ledger in memory cannot fail")
    }

    /// Peers that scopes call contacts: those that the user trusts.
    #[must_use]
    pub fn with_contacts(self, contacts: impl IntoIterator<Item = PeerId>) -> Self {
        Self { contacts: Arc::new(contacts.into_iter().collect()), ..self }
    }

    /// Bytes a second that the streams of all apps move together, 64 MiB by default; 0 for no limit.
    #[must_use]
    pub fn with_app_bandwidth(self, bytes_per_second: u64) -> Self {
        self.grants.shares.set_total(bytes_per_second);
        self
    }

    pub(super) fn is_contact(&self, peer: &PeerId) -> bool {
        self.contacts.contains(peer)
    }
}
