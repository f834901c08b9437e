//! Earlier versions: which there are, what they hold, how they differ, and bringing them back (specs/drives.md, 11).
//!
//! A version is a head in the ledger. Its index nodes lie in the packs, shared with every other version; its content is
//! in the folder as far as it did not change since, else among what was kept of it ([`crate::kept`]). What is not here is
//! asked for from peers. What nobody has is an error of its own: nothing is ever made up.

mod at;
mod keeper;
mod restore;
mod retention;
mod undo;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use p2p_identity::{ContentId, DriveId, Hints, VersionRef, WriterKey};
use tokio::sync::mpsc;

pub(crate) use at::day_text;
pub use at::{At, MAX_TAG_BYTES, is_tag};
pub(crate) use keeper::keep_history;
#[cfg(test)]
pub(crate) use keeper::keep_now;
pub use restore::Restored;
pub(crate) use restore::place_content;
pub use retention::{Retained, dropped};
pub use undo::{Undo, Undone};

use crate::DriveError;
use crate::browse::View;
use crate::engine::{Drives, Shared};
use crate::entry::{Entry, Kind};
use crate::head::HeadEnvelope;
use crate::index::{Keep, Whole, fetch_tree};
use crate::mirror::DEFAULT_PATIENCE;
use crate::registry::{Drive, Role};
use crate::session::{FetchError, Session};
use crate::tree::{Change, Expected, Tree, WalkError};
use crate::viewer::Viewer;
use crate::wire::{Log, MAX_LOG_HEADS};

/// Most pages of a peer's log that are read in search of one head.
const MAX_LOG_PAGES: usize = 64;
/// How long peers are waited for when this node has an answer of its own already.
const SHORT_PATIENCE: Duration = Duration::from_secs(3);
/// Changes handed on at a time.
const CHANGES_AHEAD: usize = 256;
/// Most differing files that are looked at to say how much of a version is not kept.
const MAX_COUNTED: usize = 10_000;

/// A version in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Hash of its head.
    pub head: ContentId,
    /// Who made it.
    pub writer: WriterKey,
    /// Whether that is the owner: then the counter is the version's number.
    pub is_by_owner: bool,
    /// The writer's counter.
    pub counter: u64,
    /// When, in milliseconds since 1970, by the writer's clock.
    pub time_ms: u64,
    /// Entries: files, folders and links.
    pub entries: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// What its writer said of it.
    pub message: String,
    /// Its names on this node.
    pub tags: Vec<String>,
    /// Files of it whose content is not here any more; `None` where this node holds no content of the drive.
    pub not_kept: Option<u64>,
}

impl Drives {
    /// Versions that are kept, newest first: at most `limit` of those made before `before_ms`.
    ///
    /// # Errors
    /// The drive is not known, or the disk failed.
    pub async fn log(&self, id: &DriveId, before_ms: Option<u64>, limit: usize) -> Result<Vec<Logged>, DriveError> {
        let drive = self.known(id)?;
        let before_hlc = before_ms.map_or(u64::MAX, |ms| ms.saturating_mul(1 << 16));
        let mut heads = self.local_log(&drive, before_hlc, limit).await?;
        if drive.state().row.role != Role::Owner {
            let patience = if heads.is_empty() { DEFAULT_PATIENCE } else { SHORT_PATIENCE };
            match self.remote_log(&drive, before_hlc, limit, patience).await {
                Ok(theirs) => heads.extend(theirs),
                Err(error) if heads.is_empty() => return Err(error),
                Err(error) => tracing::debug!(drive = %id, %error, "no peer tells of earlier versions"),
            }
        }
        heads.sort_by_key(|head| std::cmp::Reverse((head.body().hlc, head.body().writer, head.body().counter)));
        heads.dedup_by_key(|head| head.hash());
        heads.truncate(limit);
        let shared = self.shared().clone();
        tokio::task::spawn_blocking(move || {
            let tags = shared.registry.tags(&drive.id)?;
            heads.iter().map(|head| logged(&shared, &drive, head, &tags)).collect()
        })
        .await?
    }

