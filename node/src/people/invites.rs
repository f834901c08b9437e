//! Invites: made, listed, confirmed, taken back, accepted.

use std::time::Duration;

use data_encoding::HEXLOWER;
use p2p_api::{
    AcceptInvite, Accepted, ApiError, ContactInfo, CreatedInvite, ErrorKind, InviteInfo, InviteState, NewInvite, Result,
};
use p2p_drives::{Dialer, PathKey, Role};
use p2p_identity::{Card, IdentityId, Invite, InviteId, InviteSecret, MAX_INVITE_ADDRESSES, Purpose, SecretKind, Side};

use super::contacts::petname;
use super::rows::{Changes, InviteRow, Stage};
use super::wire::Reason;
use super::{Inner, People, blocking, ledger_error, now_s};
use crate::keys::key_error;

/// Most invites that are open, and as many that are being accepted.
const MAX_OPEN: usize = 64;
/// How long an invite lives as a link.
const LIFE_S: u64 = 24 * 3600;
/// How long one lives that is shown in person.
const IN_PERSON_LIFE_S: u64 = 5 * 60;
/// Longest life.
const MAX_LIFE_S: u64 = 14 * 24 * 3600;
/// How long what is done is remembered beyond the invite's life: the other side may still ask for its answer.
const REMEMBER_S: u64 = 24 * 3600;
/// How long accepting waits for the other side unless it is told otherwise.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest path below which an invited writer may write, in bytes.
const MAX_PREFIX_BYTES: usize = 255;
/// A clock may be wrong by this much.
const TOLERANCE_S: u64 = 120;

/// What came of a card that an accepter showed.
pub(super) enum Taken {
    /// Done; this is our card for them.
    Done(Box<Card>),
    /// The user has to confirm them.
    Wait,
    Refused(Reason),
}

impl People {
    /// Makes an invite.
    pub(crate) async fn invite(&self, new: NewInvite) -> Result<CreatedInvite> {
        let (genesis, ..) = self.inner.own()?;
        let life = new.life_s.unwrap_or(if new.in_person { IN_PERSON_LIFE_S } else { LIFE_S });
        if life == 0 || life > MAX_LIFE_S {
            return Err(ApiError::invalid(format!("an invite lives for 1 to {MAX_LIFE_S} seconds (14 days)")));
        }
        if let Some(drive) = &new.drive {
            let owned = self.inner.drives.status(drive).is_ok_and(|status| status.role == Role::Owner);
            if !owned {
                return Err(ApiError::not_found(format!("this node does not own the drive {drive}"))
                    .with_hint("only who shares a folder lets others write to it: p2p shares"));
            }
        }
        let name = new.name.as_deref().map(petname).transpose()?;
        let prefix = new.prefix.trim_matches('/');
        if !prefix.is_empty() && (prefix.len() > MAX_PREFIX_BYTES || PathKey::from_path(prefix).is_err()) {
            return Err(ApiError::invalid("the path below which they may write is no path of a drive, or too long"));
        }
        let own = self.inner.network.own_addresses();
        let mut addresses: Vec<_> = own.into_iter().filter(|address| !address.ip.is_loopback()).collect();
        if addresses.is_empty() {
            addresses = self.inner.network.own_addresses();
        }
        addresses.truncate(MAX_INVITE_ADDRESSES);
        let expires = now_s() + life;
        let invite = Invite {
            purpose: new.drive.map_or(Purpose::Contact, Purpose::Writer),
            in_person: new.in_person,
            identity: genesis.id(),
            secret: InviteSecret::generate(),
            expires_minute: u32::try_from(expires.div_ceil(60)).unwrap_or(u32::MAX),
            peer: self.inner.me,
            addresses,
        };
        let row = InviteRow {
            is_ours: true,
            in_person: new.in_person,
            created: now_s(),
            expires,
            drive: new.drive,
            prefix: prefix.to_owned(),
            name,
            stage: Stage::Open,
            inviter: None,
            addresses: Vec::new(),
        };
        let id = invite.secret.id();
        let (secret, stored) = (invite.secret.clone(), row.clone());
        blocking(&self.inner, move |inner| inner.store_invite(id, stored, &secret)).await?;
        self.inner.changed.notify_waiters();
        Ok(CreatedInvite { info: info(&id, &row, None, 0), link: invite.to_string(), qr: invite.qr_text().to_string() })
    }

    /// Those that are open, being accepted, or done a short while ago.
    pub(crate) fn invites(&self) -> Vec<InviteInfo> {
        let rows = self.inner.rows();
        let mut all: Vec<_> = rows.invites().iter().collect();
        all.sort_by_key(|(_, row)| row.created);
        let name = |row: &InviteRow| {
            let Stage::Used { identity } = &row.stage else { return None };
            rows.contacts().get(identity).map(|contact| contact.name.clone())
        };
        let left = self.inner.left();
        all.into_iter().map(|(id, row)| info(id, row, name(row), left.get(id).copied().unwrap_or(0))).collect()
    }

