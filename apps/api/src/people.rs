//! People: the user's identity, the people they know, and the invites by which they come to know them
//! (specs/overlay.md, section 4).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use p2p_identity::{DriveId, IdentityId, PeerId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{AnswerPick, ApiError, Contract, ErrorKind, OwnWriterKey, PickContact, PickInfo, Result};

/// The identity of the user of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IdentityInfo {
    /// Its id, 56 characters.
    #[schema(value_type = String)]
    pub identity: IdentityId,
    /// What others are told to call it.
    pub name: String,
    /// The local name of its zone.
    pub zone: String,
    /// Its zone's name everywhere.
    pub ztld: String,
    /// The device's signing key (Ed25519): 64 hexadecimal digits.
    pub device: String,
    /// The node that the device's certificate names.
    #[schema(value_type = String)]
    pub peer: PeerId,
    /// Seconds since 1970.
    pub created: u64,
    /// The genesis link in hexadecimal; its BLAKE3 hash is the id.
    pub genesis: String,
    /// The certificate of the transport key in hexadecimal.
    pub certificate: String,
}

/// `POST /v1/identity`: a new identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewIdentity {
    /// What others are told to call it, at most 64 bytes.
    pub name: String,
    /// The zone that speaks for it; without one, the only zone there is, or a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// An identity that was just made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedIdentity {
    /// What it is.
    #[serde(flatten)]
    pub info: IdentityInfo,
    /// The 24 words behind it. They are told this once and kept nowhere: who has them can take the identity over.
    pub words: String,
}

impl fmt::Debug for CreatedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedIdentity").field("info", &self.info).finish_non_exhaustive()
    }
}

/// How sure it is that a contact is who they seem to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verified {
    /// As sure as the way is by which the invite came.
    #[default]
    No,
    /// The invite was shown in person.
    InPerson,
    /// Both have compared the number.
    Number,
    /// The user has scanned a code that they showed.
    Scanned,
}

/// Somebody the user knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContactInfo {
    /// Their identity.
    #[schema(value_type = String)]
    pub identity: IdentityId,
    /// What the user calls them: also a name, `docs.NAME` is `docs` in their zone.
    pub name: String,
    /// What they call themselves.
    pub own_name: String,
    /// How sure it is.
    pub verified: Verified,
    /// Their node.
    #[schema(value_type = String)]
    pub peer: PeerId,
    /// Whether that node is connected now.
    pub connected: bool,
    /// Their zone.
    pub ztld: String,
    /// 60 digits that are the same on their side: `p2p contact verify`.
    pub safety_number: String,
    /// What they scan instead of comparing the number: both identities. Nothing of it is secret.
    #[serde(default)]
    pub code: String,
    /// Another identity now speaks for their zone: nothing is done for them until the user says that this is right.
    pub changed: bool,
    /// When they were added, in milliseconds since 1970.
    pub added: u64,
}

/// `POST /v1/invites`: a new invite.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewInvite {
    /// Seconds until it expires; a day by default, five minutes in person, at most 14 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_s: Option<u64>,
    /// It is shown face to face, and whoever accepts it waits until the user has confirmed them.
    #[serde(default)]
    pub in_person: bool,
    /// It also lets them write to this drive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub drive: Option<DriveId>,
    /// Only at and under this path; everywhere where it is empty.
    #[serde(default)]
    pub prefix: String,
    /// What the user will call them; what they call themselves without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// How far an invite has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InviteState {
    /// Nobody has used it.
    Open,
    /// Somebody has, and waits for the user to confirm them.
    Waiting,
    /// The user accepted it, and the other side has not answered yet.
    Accepting,
    /// It is done.
    Used,
    /// It came too late, or was refused.
    Failed,
}

/// An invite that was made here, or is being accepted here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InviteInfo {
    /// Its id: 32 hexadecimal digits.
    pub invite: String,
    /// How far it has come.
    pub state: InviteState,
    /// Whether it is shown face to face.
    pub in_person: bool,
    /// When it expires, in seconds since 1970.
    pub expires: u64,
    /// The drive that it lets write to.
    #[schema(value_type = Option<String>)]
    pub drive: Option<DriveId>,
    /// Who made it, where it is being accepted here; who uses it, where one is known.
    #[schema(value_type = Option<String>)]
    pub identity: Option<IdentityId>,
    /// What they call themselves, or what the user calls them.
    pub name: Option<String>,
    /// Other nodes that hold what was left for the other side, in case that it is away.
    #[serde(default)]
    pub left_on: u32,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An invite that was just made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedInvite {
    /// What it is.
    #[serde(flatten)]
    pub info: InviteInfo,
    /// Its text, told this once. Whoever has it can use it, once.
    pub link: String,
    /// The same for a QR code.
    pub qr: String,
}

