//! What the heads at hand betray of those that are kept from us (specs/drives.md, 5.3). Pure.
//!
//! A peer can hide a head, but not that another writer has merged it: that one's version vector names it.

use std::collections::BTreeMap;

use p2p_identity::WriterKey;

use crate::heads::Snapshot;
use crate::signed::Signed;

/// A newer version of a writer exists, and nobody here offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// Whose version it is.
    pub writer: WriterKey,
    /// Its counter; there may be newer ones still.
    pub counter: u64,
    /// The counter of the newest version of that writer that is here; 0 for none.
    pub held: u64,
    /// Whose version says so.
    pub named_by: WriterKey,
}

impl Snapshot {
    /// Heads that others have merged and that are not here, by writer; at most one of each. Of writers that may write
    /// no more, or not so much, nothing is missed.
    pub(crate) fn withheld(&self) -> Vec<Withheld> {
        let owner = self.head.body().writer;
        let set = self.set.as_ref().map(Signed::body);
        let counts = |writer: &WriterKey, counter: u64| {
            let certificate = set.and_then(|set| set.certificate(writer));
            *writer == owner || certificate.is_some_and(|certificate| counter <= certificate.max_counter)
        };
        let mut found: BTreeMap<WriterKey, Withheld> = BTreeMap::new();
        for head in self.heads().map(Signed::body) {
            for (writer, counter) in head.vv.counters().iter().copied() {
                let held = self.head_of(&writer).map_or(0, |head| head.body().counter);
                let is_news = found.get(&writer).is_none_or(|known| known.counter < counter);
                if counter > held && is_news && counts(&writer, counter) {
                    found.insert(writer, Withheld { writer, counter, held, named_by: head.writer });
                }
            }
        }
        found.into_values().collect()
    }
}

#[cfg(test)]
mod tests;
