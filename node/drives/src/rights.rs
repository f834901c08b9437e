//! Who may write to a drive: keys, certificates, revocation (specs/drives.md, section 10).

use std::sync::Arc;

use p2p_identity::{ContentId, DriveId, KeystoreError, SecretKey, SecretKind, WriterKey};

use crate::DriveError;
use crate::engine::{DriveEvent, Drives, Shared};
use crate::gather::settle;
use crate::head::{Head, HeadEnvelope, MAX_PREV, MAX_WRITERS};
use crate::heads::{HeadSet, SignedSet, Snapshot};
use crate::index::Keep;
use crate::key::PathKey;
use crate::lock::lock;
use crate::publish::{Author, next_of};
use crate::registry::{Drive, DriveState, Role};
use crate::signed::{Ext, Signed, SignedError};
use crate::writers::{Certificate, MAX_PREFIX_BYTES, MAX_REVOKED, WriterSet};

/// Whom to let in, and how far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWriter {
    /// The writer's key for this drive.
    pub writer: WriterKey,
    /// Only at and under this path; `None` for everywhere.
    pub prefix: Option<PathKey>,
    /// Heads made after this time do not count, in milliseconds since 1970; `None` for no end.
    pub not_after_ms: Option<u64>,
    /// Heads with a greater counter do not count; `None` for no limit.
    pub max_counter: Option<u64>,
}

/// One who may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterRight {
    /// How far.
    pub right: NewWriter,
    /// The counter of its newest head that this node has; 0 before the first.
    pub counter: u64,
}

/// Who may write to a drive, besides its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Grows with every change; 0 before the first.
    pub epoch: u64,
    /// By writer.
    pub writers: Vec<WriterRight>,
    /// Writers that were let in once, with the last counter that counts.
    pub revoked: Vec<(WriterKey, u64)>,
    /// This node's own writer key, if it has one or owns the drive.
    pub own: Option<WriterKey>,
}

impl Drives {
    /// Who may write.
    ///
    /// # Errors
    /// The drive is not known here.
    pub fn rights(&self, id: &DriveId) -> Result<Rights, DriveError> {
        let drive = self.known(id)?;
        let state = drive.state();
        let own = match state.row.role {
            Role::Owner => Some(WriterKey::from(*id.as_bytes())),
            // While the keys are locked nobody knows; what needs the key says so itself.
            _ => self.shared().writer_secret(id).ok().flatten().map(|key| WriterKey::from(key.public())),
        };
        let Some(set) = state.at.as_ref().and_then(|at| at.set.as_ref()).map(Signed::body) else {
            return Ok(Rights { own, ..Rights::default() });
        };
        let counter =
            |writer| state.at.as_ref().and_then(|at| at.head_of(writer)).map_or(0, |head| head.body().counter);
        let writers = set.certificates.iter().map(Signed::body).map(|certificate| WriterRight {
            right: NewWriter {
                writer: certificate.writer,
                prefix: certificate.prefix.clone(),
                not_after_ms: (certificate.not_after_hlc != u64::MAX).then_some(certificate.not_after_hlc >> 16),
                max_counter: (certificate.max_counter != u64::MAX).then_some(certificate.max_counter),
            },
            counter: counter(&certificate.writer),
        });
        Ok(Rights { epoch: set.epoch, writers: writers.collect(), revoked: set.revoked.clone(), own })
    }

    /// This node's writer key for a drive; made when it is first asked for. In the keystore when this returns. Blocks.
    ///
    /// # Errors
    /// The keystore failed.
    pub fn writer_key(&self, id: &DriveId) -> Result<WriterKey, DriveError> {
        if self.shared().registry.get(id).is_some_and(|drive| drive.state().row.role == Role::Owner) {
            return Ok(WriterKey::from(*id.as_bytes()));
        }
        let mut keystore = lock(&self.shared().keystore);
        let key = match keystore.get(SecretKind::WRITER, id.as_bytes())? {
            Some(key) => key,
            None => {
                let key = SecretKey::generate();
                keystore.insert(SecretKind::WRITER, id.as_bytes(), &key)?;
                key
            }
        };
        Ok(WriterKey::from(key.public()))
    }

