//! From the heads that a peer shows to a state: which of them count, their index nodes, and what they make together
//! (specs/drives.md, 5.2, rule 4).

use std::sync::Arc;

use bytes::Bytes;
use p2p_identity::DriveId;

use crate::DriveError;
use crate::changes;
use crate::engine::Shared;
use crate::head::HeadEnvelope;
use crate::heads::{HeadSet, SignedSet, Snapshot, Sources};
use crate::index::{Keep, Whole, fetch_tree};
use crate::merge::merge;
use crate::nodes::NodeStore;
use crate::session::{FetchError, Session};
use crate::signed::Signed;
use crate::tree::{BuildError, BuiltNode, Expected, NodeId, Root, UpdateError};

/// Nodes handed over together.
const BATCH_NODES: usize = 64;

/// The state that follows from `known` and the heads a peer offers; `None` where it offers nothing new. What is missing of
/// the trees comes from that peer; with [`Keep::Browsed`] the tree of an owner who writes alone is left where it is.
pub(crate) async fn gather(
    shared: &Arc<Shared>,
    drive: &DriveId,
    session: &Session,
    offered: Vec<HeadEnvelope>,
    known: Option<&Snapshot>,
    keep: Keep,
) -> Result<Option<Snapshot>, FetchError> {
    let mut heads = HeadSet::new(*drive, known);
    let (owners, others): (Vec<_>, Vec<_>) = offered.into_iter().partition(|head| head.body().is_by_owner());
    let owners = owners.into_iter().filter(|head| head.body().drive == *drive);
    let mut is_new = false;
    if let Some(newest) = owners.max_by_key(|head| head.body().counter) {
        is_new = take_owner(session, &mut heads, newest).await?;
    }
    if heads.owner().is_none() {
        return Err(FetchError::NotFound);
    }
    let mut taken = Vec::new();
    for head in others {
        let (writer, before) = (head.body().writer, heads.head_of(&head.body().writer).cloned());
        match heads.take(head.clone()) {
            Ok(()) => taken.push((writer, before, head)),
            Err(reason) => tracing::trace!(%drive, %writer, %reason, "a head does not count"),
        }
    }
    let is_alone = heads.is_owner_alone();
    let whole = match keep {
        Keep::OnDisk => {
            let (shared, known) = (shared.clone(), known.cloned());
            let whole = tokio::task::spawn_blocking(move || Whole::of(&shared.nodes, known.as_ref()));
            whole.await.map_err(DriveError::from)??
        }
        Keep::Browsed(_) => Whole::default(),
    };
    if let Some(known) = known.filter(|_| keep == Keep::OnDisk && (is_new || !taken.is_empty())) {
        hear_changes(shared, session, known).await?;
    }
    // Who only looks has left the owner's tree where it is for as long as nobody else wrote.
    let is_looked_at = matches!(keep, Keep::Browsed(_));
    if (is_new || is_looked_at) && !(is_alone && is_looked_at) {
        fetch_owner(shared, session, &heads, &whole, keep).await?;
    }
    for (writer, before, head) in taken {
        match fetch_tree(shared, session, root_of(&head), &whole, keep).await {
            Ok(()) => is_new = true,
            Err(error @ FetchError::Local(_)) => return Err(error),
            // The writer's own doing, or not all there yet: what it signed before still counts.
            Err(error @ (FetchError::Lied(_) | FetchError::NotFound | FetchError::Stale)) => {
                tracing::debug!(%drive, %writer, peer = %session.peer, %error, "the tree of a head cannot be had");
                heads.put_back(&writer, before);
            }
            Err(error) => return Err(error),
        }
    }
    if !is_new {
        return Ok(None);
    }
    let shared = shared.clone();
    let state =
        tokio::task::spawn_blocking(move || settle(&shared.nodes, heads, keep)).await.map_err(DriveError::from)?;
    Ok(Some(state?))
}

