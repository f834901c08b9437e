//! Sharing and copying that was begun in the dashboard, and how far it is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use p2p_api::{ApiError, DriveId, ErrorKind, Progress, Result};
use tokio_util::sync::CancellationToken;

use crate::news::News;

/// Jobs at a time.
const MAX_RUNNING: usize = 8;
/// Jobs that are remembered.
const MAX_REMEMBERED: usize = 24;
/// How often a job's progress is told to open pages.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Share,
    Clone,
}

/// How a job stands.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    Running(Progress),
    /// What there is now, in words.
    Done(String),
    Failed {
        message: String,
        hint: Option<String>,
    },
    Stopped,
}

/// A job as it stands.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    /// The folder.
    pub(crate) path: String,
    pub(crate) drive: Option<DriveId>,
    pub(crate) standing: Standing,
    stop: CancellationToken,
}

impl Transfer {
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.standing, Standing::Running(_))
    }
}

/// All of them. Clones are the same.
#[derive(Clone)]
pub(crate) struct Transfers {
    state: Arc<Mutex<State>>,
    news: News,
}

#[derive(Default)]
struct State {
    last_id: u64,
    /// The newest first.
    all: VecDeque<Transfer>,
}

/// The side of a job that does it. Dropped without an end, the job counts as stopped.
pub(crate) struct Reporter {
    id: u64,
    transfers: Transfers,
    told: Option<Instant>,
    pub(crate) stop: CancellationToken,
}

impl Transfers {
    pub(crate) fn new(news: News) -> Self {
        Self { state: Arc::default(), news }
    }

    /// The newest first.
    pub(crate) fn list(&self) -> Vec<Transfer> {
        self.state().all.iter().cloned().collect()
    }

    /// Notes that a job begins.
    pub(crate) fn begin(&self, kind: Kind, path: String) -> Result<Reporter> {
        let stop = CancellationToken::new();
        let mut state = self.state();
        if state.all.iter().filter(|transfer| transfer.is_running()).count() >= MAX_RUNNING {
            let message = format!("{MAX_RUNNING} transfers are running, which is the most at a time");
            return Err(ApiError::new(ErrorKind::Busy, message).with_hint("wait until one is done, or stop one"));
        }
        state.last_id += 1;
        let id = state.last_id;
        let standing = Standing::Running(Progress::default());
        state.all.push_front(Transfer { id, kind, path, drive: None, standing, stop: stop.clone() });
        while state.all.len() > MAX_REMEMBERED {
            let ended = state.all.iter().rposition(|transfer| !transfer.is_running());
            ended.map(|index| state.all.remove(index));
        }
        drop(state);
        self.news.tell("transfer.begun");
        Ok(Reporter { id, transfers: self.clone(), told: None, stop })
    }

    /// Stops a job, or forgets one that ended.
    pub(crate) fn dismiss(&self, id: u64) {
        let mut state = self.state();
        match state.all.iter().position(|transfer| transfer.id == id) {
            Some(index) if state.all[index].is_running() => state.all[index].stop.cancel(),
            Some(index) => drop(state.all.remove(index)),
            None => {}
        }
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Transfer)) {
        if let Some(transfer) = self.state().all.iter_mut().find(|transfer| transfer.id == id) {
            change(transfer);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reporter {
    pub(crate) fn drive(&self, drive: DriveId) {
        self.transfers.change(self.id, |transfer| transfer.drive = Some(drive));
    }

    pub(crate) fn progress(&mut self, progress: Progress) {
        self.transfers.change(self.id, |transfer| transfer.standing = Standing::Running(progress));
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.told = Some(Instant::now());
            self.transfers.news.tell("transfer.progress");
        }
    }

    /// Forgets a job that could not even begin: whoever asked for it is told at once.
    pub(crate) fn withdraw(self) {
        self.transfers.state().all.retain(|transfer| transfer.id != self.id);
    }

    pub(crate) fn end(self, result: Result<String>) {
        let standing = match result {
            Ok(words) => Standing::Done(words),
            Err(error) => Standing::Failed { message: error.message, hint: error.hint },
        };
        self.transfers.change(self.id, |transfer| transfer.standing = standing);
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.transfers.change(self.id, |transfer| {
            if transfer.is_running() {
                transfer.standing = Standing::Stopped;
            }
        });
        self.transfers.news.tell("transfer.done");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_told_from_its_begin_to_its_end() {
        let transfers = Transfers::new(News::new());
        let mut reporter = transfers.begin(Kind::Clone, "/a".to_owned()).unwrap();
        reporter.progress(Progress { files_done: 2, ..Progress::default() });
        assert!(matches!(&transfers.list()[0].standing, Standing::Running(progress) if progress.files_done == 2));
        reporter.end(Ok("done".to_owned()));
        assert!(matches!(&transfers.list()[0].standing, Standing::Done(words) if words == "done"));
        transfers.dismiss(transfers.list()[0].id);
        assert!(transfers.list().is_empty());
    }

    #[test]
    fn a_job_that_is_dropped_was_stopped() {
        let transfers = Transfers::new(News::new());
        let reporter = transfers.begin(Kind::Share, "/a".to_owned()).unwrap();
        transfers.dismiss(transfers.list()[0].id);
        assert!(reporter.stop.is_cancelled());
        drop(reporter);
        assert!(matches!(transfers.list()[0].standing, Standing::Stopped));
    }

    #[test]
    fn jobs_and_memories_of_them_are_bounded() {
        let transfers = Transfers::new(News::new());
        let running: Vec<_> =
            (0..MAX_RUNNING).map(|_| transfers.begin(Kind::Share, "/a".to_owned()).unwrap()).collect();
        assert!(transfers.begin(Kind::Share, "/a".to_owned()).is_err());
        drop(running);
        for _ in 0..100 {
            transfers.begin(Kind::Clone, "/b".to_owned()).unwrap().end(Ok(String::new()));
        }
        assert_eq!(transfers.list().len(), MAX_REMEMBERED);
    }
}