    async fn local_log(
        &self,
        drive: &Arc<Drive>,
        before_hlc: u64,
        limit: usize,
    ) -> Result<Vec<HeadEnvelope>, DriveError> {
        let (shared, drive) = (self.shared().clone(), drive.clone());
        tokio::task::spawn_blocking(move || {
            let notes = shared.registry.history(&drive)?;
            let wanted = notes.iter().rev().filter(|note| note.hlc < before_hlc).take(limit);
            let heads = wanted.map(|note| shared.registry.head(&drive.id, &note.hash));
            Ok(heads.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        })
        .await?
    }

    async fn remote_log(
        &self,
        drive: &Drive,
        before_hlc: u64,
        limit: usize,
        patience: Duration,
    ) -> Result<Vec<HeadEnvelope>, DriveError> {
        let viewer = self.history_viewer(drive);
        let id = drive.id;
        viewer.state_of_peers(patience).await?;
        let ask = move |session: Arc<Session>| async move {
            let mut heads: Vec<HeadEnvelope> = Vec::new();
            let mut before_hlc = before_hlc;
            while heads.len() < limit {
                let page = page(&session, &id, before_hlc).await?;
                let is_last = page.len() < MAX_LOG_HEADS as usize;
                before_hlc = page.last().map_or(0, |head| head.body().hlc);
                heads.extend(page);
                if is_last {
                    break;
                }
            }
            Ok(heads)
        };
        viewer.ask(patience, ask).await
    }

    /// What differs from one version to another, in path order; to the newest one without `to`.
    ///
    /// # Errors
    /// One of them is not kept by anybody who was asked.
    pub async fn diff(
        &self,
        id: &DriveId,
        from: &At,
        to: Option<&At>,
    ) -> Result<BoxStream<'static, Result<Change, DriveError>>, DriveError> {
        let from = self.past_view(id, from).await?;
        let to = match to {
            Some(to) => self.past_view(id, to).await?,
            None => self.view(id, None).await?,
        };
        for view in [&from, &to] {
            view.fetch_index().await?;
        }
        let (tx, rx) = mpsc::channel(CHANGES_AHEAD);
        tokio::task::spawn_blocking(move || {
            let nodes = from.nodes();
            let walk = || {
                for change in Tree::new(nodes, from.root()).diff(&Tree::new(nodes, to.root()))? {
                    if tx.blocking_send(Ok(change?)).is_err() {
                        break;
                    }
                }
                Ok(())
            };
            if let Err(error) = walk() {
                let _ = tx.blocking_send(Err(crate::content::walk_error(error)));
            }
        });
        Ok(stream::unfold(rx, |mut rx| async { rx.recv().await.map(|item| (item, rx)) }).boxed())
    }

    /// Names that people on this node gave to versions, with the versions' head hashes. Blocks.
    ///
    /// # Errors
    /// The drive is not known, or the disk failed.
    pub fn tags(&self, id: &DriveId) -> Result<Vec<(String, ContentId)>, DriveError> {
        self.known(id)?;
        self.shared().registry.tags(id)
    }

    /// Gives a version a name, which keeps it for ever; the newest one without `at`. On disk when this returns. Returns
    /// the hash of its head.
    ///
    /// # Errors
    /// No good name, or the version is not kept here.
    pub async fn set_tag(&self, id: &DriveId, name: &str, at: Option<&At>) -> Result<ContentId, DriveError> {
        if !is_tag(name) {
            let rule =
                format!("a tag begins with a letter and has only letters, digits and -_. ({MAX_TAG_BYTES} at most)");
            return Err(DriveError::Invalid(format!("{name:?} cannot be a tag: {rule}")));
        }
        let drive = self.known(id)?;
        let head = match at {
            Some(at) => self.past_view(id, at).await?.into_head(),
            None => drive.head().ok_or_else(|| DriveError::NoSuchVersion("there is no version yet".into()))?,
        };
        let (shared, name, hash) = (self.shared().clone(), name.to_owned(), head.hash());
        tokio::task::spawn_blocking(move || {
            if shared.registry.head(&drive.id, &hash)?.is_none() {
                let reason = "that version is not kept on this node, so a tag could not keep it";
                return Err(DriveError::VersionNotKept(reason.into()));
            }
            shared.registry.set_tag(&drive.id, &name, Some(&hash))
        })
        .await??;
        Ok(hash)
    }

