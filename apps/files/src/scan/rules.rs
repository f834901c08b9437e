//! `.p2pignore`: what a folder's owner wants left out, in git's syntax (specs/drives.md, 14.2).

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The file's name. It is shared itself, as a `.gitignore` is committed.
pub(super) const FILE: &str = ".p2pignore";
/// Largest such file, in bytes; what people write by hand is a thousandth of it.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The rules of one folder.
#[derive(Debug)]
pub(super) struct Rules(Gitignore);

/// What a rule says about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Leave it out.
    Ignore,
    /// Share it, whatever rules further up say.
    Share,
}

impl Rules {
    /// Reads the folder's rules. A line that makes no sense is told to `fault` and has no effect; rules that cannot be
    /// read at all are an error, because what they protect would be shared.
    pub(super) fn read(folder: &Path, fault: impl Fn(String)) -> io::Result<Self> {
        let path = folder.join(FILE);
        let mut bytes = Vec::new();
        let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        File::open(&path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)).map_err(told)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            let words = format!("{} is larger than {MAX_FILE_BYTES} bytes", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, words));
        }
        let text = String::from_utf8_lossy(&bytes);
        let mut builder = GitignoreBuilder::new(folder);
        for (line, rule) in text.lines().enumerate() {
            if let Err(error) = builder.add_line(None, rule) {
                fault(format!("line {} has no effect: {error}", line + 1));
            }
        }
        builder.build().map(Self).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// What these rules say about a path on disk below their folder, if anything.
    pub(super) fn says(&self, disk: &Path, is_folder: bool) -> Option<Verdict> {
        match self.0.matched(disk, is_folder) {
            Match::None => None,
            Match::Ignore(_) => Some(Verdict::Ignore),
            Match::Whitelist(_) => Some(Verdict::Share),
        }
    }
}

/// Whether it is one of the files that a node writes before it puts them in place (`.*.p2ptmp`).
pub(super) fn is_temporary(disk: &Path) -> bool {
    let name = disk.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(b".") && name.ends_with(b".p2ptmp")
}