    /// Lets somebody write, or changes how far. On disk when this returns; peers are told.
    ///
    /// # Errors
    /// This node does not own the drive, the key was revoked, or there are 128 writers already.
    pub async fn add_writer(&self, id: &DriveId, new: NewWriter) -> Result<(), DriveError> {
        let is_owner = new.writer.as_bytes() == id.as_bytes();
        if is_owner {
            return Err(DriveError::Invalid("this is the owner's own key, which may write everywhere".into()));
        }
        if new.prefix.as_ref().is_some_and(|prefix| prefix.as_bytes().len() > MAX_PREFIX_BYTES) {
            return Err(DriveError::Invalid(format!("the path is longer than {MAX_PREFIX_BYTES} bytes")));
        }
        self.change_rights(id, move |set, key, _| {
            if set.revoked_at(&new.writer).is_some() {
                let reason =
                    "this key was revoked, and what it signed since must never count: the writer needs a new key";
                return Err(DriveError::Invalid(reason.into()));
            }
            set.certificates.retain(|signed| signed.body().writer != new.writer);
            if set.certificates.len() + 1 >= MAX_WRITERS {
                return Err(DriveError::Invalid(format!("the drive has {MAX_WRITERS} writers, the most there can be")));
            }
            let certificate = Certificate {
                drive: set.drive,
                writer: new.writer,
                prefix: new.prefix,
                not_after_hlc: new.not_after_ms.map_or(u64::MAX, |ms| ms.saturating_mul(1 << 16)),
                max_counter: new.max_counter.unwrap_or(u64::MAX),
                epoch: set.epoch,
                ext: Ext::default(),
            };
            set.certificates.push(Signed::sign(&certificate, key).map_err(invalid)?);
            set.certificates.sort_by_key(|signed| signed.body().writer);
            Ok(())
        })
        .await
    }

    /// Lets somebody write no more. What it wrote up to now stays, as far as the owner has it. On disk when this returns.
    ///
    /// # Errors
    /// This node does not own the drive, or there is no such writer.
    pub async fn remove_writer(&self, id: &DriveId, writer: WriterKey) -> Result<(), DriveError> {
        self.change_rights(id, move |set, _, at| {
            let before = set.certificates.len();
            set.certificates.retain(|signed| signed.body().writer != writer);
            if set.certificates.len() == before {
                return Err(DriveError::Invalid(format!("{writer} is no writer of this drive")));
            }
            if set.revoked.len() >= MAX_REVOKED {
                return Err(DriveError::Invalid(format!("{MAX_REVOKED} writers were revoked, the most there can be")));
            }
            let last = at.head_of(&writer).map_or(0, |head| head.body().counter);
            set.revoked.push((writer, last));
            set.revoked.sort_unstable();
            Ok(())
        })
        .await
    }

    /// A new writer set, and a head of the owner that names it and holds the state as it is.
    async fn change_rights(
        &self,
        id: &DriveId,
        change: impl FnOnce(&mut WriterSet, &SecretKey, &Snapshot) -> Result<(), DriveError> + Send + 'static,
    ) -> Result<(), DriveError> {
        let drive = self.known(id)?;
        if drive.state().row.role != Role::Owner {
            return Err(DriveError::Invalid("only the owner of a drive can say who writes to it".into()));
        }
        let work = drive.work.clone().lock_owned().await;
        // Without its folder nothing could be brought into it, and who may write no more must not wait for that.
        let asking = self.ask_for_own_head(&drive, WriterKey::from(*id.as_bytes())).unwrap_or_else(|error| {
            tracing::debug!(drive = %id, %error, "nobody is asked for newer versions of this node");
            None
        });
        match self.continue_above(&drive, asking).await {
            // Nothing of the folder was read yet.
            Ok(()) | Err(DriveError::Behind { .. }) => {}
            Err(error) => return Err(error),
        }
        let (shared, of) = (self.shared().clone(), drive.clone());
        let version = tokio::task::spawn_blocking(move || {
            let _work = work;
            let _writing = shared.holds.writing();
            let author = shared.author_of(&of)?;
            let state = of.state();
            let before = state
                .at
                .clone()
                .ok_or_else(|| DriveError::Invalid("the drive has no version yet; share its folder first".into()))?;
            let mut set = match &before.set {
                Some(set) => set.body().clone(),
                None => WriterSet {
                    drive: of.id,
                    epoch: 0,
                    certificates: Vec::new(),
                    revoked: Vec::new(),
                    ext: Ext::default(),
                },
            };
            set.epoch += 1;
            change(&mut set, &author.key, &before)?;
            let set = Signed::sign(&set, &author.key).map_err(invalid)?;
            let head = rights_head(&state, &before, &set, &author)?;
            let mut heads = HeadSet::new(of.id, Some(&before));
            heads.take_owner(head, Some(set)).map_err(|error| DriveError::Corrupt(error.to_string()))?;
            let at = settle(&shared.nodes, heads, Keep::OnDisk)?;
            shared.nodes.sync()?;
            let version = at.version();
            shared.registry.store(&of, state.row, Some(at))?;
            Ok::<_, DriveError>(version)
        })
        .await??;
        let _ = self.shared().events.send(DriveEvent::Head { drive: *id, version });
        self.start_syncer(&drive);
        Ok(())
    }
}

