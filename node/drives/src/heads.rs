//! The state of a drive as its heads make it: which heads are accepted, and what they give together
//! (specs/drives.md, 5.2). No I/O.

use std::collections::BTreeMap;

use p2p_identity::{DriveId, WriterKey};

use crate::head::{HeadEnvelope, MAX_WRITERS, VersionVector};
use crate::key::PathKey;
use crate::merge::Source;
use crate::signed::{Signed, SignedError};
use crate::tree::{Expected, NodeId, Root};
use crate::writers::WriterSet;

/// The signed writer set, as it came.
pub(crate) type SignedSet = Signed<WriterSet>;

/// A state: the newest accepted head of each writer, and the tree that they make together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The owner's; of an earlier version the one head that made it.
    pub(crate) head: HeadEnvelope,
    /// Those of other writers, by writer.
    pub(crate) others: Vec<HeadEnvelope>,
    /// The writer set that the owner's head names.
    pub(crate) set: Option<SignedSet>,
    pub(crate) root: NodeId,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

impl From<HeadEnvelope> for Snapshot {
    /// What one head shows.
    fn from(head: HeadEnvelope) -> Self {
        let body = head.body();
        let (root, entries, bytes) = (body.root, body.files, body.bytes);
        Self { head, others: Vec::new(), set: None, root, entries, bytes }
    }
}

impl Snapshot {
    /// The number that people see: the owner's counter.
    pub(crate) fn version(&self) -> u64 {
        self.head.body().counter
    }

    pub(crate) fn expected(&self) -> Expected {
        Expected::root_with_sums(self.root, self.entries, self.bytes)
    }

    /// How many files it has, folders not counted: the owner's word where only the owner's head counts, else the entries.
    pub(crate) fn files(&self) -> u64 {
        if self.root == self.head.body().root { self.head.body().plain_files() } else { self.entries }
    }

    /// The owner's first.
    pub(crate) fn heads(&self) -> impl Iterator<Item = &HeadEnvelope> {
        std::iter::once(&self.head).chain(&self.others)
    }

    /// The head of one writer.
    pub(crate) fn head_of(&self, writer: &WriterKey) -> Option<&HeadEnvelope> {
        self.heads().find(|head| head.body().writer == *writer)
    }

    /// Counters of all heads it is merged from.
    pub(crate) fn counters(&self) -> Vec<(WriterKey, u64)> {
        self.heads().map(|head| (head.body().writer, head.body().counter)).collect()
    }

    /// The version vector of a head that `writer` makes from this state.
    pub(crate) fn vv_for(&self, writer: WriterKey, counter: u64) -> Result<VersionVector, SignedError> {
        let mut counters = self.counters();
        counters.retain(|(other, _)| *other != writer);
        counters.push((writer, counter));
        VersionVector::new(counters)
    }

    /// Whether it is made of the same heads.
    pub(crate) fn has_heads_of(&self, other: &Self) -> bool {
        let hashes = |of: &Self| of.heads().map(Signed::hash).collect::<Vec<_>>();
        hashes(self) == hashes(other)
    }
}

/// What a merge needs.
pub(crate) struct Sources {
    pub(crate) owner: Source,
    pub(crate) others: Vec<Source>,
    /// Writers that may no longer write, with the last counter that counts.
    pub(crate) revoked: Vec<(WriterKey, u64)>,
}

/// Why a head does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the head is of another drive")]
    OtherDrive,
    #[error("the head is older than one that is known")]
    Old,
    #[error("the head's writer set is not the one it names, or its epoch went back")]
    WrongSet,
    #[error("the head's writer has no certificate")]
    NoCertificate,
    #[error("the head is beyond the limits of its certificate")]
    BeyondLimits,
}

/// Takes heads in and says which count.
#[derive(Clone, Debug)]
pub(crate) struct HeadSet {
    drive: DriveId,
    owner: Option<HeadEnvelope>,
    set: Option<SignedSet>,
    others: BTreeMap<WriterKey, HeadEnvelope>,
}

impl HeadSet {
    pub(crate) fn new(drive: DriveId, known: Option<&Snapshot>) -> Self {
        let by_writer = |head: &HeadEnvelope| (head.body().writer, head.clone());
        Self {
            drive,
            owner: known.map(|known| known.head.clone()),
            set: known.and_then(|known| known.set.clone()),
            others: known.into_iter().flat_map(|known| &known.others).map(by_writer).collect(),
        }
    }

    pub(crate) fn owner(&self) -> Option<&HeadEnvelope> {
        self.owner.as_ref()
    }

    pub(crate) fn set(&self) -> Option<&SignedSet> {
        self.set.as_ref()
    }