    /// The user is sure of who used an invite that was shown in person.
    pub(crate) async fn confirm(&self, invite: &str) -> Result<ContactInfo> {
        let id = invite_id(invite)?;
        let added = blocking(&self.inner, move |inner| {
            let _deciding = inner.deciding();
            let row = inner.rows().invites().get(&id).cloned().ok_or_else(|| unknown(&id))?;
            let card = match &row.stage {
                Stage::Waiting { card } => card.clone(),
                Stage::Used { identity } => return Ok(*identity),
                _ => {
                    return Err(ApiError::new(ErrorKind::Conflict, "nobody waits to be confirmed for this invite"));
                }
            };
            let card = Card::read(&card, &id, Side::Accepter)
                .map_err(|error| ApiError::new(ErrorKind::Corrupt, error.to_string()))?;
            let row = InviteRow { stage: Stage::Used { identity: card.identity() }, ..row };
            inner.add_contact(&card, (id, row), Vec::new())
        });
        let added = added.await?;
        self.inner.changed.notify_waiters();
        self.inner.contact(&added)
    }

    /// Takes an invite back, or stops accepting it; what was done stays.
    pub(crate) async fn revoke_invite(&self, invite: &str) -> Result<()> {
        let id = invite_id(invite)?;
        blocking(&self.inner, move |inner| {
            let _deciding = inner.deciding();
            if !inner.rows().invites().contains_key(&id) {
                return Err(unknown(&id));
            }
            inner.forget_invite(&id)
        })
        .await?;
        self.inner.changed.notify_waiters();
        Ok(())
    }

    /// Accepts an invite: remembered, and tried until the other side was met or it expires.
    pub(crate) async fn accept(&self, accept: AcceptInvite) -> Result<Accepted> {
        let invite: Invite = accept.link.parse().map_err(|error: p2p_identity::InviteError| {
            ApiError::invalid(error.to_string()).with_hint("an invite looks like p2pn:1:…; copy all of it")
        })?;
        let (genesis, ..) = self.inner.own()?;
        let id = invite.secret.id();
        if invite.identity == genesis.id() {
            return Err(ApiError::invalid("this is an invite of your own").with_hint("give it to somebody else"));
        }
        let known = self.inner.rows().invites().get(&id).cloned();
        let is_another = |row: &InviteRow| row.is_ours || row.inviter != Some((invite.identity, invite.peer));
        if known.as_ref().is_some_and(is_another) {
            return Err(ApiError::invalid("this invite has the secret of another one: somebody put it together")
                .with_hint("ask whoever is to invite you for it once more, by another way"));
        }
        let name = accept.name.as_deref().map(petname).transpose()?;
        let expires = u64::from(invite.expires_minute) * 60;
        let is_done = known.as_ref().is_some_and(|row| matches!(row.stage, Stage::Used { .. }));
        if now_s() > expires + TOLERANCE_S && !is_done {
            return Err(ApiError::new(ErrorKind::TimedOut, "this invite has expired").with_hint("ask for a new one"));
        }
        let drive = if let Purpose::Writer(drive) = invite.purpose { Some(drive) } else { None };
        if !is_done {
            let row = InviteRow {
                is_ours: false,
                in_person: invite.in_person && accept.in_person,
                created: now_s(),
                expires,
                drive,
                prefix: String::new(),
                name,
                stage: Stage::Accepting,
                inviter: Some((invite.identity, invite.peer)),
                addresses: invite.addresses.iter().map(ToString::to_string).collect(),
            };
            let secret = invite.secret.clone();
            blocking(&self.inner, move |inner| inner.store_invite(id, row, &secret)).await?;
        }
        for address in &invite.addresses {
            self.inner.network.remember(*address).await;
        }
        self.inner.changed.notify_waiters();
        let wait = accept.wait_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let _ = tokio::time::timeout(wait.unwrap_or(PATIENCE), self.inner.met(&id)).await;
        let row = self.inner.rows().invites().get(&id).cloned().ok_or_else(|| unknown(&id))?;
        let contact = match &row.stage {
            Stage::Used { identity } => Some(self.inner.contact(identity).map_err(|_| {
                ApiError::new(ErrorKind::NotAllowed, "this invite was used before").with_hint("ask for a new invite")
            })?),
            Stage::Failed { reason } => {
                return Err(ApiError::new(ErrorKind::NotAllowed, reason.clone()).with_hint("ask for a new invite"));
            }
            _ => None,
        };
        let left_on = self.inner.left().get(&id).copied().unwrap_or(0);
        let name = contact.as_ref().map(|contact| contact.name.clone());
        Ok(Accepted { invite: info(&id, &row, name, left_on), contact })
    }
}