fn rights_head(
    state: &DriveState,
    before: &Snapshot,
    set: &SignedSet,
    author: &Author,
) -> Result<HeadEnvelope, DriveError> {
    let (writer, counter, hlc) = next_of(Some(before), author.writer);
    let head = Head {
        drive: set.body().drive,
        writer,
        counter,
        vv: before.vv_for(writer, counter).map_err(invalid)?,
        root: before.root,
        header: header_of(state),
        writer_set: Some(set.hash()),
        epoch: set.body().epoch,
        files: before.entries,
        bytes: before.bytes,
        prev: before.heads().map(Signed::hash).take(MAX_PREV).collect(),
        change_list: None,
        hlc,
        message: "writers".into(),
        ext: Ext::default(),
    };
    HeadEnvelope::sign(&head, &author.key).map_err(invalid)
}

#[allow(clippy::needless_pass_by_value, reason = "a shape for map_err")]
fn invalid(error: SignedError) -> DriveError {
    DriveError::Invalid(error.to_string())
}

/// Hash of the drive's signed header: the owner has it, others name the one that the owner's head names.
pub(crate) fn header_of(state: &DriveState) -> ContentId {
    match &state.at {
        Some(at) if state.row.header.is_empty() => at.head.body().header,
        _ => ContentId::of(&state.row.header),
    }
}

/// The state after this node has made a head from the one before. Blocks.
pub(crate) fn with_own_head(
    shared: &Shared,
    drive: &DriveId,
    before: Option<&Snapshot>,
    head: HeadEnvelope,
) -> Result<Snapshot, DriveError> {
    let mut heads = HeadSet::new(*drive, before);
    let writer = head.body().writer;
    let taken = match head.body().is_by_owner() {
        true => heads.take_owner(head, before.and_then(|before| before.set.clone())),
        false => heads.take(head),
    };
    taken.map_err(|_| DriveError::NotAWriter(writer))?;
    let at = settle(&shared.nodes, heads, Keep::OnDisk)?;
    shared.nodes.sync()?;
    Ok(at)
}

impl Shared {
    pub(crate) fn writer_secret(&self, id: &DriveId) -> Result<Option<SecretKey>, KeystoreError> {
        lock(&self.keystore).get(SecretKind::WRITER, id.as_bytes())
    }

    /// The key with which this node signs its heads of a drive, and where it may write.
    ///
    /// # Errors
    /// It may not write.
    pub(crate) fn author_of(&self, drive: &Arc<Drive>) -> Result<Author, DriveError> {
        let state = drive.state();
        if state.row.role == Role::Owner {
            let key = lock(&self.keystore).get(SecretKind::DRIVE, drive.id.as_bytes())?;
            let key = key.ok_or_else(|| DriveError::Corrupt("the key of the drive is not in the keystore".into()))?;
            return Ok(Author { key, writer: WriterKey::from(*drive.id.as_bytes()), prefix: None });
        }
        if !state.row.syncs {
            let reason = "only who owns a drive, or syncs it, can import into it";
            return Err(DriveError::Invalid(reason.into()));
        }
        let key = self.writer_secret(&drive.id)?;
        let key = key.ok_or_else(|| DriveError::Corrupt("the writer key is not in the keystore".into()))?;
        let writer = WriterKey::from(key.public());
        let set = state.at.as_ref().and_then(|at| at.set.as_ref()).map(Signed::body);
        let certificate = set.and_then(|set| set.certificate(&writer)).ok_or(DriveError::NotAWriter(writer))?;
        Ok(Author { key, writer, prefix: certificate.prefix.clone() })
    }
}
