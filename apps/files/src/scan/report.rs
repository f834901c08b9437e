//! What a walk left out.

use std::sync::{Arc, Mutex, PoisonError};

use p2p_api::Skipped;

/// Most paths that are listed one by one; the rest is counted. One bad mount must not fill the memory.
const MAX_LISTED: usize = 10_000;

/// What was left out so far. Clones are one list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    list: Arc<Mutex<List>>,
}

#[derive(Debug, Default)]
struct List {
    listed: Vec<Skipped>,
    more: u64,
}

impl Report {
    pub(super) fn skip(&self, path: String, reason: impl Into<String>) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.listed.len() < MAX_LISTED {
            list.listed.push(Skipped { path, reason: reason.into() });
        } else {
            list.more += 1;
        }
    }

    /// Begins anew, for another walk.
    pub(crate) fn clear(&self) {
        *self.list.lock().unwrap_or_else(PoisonError::into_inner) = List::default();
    }

    #[cfg(test)]
    pub(super) fn downgrade(&self) -> std::sync::Weak<impl Sized + use<>> {
        Arc::downgrade(&self.list)
    }

    /// The list, with one last line for what was only counted.
    pub(crate) fn skipped(&self) -> Vec<Skipped> {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let mut skipped = list.listed.clone();
        if list.more > 0 {
            skipped.push(Skipped { path: "…".to_owned(), reason: format!("{} more were left out", list.more) });
        }
        skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_ends_with_a_count() {
        let report = Report::default();
        for number in 0..MAX_LISTED + 7 {
            report.skip(number.to_string(), "a pipe");
        }
        let skipped = report.skipped();
        assert_eq!(skipped.len(), MAX_LISTED + 1);
        assert_eq!(skipped[MAX_LISTED].reason, "7 more were left out");
    }
}
