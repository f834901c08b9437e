//! Handlers of the keystore, the identity, contacts and invites.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use p2p_api::wire::parse_line;
use p2p_api::{
    AcceptInvite, AskWriterKey, Lock, NewIdentity, NewInvite, Passphrase, RenameContact, SetPassphrase, VerifyContact,
};

use super::body::{At, JsonBody, json, read_body};
use super::problem::Refusal;
use super::router::Server;

type Answer = Result<Response, Refusal>;

/// The last part of [`p2p_api::routes::CONTACT_PICK`].
const PICK: &str = "pick";

pub(super) async fn keystore(State(server): State<Server>) -> Answer {
    json(&server.node.contract().keystore().keystore().await?)
}

pub(super) async fn lock(State(server): State<Server>, request: Request) -> Answer {
    let body = read_body(request.into_body()).await?;
    let lock = if body.is_empty() { Lock::default() } else { parse_line(&body)? };
    json(&server.node.contract().keystore().lock(lock).await?)
}

pub(super) async fn unlock(State(server): State<Server>, JsonBody(passphrase): JsonBody<Passphrase>) -> Answer {
    json(&server.node.contract().keystore().unlock(passphrase).await?)
}

pub(super) async fn set_passphrase(State(server): State<Server>, JsonBody(set): JsonBody<SetPassphrase>) -> Answer {
    json(&server.node.contract().keystore().set_passphrase(set).await?)
}

pub(super) async fn identity(State(server): State<Server>) -> Answer {
    json(&server.node.people().identity().await?)
}

pub(super) async fn create_identity(State(server): State<Server>, JsonBody(new): JsonBody<NewIdentity>) -> Answer {
    json(&server.node.people().create_identity(new).await?)
}

pub(super) async fn contacts(State(server): State<Server>) -> Answer {
    json(&server.node.people().contacts().await?)
}

pub(super) async fn rename(
    State(server): State<Server>,
    At(contact): At<String>,
    JsonBody(rename): JsonBody<RenameContact>,
) -> Answer {
    json(&server.node.people().rename(&contact, rename).await?)
}

pub(super) async fn verify(
    State(server): State<Server>,
    At(contact): At<String>,
    JsonBody(verify): JsonBody<VerifyContact>,
) -> Answer {
    json(&server.node.people().verify(&contact, verify).await?)
}

pub(super) async fn remove(State(server): State<Server>, At(contact): At<String>) -> Answer {
    server.node.people().remove(&contact).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// As [`rename`] and [`remove`], for a contact called as the path of another call.
pub(super) async fn rename_pick(server: State<Server>, rename_to: JsonBody<RenameContact>) -> Answer {
    rename(server, At(PICK.to_owned()), rename_to).await
}

pub(super) async fn remove_pick(server: State<Server>) -> Answer {
    remove(server, At(PICK.to_owned())).await
}

pub(super) async fn writer_key(
    State(server): State<Server>,
    At(contact): At<String>,
    JsonBody(ask): JsonBody<AskWriterKey>,
) -> Answer {
    json(&server.node.people().writer_key(&contact, ask).await?)
}

pub(super) async fn invites(State(server): State<Server>) -> Answer {
    json(&server.node.people().invites().await?)
}

pub(super) async fn invite(State(server): State<Server>, JsonBody(new): JsonBody<NewInvite>) -> Answer {
    json(&server.node.people().invite(new).await?)
}

pub(super) async fn confirm(State(server): State<Server>, At(invite): At<String>) -> Answer {
    json(&server.node.people().confirm(&invite).await?)
}

pub(super) async fn revoke(State(server): State<Server>, At(invite): At<String>) -> Answer {
    server.node.people().revoke(&invite).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn accept(State(server): State<Server>, JsonBody(accept): JsonBody<AcceptInvite>) -> Answer {
    json(&server.node.people().accept(accept).await?)
}
