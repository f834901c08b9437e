//! Following by what changed: one round trip and some hundred bytes an edit, where comparing trees takes three and some
//! nodes (specs/drives.md, 6.1).
//!
//! No log is kept. A peer that has the head the asker starts from compares the two trees, so there is nothing that could be
//! lost or that grows. The list is a hint: it is applied to the asker's own tree, and counts only if the root that comes
//! out is the one that the new head names.

use std::collections::BTreeMap;

use p2p_identity::WriterKey;

use crate::DriveError;
use crate::content::walk_error;
use crate::engine::Shared;
use crate::entry::Entry;
use crate::head::HeadEnvelope;
use crate::heads::Snapshot;
use crate::key::PathKey;
use crate::registry::Drive;
use crate::tree::{Change, Expected, Node, NodeId, Tree, update};
use crate::wire::{ChangeOp, ChangeRecord, Changes, VectorEntry, VectorList};

/// Most records of an answer, and most that are asked for: more is a change that comparing trees is as good for.
pub(crate) const MAX_RECORDS: u32 = 1_024;
/// Most bytes of keys and values of an answer.
const MAX_RECORD_BYTES: usize = 512 * 1024;
/// Bytes of a writer's key that a record carries.
const PREFIX_BYTES: usize = 8;

/// Heads beyond what the asker has, and what they change.
pub(crate) struct News {
    pub(crate) heads: Vec<HeadEnvelope>,
    pub(crate) records: Vec<ChangeRecord>,
}

/// What there is since a vector. Changes of a writer are left out where the head that the asker starts from is not kept any
/// more, or one of them is too large for a record. Blocks.
pub(crate) fn since(shared: &Shared, drive: &Drive, asked: &Changes) -> Result<News, DriveError> {
    let mut news = News { heads: Vec::new(), records: Vec::new() };
    let Some(at) = drive.shown() else { return Ok(news) };
    let mut room = Room { records: asked.max.min(MAX_RECORDS) as usize, bytes: MAX_RECORD_BYTES };
    let history = shared.registry.history(drive)?;
    for head in at.heads() {
        let body = head.body();
        let before = asked.since.entries().iter().find(|known| known.writer == body.writer).map(|known| known.counter);
        if before.is_some_and(|before| before >= body.counter) {
            continue;
        }
        news.heads.push(head.clone());
        let skip = asked.after.filter(|after| after.writer == body.writer && after.counter == body.counter);
        let known = history.iter().find(|note| note.writer == body.writer && Some(note.counter) == before);
        let old = match known {
            Some(note) => shared.registry.head(&drive.id, &note.hash)?,
            None => None,
        };
        let Some(old) = old else { continue };
        let from = skip.map_or(0, |after| after.ordinal as usize + 1);
        match records(shared, &old, head, from, &mut room) {
            Ok(Some(mut records)) => news.records.append(&mut records),
            Ok(None) => {}
            // Index nodes of what is only kept as a head may be gone.
            Err(error) => tracing::debug!(drive = %drive.id, %error, "no list of what changed"),
        }
    }
    Ok(news)
}

/// What still fits into an answer.
struct Room {
    records: usize,
    bytes: usize,
}

fn records(
    shared: &Shared,
    old: &HeadEnvelope,
    new: &HeadEnvelope,
    from: usize,
    room: &mut Room,
) -> Result<Option<Vec<ChangeRecord>>, DriveError> {
    let tree = |head: &HeadEnvelope| Tree::new(&*shared.nodes, Expected::root(head.body().root));
    let mut records = Vec::new();
    for (ordinal, change) in tree(old).diff(&tree(new)).map_err(walk_error)?.enumerate().skip(from) {
        let (key, entry) = match change.map_err(walk_error)? {
            Change::Added(entry) | Change::Changed { after: entry, .. } => (entry.key().clone(), Some(entry)),
            Change::Removed(entry) => (entry.key().clone(), None),
        };
        let Some(record) = record(new, ordinal, &key, entry) else { return Ok(None) };
        let bytes = record.key.len() + record.value.as_ref().map_or(0, |value| value.len());
        let (Some(records_left), Some(bytes_left)) = (room.records.checked_sub(1), room.bytes.checked_sub(bytes))
        else {
            break;
        };
        *room = Room { records: records_left, bytes: bytes_left };
        records.push(record);
    }
    Ok(Some(records))
}

