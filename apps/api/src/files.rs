//! The routes of the `files` app (`/v1/apps/files/…`): what the command line and scripts send it and get back.
//!
//! `GET shares` answers a list of [`crate::DriveInfo`]. `DELETE shares?which=DRIVE_OR_DIR` (percent-encoded id, link or
//! absolute path) answers [`crate::Removed`]. A client that goes away before `published` stops that job; after it the
//! folder stays shared until it is removed.

use std::path::PathBuf;

use p2p_identity::DriveId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Progress, Skipped};

/// `POST /v1/apps/files/shares`: share a folder. Answers a stream of [`ShareEvent`], one JSON object a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShareRequest {
    /// Absolute path of the folder.
    #[schema(value_type = String)]
    pub path: PathBuf,
    /// What people call it; the folder's name if empty.
    #[serde(default)]
    pub title: String,
    /// Whether to publish one version only and not to look for changes later.
    #[serde(default)]
    pub once: bool,
    /// Whether to write first, into the folder's `.p2p/site.json`, which files its entry page needs: they then come to
    /// whoever opens the site together with the page.
    #[serde(default)]
    pub profile: bool,
}

/// What sharing reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ShareEvent {
    /// The link, before any hashing.
    Link {
        /// The link, with hints.
        link: String,
        /// The drive's id.
        #[schema(value_type = String)]
        drive: DriveId,
    },
    /// The list of what the entry page needs was written.
    Profiled {
        /// Paths in the site, in the order of the list.
        files: Vec<String>,
        /// Bytes of these and of the page.
        bytes: u64,
    },
    /// Work goes on.
    Progress(Progress),
    /// A version stands.
    Published {
        /// The link, with hints.
        link: String,
        /// The drive's id.
        #[schema(value_type = String)]
        drive: DriveId,
        /// Its address in a browser, where the gateway runs.
        browser: Option<String>,
        /// The owner's counter.
        version: u64,
        /// Files in it.
        files: u64,
        /// Their bytes.
        bytes: u64,
        /// Seconds from the request to here.
        seconds: f64,
        /// What was left out.
        skipped: Vec<Skipped>,
    },
}

/// `POST /v1/apps/files/clones`: copy a drive into a
/// folder. Answers a stream of [`CloneEvent`], one JSON object a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CloneRequest {
    /// The link, or a bare id.
    pub link: String,
    /// Absolute path of the folder.
    #[schema(value_type = String)]
    pub target: PathBuf,
    /// Whether symlinks that leave the folder are made too.
    #[serde(default)]
    pub allow_external_links: bool,
    /// Whether to stay and apply new versions as they come, one `done` for each.
    #[serde(default)]
    pub follow: bool,
    /// Which earlier version: a number, a hash, a tag, or a time; the newest without it.
    #[serde(default)]
    pub at: Option<String>,
    /// Seconds to look for peers without any progress.
    #[serde(default)]
    pub timeout_s: Option<f64>,
}

/// `POST /v1/apps/files/syncs`: keep a folder and a drive in step, both ways. Answers a stream of [`crate::SyncEvent`],
/// one JSON object a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SyncRequest {
    /// The link, or a bare id.
    pub link: String,
    /// Absolute path of the folder.
    #[schema(value_type = String)]
    pub target: PathBuf,
    /// Whether symlinks that leave the folder are made too.
    #[serde(default)]
    pub allow_external_links: bool,
    /// Seconds to look for peers without any progress.
    #[serde(default)]
    pub timeout_s: Option<f64>,
}

/// What copying reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum CloneEvent {
    /// Work goes on.
    Progress(Progress),
    /// Everything of a version is in place and on disk.
    Done {
        /// The drive's id.
        #[schema(value_type = String)]
        drive: DriveId,
        /// The owner's counter.
        version: u64,
        /// Files in it.
        files: u64,
        /// Their bytes.
        bytes: u64,
        /// Content bytes that had to travel.
        bytes_fetched: u64,
        /// Seconds from the request, or the version before, to here.
        seconds: f64,
        /// Peers that sent something.
        peers: u32,
        /// What was left out.
        skipped: Vec<Skipped>,
    },
}
