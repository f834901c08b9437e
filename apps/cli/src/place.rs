//! Paths that people type, made absolute and checked before any node is asked.

use std::fs;
use std::io::ErrorKind;
use std::path::{self, Path, PathBuf};

use crate::failure::{Failure, Result};

/// A folder that must be there.
pub(crate) fn existing_folder(typed: &Path) -> Result<PathBuf> {
    let shown = typed.display();
    let found = fs::canonicalize(typed).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::new(p2p_api::ErrorKind::NotFound, format!("there is no folder {shown}")),
        _ => Failure::disk(&format!("open {shown}"), &error),
    })?;
    if !found.is_dir() {
        let parent = typed.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let hint = format!("share the folder it is in: p2p share {}", parent.display());
        return Err(Failure::usage_with_hint(format!("{shown} is a file, only folders can be shared"), hint));
    }
    fs::read_dir(&found).map_err(|error| Failure::disk(&format!("list {shown}"), &error))?;
    Ok(found)
}

/// A folder that will be made if it is not there.
pub(crate) fn target_folder(typed: &Path) -> Result<PathBuf> {
    match fs::canonicalize(typed) {
        Ok(found) if found.is_dir() => Ok(found),
        Ok(_) => Err(Failure::usage(format!("{} is a file, not a folder", typed.display()))),
        Err(error) if error.kind() == ErrorKind::NotFound => absolute(typed),
        Err(error) => Err(Failure::disk(&format!("open {}", typed.display()), &error)),
    }
}

/// Absolute; without symlinks as far as it is there.
pub(crate) fn absolute(typed: &Path) -> Result<PathBuf> {
    fs::canonicalize(typed)
        .or_else(|_| path::absolute(typed))
        .map_err(|error| Failure::disk(&format!("find {:?}", typed.display().to_string()), &error))
}

/// Whether there is something in a folder; a folder that is not there has nothing in it.
pub(crate) fn is_in_use(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file()
}

/// The name of a new folder for a drive, from a title that a stranger chose: one plain component that hides nowhere.
/// Else the beginning of its id.
pub(crate) fn folder_name(title: &str, id: &str) -> String {
    let title = title.trim();
    let is_plain = !title.is_empty()
        && title.len() <= 100
        && !title.starts_with(['.', '-', '~'])
        && !title.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'))
        && crate::human::printable(title) == title;
    if is_plain { title.to_owned() } else { id.chars().take(10).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_folder_and_a_file_have_messages_of_their_own() {
        let scratch = tempfile::tempdir().unwrap();
        let missing = existing_folder(&scratch.path().join("none")).unwrap_err();
        assert_eq!(missing.exit_status(), 4);
        assert!(missing.report().unwrap().message.starts_with("there is no folder"));
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        for failure in [existing_folder(&file).unwrap_err(), target_folder(&file).unwrap_err()] {
            assert_eq!(failure.exit_status(), 2);
            assert!(failure.report().unwrap().message.contains("is a file"));
        }
    }

    #[test]
    fn a_target_need_not_be_there() {
        let scratch = tempfile::tempdir().unwrap();
        assert_eq!(target_folder(&scratch.path().join("a/b")).unwrap(), scratch.path().join("a/b"));
        assert!(target_folder(Path::new("a/b")).unwrap().is_absolute());
    }

    #[test]
    fn titles_of_strangers_do_not_choose_places() {
        assert_eq!(folder_name("My site", "abcdefghijkl"), "My site");
        for title in ["", "..", ".ssh", "a/b", "/etc", "-rf", "~", "a\nb", "a\u{202e}b", &"x".repeat(101)] {
            assert_eq!(folder_name(title, "abcdefghijkl"), "abcdefghij", "{title:?}");
        }
    }
}