fn record(head: &HeadEnvelope, ordinal: usize, key: &PathKey, entry: Option<Entry>) -> Option<ChangeRecord> {
    let op = if entry.is_some() { ChangeOp::SET } else { ChangeOp::DELETE };
    let value = match entry {
        Some(entry) => Some(Node::Leaf(vec![entry]).encode().to_vec().try_into().ok()?),
        None => None,
    };
    Some(ChangeRecord {
        writer_prefix: prefix(&head.body().writer)?,
        counter: head.body().counter,
        ordinal: u32::try_from(ordinal).ok()?,
        op,
        key: key.as_bytes().to_vec().try_into().ok()?,
        value,
    })
}

fn prefix(writer: &WriterKey) -> Option<[u8; PREFIX_BYTES]> {
    writer.as_bytes().first_chunk().copied()
}

/// What to ask for, to follow from a state.
pub(crate) fn asking(known: &Snapshot) -> Option<Changes> {
    let mut entries: Vec<_> =
        known.counters().into_iter().map(|(writer, counter)| VectorEntry { writer, counter }).collect();
    entries.sort_by_key(|entry| entry.writer);
    Some(Changes { since: VectorList::new(entries)?, after: None, max: MAX_RECORDS })
}

/// Applies what a peer says has changed to the trees that are here; keeps the nodes of those that come out as their heads
/// say. Whatever is wrong or missing costs nothing but the attempt. Blocks.
pub(crate) fn apply(shared: &Shared, known: &Snapshot, news: &News) -> Result<(), DriveError> {
    for head in &news.heads {
        let body = head.body();
        let Some(old) = known.head_of(&body.writer) else { continue };
        let mine =
            news.records.iter().filter(|r| Some(r.writer_prefix) == prefix(&body.writer) && r.counter == body.counter);
        let Some(changes) = mine.map(change).collect::<Option<BTreeMap<_, _>>>() else { continue };
        let mut made: Vec<(NodeId, bytes::Bytes)> = Vec::new();
        let root = update(&Expected::root(old.body().root), &*shared.nodes, changes, |node| {
            made.push((node.id, node.encoded));
            Ok::<_, DriveError>(())
        });
        match root {
            Ok(root) if root.id == body.root => shared.nodes.keep(&made)?,
            Ok(_) => tracing::debug!(drive = %body.drive, counter = body.counter, "what changed is not all"),
            Err(error) => tracing::debug!(drive = %body.drive, %error, "what changed cannot be applied"),
        }
    }
    Ok(())
}