impl Inner {
    /// Resolves when an invite that is accepted here has come to its end.
    async fn met(&self, id: &InviteId) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let stage = self.rows().invites().get(id).map(|row| row.stage.clone());
            if !matches!(stage, Some(Stage::Accepting)) {
                return;
            }
            changed.await;
        }
    }

    /// Secret first, row second: a row without its secret could do nothing. Blocks on the disk.
    fn store_invite(&self, id: InviteId, row: InviteRow, secret: &InviteSecret) -> Result<()> {
        let _deciding = self.deciding();
        self.sweep_now()?;
        let alike = |other: &&InviteRow| {
            other.is_ours == row.is_ours
                && matches!(other.stage, Stage::Open | Stage::Waiting { .. } | Stage::Accepting)
        };
        let open =
            self.rows().invites().iter().filter(|(other, _)| **other != id).filter(|(_, row)| alike(row)).count();
        if open >= MAX_OPEN {
            return Err(ApiError::new(ErrorKind::StorageFull, format!("there are {MAX_OPEN} open invites, the limit"))
                .with_hint("take some back: p2p contact invites, p2p contact revoke"));
        }
        let stored = self.keys.open().insert_bytes(SecretKind::INVITE, &id, secret.as_bytes());
        stored.map_err(|error| key_error(&error))?;
        self.rows()
            .apply(Changes { invites: vec![(id, Some(row))], ..Changes::default() })
            .map_err(|error| ledger_error(&error))
    }

    fn forget_invite(&self, id: &InviteId) -> Result<()> {
        // The secret first: while the keys are locked, nothing is done by halves.
        let removed = self.keys.open().remove(SecretKind::INVITE, id);
        removed.map_err(|error| key_error(&error))?;
        self.left().remove(id);
        let changes = Changes { invites: vec![(*id, None)], ..Changes::default() };
        self.rows().apply(changes).map_err(|error| ledger_error(&error))
    }

    /// Forgets what expired long ago. Blocks on the disk.
    pub(super) fn sweep(&self) -> Result<()> {
        let _deciding = self.deciding();
        self.sweep_now()
    }

    fn sweep_now(&self) -> Result<()> {
        let now = now_s();
        let is_old = |row: &InviteRow| {
            let is_open = matches!(row.stage, Stage::Open | Stage::Waiting { .. } | Stage::Accepting);
            now > row.expires + if is_open { TOLERANCE_S } else { REMEMBER_S }
        };
        let old: Vec<InviteId> =
            self.rows().invites().iter().filter(|(_, row)| is_old(row)).map(|(id, _)| *id).collect();
        old.iter().try_for_each(|id| self.forget_invite(id))
    }

    /// The secret of an invite that is remembered.
    pub(super) fn secret(&self, id: &InviteId) -> Result<InviteSecret> {
        let bytes = self.keys.open().get_bytes(SecretKind::INVITE, id).map_err(|error| key_error(&error))?;
        bytes.and_then(|bytes| InviteSecret::from_bytes(&bytes)).ok_or_else(|| unknown(id))
    }

    /// Our card for one side of an invite.
    pub(super) fn card(&self, id: &InviteId, side: Side) -> Result<Card> {
        let (genesis, certificate, row) = self.own()?;
        let device = self.device(&genesis.id())?;
        let zone: p2p_names::ZoneKey =
            row.ztld.parse().map_err(|_| ApiError::new(ErrorKind::Corrupt, "the identity's zone is damaged"))?;
        Ok(Card::sign(genesis, certificate, &row.name, zone.to_bytes(), (id, side), &device.signing))
    }

    /// An accepter showed their card and proved that they know the invite. Blocks on the disk.
    pub(super) fn take_card(&self, id: &InviteId, card: &[u8]) -> Result<Taken> {
        let _deciding = self.deciding();
        let Some(row) = self.rows().invites().get(id).cloned().filter(|row| row.is_ours) else {
            return Ok(Taken::Refused(Reason::Unknown));
        };
        let Ok(card) = Card::read(card, id, Side::Accepter) else { return Ok(Taken::Refused(Reason::Bad)) };
        let who = card.identity();
        if self.own()?.0.id() == who {
            return Ok(Taken::Refused(Reason::Bad));
        }
        match &row.stage {
            Stage::Used { identity } if *identity == who => {
                return self.card(id, Side::Inviter).map(|card| Taken::Done(Box::new(card)));
            }
            Stage::Used { .. } => return Ok(Taken::Refused(Reason::Used)),
            _ if now_s() > row.expires => return Ok(Taken::Refused(Reason::Expired)),
            Stage::Waiting { card: waiting } => {
                let same = Card::read(waiting, id, Side::Accepter).is_ok_and(|waiting| waiting.identity() == who);
                return Ok(if same { Taken::Wait } else { Taken::Refused(Reason::Used) });
            }
            Stage::Open => {}
            Stage::Accepting | Stage::Failed { .. } => return Ok(Taken::Refused(Reason::Unknown)),
        }
        if row.in_person {
            let waiting = InviteRow { stage: Stage::Waiting { card: card.as_bytes().to_vec() }, ..row };
            let changes = Changes { invites: vec![(*id, Some(waiting))], ..Changes::default() };
            self.rows().apply(changes).map_err(|error| ledger_error(&error))?;
            let told = serde_json::json!({ "invite": HEXLOWER.encode(id), "identity": who, "name": card.name });
            self.events.push("contacts", "invite.waiting", told);
            self.changed.notify_waiters();
            return Ok(Taken::Wait);
        }
        // Our card before the contact: where it cannot be signed, nothing is done.
        let own = self.card(id, Side::Inviter)?;
        let used = InviteRow { stage: Stage::Used { identity: who }, ..row };
        self.add_contact(&card, (*id, used), Vec::new())?;
        self.changed.notify_waiters();
        Ok(Taken::Done(Box::new(own)))
    }

    /// The inviter answered with this card. Blocks on the disk.
    pub(super) fn take_answer(&self, id: &InviteId, card: &[u8]) -> Result<()> {
        let _deciding = self.deciding();
        let Some(row) = self.rows().invites().get(id).cloned() else { return Ok(()) };
        let (Stage::Accepting, Some((inviter, _))) = (&row.stage, row.inviter) else { return Ok(()) };
        let card = Card::read(card, id, Side::Inviter)
            .map_err(|error| ApiError::new(ErrorKind::Corrupt, format!("the other side's card: {error}")))?;
        if card.identity() != inviter {
            return Err(ApiError::new(ErrorKind::Corrupt, "somebody else than the inviter answered"));
        }
        let addresses = row.addresses.clone();
        let used = InviteRow { stage: Stage::Used { identity: inviter }, ..row };
        self.add_contact(&card, (*id, used), addresses)?;
        self.changed.notify_waiters();
        Ok(())
    }

    /// It will never come to anything. Blocks on the disk.
    pub(super) fn give_up(&self, id: &InviteId, reason: &str) -> Result<()> {
        let _deciding = self.deciding();
        let Some(row) = self.rows().invites().get(id).cloned() else { return Ok(()) };
        if row.stage != Stage::Accepting {
            return Ok(());
        }
        let failed = InviteRow { stage: Stage::Failed { reason: reason.to_owned() }, ..row };
        let changes = Changes { invites: vec![(*id, Some(failed))], ..Changes::default() };
        self.rows().apply(changes).map_err(|error| ledger_error(&error))?;
        self.changed.notify_waiters();
        Ok(())
    }
}

