//! Small files: many in one request, each checked whole, written beside its place and moved there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use p2p_identity::ContentId;

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

/// Fetches and places files; what the peer has not got is handed back with the error.
pub(super) async fn fetch(
    job: &Arc<Job>,
    session: &Session,
    files: Vec<SmallFile>,
) -> Result<Vec<SmallFile>, (Work, FetchError)> {
    let asked: Vec<FileRef> = files.iter().map(|file| FileRef { hash: file.hash, size: file.size }).collect();
    match session.many(asked).await {
        Err(error) => Err((Work::Small(files), error)),
        Ok((present, body)) => {
            let (placed, missing): (Vec<_>, Vec<_>) =
                files.into_iter().zip(present.iter()).partition(|(_, is_present)| *is_present);
            let missing: Vec<SmallFile> = missing.into_iter().map(|(file, _)| file).collect();
            let placed: Vec<SmallFile> = placed.into_iter().map(|(file, _)| file).collect();
            job.progress.fetched.fetch_add(body.len() as u64, Ordering::Relaxed);
            let (left, error) = place(job, placed, body).await;
            let left: Vec<SmallFile> = left.into_iter().chain(missing).collect();
            match error {
                Some(error) => Err((Work::Small(left), error)),
                None if left.is_empty() => Ok(left),
                None => Err((Work::Small(left), FetchError::NotFound)),
            }
        }
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
