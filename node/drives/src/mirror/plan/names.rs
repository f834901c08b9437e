//! Names on disk of what a plan places.

use super::Plan;
use crate::DriveError;
use crate::content::walk_error;
use crate::heads::Snapshot;
use crate::key::PathKey;
use crate::lock::lock;
use crate::tree::Listed;

impl Plan {
    /// Finds out what names the folder can hold. Blocks.
    pub(super) fn prepare_names(&self) -> Result<(), DriveError> {
        let folder = &self.job.folder;
        folder.names().prepare(folder, self.old.as_ref(), &self.job.shared.nodes)
    }

    /// Gives an entry its name on disk, and what it might be confused with. Blocks.
    pub(super) fn name(&self, key: &PathKey) -> Result<(), DriveError> {
        let names = self.job.folder.names();
        if names.folds_case() {
            let mut levels = vec![key.parent()];
            while let Some(Some(above)) = levels.last() {
                levels.push(above.parent());
            }
            for level in levels.into_iter().rev() {
                let hash = blake3::hash(level.as_ref().map(PathKey::as_bytes).unwrap_or_default());
                let mut short = [0; 16];
                short.copy_from_slice(&hash.as_bytes()[..16]);
                if lock(&self.told_apart).insert(short) {
                    let old = match &self.old {
                        Some(old) => self.list(old, level.as_ref())?,
                        None => Vec::new(),
                    };
                    names.set_apart(level.as_ref(), &old, &self.list(&self.at, level.as_ref())?);
                }
            }
        }
        names.assign(key);
        Ok(())
    }

    fn list(&self, at: &Snapshot, level: Option<&PathKey>) -> Result<Vec<String>, DriveError> {
        let mut names = Vec::new();
        for listed in self.tree(at).list_dir(level) {
            names.push(match listed.map_err(walk_error)? {
                Listed::Entry(entry) => entry.key().name().to_owned(),
                Listed::Implied(key) => key.name().to_owned(),
            });
        }
        Ok(names)
    }
}
