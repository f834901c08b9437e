//! Asking elsewhere for heads that a peer may be keeping from us (specs/drives.md, 5.3).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::follower::Party;
use super::{Job, Scope};
use crate::gather::gather;
use crate::head::HeadEnvelope;
use crate::heads::Snapshot;
use crate::index::Keep;
use crate::session::Session;

/// How long others are waited for that may have a head which is missed for the first time. A peer that has it is mostly
/// met within this; what is not found is told, and comes in whenever somebody offers it.
const ELSEWHERE: Duration = Duration::from_secs(3);

impl Job {
    /// The state with what other peers have of the heads that it names and lacks. Their trees come from them.
    pub(super) async fn ask_elsewhere(&self, party: &mut Party, mut at: Snapshot, scope: Scope) -> Snapshot {
        let missed = at.withheld();
        if missed.is_empty() {
            return at;
        }
        for session in party.live().to_vec() {
            if at.withheld().is_empty() {
                return at;
            }
            match session.heads().await {
                Ok(heads) => at = self.with_heads(&session, heads, at).await,
                Err(error) => tracing::debug!(peer = %session.peer, %error, "no heads"),
            }
        }
        // What a follower missed before was waited for then, and would hold up every version from now on.
        let known = self.drive.snapshot().map(|known| known.withheld()).unwrap_or_default();
        let is_known =
            scope == Scope::Changes && missed.iter().all(|missed| known.iter().any(|k| k.writer == missed.writer));
        let deadline = Instant::now() + if is_known { Duration::ZERO } else { ELSEWHERE };
        while !at.withheld().is_empty() {
            let Ok(Some(opened)) = tokio::time::timeout_at(deadline, party.opened.recv()).await else { break };
            at = self.with_heads(&opened.session, opened.heads, at).await;
            party.sessions.push(opened.session);
        }
        for missed in at.withheld() {
            tracing::info!(
                drive = %self.drive.id, writer = %missed.writer, counter = missed.counter, held = missed.held,
                "a newer version of a writer exists, nobody here offers it"
            );
        }
        at
    }

    async fn with_heads(&self, session: &Arc<Session>, heads: Vec<HeadEnvelope>, at: Snapshot) -> Snapshot {
        match gather(&self.shared, &self.drive.id, session, heads, Some(&at), Keep::OnDisk).await {
            Ok(Some(more)) => more,
            Ok(None) => at,
            Err(error) => {
                tracing::debug!(peer = %session.peer, %error, "heads that are missed cannot be had here");
                at
            }
        }
    }
}
