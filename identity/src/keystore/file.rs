//! Private files: 0600 in a directory of 0700, replaced as a whole.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{KeystoreError, KeystoreWarning};

const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;
/// What group and others may do with a private file: nothing.
const FOREIGN_BITS: u32 = 0o077;

/// Makes `dir` and what is missing above it, for its owner only.
pub(super) fn make_private_dir(dir: &Path, warnings: &mut Vec<KeystoreWarning>) -> Result<(), KeystoreError> {
    let made = DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir);
    made.map_err(failed("create", dir))?;
    tighten(dir, DIR_MODE, warnings)
}

/// Reads a file of at most `limit` bytes; `None` when there is none.
pub(crate) fn read_private_file(
    path: &Path,
    limit: usize,
    warnings: &mut Vec<KeystoreWarning>,
) -> Result<Option<Zeroizing<Vec<u8>>>, KeystoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", path)(error)),
    };
    tighten(path, FILE_MODE, warnings)?;
    let len = file.metadata().map_err(failed("read", path))?.len();
    let value = usize::try_from(len).unwrap_or(usize::MAX);
    if value > limit {
        return Err(KeystoreError::TooLarge { what: "the file of keys", value, limit });
    }
    // Not more than the limit even when the file grows meanwhile; and no growing buffer, it would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(value + 1));
    file.take(len).read_to_end(&mut bytes).map_err(failed("read", path))?;
    Ok(Some(bytes))
}

/// Puts `bytes` in place of the file, or leaves the old file as it was. On disk when it returns.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), KeystoreError> {
    let temporary = write_temporary(path, bytes)?;
    fs::rename(&temporary, path).map_err(failed("replace", path))?;
    sync_parent(path)
}

/// Puts `bytes` in a file that must not exist yet. On disk when it returns.
pub(crate) fn create_new_file(path: &Path, bytes: &[u8]) -> Result<(), KeystoreError> {
    let temporary = write_temporary(path, bytes)?;
    let linked = fs::hard_link(&temporary, path);
    let removed = fs::remove_file(&temporary);
    linked.map_err(failed("create", path))?;
    removed.map_err(failed("remove", &temporary))?;
    sync_parent(path)
}

/// Removes a file if it is there. Gone from the disk's directory when it returns.
pub(crate) fn remove_file(path: &Path) -> Result<(), KeystoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", path)(error)),
        Ok(()) => sync_parent(path),
    }
}

/// Makes renames in the directory of `path` survive a power cut.
fn sync_parent(path: &Path) -> Result<(), KeystoreError> {
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed("sync", parent))
}

fn write_temporary(path: &Path, bytes: &[u8]) -> Result<PathBuf, KeystoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = PathBuf::from(name);
    // Left behind by a run that was killed.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", &temporary)(error));
        }
        _ => {}
    }
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(failed("write", &temporary))?;
    Ok(temporary)
}

fn tighten(path: &Path, repaired: u32, warnings: &mut Vec<KeystoreWarning>) -> Result<(), KeystoreError> {
    let found = fs::metadata(path).map_err(failed("look at", path))?.permissions().mode() & 0o777;
    if found & FOREIGN_BITS == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(repaired)).map_err(failed("take from others", path))?;
    warnings.push(KeystoreWarning::ModeRepaired { path: path.to_owned(), found, repaired });
    Ok(())
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeystoreError {
    let path = path.to_owned();
    move |source| KeystoreError::Io { doing, path, source }
}