/// The key of a record and its new entry; `None` if it is none.
fn change(record: &ChangeRecord) -> Option<(PathKey, Option<Entry>)> {
    let key = PathKey::from_bytes(&record.key).ok()?;
    match (record.op, &record.value) {
        (ChangeOp::DELETE, None) => Some((key, None)),
        (ChangeOp::SET, Some(value)) => {
            let node = Expected::root(NodeId::of(value)).decode(value).ok()?;
            let Node::Leaf(entries) = node else { return None };
            let [entry] = <[Entry; 1]>::try_from(entries).ok()?;
            (*entry.key() == key).then_some((key, Some(entry)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use p2p_identity::{DriveId, Link, Target};

    use super::*;
    use crate::hostile_tests::network::{Net, TestNode, Uplink, files_under};
    use crate::{Extent, ExternalLinks};

    /// Files of the drive: several leaves.
    const FILES: usize = 2_000;

    async fn share(node: &TestNode, folder: &Path) -> DriveId {
        std::fs::create_dir(folder).unwrap();
        let names: Vec<String> = (0..FILES).map(|n| format!("a file with a name of usual length {n:05}")).collect();
        for name in &names {
            std::fs::write(folder.join(name), name).unwrap();
        }
        let id = node.drives.create(Some(folder), "shared").unwrap().id;
        assert!(node.import(&id, names, Extent::Everything).await.changed);
        id
    }

    #[tokio::test(start_paused = true)]
    async fn an_edit_costs_a_follower_some_hundred_bytes_and_no_nodes() {
        let net = Arc::new(Net::default());
        let owner = TestNode::start(&net, 1);
        let folder = owner.home.path().join("shared");
        let id = share(&owner, &folder).await;
        net.show(owner.peer);
        net.set_uplink(owner.peer, Uplink::new(1 << 30));
        let reader = TestNode::start(&net, 2);
        let (copy, link) = (reader.home.path().join("copy"), Link::to(Target::Drive(id)));
        let mut following =
            reader.drives.follow(&link, &copy, ExternalLinks::LeaveOut, None, Arc::default()).await.unwrap();
        following.next().await.unwrap();
        for version in 2..5 {
            let before = net.sent(owner.peer);
            let name = format!("a file with a name of usual length {:05}", version * 300);
            std::fs::write(folder.join(&name), format!("edited for version {version}")).unwrap();
            assert!(owner.import(&id, [name], Extent::Part).await.changed);
            assert_eq!(following.next().await.unwrap().version, version);
            let cost = net.sent(owner.peer) - before;
            println!("version {version} cost {cost} bytes");
            // A leaf alone is larger.
            assert!(cost < 2_500, "{cost} bytes");
        }
        assert_eq!(files_under(&copy), files_under(&folder));
        owner.drives.stop();
        reader.drives.stop();
    }

    #[tokio::test]
    async fn a_list_that_is_wrong_changes_nothing() {
        let net = Arc::new(Net::default());
        let owner = TestNode::start(&net, 1);
        let folder = owner.home.path().join("shared");
        let id = share(&owner, &folder).await;
        let shared = owner.drives.shared();
        let drive = owner.drives.known(&id).unwrap();
        let before = drive.snapshot().unwrap();
        std::fs::write(folder.join("new"), "new").unwrap();
        assert!(owner.import(&id, ["new"], Extent::Part).await.changed);
        let news = since(shared, &drive, &asking(&before).unwrap()).unwrap();
        assert_eq!((news.heads.len(), news.records.len()), (1, 1));
        // A reader that has the version before, and nothing else.
        let reader = TestNode::start(&net, 2);
        let theirs = reader.drives.shared();
        let mut stack = vec![before.expected()];
        while let Some(expected) = stack.pop() {
            let bytes = crate::tree::NodeSource::node(&*shared.nodes, &expected.id).unwrap().unwrap();
            let node = expected.decode(&bytes).unwrap();
            stack.extend((0..node.item_count()).filter_map(|i| node.expected_child(i, expected.after.as_ref())));
            theirs.nodes.keep(&[(expected.id, bytes)]).unwrap();
        }
        let root = news.heads[0].body().root;
        let has_it = || crate::tree::NodeSource::node(&*theirs.nodes, &root).unwrap().is_some();
        let lies: [fn(&mut ChangeRecord); 5] = [
            |record| (record.op, record.value) = (ChangeOp::DELETE, None),
            |record| record.value = Some(vec![1, 0, 0, 0].try_into().unwrap()),
            |record| record.key = b"old".to_vec().try_into().unwrap(),
            |record| record.counter += 1,
            |record| record.op = ChangeOp(77),
        ];
        for lie in lies {
            let mut record = news.records[0].clone();
            lie(&mut record);
            let told = News { heads: news.heads.clone(), records: vec![record] };
            apply(theirs, &before, &told).unwrap();
            assert!(!has_it());
        }
        apply(theirs, &before, &news).unwrap();
        assert!(has_it());
        owner.drives.stop();
        reader.drives.stop();
    }
}
