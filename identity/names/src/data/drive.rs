//! P2PDRIVE: a drive link (specs/names.md, 13.3).

use p2p_identity::{Hints, Link, PeerId, Target, VersionRef, hash_from_text, hash_to_text};

use super::{
    peer::{peer_from_bytes, peer_to_bytes},
    tagged,
};

const TARGET: u8 = 0x01;
const PATH: u8 = 0x02;
const VERSION: u8 = 0x03;
const READ_KEY: u8 = 0x04;
const SEEDER: u8 = 0x81;
/// Most seeders in a record.
const MAX_SEEDERS: usize = 4;
/// Longest path, in bytes.
const MAX_PATH_BYTES: usize = 1024;
/// Type bytes of links (specs/drives.md, section 9).
const TYPE_DRIVE: u8 = 1;
const TYPE_SNAPSHOT: u8 = 2;
const TYPE_BLOB: u8 = 3;
const TYPE_WRITER_INVITATION: u8 = 5;

/// Which version of a drive a record names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriveVersion {
    /// The owner's counter.
    Number(u64),
    /// The hash of a head.
    Head([u8; 32]),
}

/// The contents of a P2PDRIVE record.
#[derive(Clone, PartialEq, Eq)]
pub struct DriveRecord {
    /// What it points to.
    pub target: Target,
    /// Path inside, begins with `/`.
    pub path: String,
    /// The version, if it names one.
    pub version: Option<DriveVersion>,
    /// Read key of a private drive. Only in records with the PRIVATE flag; publication refuses it otherwise.
    pub read_key: Option<[u8; 32]>,
    /// At most four peers that hold it.
    pub seeders: Vec<PeerId>,
}

impl DriveRecord {
    /// Reads the data of a record; `None` when it is unusable.
    pub fn from_data(data: &[u8]) -> Option<Self> {
        let known = [(TARGET, 1), (PATH, 1), (VERSION, 1), (READ_KEY, 1), (SEEDER, MAX_SEEDERS)];
        let mut target = None;
        let (mut path, mut version, mut read_key, mut seeders) = ("/".to_owned(), None, None, Vec::new());
        for (tag, value) in tagged::read(data, &known)? {
            match tag {
                TARGET => target = Some(target_from_bytes(value)?),
                PATH => path = std::str::from_utf8(value).ok().filter(|path| is_path(path))?.to_owned(),
                VERSION => version = Some(version_from_bytes(value)?),
                READ_KEY => read_key = Some(value.try_into().ok()?),
                _ => seeders.push(peer_from_bytes(value)?),
            }
        }
        Some(Self { target: target?, path, version, read_key, seeders })
    }

    /// The data of the record.
    pub fn to_data(&self) -> Vec<u8> {
        let mut out = tagged::Writer::new();
        out.field(TARGET, &target_to_bytes(&self.target));
        if self.path != "/" {
            out.field(PATH, self.path.as_bytes());
        }
        match self.version {
            None => {}
            Some(DriveVersion::Number(number)) => out.field(VERSION, &number.to_be_bytes()),
            Some(DriveVersion::Head(hash)) => out.field(VERSION, &hash),
        }
        if let Some(key) = &self.read_key {
            out.field(READ_KEY, key);
        }
        for seeder in &self.seeders {
            out.field(SEEDER, &peer_to_bytes(seeder));
        }
        out.finish()
    }

    /// The link this record stands for. The read key is not part of it.
    pub fn to_link(&self) -> Link {
        let version = self.version.map(|version| match version {
            DriveVersion::Number(number) => VersionRef::Counter(number),
            DriveVersion::Head(hash) => VersionRef::Head(hash_to_text(&hash)),
        });
        let path = self.path.trim_matches('/').to_owned();
        Link { target: self.target, path, version, hints: Hints::default() }
    }

    /// The text, if it reads back as this record. A read key has none: texts end up on screens.
    pub(super) fn to_text(&self) -> Option<String> {
        let mut out = self.to_link().to_string();
        for seeder in &self.seeders {
            out.push_str(&format!(" seed={seeder}"));
        }
        Self::from_text(&out).is_ok_and(|again| again == *self).then_some(out)
    }

    /// Reads the text form. Peers in the hints of a link become seeders.
    pub(super) fn from_text(text: &str) -> Result<Self, &'static str> {
        let mut words = text.split_whitespace();
        let link: Link =
            words.next().and_then(|word| word.parse().ok()).ok_or("it does not begin with a drive link")?;
        let mut seeders: Vec<PeerId> = link.hints.peers.iter().map(|hint| hint.peer).collect();
        for word in words {
            let peer = word.strip_prefix("seed=").and_then(|peer| peer.parse().ok());
            seeders.push(peer.ok_or("behind the link only seed=PEER-ID may follow")?);
        }
        if seeders.len() > MAX_SEEDERS {
            return Err("at most four seeders fit");
        }
        let path = format!("/{}", link.path);
        if !is_path(&path) {
            return Err("the path has at most 1024 bytes");
        }
        let version = match link.version {
            None => None,
            Some(VersionRef::Counter(number)) => Some(DriveVersion::Number(number)),
            Some(VersionRef::Head(hash)) => {
                Some(DriveVersion::Head(hash_from_text(&hash).ok_or("the version must be a number or a whole hash")?))
            }
        };
        Ok(Self { target: link.target, path, version, read_key: None, seeders })
    }
}

impl std::fmt::Debug for DriveRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let read_key = self.read_key.map(|_| "..");
        f.debug_struct("DriveRecord")
            .field("link", &self.to_link().to_string())
            .field("read_key", &read_key)
            .field("seeders", &self.seeders)
            .finish()
    }
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.len() <= MAX_PATH_BYTES
}

fn target_to_bytes(target: &Target) -> [u8; 33] {
    let (kind, key) = match target {
        Target::Drive(drive) => (TYPE_DRIVE, drive.as_bytes()),
        Target::Snapshot(root) => (TYPE_SNAPSHOT, root),
        Target::Blob(blob) => (TYPE_BLOB, blob.as_bytes()),
        Target::WriterInvitation(key) => (TYPE_WRITER_INVITATION, key),
    };
    let mut out = [kind; 33];
    let (_, rest) = out.split_at_mut(1);
    rest.copy_from_slice(key);
    out
}

fn target_from_bytes(bytes: &[u8]) -> Option<Target> {
    let (kind, key) = bytes.split_first()?;
    let key: [u8; 32] = key.try_into().ok()?;
    match *kind {
        TYPE_DRIVE => Some(Target::Drive(key.into())),
        TYPE_SNAPSHOT => Some(Target::Snapshot(key)),
        TYPE_BLOB => Some(Target::Blob(key.into())),
        TYPE_WRITER_INVITATION => Some(Target::WriterInvitation(key)),
        _ => None,
    }
}

fn version_from_bytes(bytes: &[u8]) -> Option<DriveVersion> {
    if let Ok(number) = bytes.try_into() {
        return Some(DriveVersion::Number(u64::from_be_bytes(number)));
    }
    bytes.try_into().ok().map(DriveVersion::Head)
}
