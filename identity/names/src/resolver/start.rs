//! Where resolution begins (RFC 9498, section 7.1).

use std::collections::BTreeMap;

use super::{LocalZones, ResolveError};
use crate::{
    Label, Name, ZoneKey,
    zone::{Ztld, read_ztld},
};

/// The zone in which a name begins, and the labels that are left.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) zone: ZoneKey,
    pub(super) rest: Name,
}

/// A zTLD, else the longest local suffix, else neither (`Ok(None)`). The ending `.gns.alt` of names that must not be taken
/// for DNS names (section 9) is dropped if no suffix contains it.
pub(super) fn start(name: &Name, local: &dyn LocalZones) -> Result<Option<Start>, ResolveError> {
    if let Some(found) = find(name, local)? {
        return Ok(Some(found));
    }
    match name.labels() {
        [rest @ .., gns, alt] if is(gns, "gns") && is(alt, "alt") && !rest.is_empty() => {
            let inner = Name::from_labels(rest.to_vec()).map_err(ResolveError::BadName)?;
            find(&inner, local)
        }
        _ => Ok(None),
    }
}

fn is(label: &Label, text: &str) -> bool {
    label.as_str().eq_ignore_ascii_case(text)
}

fn find(name: &Name, local: &dyn LocalZones) -> Result<Option<Start>, ResolveError> {
    let Some(last) = name.last() else {
        return Ok(None);
    };
    let mut rest = name.clone();
    match read_ztld(last.as_str()) {
        Ztld::Zone(zone) => {
            rest.pop();
            return Ok(Some(Start { zone, rest }));
        }
        Ztld::Damaged(error) => return Err(ResolveError::BadZtld(error)),
        Ztld::NotOne => {}
    }
    let labels = name.labels();
    for at in 0..labels.len() {
        let Some((left, right)) = labels.split_at_checked(at) else {
            break;
        };
        let to_name = |labels: &[Label]| Name::from_labels(labels.to_vec()).map_err(ResolveError::BadName);
        if let Some(zone) = local.zone_of_suffix(&to_name(right)?) {
            return Ok(Some(Start { zone, rest: to_name(left)? }));
        }
    }
    Ok(None)
}

/// Suffixes from the configuration, each for one zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SuffixMap(BTreeMap<Name, ZoneKey>);

impl SuffixMap {
    /// No suffixes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one; the zone it stood for before comes back, which is an error in a configuration.
    pub fn insert(&mut self, suffix: Name, zone: ZoneKey) -> Option<ZoneKey> {
        self.0.insert(suffix, zone)
    }

    /// The zone of exactly this suffix.
    pub fn get(&self, suffix: &Name) -> Option<ZoneKey> {
        self.0.get(suffix).copied()
    }
}
