//! What can be set about names, with defaults.

use p2p_names::{DIFFICULTY, Name, SuffixMap, ZoneKey};
use serde::{Deserialize, Serialize};

/// Settings of the name system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NamesConfig {
    /// Zones of others under names of one's own, each as `SUFFIX=zTLD`.
    pub suffixes: Vec<String>,
    /// Leading zero bits that the proofs of work of a revocation have on average. All nodes of a network need the same.
    pub revocation_difficulty: u32,
}

impl Default for NamesConfig {
    fn default() -> Self {
        Self { suffixes: Vec::new(), revocation_difficulty: DIFFICULTY }
    }
}

impl NamesConfig {
    /// The suffixes; an error says which is wrong.
    pub(crate) fn suffix_map(&self) -> Result<SuffixMap, String> {
        let mut map = SuffixMap::new();
        for text in &self.suffixes {
            let wrong = |why: String| format!("names.suffixes: {text:?} {why}");
            let (suffix, zone) = text.split_once('=').ok_or_else(|| wrong("is not SUFFIX=zTLD".into()))?;
            let suffix: Name = suffix.trim().parse().map_err(|error| wrong(format!("has no name: {error}")))?;
            let zone: ZoneKey = zone.trim().parse().map_err(|error| wrong(format!("has no zTLD: {error}")))?;
            if map.insert(suffix, zone).is_some() {
                return Err(wrong("names a suffix twice".into()));
            }
        }
        Ok(map)
    }
}
