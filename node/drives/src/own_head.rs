//! Before the first version after a start: what this node wrote itself and has forgotten (specs/drives.md, 5.1).
//!
//! A home that was restored from a backup knows an old counter. What it would sign next others have already, with other
//! content: a fork of its own key. So peers are asked for this node's newest head while the index of the new version is
//! made; a version that changes nothing waits for nobody.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use p2p_identity::{Hints, Link, WriterKey};
use tokio::task::JoinHandle;

use crate::DriveError;
use crate::engine::Drives;
use crate::mirror::OwnHead;
use crate::registry::Drive;

/// The question, while it is under way; dropped, nobody is asked any more.
pub(crate) struct Asking(JoinHandle<Option<OwnHead>>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drives {
    /// Starts asking, once in the life of this process; `None` where that was done.
    pub(crate) fn ask_for_own_head(&self, drive: &Arc<Drive>, writer: WriterKey) -> Result<Option<Asking>, DriveError> {
        if drive.knows_own_head.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let folder = self.shared().folder_of(drive)?;
        let hints = drive.state().row.link.parse::<Link>().map_or_else(|_| Hints::default(), |link| link.hints);
        let finding = OwnHead::find(self.shared().clone(), drive.clone(), folder, hints, writer);
        Ok(Some(Asking(tokio::spawn(finding))))
    }

    /// Waits for the answer and brings what was forgotten into the folder. The drive's work lock is the caller's.
    ///
    /// # Errors
    /// [`DriveError::Behind`] where something was brought: what was read of the folder before counts no more. Else it
    /// cannot be had, and to write without it would lose it.
    pub(crate) async fn continue_above(&self, drive: &Arc<Drive>, asking: Option<Asking>) -> Result<(), DriveError> {
        let Some(mut asking) = asking else { return Ok(()) };
        let found = (&mut asking.0).await?;
        if let Some(own) = found {
            let counter = own.counter();
            own.bring().await?;
            drive.knows_own_head.store(true, Ordering::Relaxed);
            tracing::warn!(
                drive = %drive.id, counter,
                "this node had written more than it knew, as after a restore from a backup: that is in the folder now"
            );
            self.shared().changed();
            return Err(DriveError::Behind { counter });
        }
        drive.knows_own_head.store(true, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
