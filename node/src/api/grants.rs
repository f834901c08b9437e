//! Handlers of apps that ask, and of the user who decides.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri, header};
use p2p_api::{ApiError, AppManifest, DecideApp, Result};

use super::body::{At, JsonBody, json};
use super::caller::Caller;
use super::page::page;
use super::problem::Refusal;
use super::router::Server;
use crate::grants::Grants;

type Answer = Result<Response, Refusal>;

pub(super) async fn list(State(server): State<Server>, uri: Uri) -> Answer {
    page(&uri, &server.access.grants.list(), |app| app.manifest.id.clone())
}

pub(super) async fn request(
    State(server): State<Server>,
    caller: Caller,
    JsonBody(manifest): JsonBody<AppManifest>,
) -> Answer {
    if let Caller::App(grant) = &caller
        && grant.id != manifest.id
    {
        return Err(
            ApiError::invalid(format!("the token is that of {}, the manifest of {}", grant.id, manifest.id)).into()
        );
    }
    json(&blocking(&server, move |grants| grants.request(manifest)).await?)
}

/// An app may see what it was granted itself.
pub(super) async fn get(State(server): State<Server>, caller: Caller, At(app): At<String>) -> Answer {
    if !matches!(&caller, Caller::App(grant) if grant.id == app) {
        caller.require_user()?;
    }
    json(&server.access.grants.get(&app)?)
}

pub(super) async fn decide(
    State(server): State<Server>,
    At(app): At<String>,
    JsonBody(decision): JsonBody<DecideApp>,
) -> Answer {
    json(&blocking(&server, move |grants| grants.decide(&app, decision.state)).await?)
}

pub(super) async fn revoke(State(server): State<Server>, At(app): At<String>) -> Answer {
    blocking(&server, move |grants| grants.revoke(&app)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn audit(State(server): State<Server>) -> Answer {
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], server.access.grants.audit.text()).into_response())
}

async fn blocking<T: Send + 'static>(
    server: &Server,
    work: impl FnOnce(&Grants) -> Result<T> + Send + 'static,
) -> Result<T> {
    let grants = server.access.grants.clone();
    tokio::task::spawn_blocking(move || work(&grants)).await.map_err(|error| ApiError::internal(error.to_string()))?
}
