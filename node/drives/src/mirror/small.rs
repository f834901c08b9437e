//! Small files: many in one request, each checked whole, written beside its place and moved there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use p2p_identity::ContentId;

use super::queue::Taken;
use super::swarm::{Again, Outcome, Piece};
use super::{Job, Work};
use crate::DriveError;
use crate::entry::Kind;
use crate::folder::{Meta, temporary_name};
use crate::session::{FetchError, Session};
use crate::wire::FileRef;

/// A file to fetch whole.
#[derive(Clone, Debug)]
pub(crate) struct SmallFile {
    pub(crate) path: String,
    /// A file, or a symlink whose target is too long for the index.
    pub(crate) kind: Kind,
    pub(crate) hash: ContentId,
    pub(crate) size: u64,
    pub(crate) meta: Meta,
}

/// Fetches and places the files of a piece; says how it came out.
pub(super) async fn fetch(
    job: &Arc<Job>,
    session: &Session,
    taken: &Taken,
    piece: &Piece<Work>,
    files: &[SmallFile],
) -> (Outcome<Work>, Option<FetchError>) {
    let asked: Vec<FileRef> = files.iter().map(|file| FileRef { hash: file.hash, size: file.size }).collect();
    let answer = session.many(asked, taken).await;
    let (present, body) = match answer {
        Ok(answer) => answer,
        Err(error) => return (Outcome::Left(piece.work.clone(), Again::AtOnce), Some(error)),
    };
    job.progress.fetched.fetch_add(body.len() as u64, Ordering::Relaxed);
    let here = files.iter().zip(present.iter()).filter(|(_, is_present)| *is_present).map(|(file, _)| file.clone());
    let here: Vec<SmallFile> = here.collect();
    if here.is_empty() && !files.is_empty() {
        return (Outcome::Left(piece.work.clone(), Again::Later), Some(FetchError::NotFound));
    }
    // Another request may have brought the same.
    if !taken.claim(piece.key) {
        return (Outcome::Left(piece.work.clone(), Again::AtOnce), None);
    }
    let (left, error) = place(job, here, body).await;
    let missing = files.iter().zip(present.iter()).filter(|(_, is_present)| !*is_present).map(|(file, _)| file.clone());
    let left: Vec<SmallFile> = left.into_iter().chain(missing).collect();
    match error {
        None if left.is_empty() => (Outcome::Done, None),
        None => (Outcome::Left(Work::Small(left.into()), Again::Later), Some(FetchError::NotFound)),
        error => (Outcome::Left(Work::Small(left.into()), Again::AtOnce), error),
    }
}

/// Checks and places; returns what is left to do, and why.
async fn place(job: &Arc<Job>, files: Vec<SmallFile>, body: Vec<u8>) -> (Vec<SmallFile>, Option<FetchError>) {
    let job = job.clone();
    let done = tokio::task::spawn_blocking(move || {
        let mut rest = body.as_slice();
        let mut files = files.into_iter();
        while let Some(file) = files.next() {
            let (bytes, after) = rest.split_at(file.size as usize);
            rest = after;
            let error = if ContentId::of(bytes) != file.hash {
                FetchError::Lied(format!("{:?} with other content", file.path))
            } else if file.kind == Kind::Symlink {
                job.place_symlink(&file.path, bytes, file.meta.mtime_ns);
                continue;
            } else {
                match job.folder.place_bytes(&file.path, &temporary_name(file.path.as_bytes()), bytes, file.meta) {
                    Ok(()) => {
                        job.progress.files.fetch_add(1, Ordering::Relaxed);
                        job.progress.bytes.fetch_add(file.size, Ordering::Relaxed);
                        continue;
                    }
                    Err(error) => DriveError::io(format!("write {:?}", file.path))(error).into(),
                }
            };
            return (std::iter::once(file).chain(files).collect(), Some(error));
        }
        (Vec::new(), None)
    });
    done.await.unwrap_or_else(|error| (Vec::new(), Some(FetchError::Local(error.into()))))
}