impl fmt::Debug for CreatedInvite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedInvite").field("info", &self.info).finish_non_exhaustive()
    }
}

/// `POST /v1/invites/accept`: an invite that somebody gave the user.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AcceptInvite {
    /// Its text, or what its QR code says.
    pub link: String,
    /// What the user will call them; what they call themselves without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// They stand before the user: with an invite that is shown in person, they are verified.
    #[serde(default)]
    pub in_person: bool,
    /// Seconds to wait for the other side; it goes on afterwards, also over a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_s: Option<f64>,
}

impl fmt::Debug for AcceptInvite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptInvite").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What came of it so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// The invite.
    #[serde(flatten)]
    pub invite: InviteInfo,
    /// The new contact, once the other side has answered.
    pub contact: Option<ContactInfo>,
}

/// `PUT /v1/contacts/{contact}`: what the user calls them from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RenameContact {
    /// One label.
    pub name: String,
}

/// `POST /v1/contacts/{contact}/verify`: both have compared the number, or one has scanned the code of the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerifyContact {
    /// The number as the other side sees it; spaces do not matter.
    #[serde(default)]
    pub number: String,
    /// Instead of the number: what the code said that the other side showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanned: Option<String>,
    /// Believe the identity that speaks for their zone now.
    #[serde(default)]
    pub accept_change: bool,
}

/// `POST /v1/contacts/{contact}/writer-key`: the key with which they write to a drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AskWriterKey {
    /// The drive.
    #[schema(value_type = String)]
    pub drive: DriveId,
}

/// What stands behind [`People`]. A contact is named by what the user calls them, or by their identity.
#[async_trait]
pub trait PeopleContract: Send + Sync {
    /// The identity of this node's user. [`ErrorKind::NotFound`] before one was made.
    async fn identity(&self) -> Result<IdentityInfo>;
    /// Makes one. [`ErrorKind::Conflict`] if there is one.
    async fn create_identity(&self, new: NewIdentity) -> Result<CreatedIdentity>;
    /// Everybody the user knows, by name.
    async fn contacts(&self) -> Result<Vec<ContactInfo>>;
    /// Calls a contact something else.
    async fn rename_contact(&self, contact: &str, rename: RenameContact) -> Result<ContactInfo>;
    /// Marks a contact as verified. [`ErrorKind::NotAllowed`] if the number or the code is another one.
    async fn verify_contact(&self, contact: &str, verify: VerifyContact) -> Result<ContactInfo>;
    /// Forgets a contact.
    async fn remove_contact(&self, contact: &str) -> Result<()>;
    /// Asks a contact's node for the key with which they write to a drive.
    async fn ask_writer_key(&self, contact: &str, ask: AskWriterKey) -> Result<OwnWriterKey>;
    /// Makes an invite.
    async fn invite(&self, new: NewInvite) -> Result<CreatedInvite>;
    /// Invites that are open, being accepted, or done a short while ago.
    async fn invites(&self) -> Result<Vec<InviteInfo>>;
    /// Confirms who uses an invite that was shown in person.
    async fn confirm_invite(&self, invite: &str) -> Result<ContactInfo>;
    /// Takes an invite back, or stops accepting it.
    async fn revoke_invite(&self, invite: &str) -> Result<()>;
    /// Accepts an invite.
    async fn accept_invite(&self, accept: AcceptInvite) -> Result<Accepted>;

    // The next four a node may be without.

    /// Asks the user to pick a contact for an app. [`ErrorKind::Busy`] if too many wait for the user.
    async fn pick_contact(&self, _ask: PickContact) -> Result<PickInfo> {
        none()
    }
    /// What apps ask, the oldest first, and what was answered a short while ago.
    async fn picks(&self) -> Result<Vec<PickInfo>> {
        none()
    }
    /// One of them, once the user has answered or the time is over.
    async fn pick(&self, _pick: &str, _wait: Duration) -> Result<PickInfo> {
        none()
    }
    /// The user's answer. [`ErrorKind::Conflict`] if there was one before.
    async fn answer_pick(&self, _pick: &str, _answer: AnswerPick) -> Result<PickInfo> {
        none()
    }
}

/// A node that knows nobody.
pub(crate) struct NoPeople;

