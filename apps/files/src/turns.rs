//! One import of a drive at a time: whoever comes second waits for the first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Who is importing which drive. A turn ends when its permit is dropped.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    drives: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Turns {
    /// Waits for this drive's turn. Cancel safe: a dropped wait takes no turn.
    pub(crate) async fn take(&self, drive: &str) -> Option<OwnedSemaphorePermit> {
        let turn = self.of(drive);
        turn.acquire_owned().await.ok()
    }

    fn of(&self, drive: &str) -> Arc<Semaphore> {
        let mut drives = self.drives.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = drives.get(drive).and_then(Weak::upgrade) {
            return turn;
        }
        drives.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Semaphore::new(1));
        drives.insert(drive.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_second_import_of_a_drive_waits_for_the_first() {
        let turns = Turns::default();
        let first = turns.take("a").await;
        assert!(turns.take("a").now_or_never().is_none());
        assert!(turns.take("b").now_or_never().is_some(), "another drive need not wait");
        drop(first);
        assert!(turns.take("a").now_or_never().is_some());
    }

    #[tokio::test]
    async fn finished_turns_are_forgotten() {
        let turns = Turns::default();
        for number in 0..100 {
            drop(turns.take(&number.to_string()).await);
        }
        assert!(turns.drives.lock().unwrap().len() <= 1);
    }
}
