//! Identity, contacts, invites and the keystore, call by call.

use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use p2p_api::wire::encode_component;
use p2p_api::{
    AcceptInvite, Accepted, AnswerPick, AskWriterKey, ContactInfo, CreatedIdentity, CreatedInvite, IdentityInfo,
    InviteInfo, KeystoreContract, KeystoreInfo, Lock, NewIdentity, NewInvite, OwnWriterKey, Passphrase, PeopleContract,
    PickContact, PickInfo, RenameContact, Result, SetPassphrase, VerifyContact, routes,
};

use crate::Client;

fn of_contact(route: &str, contact: &str) -> String {
    route.replace("{contact}", &encode_component(contact))
}

fn of_pick(pick: &str) -> String {
    routes::PICK.replace("{pick}", &encode_component(pick))
}

fn of_invite(invite: &str) -> String {
    routes::INVITE.replace("{invite}", &encode_component(invite))
}

#[async_trait]
impl KeystoreContract for Client {
    async fn keystore(&self) -> Result<KeystoreInfo> {
        self.get(routes::KEYSTORE).await?.json().await
    }

    async fn lock(&self, lock: Lock) -> Result<KeystoreInfo> {
        self.post(routes::LOCK, &lock).await?.json().await
    }

    async fn unlock(&self, passphrase: Passphrase) -> Result<KeystoreInfo> {
        self.post(routes::UNLOCK, &passphrase).await?.json().await
    }

    async fn set_passphrase(&self, set: SetPassphrase) -> Result<KeystoreInfo> {
        self.post(routes::PASSPHRASE, &set).await?.json().await
    }
}

#[async_trait]
impl PeopleContract for Client {
    async fn identity(&self) -> Result<IdentityInfo> {
        self.get(routes::IDENTITY).await?.json().await
    }

    async fn create_identity(&self, new: NewIdentity) -> Result<CreatedIdentity> {
        self.post(routes::IDENTITY, &new).await?.json().await
    }

    async fn contacts(&self) -> Result<Vec<ContactInfo>> {
        self.get(routes::CONTACTS).await?.json().await
    }

    async fn rename_contact(&self, contact: &str, rename: RenameContact) -> Result<ContactInfo> {
        self.put(&of_contact(routes::CONTACT, contact), &rename).await?.json().await
    }

    async fn verify_contact(&self, contact: &str, verify: VerifyContact) -> Result<ContactInfo> {
        self.post(&of_contact(routes::CONTACT_VERIFY, contact), &verify).await?.json().await
    }

    async fn remove_contact(&self, contact: &str) -> Result<()> {
        self.call(Method::DELETE, &of_contact(routes::CONTACT, contact)).await.map(drop)
    }

    async fn ask_writer_key(&self, contact: &str, ask: AskWriterKey) -> Result<OwnWriterKey> {
        self.post(&of_contact(routes::CONTACT_WRITER_KEY, contact), &ask).await?.json().await
    }

    async fn invite(&self, new: NewInvite) -> Result<CreatedInvite> {
        self.post(routes::INVITES, &new).await?.json().await
    }

    async fn invites(&self) -> Result<Vec<InviteInfo>> {
        self.get(routes::INVITES).await?.json().await
    }

    async fn confirm_invite(&self, invite: &str) -> Result<ContactInfo> {
        self.call(Method::POST, &of_invite(invite)).await?.json().await
    }

    async fn revoke_invite(&self, invite: &str) -> Result<()> {
        self.call(Method::DELETE, &of_invite(invite)).await.map(drop)
    }

    async fn accept_invite(&self, accept: AcceptInvite) -> Result<Accepted> {
        self.post(routes::INVITE_ACCEPT, &accept).await?.json().await
    }

    async fn pick_contact(&self, ask: PickContact) -> Result<PickInfo> {
        self.post(routes::CONTACT_PICK, &ask).await?.json().await
    }

    async fn picks(&self) -> Result<Vec<PickInfo>> {
        self.list(routes::PICKS).await
    }

    async fn pick(&self, pick: &str, wait: Duration) -> Result<PickInfo> {
        self.get(&format!("{}?wait_s={}", of_pick(pick), wait.as_secs_f64())).await?.json().await
    }

    async fn answer_pick(&self, pick: &str, answer: AnswerPick) -> Result<PickInfo> {
        self.post(&of_pick(pick), &answer).await?.json().await
    }
}
