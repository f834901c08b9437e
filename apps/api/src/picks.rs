//! One contact for an app, picked by the user: the app sees nobody else (specs/overlay.md, 2.5).

use p2p_identity::{IdentityId, PeerId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Longest reason an app can give, in bytes.
pub const MAX_PICK_REASON_BYTES: usize = 200;
/// Most picks of one app that wait for the user.
pub const MAX_PICKS_PER_APP: usize = 4;
/// Most picks that wait, of all apps.
pub const MAX_PICKS: usize = 32;
/// How long a pick waits for the user, and its answer for the app, in seconds.
pub const PICK_LIFE_S: u64 = 15 * 60;

/// `POST /v1/contacts/pick`: the user is to pick a contact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PickContact {
    /// For which app; a caller with a token is always its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// What for, as the user reads it: at most 200 bytes, no control characters.
    #[serde(default)]
    pub reason: String,
}

/// How far a pick has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PickState {
    /// The user has not answered.
    Waiting,
    /// The user has picked somebody.
    Picked,
    /// The user picks nobody.
    Refused,
}

/// The contact that the user picked: what it takes to reach and recognise them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PickedContact {
    /// Their identity.
    #[schema(value_type = String)]
    pub identity: IdentityId,
    /// What the user calls them.
    pub name: String,
    /// Their node.
    #[schema(value_type = String)]
    pub peer: PeerId,
    /// Their zone.
    pub ztld: String,
}

/// A pick that an app asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PickInfo {
    /// Its id: 32 hexadecimal digits.
    pub pick: String,
    /// Which app asks; empty for the user's own programs.
    pub app: String,
    /// What for, in the app's words.
    pub reason: String,
    /// How far it has come.
    pub state: PickState,
    /// Whom the user picked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<PickedContact>,
    /// When it is forgotten, in seconds since 1970.
    pub expires: u64,
}

/// `POST /v1/picks/{pick}`: what the user says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnswerPick {
    /// The contact, by name or identity; nobody without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
}

impl PickContact {
    /// Whether the reason can be shown to the user.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`]: it is too long, or has control characters.
    pub fn check(&self) -> crate::Result<()> {
        if self.reason.len() > MAX_PICK_REASON_BYTES || self.reason.chars().any(char::is_control) {
            let message = format!("a reason has at most {MAX_PICK_REASON_BYTES} bytes and no control characters");
            return Err(crate::ApiError::invalid(message));
        }
        Ok(())
    }
}
