//! Large files: stretches from several peers into one temporary file, proven unit by unit, resumable from what was
//! proven (specs/drives.md, section 3).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use p2p_identity::ContentId;

use super::pieces::{piece_grain, piece_groups};
use super::queue::Taken;
use super::swarm::{Again, Outcome};
use super::{Job, Work};
use crate::blob::{Decoder, GroupRanges, PARENT_BYTES, Plan, SizeProof, Step, valid_groups};
use crate::content::{Blob, ContentError};
use crate::engine::Shared;
use crate::folder::{Folder, Meta, temporary_name};
use crate::lock::lock;
use crate::session::{FetchError, Session, Watch, read_exact, read_watched};
use crate::store::{Batch, CacheTable};
use crate::wire::{Get, Request};
use crate::{DriveError, MAX_BITMAP_BYTES};

/// What was proven is made durable after this many bytes …
const COMMIT_BYTES: u64 = 64 * 1024 * 1024;
/// … or this long, whichever comes first (specs/drives.md, 3.3).
const COMMIT_EVERY: Duration = Duration::from_secs(2);

/// A large file that is being fetched.
pub(crate) struct Partial {
    shared: Arc<Shared>,
    folder: Arc<Folder>,
    path: String,
    temporary: String,
    hash: ContentId,
    size: u64,
    meta: Meta,
    data: File,
    outboard: File,
    outboard_path: PathBuf,
    state: Mutex<State>,
    /// Written while the file is moved to its place, read while something is written into it: afterwards it is the user's.
    is_placed: RwLock<bool>,
    committing: Mutex<()>,
}

struct State {
    proven: GroupRanges,
    since_commit: u64,
    committed_at: Instant,
}

impl Partial {
    /// Opens a file to fetch, with what an earlier run has proven of it. Blocks.
    pub(super) fn open(job: &Job, path: &str, hash: ContentId, size: u64, meta: Meta) -> Result<Self, DriveError> {
        let shared = job.shared.clone();
        let temporary = temporary_name(&[hash.as_bytes().as_slice(), path.as_bytes()].concat());
        let data = job.folder.open_temporary(path, &temporary).map_err(DriveError::io(format!("write {path:?}")))?;
        let outboard_path = shared.partial_directory.join(format!("{hash}.outboard"));
        let open = || {
            std::fs::create_dir_all(&shared.partial_directory)?;
            File::options().read(true).write(true).create(true).truncate(false).open(&outboard_path)
        };
        let outboard = open().map_err(DriveError::io(format!("write {}", outboard_path.display())))?;
        let row = shared.cache.get(CacheTable::Bitmap, &bitmap_key(&temporary))?;
        let claimed = row.and_then(|bytes| GroupRanges::from_bytes(&bytes).ok());
        // Nothing recorded: a crash before the first commit, or a lost cache. What is there proves itself.
        let there = data.metadata().map_err(DriveError::io(format!("look at {path:?}")))?.len();
        let proven = match claimed {
            None if there == 0 => GroupRanges::empty(),
            // Everything is proven anew: what was written after the last commit counts as well, and a file that was
            // damaged in between does not.
            _ => valid_groups(&data, &outboard, size, &hash, &GroupRanges::of_size(size))
                .map_err(DriveError::io(format!("check what is there of {path:?}")))?,
        };
        job.progress.bytes.fetch_add(proven.byte_count(size), Ordering::Relaxed);
        let state = State { proven, since_commit: 0, committed_at: Instant::now() };
        Ok(Self {
            shared,
            folder: job.folder.clone(),
            path: path.to_owned(),
            temporary,
            hash,
            size,
            meta,
            data,
            outboard,
            outboard_path,
            state: Mutex::new(state),
            is_placed: RwLock::new(false),
            committing: Mutex::default(),
        })
    }

