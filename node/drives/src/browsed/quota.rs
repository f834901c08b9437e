//! How much may be kept, and why no more is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The automatic quota's upper bound, in bytes (specs/drives.md, 19).
const MAX_AUTO_BYTES: u64 = 10_000_000_000;
/// The automatic quota is this part of the disk that is free, or would be without the cache.
const AUTO_PART: u64 = 20;
/// How long a full disk is left alone before the next try.
const DISK_FULL_PAUSE: Duration = Duration::from_secs(30);

/// How much of drives that are only looked at is kept on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BrowseQuota {
    /// 10 GB, or 5 % of the free disk if that is less. The default.
    #[default]
    Auto,
    /// Nothing.
    Off,
    /// This many bytes.
    Bytes(u64),
}

/// A text that is no quota.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is auto, off, or a size like 500 MB, 2 GiB")]
pub struct BrowseQuotaError;

impl FromStr for BrowseQuota {
    type Err = BrowseQuotaError;

    fn from_str(text: &str) -> Result<Self, BrowseQuotaError> {
        match text.trim() {
            "auto" => return Ok(Self::Auto),
            "off" => return Ok(Self::Off),
            _ => {}
        }
        let text = text.trim();
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| BrowseQuotaError)?;
        let unit: u64 = match unit.trim() {
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            _ => return Err(BrowseQuotaError),
        };
        number.checked_mul(unit).map(Self::Bytes).ok_or(BrowseQuotaError)
    }
}

/// Whether the cache of browsed drives grows, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrowseState {
    /// It is switched off.
    Off,
    /// There is room.
    Growing,
    /// The quota is used up by drives that may not go now; reading goes on from peers.
    Full,
    /// The disk is full; reading goes on from peers.
    DiskFull,
}

impl fmt::Display for BrowseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Growing => "growing",
            Self::Full => "full",
            Self::DiskFull => "disk_full",
        })
    }
}

/// A quota, and the disk that it is a part of.
pub(super) struct Limit {
    quota: BrowseQuota,
    directory: PathBuf,
}

impl Limit {
    pub(super) fn new(quota: BrowseQuota, directory: &Path) -> Self {
        Self { quota, directory: directory.to_owned() }
    }

    /// Most bytes that may be held, and what is free on the disk now.
    fn measure(&self, used: u64) -> (u64, u64) {
        let free = match rustix::fs::statvfs(&self.directory) {
            Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
            Err(_) => 0,
        };
        let limit = match self.quota {
            BrowseQuota::Off => 0,
            BrowseQuota::Bytes(bytes) => bytes,
            BrowseQuota::Auto => MAX_AUTO_BYTES.min(free.saturating_add(used) / AUTO_PART),
        };
        (limit, free)
    }
}

/// The room that there is.
pub(super) struct Room {
    limit: Limit,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_full: bool,
    disk_full_since: Option<Instant>,
}

impl Room {
    pub(super) fn new(limit: Limit) -> Self {
        Self { limit, state: Mutex::default() }
    }

    pub(super) fn is_off(&self) -> bool {
        self.limit.quota == BrowseQuota::Off
    }

    /// Most bytes that may be held, and what is free on the disk.
    pub(super) fn limit(&self, used: u64) -> (u64, u64) {
        self.limit.measure(used)
    }

    pub(super) fn state(&self) -> BrowseState {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.is_off(), state.disk_full_since, state.is_full) {
            (true, ..) => BrowseState::Off,
            (false, Some(_), _) => BrowseState::DiskFull,
            (false, None, true) => BrowseState::Full,
            (false, None, false) => BrowseState::Growing,
        }
    }

    /// Whether the disk was full a moment ago.
    pub(super) fn is_paused(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.disk_full_since.is_some_and(|since| since.elapsed() < DISK_FULL_PAUSE)
    }

    /// What became of the newest item. True where that is news.
    pub(super) fn note(&self, outcome: BrowseState) -> bool {
        let before = self.state();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_full = outcome == BrowseState::Full;
        state.disk_full_since = (outcome == BrowseState::DiskFull).then(Instant::now);
        before != outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_read_from_text() {
        for (text, quota) in [
            ("auto", BrowseQuota::Auto),
            (" off ", BrowseQuota::Off),
            ("500 MB", BrowseQuota::Bytes(500_000_000)),
            ("2GiB", BrowseQuota::Bytes(2 << 30)),
        ] {
            assert_eq!(text.parse(), Ok(quota), "{text}");
        }
        for text in ["", "5", "-1 GB", "1 gb", "1.5 GB", "GB", "99999999999999999999 GB", "99999999999 TB", "5 €"] {
            assert_eq!(text.parse::<BrowseQuota>(), Err(BrowseQuotaError), "{text}");
        }
    }

    #[test]
    fn the_automatic_quota_is_a_part_of_the_free_disk() {
        let limit = Limit::new(BrowseQuota::Auto, &std::env::temp_dir());
        let (quota, free) = limit.measure(0);
        assert!(free > 0 && quota <= MAX_AUTO_BYTES && quota <= free / AUTO_PART + 1, "{quota} of {free}");
        assert_eq!(Limit::new(BrowseQuota::Off, &std::env::temp_dir()).measure(5).0, 0);
    }
}
