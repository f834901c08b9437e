//! Walks a folder and names what is in it, in the order of a drive's index (specs/drives.md, 4.1 and 14.3).
//!
//! Depth first: a folder, then what is below it, names compared byte by byte as they are stored: in NFC, and what is an
//! escape on disk as what it stands for. One folder is sorted at
//! a time, so memory follows the largest folders on one path, not the whole tree. Symlinks are named, never followed.

mod names;
mod part;
mod report;
mod rules;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use futures::{StreamExt, stream};
use p2p_api::{ApiError, Change, ErrorKind, MAX_PART_LINES, Named, Stream};
use tokio::sync::mpsc;
use tracing::info;

use self::names::Found;
use self::part::Wanted;
pub(crate) use self::report::Report;
use self::rules::Rules;

/// Lines that may wait for the node, so that the disk works ahead a little: about 100 KiB.
const LINES_AHEAD: usize = 1024;

/// A walk.
pub(crate) struct Scan;

impl Scan {
    /// Starts walking on a blocking thread, which ends with the walk or when the stream is dropped. It tells what there is,
    /// in path order; an error means that the folder could not be read and nothing may be concluded. What was left out is
    /// in `report`, complete when the stream has ended.
    ///
    /// `cut` says of names on disk that were cut, by their paths below the root, which paths in the drive they are.
    pub(crate) fn spawn(root: PathBuf, cut: HashMap<String, String>, report: Report) -> Stream<Change> {
        let (lines, mut waiting) = mpsc::channel(LINES_AHEAD);
        let walk = Walk { root, cut, lines, report, wanted: None, other_forms: 0 };
        tokio::task::spawn_blocking(move || walk.run());
        stream::poll_fn(move |cx| waiting.poll_recv(cx)).boxed()
    }

    /// Looks only at these paths of the folder, as the system names them, at what lies below them, and at the folders they
    /// lie in. `None` where that cannot be told apart from the rest, or is too much of it: then the whole folder is walked.
    pub(crate) async fn part(root: PathBuf, paths: &BTreeSet<PathBuf>, report: Report) -> Option<Stream<Change>> {
        let wanted = Wanted::new(&root, paths)?;
        let (lines, mut waiting) = mpsc::channel(LINES_AHEAD);
        let walk = Walk { root, cut: HashMap::new(), lines, report, wanted: Some(wanted), other_forms: 0 };
        tokio::task::spawn_blocking(move || walk.run());
        let mut changes = Vec::new();
        while let Some(change) = waiting.recv().await {
            changes.push(Ok(change.ok()?));
            if changes.len() > MAX_PART_LINES {
                return None;
            }
        }
        Some(stream::iter(changes).boxed())
    }
}

/// Why a walk ended early.
enum Stopped {
    /// Nobody reads the lines any more.
    Abandoned,
    /// Going on would publish a folder without files that are still there.
    Failed(ApiError),
}

struct Walk {
    root: PathBuf,
    cut: HashMap<String, String>,
    lines: mpsc::Sender<p2p_api::Result<Change>>,
    report: Report,
    /// What is looked at, where that is not everything.
    wanted: Option<Wanted>,
    /// Names that are not in NFC on disk.
    other_forms: u64,
}

/// A folder whose entries are being named.
struct Level {
    /// Its path in the drive; empty for the root.
    path: String,
    /// Its path below the root as the node is told, where that is another one.
    at: Option<String>,
    /// Its path on disk.
    disk: PathBuf,
    /// Its own rules, if it has any.
    rules: Option<Rules>,
    entries: std::vec::IntoIter<Found>,
}

impl Walk {
    fn run(mut self) {
        let ended = self.walk();
        if self.other_forms > 0 {
            info!(
                folder = %self.root.display(), names = self.other_forms,
                "names in another Unicode form are shared in normal form C"
            );
        }
        if let Err(Stopped::Failed(error)) = ended {
            // A closed channel means that nobody asks any more.
            let _ = self.lines.blocking_send(Err(error));
        }
    }

    fn walk(&mut self) -> Result<(), Stopped> {
        let root = self.root.clone();
        let top = self.open(root.clone(), String::new(), None).map_err(|error| failed(&root, &error))?;
        let mut levels = vec![top];
        while let Some(level) = levels.last_mut() {
            let Some(found) = level.entries.next() else {
                levels.pop();
                continue;
            };
            if let Some(below) = self.visit(&levels, &found)? {
                levels.push(below);
            }
        }
        for path in self.wanted.iter().flat_map(Wanted::unseen) {
            // What is there and was not named is ignored, or cannot be in a drive.
            let is_gone = self.root.join(path).symlink_metadata().err().as_ref().is_some_and(is_gone);
            if is_gone {
                let line = Change { path: path.clone(), named: Named::Gone, ..Change::default() };
                self.lines.blocking_send(Ok(line)).map_err(|_| Stopped::Abandoned)?;
            }
        }
        Ok(())
    }

