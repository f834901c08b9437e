//! The user of a fake node: an identity that is real, keys that are not, and contacts that tests invent.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use p2p_identity::{
    AgreementKey, ContentId, GenesisLink, IdentityId, Invite, InviteSecret, PairCode, PairCodeError, PeerId, Purpose,
    RecoveryWords, SecretKey, TransportCertificate, safety_number,
};

use super::FakeNode;
use crate::{
    AcceptInvite, Accepted, AnswerPick, ApiError, AskWriterKey, ContactInfo, CreatedIdentity, CreatedInvite, ErrorKind,
    IdentityInfo, InviteInfo, InviteState, KeystoreContract, KeystoreInfo, Lock, LockLevel, MAX_PICKS_PER_APP,
    NewIdentity, NewInvite, OwnWriterKey, PICK_LIFE_S, Passphrase, PeopleContract, PickContact, PickInfo, PickState,
    PickedContact, RenameContact, Result, SetPassphrase, Verified, VerifyContact,
};

const MAX_LIFE_S: u64 = 14 * 24 * 3600;

pub(super) struct People {
    identity: Option<IdentityInfo>,
    contacts: BTreeMap<IdentityId, ContactInfo>,
    invites: BTreeMap<String, InviteInfo>,
    picks: Vec<PickInfo>,
    sealing: AgreementKey,
    passphrase: Option<Vec<u8>>,
    is_locked: bool,
}

impl Default for People {
    fn default() -> Self {
        Self {
            identity: None,
            contacts: BTreeMap::new(),
            invites: BTreeMap::new(),
            picks: Vec::new(),
            sealing: AgreementKey::generate(),
            passphrase: None,
            is_locked: false,
        }
    }
}

impl People {
    fn keys(&self) -> KeystoreInfo {
        KeystoreInfo {
            protected: self.passphrase.is_some(),
            locked: self.is_locked,
            level: LockLevel::Identity,
            closed: false,
            sealing_key: HEXLOWER.encode(&self.sealing.public()),
        }
    }

    fn read(&self, passphrase: &Passphrase) -> Result<Vec<u8>> {
        let text = match (&passphrase.sealed, &passphrase.plain) {
            (Some(sealed), None) => {
                let sealed = HEXLOWER.decode(sealed.as_bytes()).ok();
                sealed.and_then(|sealed| self.sealing.open(&sealed)).map(|text| text.to_vec())
            }
            (None, Some(plain)) => Some(plain.as_bytes().to_vec()),
            _ => None,
        };
        let text = text.ok_or_else(|| ApiError::invalid("a passphrase is told either sealed or plain"))?;
        if text.is_empty() { Err(ApiError::invalid("a passphrase has 1 to 1024 bytes")) } else { Ok(text) }
    }

    fn check(&self, passphrase: &Passphrase) -> Result<()> {
        if self.passphrase.as_ref() == Some(&self.read(passphrase)?) {
            return Ok(());
        }
        Err(ApiError::new(ErrorKind::NotAllowed, "this is not the passphrase"))
    }

    fn own(&self) -> Result<&IdentityInfo> {
        self.identity.as_ref().ok_or_else(|| ApiError::not_found("there is no identity yet"))
    }