fn info(id: &InviteId, row: &InviteRow, contact: Option<String>, left_on: u32) -> InviteInfo {
    let card = match &row.stage {
        Stage::Waiting { card } => Card::read(card, id, Side::Accepter).ok(),
        _ => None,
    };
    let identity: Option<IdentityId> = match &row.stage {
        Stage::Used { identity } => Some(*identity),
        Stage::Waiting { .. } => card.as_ref().map(Card::identity),
        _ => row.inviter.map(|(identity, _)| identity),
    };
    InviteInfo {
        invite: HEXLOWER.encode(id),
        state: match &row.stage {
            Stage::Open | Stage::Waiting { .. } if now_s() > row.expires => InviteState::Failed,
            Stage::Open => InviteState::Open,
            Stage::Waiting { .. } => InviteState::Waiting,
            Stage::Accepting => InviteState::Accepting,
            Stage::Used { .. } => InviteState::Used,
            Stage::Failed { .. } => InviteState::Failed,
        },
        in_person: row.in_person,
        expires: row.expires,
        drive: row.drive,
        identity,
        left_on,
        name: contact.or_else(|| card.map(|card| card.name)).or_else(|| row.name.clone()),
        reason: match &row.stage {
            Stage::Failed { reason } => Some(reason.clone()),
            Stage::Open | Stage::Waiting { .. } if now_s() > row.expires => Some("it has expired".to_owned()),
            _ => None,
        },
    }
}

fn invite_id(text: &str) -> Result<InviteId> {
    // The whole invite is as good a name for it.
    if let Ok(invite) = text.parse::<Invite>() {
        return Ok(invite.secret.id());
    }
    let id = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok().and_then(|id| id.try_into().ok());
    id.ok_or_else(|| ApiError::invalid(format!("{text:?} is not the id of an invite")).with_hint("p2p contact invites"))
}

fn unknown(id: &InviteId) -> ApiError {
    ApiError::not_found(format!("there is no invite {}", HEXLOWER.encode(id)))
        .with_hint("see them: p2p contact invites")
}
