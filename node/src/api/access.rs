//! What the server remembers of its callers: apps and what they may do, and answers to writes that may be repeated.

use std::path::Path;
use std::sync::Arc;

use p2p_drives::{Ledger, MemoryLedger};
use p2p_identity::PeerId;

use super::answers::Answers;
use crate::grants::Grants;
use crate::keys::Keys;

/// Who may call, beside the user. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    pub(crate) grants: Grants,
    pub(super) answers: Answers,
    is_contact: Arc<dyn Fn(&PeerId) -> bool + Send + Sync>,
    pub(super) keys: Option<Keys>,
}

impl Access {
    /// What the ledger has; the folders of apps lie below `home`.
    ///
    /// # Errors
    /// The ledger failed.
    pub fn open(ledger: Arc<dyn Ledger>, home: &Path) -> Result<Self, String> {
        let grants = Grants::open(ledger.clone(), home)?;
        Ok(Self { grants, answers: Answers::new(ledger), is_contact: Arc::new(|_| false), keys: None })
    }

    /// Remembers nothing beyond this process.
    pub fn in_memory(home: &Path) -> Self {
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
        Self::open(ledger, home).expect("an empty ledger in memory cannot fail")
    }

    /// Peers that scopes call contacts: those whom the user knows or trusts.
    #[must_use]
    pub fn with_contacts(self, is_contact: impl Fn(&PeerId) -> bool + Send + Sync + 'static) -> Self {
        Self { is_contact: Arc::new(is_contact), ..self }
    }

    /// While these keys are locked, apps get nothing.
    #[must_use]
    pub(crate) fn with_keys(self, keys: Keys) -> Self {
        Self { keys: Some(keys), ..self }
    }

    /// Resolves when the keys are locked; never where they cannot be.
    pub(super) fn locked(&self) -> impl Future<Output = ()> + Send + 'static {
        let locked = self.keys.as_ref().map(Keys::locked);
        async move {
            let Some(mut locked) = locked else { return std::future::pending().await };
            if locked.wait_for(|locked| *locked).await.is_err() {
                // The node is ending, which ends the streams by itself.
                std::future::pending().await
            }
        }
    }

    /// Bytes a second that the streams of all apps move together, 64 MiB by default; 0 for no limit.
    #[must_use]
    pub fn with_app_bandwidth(self, bytes_per_second: u64) -> Self {
        self.grants.shares.set_total(bytes_per_second);
        self
    }

    pub(super) fn is_contact(&self, peer: &PeerId) -> bool {
        (self.is_contact)(peer)
    }
}
