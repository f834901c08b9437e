//! Who calls, and what that caller may do (specs/overlay.md, 2.4 and 2.5).

use std::path::{Component, Path};

use axum::extract::FromRequestParts;
use http::request::Parts;
use p2p_api::{ApiError, ErrorKind, Result, Scope, Whom};
use p2p_identity::DriveId;

use super::problem::Refusal;
use super::room::Room;
use crate::grants::Grant;

/// Who calls. Put into every request by the gate.
#[derive(Clone)]
pub(super) enum Caller {
    /// The user this node runs as: everything.
    User,
    /// An app that showed its token: what its scopes say.
    App(Grant),
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| ApiError::internal("a request came past the gate").into())
    }
}

impl Caller {
    /// Whether one of the scopes fits; `wanted` is the text of the smallest one that would.
    pub(super) fn require(&self, wanted: &str, fits: impl Fn(&Scope) -> bool) -> Result<()> {
        match self {
            Self::User => Ok(()),
            Self::App(grant) if grant.scopes.iter().any(fits) => Ok(()),
            Self::App(grant) => {
                let message = format!("the app {} has not been granted {wanted}", grant.id);
                Err(ApiError::new(ErrorKind::NotAllowed, message)
                    .with_hint("the app can ask for it with POST /v1/apps; the user approves it with p2p app approve"))
            }
        }
    }

    /// Only the user may.
    pub(super) fn require_user(&self) -> Result<()> {
        match self {
            Self::User => Ok(()),
            Self::App(grant) => {
                let message = format!("the app {} may not do this; only the user may", grant.id);
                Err(ApiError::new(ErrorKind::NotAllowed, message))
            }
        }
    }

    pub(super) fn require_drive_read(&self, drive: Option<DriveId>) -> Result<()> {
        let wanted = drive.map_or_else(|| "drives.read".to_owned(), |drive| format!("drives.read:{drive}"));
        self.require(&wanted, |scope| match scope {
            Scope::DrivesRead(None) | Scope::DrivesWrite(None) => true,
            Scope::DrivesRead(granted) | Scope::DrivesWrite(granted) => drive.is_some() && *granted == drive,
            _ => false,
        })
    }

    pub(super) fn require_drive_write(&self, drive: Option<DriveId>) -> Result<()> {
        let wanted = drive.map_or_else(|| "drives.write".to_owned(), |drive| format!("drives.write:{drive}"));
        self.require(&wanted, |scope| match scope {
            Scope::DrivesWrite(None) => true,
            Scope::DrivesWrite(granted) => drive.is_some() && *granted == drive,
            _ => false,
        })
    }

    pub(super) fn require_zone(&self, zone: Option<&str>) -> Result<()> {
        let wanted = format!("names.write:{}", zone.unwrap_or("ZONE, with the zone named in the call"));
        self.require(&wanted, |scope| matches!(scope, Scope::NamesWrite(granted) if Some(granted.as_str()) == zone))
    }

    /// Whom an app may dial with this protocol; the user may dial everybody.
    pub(super) fn require_dial(&self, protocol: &str, is_contact: bool) -> Result<()> {
        let whom = if is_contact { "contacts" } else { "any" };
        self.require(&format!("stream.dial:{protocol}@{whom}"), |scope| {
            matches!(scope, Scope::StreamDial(granted, whom)
                if granted == protocol && (is_contact || *whom == Whom::Any))
        })
    }

    /// The app a call is made for: a caller with a token is always its own.
    pub(super) fn app(&self, named: Option<String>) -> Option<String> {
        match self {
            Self::User => named,
            Self::App(grant) => Some(grant.id.clone()),
        }
    }

    /// Whose answers are remembered: those of a token end with it.
    pub(super) fn key(&self) -> String {
        match self {
            Self::User => String::new(),
            Self::App(grant) => format!("{}/{}", grant.id, grant.token),
        }
    }

    /// An app has the node touch files in its own folder only: the node writes them as the user.
    pub(super) fn require_own_path(&self, path: &Path) -> Result<()> {
        let Self::App(grant) = self else { return Ok(()) };
        let is_plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        let exists = path.ancestors().find(|known| known.exists());
        let real = exists.and_then(|known| known.canonicalize().ok());
        let own = grant.storage.canonicalize().ok();
        match (real, own) {
            (Some(real), Some(own)) if is_plain && real.starts_with(&own) => Ok(()),
            _ => {
                let message = format!("{} is not in the folder of the app {}", path.display(), grant.id);
                let hint = format!("its folder is {}", grant.storage.display());
                Err(ApiError::new(ErrorKind::NotAllowed, message).with_hint(hint))
            }
        }
    }

    /// The folder of an app and what may be in it; the user's own folders have no quota.
    pub(super) fn room(&self) -> Option<Room> {
        let Self::App(grant) = self else { return None };
        Some(Room { app: grant.id.clone(), folder: grant.storage.clone(), quota: grant.storage_quota })
    }
}
