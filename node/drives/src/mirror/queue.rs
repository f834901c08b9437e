//! Work that waits for somebody to take it: bounded, and what was taken comes back if it was not done.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;

use super::{QUEUE, Work, lock};

/// Work that waits, and how much is under way.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    pub(super) changed: Notify,
}

#[derive(Default)]
struct Waiting {
    ready: VecDeque<Work>,
    /// Nothing more will be planned.
    closed: bool,
    under_way: usize,
}

impl Queue {
    /// Adds work; waits while enough is planned. False when nobody wants it any more. Blocks.
    pub(super) fn push(&self, work: Work) -> bool {
        loop {
            {
                let mut waiting = lock(&self.waiting);
                if waiting.closed {
                    return false;
                }
                if waiting.ready.len() < QUEUE {
                    waiting.ready.push_back(work);
                    break;
                }
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        self.changed.notify_waiters();
        true
    }

    /// No more work will be pushed.
    pub(super) fn close(&self) {
        lock(&self.waiting).closed = true;
        self.changed.notify_waiters();
    }

    pub(super) fn is_done(&self) -> bool {
        let waiting = lock(&self.waiting);
        waiting.closed && waiting.ready.is_empty() && waiting.under_way == 0
    }

    /// The next piece of work; `None` when there will be none.
    pub(super) async fn take(&self) -> Option<Work> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut waiting = lock(&self.waiting);
                if let Some(work) = waiting.ready.pop_front() {
                    waiting.under_way += 1;
                    return Some(work);
                }
                if waiting.closed && waiting.under_way == 0 {
                    return None;
                }
            }
            changed.await;
        }
    }

    pub(super) fn give_back(&self, work: Work) {
        lock(&self.waiting).ready.push_front(work);
        self.finish();
    }

    pub(super) fn finish(&self) {
        lock(&self.waiting).under_way -= 1;
        self.changed.notify_waiters();
    }
}

/// Work that goes back to the queue if its worker is stopped midway.
pub(super) struct GiveBack<'a> {
    pub(super) queue: &'a Queue,
    pub(super) work: Option<Work>,
}

impl GiveBack<'_> {
    /// The work is over but for what is left of it.
    pub(super) fn done(mut self, left: Work) {
        self.work = None;
        let is_left = match &left {
            Work::Small(files) => !files.is_empty(),
            Work::Large(_, ranges) => !ranges.is_empty(),
        };
        if is_left { self.queue.give_back(left) } else { self.queue.finish() }
    }
}

impl Drop for GiveBack<'_> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.queue.give_back(work);
        }
    }
}