    fn contact(&mut self, contact: &str) -> Result<&mut ContactInfo> {
        let found =
            self.contacts.values_mut().find(|known| known.name == contact || known.identity.to_string() == contact);
        found.ok_or_else(|| ApiError::not_found(format!("there is no contact {contact:?}")))
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl FakeNode {
    fn people_state(&self) -> MutexGuard<'_, People> {
        self.inner.people.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_locked(&self) -> bool {
        self.people_state().is_locked
    }

    /// From now on resolving a name fails so; `None`: not any more.
    pub fn fail_resolving(&self, error: Option<ApiError>) {
        *self.inner.resolving_fails.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// Lets the user know somebody, who is not connected. An identity has to be there.
    ///
    /// # Panics
    /// Without an identity.
    pub fn meet(&self, name: &str) -> ContactInfo {
        let identity = IdentityId::from(*ContentId::of(name.as_bytes()).as_bytes());
        let mut people = self.people_state();
        let own = people.own().expect("an identity").identity;
        let contact = ContactInfo {
            identity,
            name: name.to_owned(),
            own_name: name.to_uppercase(),
            verified: Verified::No,
            peer: PeerId::from(*identity.as_bytes()),
            connected: false,
            ztld: "000G006K2TJNMD9VTCYRX7BRVV3HAEPS15E6NHDXKPJA1KAJJEG9AFF884".to_owned(),
            safety_number: safety_number(&own, &identity),
            code: PairCode { shown_by: own, shown_to: identity }.to_string(),
            changed: false,
            added: now_s() * 1_000,
        };
        people.contacts.insert(identity, contact.clone());
        contact
    }
}

#[async_trait]
impl KeystoreContract for FakeNode {
    async fn keystore(&self) -> Result<KeystoreInfo> {
        Ok(self.people_state().keys())
    }

    async fn lock(&self, lock: Lock) -> Result<KeystoreInfo> {
        if lock.level == Some(LockLevel::Full) {
            return Err(ApiError::new(ErrorKind::Unsupported, "a fake node cannot be closed"));
        }
        let mut people = self.people_state();
        if people.passphrase.is_none() {
            return Err(ApiError::new(ErrorKind::Conflict, "no passphrase is set, so the keys cannot be locked"));
        }
        people.is_locked = true;
        Ok(people.keys())
    }

    async fn unlock(&self, passphrase: Passphrase) -> Result<KeystoreInfo> {
        let mut people = self.people_state();
        if people.passphrase.is_none() {
            return Err(ApiError::new(ErrorKind::Conflict, "no passphrase is set, so the keys cannot be locked"));
        }
        people.check(&passphrase)?;
        people.is_locked = false;
        Ok(people.keys())
    }

    async fn set_passphrase(&self, set: SetPassphrase) -> Result<KeystoreInfo> {
        let mut people = self.people_state();
        if people.is_locked {
            return Err(ApiError::locked());
        }
        let new = set.new.as_ref().map(|new| people.read(new)).transpose()?;
        if people.passphrase.is_some() {
            let current = set.current.ok_or_else(|| {
                ApiError::new(ErrorKind::NotAllowed, "the passphrase there is has to be told to change it")
            })?;
            people.check(&current)?;
        }
        people.passphrase = new;
        Ok(people.keys())
    }
}

#[async_trait]
impl PeopleContract for FakeNode {
    async fn identity(&self) -> Result<IdentityInfo> {
        self.people_state().own().cloned()
    }

    async fn create_identity(&self, new: NewIdentity) -> Result<CreatedIdentity> {
        if new.name.trim().is_empty() || new.name.len() > 64 {
            return Err(ApiError::invalid("a name has 1 to 64 bytes"));
        }
        let zones = self.node().names().zones().await?;
        let zone = match &new.zone {
            Some(wanted) => zones.into_iter().find(|zone| zone.zone == *wanted),
            None => zones.into_iter().next(),
        };
        let mut people = self.people_state();
        if people.identity.is_some() {
            return Err(ApiError::new(ErrorKind::Conflict, "this node has an identity already"));
        }
        let zone = zone.ok_or_else(|| ApiError::not_found("there is no such zone here"))?;
        let (words, device) = (RecoveryWords::generate(), SecretKey::generate());
        let agreement = AgreementKey::generate().public();
        let genesis = GenesisLink::sign(&words.root(0), &words.root(1).public(), &device, agreement, now_s());
        let certificate = TransportCertificate::sign(genesis.id(), &device, self.inner.me, now_s());
        let info = IdentityInfo {
            identity: genesis.id(),
            name: new.name.trim().to_owned(),
            zone: zone.zone,
            ztld: zone.ztld,
            device: HEXLOWER.encode(&genesis.device),
            peer: self.inner.me,
            created: genesis.time,
            genesis: HEXLOWER.encode(genesis.as_bytes()),
            certificate: HEXLOWER.encode(certificate.as_bytes()),
        };
        people.identity = Some(info.clone());
        Ok(CreatedIdentity { info, words: words.text().to_string() })
    }

    async fn contacts(&self) -> Result<Vec<ContactInfo>> {
        let mut all: Vec<ContactInfo> = self.people_state().contacts.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    async fn rename_contact(&self, contact: &str, rename: RenameContact) -> Result<ContactInfo> {
        let mut people = self.people_state();
        if rename.name.is_empty() || rename.name.contains(['.', ' ']) {
            return Err(ApiError::invalid(format!("{:?} cannot be the name of a contact", rename.name)));
        }
        let known = people.contact(contact)?;
        known.name = rename.name;
        Ok(known.clone())
    }

    async fn verify_contact(&self, contact: &str, verify: VerifyContact) -> Result<ContactInfo> {
        let mut people = self.people_state();
        let own = people.identity.as_ref().map(|own| own.identity);
        let known = people.contact(contact)?;
        if let (Some(text), Some(own)) = (&verify.scanned, own) {
            let not = |error: PairCodeError| ApiError::new(ErrorKind::NotAllowed, error.to_string());
            let code: PairCode = text.parse().map_err(|error: PairCodeError| ApiError::invalid(error.to_string()))?;
            code.check(&own, &known.identity).map_err(not)?;
            known.verified = Verified::Scanned;
            return Ok(known.clone());
        }
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        if digits(&verify.number) != digits(&known.safety_number) {
            return Err(ApiError::new(ErrorKind::NotAllowed, "this is not the number you share"));
        }
        known.verified = Verified::Number;
        Ok(known.clone())
    }

    async fn remove_contact(&self, contact: &str) -> Result<()> {
        let mut people = self.people_state();
        let id = people.contact(contact)?.identity;
        people.contacts.remove(&id);
        Ok(())
    }

    async fn ask_writer_key(&self, contact: &str, _: AskWriterKey) -> Result<OwnWriterKey> {
        self.people_state().contact(contact)?;
        Err(ApiError::not_found("cannot reach their node: a fake node connects to nobody by itself"))
    }

    async fn invite(&self, new: NewInvite) -> Result<CreatedInvite> {
        let mut people = self.people_state();
        let identity = people.own()?.identity;
        if people.is_locked {
            return Err(ApiError::locked());
        }
        let life = new.life_s.unwrap_or(24 * 3600);
        if life == 0 || life > MAX_LIFE_S {
            return Err(ApiError::invalid("an invite lives for 1 to 1209600 seconds (14 days)"));
        }
        let invite = Invite {
            purpose: new.drive.map_or(Purpose::Contact, Purpose::Writer),
            in_person: new.in_person,
            identity,
            secret: InviteSecret::generate(),
            expires_minute: u32::try_from((now_s() + life).div_ceil(60)).unwrap_or(u32::MAX),
            peer: self.inner.me,
            addresses: Vec::new(),
        };
        let info = InviteInfo {
            invite: HEXLOWER.encode(&invite.secret.id()),
            state: InviteState::Open,
            in_person: new.in_person,
            expires: u64::from(invite.expires_minute) * 60,
            drive: new.drive,
            identity: None,
            name: new.name,
            left_on: 0,
            reason: None,
        };
        people.invites.insert(info.invite.clone(), info.clone());
        Ok(CreatedInvite { info, link: invite.to_string(), qr: invite.qr_text().to_string() })
    }

    async fn invites(&self) -> Result<Vec<InviteInfo>> {
        Ok(self.people_state().invites.values().cloned().collect())
    }

    async fn confirm_invite(&self, invite: &str) -> Result<ContactInfo> {
        match self.people_state().invites.get(invite) {
            Some(_) => Err(ApiError::new(ErrorKind::Conflict, "nobody waits to be confirmed for this invite")),
            None => Err(ApiError::not_found(format!("there is no invite {invite}"))),
        }
    }

    async fn revoke_invite(&self, invite: &str) -> Result<()> {
        let removed = self.people_state().invites.remove(invite);
        removed.map(drop).ok_or_else(|| ApiError::not_found(format!("there is no invite {invite}")))
    }

    async fn accept_invite(&self, accept: AcceptInvite) -> Result<Accepted> {
        let invite: Invite =
            accept.link.parse().map_err(|error: p2p_identity::InviteError| ApiError::invalid(error.to_string()))?;
        let mut people = self.people_state();
        if people.own()?.identity == invite.identity {
            return Err(ApiError::invalid("this is an invite of your own"));
        }
        let info = InviteInfo {
            invite: HEXLOWER.encode(&invite.secret.id()),
            state: InviteState::Accepting,
            in_person: invite.in_person,
            expires: u64::from(invite.expires_minute) * 60,
            drive: None,
            identity: Some(invite.identity),
            name: accept.name,
            left_on: 0,
            reason: None,
        };
        people.invites.insert(info.invite.clone(), info.clone());
        Ok(Accepted { invite: info, contact: None })
    }

    async fn pick_contact(&self, ask: PickContact) -> Result<PickInfo> {
        ask.check()?;
        let mut people = self.people_state();
        let app = ask.app.unwrap_or_default();
        let waiting = people.picks.iter().filter(|pick| pick.app == app && pick.state == PickState::Waiting).count();
        if waiting >= MAX_PICKS_PER_APP {
            return Err(ApiError::new(ErrorKind::Busy, "too many picks of this app wait for the user"));
        }
        let pick = format!("{:032x}", people.picks.len() + 1);
        let (reason, expires) = (ask.reason, now_s() + PICK_LIFE_S);
        let info = PickInfo { pick, app, reason, state: PickState::Waiting, contact: None, expires };
        people.picks.push(info.clone());
        Ok(info)
    }

    async fn picks(&self) -> Result<Vec<PickInfo>> {
        Ok(self.people_state().picks.clone())
    }

    async fn pick(&self, pick: &str, wait: Duration) -> Result<PickInfo> {
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let found = self.people_state().picks.iter().find(|known| known.pick == pick).cloned();
            let info = found.ok_or_else(|| ApiError::not_found(format!("there is no pick {pick:?}")))?;
            if info.state != PickState::Waiting || tokio::time::Instant::now() >= deadline {
                return Ok(info);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn answer_pick(&self, pick: &str, answer: AnswerPick) -> Result<PickInfo> {
        let mut people = self.people_state();
        let contact = match &answer.contact {
            Some(contact) => {
                let found = people.contact(contact)?.clone();
                Some(PickedContact { identity: found.identity, name: found.name, peer: found.peer, ztld: found.ztld })
            }
            None => None,
        };
        let found = people.picks.iter_mut().find(|known| known.pick == pick);
        let info = found.ok_or_else(|| ApiError::not_found(format!("there is no pick {pick:?}")))?;
        if info.state != PickState::Waiting {
            return Err(ApiError::new(ErrorKind::Conflict, "this pick has been answered"));
        }
        info.state = if contact.is_some() { PickState::Picked } else { PickState::Refused };
        info.contact = contact;
        Ok(info.clone())
    }
}