    /// Takes in a head of the owner, with the writer set that it names. Writers whose certificate is gone, or whose heads
    /// are beyond its limits now, count no more.
    pub(crate) fn take_owner(&mut self, head: HeadEnvelope, set: Option<SignedSet>) -> Result<(), Refused> {
        let body = head.body();
        if body.drive != self.drive || !body.is_by_owner() {
            return Err(Refused::OtherDrive);
        }
        if !is_newer(self.owner.as_ref(), &head) {
            return Err(Refused::Old);
        }
        let is_its_set = set.as_ref().map(Signed::hash) == body.writer_set
            && set.as_ref().is_none_or(|set| set.body().drive == self.drive && set.body().epoch == body.epoch);
        let epoch = self.set.as_ref().map_or(0, |set| set.body().epoch);
        if !is_its_set || body.epoch < epoch {
            return Err(Refused::WrongSet);
        }
        self.owner = Some(head);
        self.set = set;
        let set = self.set.as_ref().map(Signed::body);
        self.others.retain(|_, head| check(set, head).is_ok());
        Ok(())
    }

    /// Takes in a head of another writer. The owner's comes first.
    pub(crate) fn take(&mut self, head: HeadEnvelope) -> Result<(), Refused> {
        let body = head.body();
        if body.drive != self.drive || body.is_by_owner() {
            return Err(Refused::OtherDrive);
        }
        check(self.set.as_ref().map(Signed::body), &head)?;
        if !is_newer(self.others.get(&body.writer), &head) {
            return Err(Refused::Old);
        }
        self.others.insert(body.writer, head);
        Ok(())
    }

    /// The head of a writer as it was before, where its newest cannot be used.
    pub(crate) fn put_back(&mut self, writer: &WriterKey, before: Option<HeadEnvelope>) {
        match before {
            Some(before) => drop(self.others.insert(*writer, before)),
            None => drop(self.others.remove(writer)),
        }
    }

    pub(crate) fn head_of(&self, writer: &WriterKey) -> Option<&HeadEnvelope> {
        self.others.get(writer)
    }

    /// What a merge needs. `None` before the first head of the owner.
    pub(crate) fn sources(&self) -> Option<Sources> {
        let owner = source(self.owner.as_ref()?, None);
        let set = self.set.as_ref().map(Signed::body);
        let prefix = |writer| set.and_then(|set| set.certificate(writer)).and_then(|c| c.prefix.clone());
        let others = self.others.iter().map(|(writer, head)| source(head, prefix(writer)));
        let revoked = set.map(|set| set.revoked.clone()).unwrap_or_default();
        Some(Sources { owner, others: others.take(MAX_WRITERS).collect(), revoked })
    }

    /// Whether the owner's tree alone is the state.
    pub(crate) fn is_owner_alone(&self) -> bool {
        self.others.is_empty() && self.set.as_ref().is_none_or(|set| set.body().revoked.is_empty())
    }

    /// The state with the tree that was merged. `None` before the first head of the owner.
    pub(crate) fn into_snapshot(self, root: Root) -> Option<Snapshot> {
        Some(Snapshot {
            head: self.owner?,
            others: self.others.into_values().collect(),
            set: self.set,
            root: root.id,
            entries: root.entries,
            bytes: root.bytes,
        })
    }
}

/// Of two heads with one counter (a fork) the one with the lower hash counts, everywhere.
fn is_newer(known: Option<&HeadEnvelope>, head: &HeadEnvelope) -> bool {
    let Some(known) = known else { return true };
    let (old, new) = (known.body().counter, head.body().counter);
    if old == new && known.hash() != head.hash() {
        let (drive, writer) = (head.body().drive, head.body().writer);
        tracing::warn!(%drive, %writer, counter = new, "a writer signed two heads with one counter");
    }
    new > old || new == old && head.hash().as_bytes() < known.hash().as_bytes()
}

fn check(set: Option<&WriterSet>, head: &HeadEnvelope) -> Result<(), Refused> {
    let body = head.body();
    let certificate = set.and_then(|set| set.certificate(&body.writer)).ok_or(Refused::NoCertificate)?;
    if certificate.admits(body.counter, body.hlc) { Ok(()) } else { Err(Refused::BeyondLimits) }
}

fn source(head: &HeadEnvelope, prefix: Option<PathKey>) -> Source {
    let body = head.body();
    let root = Expected::root_with_sums(body.root, body.files, body.bytes);
    Source { writer: body.writer, counter: body.counter, vv: body.vv.clone(), prefix, root }
}

#[cfg(test)]
mod tests {
    use p2p_identity::{ContentId, SecretKey};

    use super::*;
    use crate::head::Head;
    use crate::signed::Ext;
    use crate::writers::Certificate;

    fn key(number: u8) -> SecretKey {
        SecretKey::from_seed(&[number; 32])
    }

    fn drive() -> DriveId {
        DriveId::from(key(0).public())
    }