    /// Takes a name away. Blocks.
    ///
    /// # Errors
    /// There is no such tag, or the disk failed.
    pub fn remove_tag(&self, id: &DriveId, name: &str) -> Result<(), DriveError> {
        if !self.tags(id)?.iter().any(|(known, _)| known == name) {
            return Err(DriveError::NoSuchVersion(format!("there is no tag {name:?} on this node")));
        }
        self.shared().registry.set_tag(id, name, None)
    }

    /// An earlier state of a drive, to be looked at.
    pub(crate) async fn past_view(&self, id: &DriveId, at: &At) -> Result<View, DriveError> {
        let drive = self.known(id)?;
        let (shared, of, wanted) = (self.shared().clone(), drive.clone(), at.clone());
        let here = tokio::task::spawn_blocking(move || find_here(&shared, &of, &wanted)).await??;
        let is_owner = drive.state().row.role == Role::Owner;
        if is_owner || matches!(at, At::Tag(_)) {
            return match here {
                Some(head) => Ok(View::past(self.shared().clone(), drive.clone(), head, self.others(&drive, is_owner))),
                None => Err(missing(at, drive.head().map_or(0, |head| head.body().counter), "this node")),
            };
        }
        // A copy has seen only some versions, so a time may mean one that it has not.
        let is_enough = here.is_some() && !matches!(at, At::Time(_));
        let viewer = self.history_viewer(&drive);
        let there = if is_enough { Ok(None) } else { find_there(&viewer, id, at, here.is_some()).await };
        let head = match (here, there) {
            (Some(here), Ok(Some(there))) if there.body().hlc > here.body().hlc => there,
            (Some(here), _) => here,
            (None, Ok(Some(there))) => there,
            (None, Ok(None)) => {
                let newest = viewer.state_of_peers(SHORT_PATIENCE).await.map_or(0, |at| at.head.body().counter);
                return Err(missing(at, newest, "any peer that was asked"));
            }
            (None, Err(error)) => return Err(error),
        };
        Ok(View::past(self.shared().clone(), drive, head, Some(viewer)))
    }

    fn others(&self, drive: &Drive, is_owner: bool) -> Option<Arc<Viewer>> {
        (!is_owner).then(|| self.history_viewer(drive))
    }

    /// Looks at peers without touching what is known of a drive that is copied here.
    pub(crate) fn history_viewer(&self, drive: &Drive) -> Arc<Viewer> {
        let reader = self.shared().registry.reader(drive.id);
        Viewer::of(self.shared(), &reader, &Hints::default(), None)
    }
}