/// Asks what changed since a state that is here. Most edits are few: then no node need be fetched, and no level waited for.
/// A peer that does not say is compared with, tree by tree.
async fn hear_changes(shared: &Arc<Shared>, session: &Session, known: &Snapshot) -> Result<(), FetchError> {
    let Some(asked) = changes::asking(known) else { return Ok(()) };
    let news = match session.news(asked).await {
        Ok(news) => news,
        Err(error @ (FetchError::NotFound | FetchError::Busy | FetchError::Broken(_))) => {
            tracing::debug!(peer = %session.peer, %error, "does not say what changed");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let (shared, known) = (shared.clone(), known.clone());
    let applied = tokio::task::spawn_blocking(move || changes::apply(&shared, &known, &news));
    Ok(applied.await.map_err(DriveError::from)??)
}

/// Merges the heads of a set whose trees are all here. Blocks.
pub(crate) fn settle(nodes: &NodeStore, heads: HeadSet, keep: Keep) -> Result<Snapshot, DriveError> {
    let nothing = || DriveError::Corrupt("a drive without a head of its owner".into());
    let Sources { owner, others, revoked } = heads.sources().ok_or_else(nothing)?;
    let root = if heads.is_owner_alone() {
        let (entries, bytes) = owner.root.sums.unwrap_or_default();
        Root { id: owner.root.id, level: 0, entries, bytes }
    } else {
        let mut waiting: Vec<(NodeId, Bytes)> = Vec::new();
        let store = |waiting: &mut Vec<(NodeId, Bytes)>| match keep {
            Keep::OnDisk => nodes.keep(&std::mem::take(waiting)),
            Keep::Browsed(_) => {
                std::mem::take(waiting).into_iter().for_each(|(id, bytes)| nodes.browse(id, bytes));
                Ok(())
            }
        };
        let merged = merge(&owner, &others, &revoked, nodes, |node: BuiltNode| {
            waiting.push((node.id, node.encoded));
            if waiting.len() >= BATCH_NODES { store(&mut waiting) } else { Ok(()) }
        });
        let root = merged.map_err(|error| match error {
            UpdateError::Walk(error) => crate::content::walk_error(error),
            UpdateError::Build(BuildError::Sink(error)) => error,
            error => DriveError::Corrupt(format!("the heads of the writers cannot be merged: {error}")),
        })?;
        store(&mut waiting)?;
        root
    };
    heads.into_snapshot(root).ok_or_else(nothing)
}

/// Whether the owner's head is news.
async fn take_owner(session: &Session, heads: &mut HeadSet, head: HeadEnvelope) -> Result<bool, FetchError> {
    if heads.owner().is_some_and(|known| known.body().counter > head.body().counter || known.hash() == head.hash()) {
        return Ok(false);
    }
    let set = match head.body().writer_set {
        None => None,
        Some(hash) => match heads.set().filter(|set| set.hash() == hash) {
            Some(known) => Some(known.clone()),
            None => {
                let bytes = session.nodes(&[hash]).await?.pop().flatten().ok_or(FetchError::NotFound)?;
                let set = SignedSet::decode(bytes);
                Some(set.map_err(|error| FetchError::Lied(format!("a bad writer set: {error}")))?)
            }
        },
    };
    match heads.take_owner(head, set) {
        Ok(()) => Ok(true),
        Err(crate::heads::Refused::Old) => Ok(false),
        Err(error) => Err(FetchError::Lied(error.to_string())),
    }
}

async fn fetch_owner(
    shared: &Arc<Shared>,
    session: &Session,
    heads: &HeadSet,
    whole: &Whole,
    keep: Keep,
) -> Result<(), FetchError> {
    match heads.owner() {
        Some(head) => fetch_tree(shared, session, root_of(head), whole, keep).await,
        None => Ok(()),
    }
}

fn root_of(head: &Signed<crate::Head>) -> Expected {
    let body = head.body();
    Expected::root_with_sums(body.root, body.files, body.bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use p2p_identity::{ContentId, Link, SecretKey, Target, WriterKey};

    use crate::head::{Head, HeadEnvelope};
    use crate::hostile_tests::network::{Net, Owner, TestNode};
    use crate::{ExternalLinks, NewWriter, VersionVector};

    #[tokio::test(start_paused = true)]
    async fn a_writer_whose_tree_is_withheld_or_false_keeps_nobody_from_the_others() {
        let net = Arc::new(Net::default());
        let owner = Owner::start(&net).await;
        let evil = SecretKey::from_seed(&[9; 32]);
        let writer = WriterKey::from(evil.public());
        let new = NewWriter { writer, prefix: None, not_after_ms: None, max_counter: None };
        owner.node.drives.add_writer(&owner.id, new).await.unwrap();
        let link = Link::to(Target::Drive(owner.id));
        net.show(owner.node.peer);
        let go_between = TestNode::start(&net, 2);
        let copy = async |node: &TestNode| {
            let (target, patience) = (node.home.path().join("copy"), Some(Duration::from_secs(60)));
            node.drives.copy(&link, &target, ExternalLinks::LeaveOut, patience, Arc::default()).await
        };
        copy(&go_between).await.unwrap();
        let drive = go_between.drives.known(&owner.id).unwrap();
        let good = drive.snapshot().unwrap();
        // A tree that nobody has, and one whose sums are not what the head says.
        for (number, root, files) in [(3, [7; 32].into(), 1), (4, good.root, 999)] {
            let body = good.head.body();
            let counter = u64::from(number);
            let vv = VersionVector::new(vec![(writer, counter), (body.writer, body.counter)]).unwrap();
            let head = Head { writer, counter, vv, root, files, prev: vec![ContentId::of(b"x")], ..body.clone() };
            let head = HeadEnvelope::sign(&head, &evil).unwrap();
            let at = crate::heads::Snapshot { others: vec![head], ..good.clone() };
            go_between.drives.shared().registry.store(&drive, drive.state().row, Some(at)).unwrap();
            // A network in which the owner is not to be met.
            let elsewhere = Arc::new(Net::default());
            let server = go_between.drives.clone();
            elsewhere.enter(
                go_between.peer,
                Arc::new(move |from, stream| {
                    let server = server.clone();
                    Box::pin(async move { server.serve(from, Box::new(stream)).await })
                }),
            );
            elsewhere.show(go_between.peer);
            let reader = TestNode::start(&elsewhere, number);
            let copied = copy(&reader).await.unwrap();
            assert_eq!((copied.version, copied.files), (2, 5));
            let at = reader.drives.known(&owner.id).unwrap().snapshot().unwrap();
            assert_eq!((at.root, at.others.len()), (good.root, 0));
            reader.drives.stop();
        }
        owner.node.drives.stop();
        go_between.drives.stop();
    }
}