    fn writer(number: u8) -> WriterKey {
        WriterKey::from(key(number).public())
    }

    fn head(by: u8, counter: u64, set: Option<&SignedSet>, message: &str) -> HeadEnvelope {
        let head = Head {
            drive: drive(),
            writer: writer(by),
            counter,
            vv: VersionVector::new(vec![(writer(by), counter)]).unwrap(),
            root: [0; 32].into(),
            header: ContentId::of(b"header"),
            writer_set: set.map(Signed::hash),
            epoch: set.map_or(0, |set| set.body().epoch),
            files: 0,
            bytes: 0,
            prev: Vec::new(),
            change_list: None,
            hlc: counter,
            message: message.to_owned(),
            ext: Ext::default(),
        };
        HeadEnvelope::sign(&head, &key(by)).unwrap()
    }

    fn set(epoch: u64, writers: &[(u8, u64)], revoked: &[(u8, u64)]) -> SignedSet {
        let mut certificates: Vec<_> = writers
            .iter()
            .map(|(number, max_counter)| Certificate {
                drive: drive(),
                writer: writer(*number),
                prefix: None,
                not_after_hlc: u64::MAX,
                max_counter: *max_counter,
                epoch,
                ext: Ext::default(),
            })
            .collect();
        certificates.sort_by_key(|certificate| certificate.writer);
        let certificates = certificates.iter().map(|c| Signed::sign(c, &key(0)).unwrap()).collect();
        let mut revoked: Vec<_> = revoked.iter().map(|(number, last)| (writer(*number), *last)).collect();
        revoked.sort_unstable();
        let set = WriterSet { drive: drive(), epoch, certificates, revoked, ext: Ext::default() };
        Signed::sign(&set, &key(0)).unwrap()
    }

    #[test]
    fn only_heads_within_a_certificate_count_and_only_the_newest() {
        let mut heads = HeadSet::new(drive(), None);
        let first = set(1, &[(1, 5)], &[]);
        assert_eq!(heads.take(head(1, 1, None, "")), Err(Refused::NoCertificate));
        assert_eq!(heads.take_owner(head(0, 1, Some(&first), ""), None), Err(Refused::WrongSet));
        heads.take_owner(head(0, 1, Some(&first), ""), Some(first.clone())).unwrap();
        assert_eq!(heads.take(head(2, 1, None, "")), Err(Refused::NoCertificate));
        assert_eq!(heads.take(head(1, 6, None, "")), Err(Refused::BeyondLimits));
        heads.take(head(1, 3, None, "")).unwrap();
        assert_eq!(heads.take(head(1, 2, None, "")), Err(Refused::Old));
        assert_eq!(heads.take(head(1, 3, None, "")), Err(Refused::Old), "the same again");
        heads.take(head(1, 4, None, "")).unwrap();
    }

    #[test]
    fn a_revocation_ends_a_writer_and_epochs_never_go_back() {
        let mut heads = HeadSet::new(drive(), None);
        let (first, second) = (set(1, &[(1, 9), (2, 9)], &[]), set(2, &[(2, 9)], &[(1, 3)]));
        heads.take_owner(head(0, 1, Some(&first), ""), Some(first.clone())).unwrap();
        heads.take(head(1, 3, None, "")).unwrap();
        heads.take(head(2, 1, None, "")).unwrap();
        heads.take_owner(head(0, 2, Some(&second), ""), Some(second.clone())).unwrap();
        assert!(heads.head_of(&writer(1)).is_none() && heads.head_of(&writer(2)).is_some());
        assert_eq!(heads.take(head(1, 4, None, "")), Err(Refused::NoCertificate));
        assert_eq!(heads.take_owner(head(0, 3, Some(&first), ""), Some(first)), Err(Refused::WrongSet));
        assert_eq!(heads.sources().unwrap().revoked, [(writer(1), 3)]);
    }

    #[test]
    fn of_a_fork_the_lower_hash_counts_in_whatever_order() {
        let one = set(1, &[(1, 9)], &[]);
        let (a, b) = (head(1, 2, None, "a"), head(1, 2, None, "b"));
        let lower = if a.hash().as_bytes() < b.hash().as_bytes() { a.hash() } else { b.hash() };
        for order in [[&a, &b], [&b, &a]] {
            let mut heads = HeadSet::new(drive(), None);
            heads.take_owner(head(0, 1, Some(&one), ""), Some(one.clone())).unwrap();
            for head in order {
                let _ = heads.take(head.clone());
            }
            assert_eq!(heads.head_of(&writer(1)).unwrap().hash(), lower);
            heads.take(head(1, 3, None, "")).unwrap();
            assert_eq!(heads.head_of(&writer(1)).unwrap().body().counter, 3, "a higher counter ends it");
        }
    }
}
