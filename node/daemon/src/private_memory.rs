//! Keeping the memory of the process to itself: keys are in it (specs/overlay.md, 3.1).

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tracing::debug;

/// No core dumps, and no other process of the user looks into this one. Where the system has swap that is not encrypted, the
/// sentence to tell the user.
pub(crate) fn keep_private() -> Option<String> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        debug!(%error, "core dumps are not switched off");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        debug!(%error, "other processes of the user may look into this one");
    }
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    let open = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).find(|swap| !is_safe(swap))?;
    Some(format!(
        "swap on {open} is not encrypted: what is in memory may end up there, also when the computer sleeps; the system can \
         encrypt it"
    ))
}

/// Memory that is compressed stays in memory; a mapped device may be encrypted, and says so.
fn is_safe(swap: &str) -> bool {
    let name = std::fs::canonicalize(swap).ok().and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    let Some(name) = name else { return false };
    let uuid = || std::fs::read_to_string(format!("/sys/block/{name}/dm/uuid")).unwrap_or_default();
    name.starts_with("zram") || uuid().starts_with("CRYPT-")
}
