//! Handlers of what apps say to each other beside streams: values, topics, signatures.

use axum::extract::{Request, State};
use axum::response::Response;
use http::Uri;
use p2p_api::{PutValue, Scope, Sign};

use super::body::{At, JsonBody, json, json_lines, query, read_body, timeout};
use super::caller::Caller;
use super::network::{Wait, key_of};
use super::problem::Refusal;
use super::router::Server;

type Answer = Result<Response, Refusal>;

pub(super) async fn put_value(
    State(server): State<Server>,
    caller: Caller,
    JsonBody(put): JsonBody<PutValue>,
) -> Answer {
    caller.require(
        &format!("dht.put:{}", put.name),
        |scope| matches!(scope, Scope::DhtPut(prefix) if put.name.starts_with(prefix.as_str())),
    )?;
    let app = caller.app(put.app);
    json(&server.node.dht().put(PutValue { app, ..put }).await?)
}

pub(super) async fn get_value(State(server): State<Server>, At(key): At<String>, uri: Uri) -> Answer {
    let wait: Wait = query(&uri)?;
    json(&server.node.dht().get(key_of(&key)?, timeout(wait.timeout_s)?).await?)
}

pub(super) async fn publish(
    State(server): State<Server>,
    caller: Caller,
    At(topic): At<String>,
    request: Request,
) -> Answer {
    require_topic(&caller, &topic)?;
    let data = read_body(request.into_body()).await?;
    json(&server.node.topics().publish(&topic, data).await?)
}

pub(super) async fn subscribe(State(server): State<Server>, caller: Caller, At(topic): At<String>) -> Answer {
    require_topic(&caller, &topic)?;
    Ok(json_lines(server.node.topics().subscribe(&topic).await?))
}

pub(super) async fn sign(State(server): State<Server>, caller: Caller, JsonBody(sign): JsonBody<Sign>) -> Answer {
    caller.require(
        &format!("identity.sign:{}", sign.context),
        |scope| matches!(scope, Scope::IdentitySign(context) if *context == sign.context),
    )?;
    let app = caller.app(sign.app);
    json(&server.node.identity().sign(Sign { app, ..sign }).await?)
}

fn require_topic(caller: &Caller, topic: &str) -> Result<(), Refusal> {
    Ok(caller.require(
        &format!("pubsub:{topic}"),
        |scope| matches!(scope, Scope::Pubsub(prefix) if topic.starts_with(prefix.as_str())),
    )?)
}