    /// Names one entry; a folder is returned to be walked next.
    fn visit(&mut self, levels: &[Level], found: &Found) -> Result<Option<Level>, Stopped> {
        let Some(level) = levels.last() else { return Ok(None) };
        let path = names::join(&level.path, &found.name);
        let at = names::join_local(level.at.as_deref(), &level.path, found);
        let disk = level.disk.join(found.on_disk());
        if self.is_ignored(levels, &disk, found.is_folder()) {
            return Ok(None);
        }
        if found.is_other_form() {
            self.other_forms += 1;
        }
        if let Some(reason) = found.fault(path.len()) {
            self.report.skip(path, reason);
            return Ok(None);
        }
        let below = if found.is_folder() {
            match self.open(disk.clone(), path.clone(), at.clone()) {
                Ok(below) => Some(below),
                Err(error) => return self.unopened(&disk, path, &error).map(|()| None),
            }
        } else {
            None
        };
        let named = self.wanted.as_mut().map_or(Named::Entry, |wanted| wanted.see(&path));
        self.lines
            .blocking_send(Ok(Change { path, at: at.map(PathBuf::from), named }))
            .map_err(|_| Stopped::Abandoned)?;
        Ok(below)
    }

    fn open(&self, disk: PathBuf, path: String, at: Option<String>) -> io::Result<Level> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&disk)? {
            let entry = entry?;
            match entry.file_type() {
                Ok(kind) => {
                    let name = entry.file_name();
                    let known = || self.cut.get(&names::join(at.as_deref().unwrap_or(&path), name.to_str()?));
                    entries.push(Found::new(&name, kind, known));
                }
                // Gone since the folder was read.
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        names::sort(&mut entries);
        if let Some(wanted) = &self.wanted {
            // Rules are read wherever they are.
            let rules = entries.iter().any(Found::is_rules);
            entries.retain(|found| wanted.has(&names::join(&path, &found.name)) || rules && found.is_rules());
        }
        if is_home(&disk) {
            let reason = "the folder holds the keys of a node";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        let rules = if entries.iter().any(Found::is_rules) {
            Some(Rules::read(&disk, |line| self.report.skip(names::join(&path, rules::FILE), line))?)
        } else {
            None
        };
        Ok(Level { path, at, disk, rules, entries: entries.into_iter() })
    }

    /// The nearest rule that says something decides, as in git.
    fn is_ignored(&self, levels: &[Level], disk: &Path, is_folder: bool) -> bool {
        if rules::is_temporary(disk) {
            return true;
        }
        levels.iter().rev().filter_map(|level| level.rules.as_ref()).find_map(|rules| rules.says(disk, is_folder))
            == Some(rules::Verdict::Ignore)
    }

    fn unopened(&self, disk: &Path, path: String, error: &io::Error) -> Result<(), Stopped> {
        match after(error) {
            After::Forget => Ok(()),
            After::Skip(reason) => {
                self.report.skip(path, reason);
                Ok(())
            }
            After::Fail => Err(failed(disk, error)),
        }
    }
}

/// What to do about a folder that could not be opened.
#[derive(Debug, PartialEq, Eq)]
enum After {
    /// It is gone, or is no folder any more: the next scan sees what is there then.
    Forget,
    /// It is not for us, for this reason.
    Skip(&'static str),
    /// The disk has a fault: leaving the folder out would delete it in the drive.
    Fail,
}

fn after(error: &io::Error) -> After {
    match error.kind() {
        io::ErrorKind::PermissionDenied => After::Skip("the folder may not be read"),
        io::ErrorKind::Unsupported => After::Skip("the folder holds the keys of a node"),
        // Paths are read from the root of the file system, and that is bounded.
        io::ErrorKind::InvalidFilename => After::Skip("the whole path is too long for this system"),
        _ if is_gone(error) => After::Forget,
        _ => After::Fail,
    }
}

/// Whether a folder is the home of a node: whoever reads its keys is that node.
fn is_home(folder: &Path) -> bool {
    ["keystore", "transport.key"].iter().all(|file| folder.join(file).exists())
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn failed(disk: &Path, error: &io::Error) -> Stopped {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported => ErrorKind::NotAllowed,
        _ => ErrorKind::Io,
    };
    Stopped::Failed(ApiError::new(kind, format!("cannot read the folder {}: {error}", disk.display())))
}