/// Heads that this node keeps, as a peer asks for them, newest first. Blocks.
pub(crate) fn log(shared: &Shared, drive: &Drive, asked: Log) -> Result<Vec<HeadEnvelope>, DriveError> {
    let notes = shared.registry.history(drive)?;
    let is_wanted = |note: &&crate::registry::HeadNote| match asked.counter {
        0 => note.hlc < asked.before_hlc,
        counter => note.is_by_owner && note.counter == counter,
    };
    let wanted = notes.iter().rev().filter(is_wanted).take(asked.max.min(MAX_LOG_HEADS) as usize);
    let heads = wanted.map(|note| shared.registry.head(&drive.id, &note.hash));
    Ok(heads.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// An earlier version among those in the ledger. Blocks.
pub(crate) fn find_here(shared: &Shared, drive: &Drive, at: &At) -> Result<Option<HeadEnvelope>, DriveError> {
    let notes = shared.registry.history(drive)?;
    let hash = match at {
        At::Version(VersionRef::Counter(counter)) => {
            notes.iter().find(|note| note.is_by_owner && note.counter == *counter).map(|note| note.hash)
        }
        At::Version(prefix) => {
            notes.iter().find(|note| prefix.matches_head(note.hash.as_bytes())).map(|note| note.hash)
        }
        At::Time(ms) => notes.iter().rev().find(|note| note.is_by_owner && note.time_ms() <= *ms).map(|note| note.hash),
        At::Tag(name) => {
            shared.registry.tags(&drive.id)?.into_iter().find(|(known, _)| known == name).map(|(_, hash)| hash)
        }
    };
    hash.map_or(Ok(None), |hash| shared.registry.head(&drive.id, &hash))
}

/// An earlier version from peers; `None` where those that could be asked do not keep it.
async fn find_there(
    viewer: &Viewer,
    drive: &DriveId,
    at: &At,
    is_known_here: bool,
) -> Result<Option<HeadEnvelope>, DriveError> {
    let patience = if is_known_here { SHORT_PATIENCE } else { DEFAULT_PATIENCE };
    viewer.state_of_peers(patience).await?;
    let (drive, at) = (*drive, at.clone());
    let ask = move |session: Arc<Session>| {
        let at = at.clone();
        async move { find_at(&session, &drive, &at).await?.ok_or(FetchError::NotFound) }
    };
    match viewer.ask(patience, ask).await {
        Ok(head) => Ok(Some(head)),
        Err(DriveError::Stalled(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An earlier version as one peer keeps it.
pub(crate) async fn find_at(session: &Session, drive: &DriveId, at: &At) -> Result<Option<HeadEnvelope>, FetchError> {
    let mut before_hlc = match at {
        At::Tag(_) => return Ok(None),
        At::Version(VersionRef::Counter(counter)) => {
            let log = Log { counter: *counter, before_hlc: u64::MAX, max: 1 };
            let heads = session.log(log).await?;
            let is_it = |head: &HeadEnvelope| is_of(head, drive) && head.body().counter == *counter;
            return Ok(heads.into_iter().find(is_it));
        }
        At::Version(_) => u64::MAX,
        At::Time(ms) => ms.saturating_add(1).saturating_mul(1 << 16),
    };
    for _ in 0..MAX_LOG_PAGES {
        let page = page(session, drive, before_hlc).await?;
        let Some(last) = page.last() else { return Ok(None) };
        before_hlc = last.body().hlc;
        let is_it = |head: &HeadEnvelope| match at {
            At::Version(prefix) => prefix.matches_head(head.hash().as_bytes()),
            _ => true,
        };
        if let Some(found) = page.into_iter().find(is_it) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// A page of a peer's log: heads of this drive's owner only, and only such as were asked for.
async fn page(session: &Session, drive: &DriveId, before_hlc: u64) -> Result<Vec<HeadEnvelope>, FetchError> {
    let log = Log { counter: 0, before_hlc, max: MAX_LOG_HEADS };
    let mut heads = session.log(log).await?;
    heads.retain(|head| is_of(head, drive) && head.body().hlc < before_hlc);
    heads.sort_by_key(|head| std::cmp::Reverse(head.body().hlc));
    Ok(heads)
}

fn is_of(head: &HeadEnvelope, drive: &DriveId) -> bool {
    head.body().drive == *drive && head.body().is_by_owner()
}

/// Why there is no such version, in words.
pub(crate) fn missing(at: &At, newest: u64, by: &str) -> DriveError {
    match at {
        At::Version(VersionRef::Counter(counter)) if *counter > newest => {
            DriveError::NoSuchVersion(format!("there is no version {counter} yet, the newest is {newest}"))
        }
        At::Tag(name) => DriveError::NoSuchVersion(format!("there is no tag {name:?} on this node")),
        At::Time(_) => DriveError::VersionNotKept(format!("no version of that time is kept by {by}")),
        at => DriveError::VersionNotKept(format!("{at} is not kept by {by}")),
    }
}

fn logged(
    shared: &Shared,
    drive: &Drive,
    head: &HeadEnvelope,
    tags: &[(String, ContentId)],
) -> Result<Logged, DriveError> {
    let body = head.body();
    let tags = tags.iter().filter(|(_, hash)| *hash == head.hash()).map(|(name, _)| name.clone()).collect();
    Ok(Logged {
        head: head.hash(),
        writer: body.writer,
        is_by_owner: body.is_by_owner(),
        counter: body.counter,
        time_ms: body.hlc >> 16,
        entries: body.files,
        bytes: body.bytes,
        message: body.message.clone(),
        tags,
        not_kept: not_kept(shared, drive, head)?,
    })
}

/// Files of a version whose content is neither in the folder nor kept: of those that differ from the newest version.
fn not_kept(shared: &Shared, drive: &Drive, head: &HeadEnvelope) -> Result<Option<u64>, DriveError> {
    let state = drive.state();
    let is_ours = state.row.role == Role::Owner || state.row.syncs;
    let Some(newest) = state.at.filter(|_| is_ours) else { return Ok(None) };
    let body = head.body();
    let old = Expected::root_with_sums(body.root, body.files, body.bytes);
    let (old, new) = (Tree::new(&*shared.nodes, old), Tree::new(&*shared.nodes, newest.expected()));
    let index = crate::content::ContentIndex::of(drive, &shared.nodes)?;
    let mut leaf = crate::content::LeafCache::default();
    let mut missing = 0;
    // A peer told of a version that never was here, or its index went: nothing of it can be had from this node.
    let or_all = |error| match error {
        WalkError::Missing(_) => Ok(Some(body.plain_files())),
        error => Err(crate::content::walk_error(error)),
    };
    let changes = match old.diff(&new) {
        Ok(changes) => changes,
        Err(error) => return or_all(error),
    };
    for change in changes.take(MAX_COUNTED) {
        let change = match change {
            Ok(change) => change,
            Err(error) => return or_all(error),
        };
        let before = match change {
            Change::Removed(before) | Change::Changed { before, .. } => before,
            Change::Added(_) => continue,
        };
        missing += u64::from(!is_kept(shared, &index, &mut leaf, &before)?);
    }
    Ok(Some(missing))
}

fn is_kept(
    shared: &Shared,
    index: &crate::content::ContentIndex,
    leaf: &mut crate::content::LeafCache,
    entry: &Entry,
) -> Result<bool, DriveError> {
    let version = entry.shown();
    if version.kind == Kind::Directory || version.inline.is_some() || shared.kept.has(&version.hash, version.size) {
        return Ok(true);
    }
    Ok(!index.locate(&version.hash, &shared.nodes, leaf)?.is_empty())
}

impl View {
    /// Fetches all index nodes that are not here, so that a walk need not stop for each.
    async fn fetch_index(&self) -> Result<(), DriveError> {
        let Some(viewer) = self.peers() else { return Ok(()) };
        if self.has_index().await? {
            return Ok(());
        }
        let (shared, root, keep) = (self.shared().clone(), self.root(), Keep::Browsed(self.drive()));
        let fetch = move |session: Arc<Session>| {
            let (shared, root) = (shared.clone(), root.clone());
            async move { fetch_tree(&shared, &session, root, &Whole::default(), keep).await }
        };
        viewer.ask(DEFAULT_PATIENCE, fetch).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::hostile_tests::network::Net;
    use crate::hostile_tests::party::Member;

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_came_late_sees_the_versions_before_it_and_that_they_are_not_kept_there() {
        let net = Arc::new(Net::default());
        let owner = Member::owner(&net, &[("a", "1"), ("b", "1")]).await;
        owner.write("a", "2");
        owner.publish().await.unwrap();
        let writer = Member::writer(&net, 2, &owner, None).await;
        writer.sync().await;
        let log = writer.node.drives.log(&owner.id, None, 10).await.unwrap();
        let seen: Vec<_> = log.iter().map(|version| (version.counter, version.not_kept)).collect();
        // The second has the same tree as the third, which let the writer in.
        assert_eq!(seen, [(3, Some(0)), (2, Some(0)), (1, Some(2))]);
        writer.node.drives.stop();
        owner.node.drives.stop();
    }
}
