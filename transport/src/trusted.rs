//! The peers that the user trusts: those in the settings, and the nodes of contacts, who come and go.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use libp2p::PeerId;

/// Peers that most limits do not hold for. Cheap to clone; all clones are the same set.
#[derive(Clone, Debug, Default)]
pub struct TrustedPeers {
    sets: Arc<Sets>,
}

#[derive(Debug, Default)]
struct Sets {
    settings: HashSet<PeerId>,
    contacts: RwLock<HashSet<PeerId>>,
}

impl TrustedPeers {
    /// Those in the settings; no contacts yet.
    pub fn new(settings: impl IntoIterator<Item = PeerId>) -> Self {
        let sets = Sets { settings: settings.into_iter().collect(), ..Sets::default() };
        Self { sets: Arc::new(sets) }
    }

    /// The nodes of contacts from now on.
    pub fn set_contacts(&self, contacts: impl IntoIterator<Item = PeerId>) {
        *self.sets.contacts.write().unwrap_or_else(PoisonError::into_inner) = contacts.into_iter().collect();
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sets.settings.is_empty() && self.sets.contacts.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Whether the user trusts a peer.
    pub fn contains(&self, peer: &PeerId) -> bool {
        self.sets.settings.contains(peer)
            || self.sets.contacts.read().unwrap_or_else(PoisonError::into_inner).contains(peer)
    }
}
