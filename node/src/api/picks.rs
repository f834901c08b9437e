//! Handlers of contacts that an app asks the user to pick.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::Uri;
use p2p_api::{AnswerPick, ApiError, PickContact, PickState};
use serde::Deserialize;

use super::body::{At, JsonBody, json, query, timeout};
use super::caller::Caller;
use super::page::page;
use super::problem::Refusal;
use super::router::Server;

type Answer = Result<Response, Refusal>;

#[derive(Deserialize)]
struct Wait {
    wait_s: Option<f64>,
}

pub(super) async fn ask(State(server): State<Server>, caller: Caller, JsonBody(ask): JsonBody<PickContact>) -> Answer {
    let app = caller.app(ask.app);
    json(&server.node.people().pick_contact(PickContact { app, ..ask }).await?)
}

pub(super) async fn list(State(server): State<Server>, uri: Uri) -> Answer {
    page(&uri, &server.node.people().picks().await?, |pick| format!("{:020} {}", pick.expires, pick.pick))
}

pub(super) async fn get(State(server): State<Server>, caller: Caller, At(pick): At<String>, uri: Uri) -> Answer {
    let wait: Wait = query(&uri)?;
    let people = server.node.people();
    let now = people.pick(&pick, Duration::ZERO).await?;
    // Of another app there is none: what others ask is none of its business.
    if caller.app(Some(now.app.clone())) != Some(now.app.clone()) {
        return Err(ApiError::not_found(format!("there is no pick {pick:?}")).into());
    }
    match wait.wait_s {
        Some(_) if now.state == PickState::Waiting => json(&people.pick(&pick, timeout(wait.wait_s)?).await?),
        _ => json(&now),
    }
}

pub(super) async fn answer(
    State(server): State<Server>,
    At(pick): At<String>,
    JsonBody(answer): JsonBody<AnswerPick>,
) -> Answer {
    let info = server.node.people().answer_pick(&pick, answer).await?;
    if !info.app.is_empty() {
        let what = if info.contact.is_some() { "the user picked a contact" } else { "the user picked nobody" };
        server.access.grants.audit.write(&info.app, "POST /v1/contacts/pick", what);
    }
    json(&info)
}
