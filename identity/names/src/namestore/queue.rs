//! Labels in the order in which they have to be published, so that a large zone costs nothing while nothing is due.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Label, Timestamp, ZoneKey};

/// Who is due when. Built at start from [`LabelEntry::due`](crate::LabelEntry::due) of every label, then kept up to date with each change.
///
/// What was popped is out: schedule it again when its work is done, or, if it failed or the keystore is locked, for a while
/// later; [`LabelEntry::due`](crate::LabelEntry::due) would say "at once" without end.
#[derive(Debug, Clone, Default)]
pub struct PublishQueue {
    order: BTreeSet<(Timestamp, ZoneKey, Label)>,
    due: BTreeMap<(ZoneKey, Label), Timestamp>,
}

impl PublishQueue {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets when a label is due; [`Timestamp::NEVER`] takes it out.
    pub fn schedule(&mut self, zone: ZoneKey, label: Label, due: Timestamp) {
        let key = (zone, label);
        if let Some(before) = self.due.remove(&key) {
            self.order.remove(&(before, key.0, key.1.clone()));
        }
        if due != Timestamp::NEVER {
            self.order.insert((due, key.0, key.1.clone()));
            self.due.insert(key, due);
        }
    }

    /// When the first label is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.order.first().map(|(due, ..)| *due)
    }

    /// Takes the label that has been due for longest at `now`.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<(ZoneKey, Label)> {
        if self.next_due()? > now {
            return None;
        }
        let (_, zone, label) = self.order.pop_first()?;
        let key = (zone, label);
        self.due.remove(&key);
        Some(key)
    }

    /// Forgets a zone.
    pub fn remove_zone(&mut self, zone: &ZoneKey) {
        self.order.retain(|(_, other, _)| other != zone);
        self.due.retain(|(other, _), _| other != zone);
    }

    /// How many labels wait.
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}