    pub(crate) fn hash(&self) -> &ContentId {
        &self.hash
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// How many bytes these groups of it hold.
    pub(super) fn byte_count(&self, ranges: &GroupRanges) -> u64 {
        ranges.byte_count(self.size)
    }

    /// Its pieces in order, each with what is missing of it.
    pub(super) fn pieces(&self) -> Vec<GroupRanges> {
        let groups = piece_groups(self.size);
        let all = GroupRanges::of_size(self.size);
        let missing = all.difference(&lock(&self.state).proven).widen(piece_grain(self.size)).clip(self.size);
        let piece = |start: u64| missing.intersect(&GroupRanges::from_groups(start..start + groups));
        (0..all.count()).step_by(groups as usize).map(piece).collect()
    }

    /// The file as a source, if all these groups have come. Blocks.
    pub(crate) fn open_proven(&self, ranges: &GroupRanges) -> Result<Blob, ContentError> {
        if !ranges.clip(self.size).difference(&lock(&self.state).proven).is_empty() {
            return Err(ContentError::NotFound);
        }
        let cloned = |file: &File| file.try_clone().map_err(DriveError::io(format!("read {:?}", self.path)));
        Ok(Blob::File { file: cloned(&self.data)?, outboard: cloned(&self.outboard)?, size: self.size })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Takes one unit and the parents before it. Blocks.
    fn take_in(
        &self,
        decoder: &mut Decoder,
        parents: &[[u8; PARENT_BYTES as usize]],
        bytes: &[u8],
        below: &mut Vec<u8>,
    ) -> Result<u64, FetchError> {
        let lied = |error: crate::ProofError| FetchError::Lied(format!("{:?}: {error}", self.path));
        let is_placed = self.is_placed.read().unwrap_or_else(PoisonError::into_inner);
        if *is_placed {
            return Ok(0);
        }
        let failed = |doing: &str| DriveError::io(format!("{doing} {:?}", self.path));
        for pair in parents {
            let parent = decoder.on_parent(pair).map_err(lied)?;
            self.outboard.write_all_at(pair, parent.outboard_offset).map_err(failed("write the proof of"))?;
        }
        let unit = decoder.on_unit(bytes, below).map_err(lied)?;
        self.data.write_all_at(bytes, unit.start_byte).map_err(failed("write"))?;
        self.outboard.write_all_at(below, unit.subtree.outboard_offset()).map_err(failed("write the proof of"))?;
        let groups = unit.subtree.start_group..unit.subtree.end_group();
        let mut state = lock(&self.state);
        let known = state.proven.intersect(&GroupRanges::from_groups(groups.clone())).byte_count(self.size);
        state.proven.insert(groups);
        state.since_commit += bytes.len() as u64;
        let is_due = state.since_commit >= COMMIT_BYTES || state.committed_at.elapsed() >= COMMIT_EVERY;
        let is_complete = state.proven == GroupRanges::of_size(self.size);
        drop(state);
        drop(is_placed);
        if is_due && !is_complete {
            self.commit()?;
        }
        Ok((bytes.len() as u64).saturating_sub(known))
    }

    /// Makes what is proven durable: data, then proofs, then the record of it.
    fn commit(&self) -> Result<(), DriveError> {
        // One at a time; who comes second finds it done.
        let Ok(_guard) = self.committing.try_lock() else { return Ok(()) };
        let proven = {
            let mut state = lock(&self.state);
            state.since_commit = 0;
            state.committed_at = Instant::now();
            state.proven.clone()
        };
        self.data.sync_data().map_err(DriveError::io(format!("sync {:?}", self.path)))?;
        self.outboard.sync_data().map_err(DriveError::io(format!("sync the proof of {:?}", self.path)))?;
        let row = proven.to_bytes();
        if row.len() <= MAX_BITMAP_BYTES {
            self.shared.cache.apply(Batch::new().put(CacheTable::Bitmap, bitmap_key(&self.temporary), row))?;
            self.shared.cache.flush()?;
        }
        Ok(())
    }

    /// Moves the file to its place when all of it is proven; once. Blocks.
    pub(super) fn place_if_complete(&self) -> Result<bool, DriveError> {
        let mut is_placed = self.is_placed.write().unwrap_or_else(PoisonError::into_inner);
        if *is_placed || lock(&self.state).proven != GroupRanges::of_size(self.size) {
            return Ok(false);
        }
        *is_placed = true;
        let failed = |doing: &str| DriveError::io(format!("{doing} {:?}", self.path));
        self.data.set_len(self.size).map_err(failed("write"))?;
        self.data.sync_data().map_err(failed("sync"))?;
        self.folder.place_temporary(&self.path, &self.temporary, &self.data, self.meta).map_err(failed("place"))?;
        self.shared.outboards.adopt(&self.outboard_path, &self.hash).map_err(failed("keep the proof of"))?;
        self.shared.cache.remove(CacheTable::Bitmap, &bitmap_key(&self.temporary))?;
        Ok(true)
    }
}

/// Two paths may have one content, and are fetched side by side: the row belongs to the temporary file.
fn bitmap_key(temporary: &str) -> Vec<u8> {
    blake3::hash(temporary.as_bytes()).as_bytes().to_vec()
}

/// Fetches pieces of a file; says how each came out.
pub(super) async fn fetch(
    job: &Job,
    session: &Session,
    taken: &Taken,
    partial: &Arc<Partial>,
) -> (Vec<Outcome<Work>>, Option<FetchError>) {
    let ranges = taken.pieces().iter().fold(GroupRanges::empty(), |all, piece| match &piece.work {
        Work::Large(_, ranges) => all.union(ranges),
        Work::Small(_) => all,
    });
    // Of a piece that was stolen, or came back, some may be here.
    let missing = ranges.difference(&lock(&partial.state).proven).widen(piece_grain(partial.size)).clip(partial.size);
    let mut error = if missing.is_empty() { None } else { receive(job, session, taken, partial, &missing).await.err() };
    let again = match &error {
        Some(FetchError::NotFound | FetchError::Stale | FetchError::Busy) => Again::Later,
        _ => Again::AtOnce,
    };
    let proven = lock(&partial.state).proven.clone();
    let mut outcomes: Vec<_> = taken
        .pieces()
        .iter()
        .map(|piece| match &piece.work {
            Work::Large(partial, ranges) if !ranges.difference(&proven).is_empty() => {
                Outcome::Left(Work::Large(partial.clone(), ranges.difference(&proven)), again)
            }
            _ => Outcome::Done,
        })
        .collect();
    let finished = partial.clone();
    let placed = tokio::task::spawn_blocking(move || finished.place_if_complete()).await;
    match placed.map_err(DriveError::from).and_then(|placed| placed) {
        Ok(placed) => drop(job.progress.files.fetch_add(u64::from(placed), Ordering::Relaxed)),
        Err(failure) => {
            outcomes.clear();
            error = Some(failure.into());
        }
    }
    (outcomes, error)
}

/// What one unit needs while it is checked, handed back and forth so that its memory is used again.
struct Hands {
    decoder: Decoder,
    below: Vec<u8>,
    spare: Vec<u8>,
}

async fn receive(
    job: &Job,
    session: &Session,
    taken: &Taken,
    partial: &Arc<Partial>,
    ranges: &GroupRanges,
) -> Result<(), FetchError> {
    let grain = piece_grain(partial.size);
    let get = Get { hash: partial.hash, ranges: ranges.clone(), grain, size_proof: SizeProof::No };
    let mut stream = session.request(Request::Get(get)).await?;
    taken.on_answer();
    let mut size = [0; 8];
    read_exact(&mut stream, &mut size).await?;
    if u64::from_be_bytes(size) != partial.size {
        return Err(FetchError::Lied(format!("{:?} with another size", partial.path)));
    }
    let decoder = Decoder::new(&partial.hash, partial.size, ranges, grain, SizeProof::No);
    let mut hands = Some(Hands { decoder, below: Vec::new(), spare: Vec::new() });
    let mut checking: Option<tokio::task::JoinHandle<Result<Hands, FetchError>>> = None;
    let mut parents = Vec::new();
    let mut buffer = Vec::new();
    // The plan is known in advance, so the next unit is read while this one is checked and written.
    for step in Plan::new(partial.size, ranges, grain, SizeProof::No) {
        match step {
            Step::Parent(_) => {
                let mut pair = [0; PARENT_BYTES as usize];
                read_exact(&mut stream, &mut pair).await?;
                parents.push(pair);
            }
            Step::Unit(unit) => {
                // Others may have taken over the rest.
                let rest = GroupRanges::from_groups(unit.subtree.start_group..u64::MAX).intersect(ranges);
                if rest.difference(&lock(&partial.state).proven).is_empty() {
                    break;
                }
                buffer.resize(unit.len, 0);
                read_watched(&mut stream, &mut buffer, taken).await?;
                if let Some(task) = checking.take() {
                    hands = Some(task.await.map_err(DriveError::from)??);
                }
                let Some(mut now) = hands.take() else { return Err(FetchError::Broken("out of step".into())) };
                let unit_bytes = std::mem::replace(&mut buffer, std::mem::take(&mut now.spare));
                let above = std::mem::take(&mut parents);
                let (partial, progress) = (partial.clone(), job.progress.clone());
                session.received.fetch_add(unit.len as u64, Ordering::Relaxed);
                job.progress.fetched.fetch_add(unit.len as u64, Ordering::Relaxed);
                checking = Some(tokio::task::spawn_blocking(move || {
                    let new = partial.take_in(&mut now.decoder, &above, &unit_bytes, &mut now.below)?;
                    progress.bytes.fetch_add(new, Ordering::Relaxed);
                    now.spare = unit_bytes;
                    Ok(now)
                }));
            }
        }
    }
    if let Some(task) = checking {
        task.await.map_err(DriveError::from)??;
    }
    Ok(())
}
