//! By which tags contacts recognise this user on a local network, and this user them. The secrets behind them stay in the
//! keystore: while it is locked there are no tags.

use std::sync::Arc;
use std::time::Duration;

use p2p_api::Result;
use p2p_identity::{LanTag, SecretKind};
use p2p_transport::{KnownTags, libp2p_peer_id};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Inner, People, blocking, now_s};
use crate::keys::key_error;
use crate::network::Beacons;

/// Tags of so many hours before and after this one are known as well: clocks differ.
const HOURS_OFF: u64 = 1;
/// Tags are made anew this long after the hour has begun, in seconds.
const AFTER_THE_HOUR_S: u64 = 1;

impl People {
    /// Keeps them up to date: every hour, when contacts come or go, and when the keys are locked or unlocked. Runs until
    /// `stop`.
    pub(crate) async fn keep_lan_tags(self, beacons: watch::Sender<Beacons>, stop: CancellationToken) {
        let mut locked = self.inner.keys.locked();
        let mut contacts = self.inner.contacts_changed.subscribe();
        loop {
            locked.borrow_and_update();
            contacts.borrow_and_update();
            let now = blocking(&self.inner, |inner| inner.lan_tags(LanTag::hour_of(now_s()))).await;
            // Locked, or nobody yet: nothing to announce.
            beacons.send_replace(now.unwrap_or_default());
            let left = Duration::from_secs(3_600 - now_s() % 3_600 + AFTER_THE_HOUR_S);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(left) => {}
                Ok(()) = locked.changed() => {}
                Ok(()) = contacts.changed() => {}
            }
        }
    }
}

impl Inner {
    fn lan_tags(&self, hour: u64) -> Result<Beacons> {
        let (genesis, ..) = self.own()?;
        let me = genesis.id();
        let contacts: Vec<_> = {
            let rows = self.rows();
            let known = rows.contacts().iter().filter(|(_, row)| row.changed.is_none());
            known.filter_map(|(id, row)| Some((*id, libp2p_peer_id(&row.peer()?)?))).collect()
        };
        let mut own = Vec::with_capacity(contacts.len());
        let mut known = KnownTags::new();
        for (them, peer) in contacts {
            let secret = self.keys.open().get_bytes(SecretKind::CONTACT, them.as_bytes());
            let secret = secret.map_err(|error| key_error(&error))?;
            let Some(secret) = secret.as_ref().and_then(|secret| <&[u8; 32]>::try_from(secret.as_slice()).ok()) else {
                continue;
            };
            own.push(LanTag::new(secret, hour, &me));
            for hour in hour.saturating_sub(HOURS_OFF)..=hour.saturating_add(HOURS_OFF) {
                let tag = LanTag::new(secret, hour, &them);
                known.insert(tag.tag, (peer, tag));
            }
        }
        p2p_identity::scrub_stack();
        Ok(Beacons { own, known: Arc::new(known) })
    }
}
