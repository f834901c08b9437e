//! Identity, contacts, invites and the keystore, call by call.

use async_trait::async_trait;
use http::Method;
use p2p_api::wire::encode_component;
use p2p_api::{
    AcceptInvite, Accepted, AskWriterKey, ContactInfo, CreatedIdentity, CreatedInvite, IdentityInfo, InviteInfo,
    KeystoreContract, KeystoreInfo, Lock, NewIdentity, NewInvite, OwnWriterKey, Passphrase, PeopleContract, RenameContact,
    Result, SetPassphrase, VerifyContact, routes,
};

use crate::Client;

fn of_contact(route: &str, contact: &str) -> String {
    route.replace("{contact}", &encode_component(contact))
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
}