fn none<T>() -> Result<T> {
    Err(ApiError::new(ErrorKind::Unsupported, "this node has no identity and no contacts"))
}

#[async_trait]
impl PeopleContract for NoPeople {
    async fn identity(&self) -> Result<IdentityInfo> {
        none()
    }

    async fn create_identity(&self, _: NewIdentity) -> Result<CreatedIdentity> {
        none()
    }

    async fn contacts(&self) -> Result<Vec<ContactInfo>> {
        none()
    }

    async fn rename_contact(&self, _: &str, _: RenameContact) -> Result<ContactInfo> {
        none()
    }

    async fn verify_contact(&self, _: &str, _: VerifyContact) -> Result<ContactInfo> {
        none()
    }

    async fn remove_contact(&self, _: &str) -> Result<()> {
        none()
    }

    async fn ask_writer_key(&self, _: &str, _: AskWriterKey) -> Result<OwnWriterKey> {
        none()
    }

    async fn invite(&self, _: NewInvite) -> Result<CreatedInvite> {
        none()
    }

    async fn invites(&self) -> Result<Vec<InviteInfo>> {
        none()
    }

    async fn confirm_invite(&self, _: &str) -> Result<ContactInfo> {
        none()
    }

    async fn revoke_invite(&self, _: &str) -> Result<()> {
        none()
    }

    async fn accept_invite(&self, _: AcceptInvite) -> Result<Accepted> {
        none()
    }
}

/// The user's identity, contacts and invites.
#[derive(Clone)]
pub struct People {
    pub(crate) contract: Arc<dyn Contract>,
}

impl People {
    /// The identity of this node's user.
    pub async fn identity(&self) -> Result<IdentityInfo> {
        self.contract.people().identity().await
    }

    /// Makes one.
    pub async fn create_identity(&self, new: NewIdentity) -> Result<CreatedIdentity> {
        self.contract.people().create_identity(new).await
    }

    /// Everybody the user knows.
    pub async fn contacts(&self) -> Result<Vec<ContactInfo>> {
        self.contract.people().contacts().await
    }

    /// Calls a contact something else.
    pub async fn rename(&self, contact: &str, rename: RenameContact) -> Result<ContactInfo> {
        self.contract.people().rename_contact(contact, rename).await
    }

    /// Marks a contact as verified.
    pub async fn verify(&self, contact: &str, verify: VerifyContact) -> Result<ContactInfo> {
        self.contract.people().verify_contact(contact, verify).await
    }

    /// Forgets a contact.
    pub async fn remove(&self, contact: &str) -> Result<()> {
        self.contract.people().remove_contact(contact).await
    }

    /// Asks a contact's node for the key with which they write to a drive.
    pub async fn writer_key(&self, contact: &str, ask: AskWriterKey) -> Result<OwnWriterKey> {
        self.contract.people().ask_writer_key(contact, ask).await
    }

    /// Makes an invite.
    pub async fn invite(&self, new: NewInvite) -> Result<CreatedInvite> {
        self.contract.people().invite(new).await
    }

    /// Invites that are open, being accepted, or done a short while ago.
    pub async fn invites(&self) -> Result<Vec<InviteInfo>> {
        self.contract.people().invites().await
    }

    /// Confirms who uses an invite that was shown in person.
    pub async fn confirm(&self, invite: &str) -> Result<ContactInfo> {
        self.contract.people().confirm_invite(invite).await
    }

    /// Takes an invite back, or stops accepting it.
    pub async fn revoke(&self, invite: &str) -> Result<()> {
        self.contract.people().revoke_invite(invite).await
    }

    /// Asks the user to pick a contact for an app.
    pub async fn pick_contact(&self, ask: PickContact) -> Result<PickInfo> {
        self.contract.people().pick_contact(ask).await
    }

    /// What apps ask, the oldest first, and what was answered a short while ago.
    pub async fn picks(&self) -> Result<Vec<PickInfo>> {
        self.contract.people().picks().await
    }

    /// One of them, once the user has answered or the time is over.
    pub async fn pick(&self, pick: &str, wait: Duration) -> Result<PickInfo> {
        self.contract.people().pick(pick, wait).await
    }

    /// The user's answer.
    pub async fn answer_pick(&self, pick: &str, answer: AnswerPick) -> Result<PickInfo> {
        self.contract.people().answer_pick(pick, answer).await
    }

    /// Accepts an invite.
    pub async fn accept(&self, accept: AcceptInvite) -> Result<Accepted> {
        self.contract.people().accept_invite(accept).await
    }
}
