//! Keystore, identity, contacts and invites: the parts of the contract that concern people.

use std::time::Duration;

use async_trait::async_trait;
use p2p_api::{
    AcceptInvite, Accepted, AnswerPick, AskWriterKey, ContactInfo, CreatedIdentity, CreatedInvite, IdentityInfo,
    InviteInfo, KeystoreContract, KeystoreInfo, Lock, NewIdentity, NewInvite, OwnWriterKey, Passphrase, PeopleContract,
    PickContact, PickInfo, RenameContact, Result, SetPassphrase, VerifyContact,
};

use super::LocalNode;

#[async_trait]
impl KeystoreContract for LocalNode {
    async fn keystore(&self) -> Result<KeystoreInfo> {
        Ok(self.keys.info())
    }

    async fn lock(&self, lock: Lock) -> Result<KeystoreInfo> {
        let keys = self.keys.clone();
        // It waits for a key that is just being written.
        let locked = tokio::task::spawn_blocking(move || keys.lock(lock.level)).await;
        locked.map_err(|error| p2p_api::ApiError::internal(error.to_string()))?
    }

    async fn unlock(&self, passphrase: Passphrase) -> Result<KeystoreInfo> {
        self.keys.unlock(&passphrase).await
    }

    async fn set_passphrase(&self, set: SetPassphrase) -> Result<KeystoreInfo> {
        self.keys.set_passphrase(&set).await
    }
}

#[async_trait]
impl PeopleContract for LocalNode {
    async fn identity(&self) -> Result<IdentityInfo> {
        self.people.identity().await
    }

    async fn create_identity(&self, new: NewIdentity) -> Result<CreatedIdentity> {
        self.people.create_identity(new).await
    }

    async fn contacts(&self) -> Result<Vec<ContactInfo>> {
        self.people.contacts()
    }

    async fn rename_contact(&self, contact: &str, rename: RenameContact) -> Result<ContactInfo> {
        self.people.rename_contact(contact, rename).await
    }

    async fn verify_contact(&self, contact: &str, verify: VerifyContact) -> Result<ContactInfo> {
        self.people.verify_contact(contact, verify).await
    }

    async fn remove_contact(&self, contact: &str) -> Result<()> {
        self.people.remove_contact(contact).await
    }

    async fn ask_writer_key(&self, contact: &str, ask: AskWriterKey) -> Result<OwnWriterKey> {
        self.people.ask_writer_key(contact, ask).await
    }

    async fn invite(&self, new: NewInvite) -> Result<CreatedInvite> {
        self.people.invite(new).await
    }

    async fn invites(&self) -> Result<Vec<InviteInfo>> {
        Ok(self.people.invites())
    }

    async fn confirm_invite(&self, invite: &str) -> Result<ContactInfo> {
        self.people.confirm(invite).await
    }

    async fn revoke_invite(&self, invite: &str) -> Result<()> {
        self.people.revoke_invite(invite).await
    }

    async fn accept_invite(&self, accept: AcceptInvite) -> Result<Accepted> {
        self.people.accept(accept).await
    }

    async fn pick_contact(&self, ask: PickContact) -> Result<PickInfo> {
        self.people.pick_contact(ask)
    }

    async fn picks(&self) -> Result<Vec<PickInfo>> {
        Ok(self.people.picks())
    }

    async fn pick(&self, pick: &str, wait: Duration) -> Result<PickInfo> {
        self.people.pick(pick, wait).await
    }

    async fn answer_pick(&self, pick: &str, answer: AnswerPick) -> Result<PickInfo> {
        self.people.answer_pick(pick, &answer)
    }
}
