//! Handlers of the name system.

use axum::extract::State;
use axum::response::Response;
use http::Uri;
use p2p_api::{ImportZoneFile, NewZone, RemoveRecords, ResolveName, RevokeZone, SetRecord, ZoneRecord, ZoneRecords};
use serde::Deserialize;

use super::body::{At, JsonBody, json, query, timeout};
use super::caller::Caller;
use super::page::page;
use super::problem::Refusal;
use super::router::Server;

type Answer = Result<Response, Refusal>;

#[derive(Deserialize)]
pub(super) struct OfZone {
    zone: Option<String>,
}

pub(super) async fn zones(State(server): State<Server>, uri: Uri) -> Answer {
    page(&uri, &server.node.names().zones().await?, |zone| zone.ztld.clone())
}

pub(super) async fn create_zone(State(server): State<Server>, JsonBody(new): JsonBody<NewZone>) -> Answer {
    json(&server.node.names().create_zone(new).await?)
}

#[derive(Deserialize)]
pub(super) struct Removal {
    #[serde(default)]
    with_records: bool,
}

pub(super) async fn remove_zone(State(server): State<Server>, At(zone): At<String>, uri: Uri) -> Answer {
    let removal: Removal = query(&uri)?;
    let records = if removal.with_records { ZoneRecords::Lose } else { ZoneRecords::Keep };
    json(&server.node.names().remove_zone(&zone, records).await?)
}

pub(super) async fn export_zone(State(server): State<Server>, At(zone): At<String>) -> Answer {
    json(&server.node.names().export_zone(&zone).await?)
}

pub(super) async fn zone_file(State(server): State<Server>, At(zone): At<String>) -> Answer {
    json(&server.node.names().zone_file(&zone).await?)
}

pub(super) async fn import_zone_file(
    State(server): State<Server>,
    At(zone): At<String>,
    JsonBody(import): JsonBody<ImportZoneFile>,
) -> Answer {
    json(&server.node.names().import_zone_file(&zone, import).await?)
}

pub(super) async fn revoke_zone(
    State(server): State<Server>,
    At(zone): At<String>,
    JsonBody(revoke): JsonBody<RevokeZone>,
) -> Answer {
    json(&server.node.names().revoke_zone(&zone, revoke).await?)
}

pub(super) async fn records(State(server): State<Server>, caller: Caller, uri: Uri) -> Answer {
    let of: OfZone = query(&uri)?;
    caller.require_zone(of.zone.as_deref())?;
    page(&uri, &server.node.names().records(of.zone.as_deref()).await?, |record| {
        let ZoneRecord { zone, label, record_type, value, private, .. } = record;
        format!("{zone} {label} {record_type} {private} {value}")
    })
}

pub(super) async fn set_record(
    State(server): State<Server>,
    caller: Caller,
    JsonBody(set): JsonBody<SetRecord>,
) -> Answer {
    caller.require_zone(set.zone.as_deref())?;
    json(&server.node.names().set(set).await?)
}

pub(super) async fn remove_records(
    State(server): State<Server>,
    caller: Caller,
    JsonBody(remove): JsonBody<RemoveRecords>,
) -> Answer {
    caller.require_zone(remove.zone.as_deref())?;
    json(&server.node.names().remove(remove).await?)
}

pub(super) async fn publish(State(server): State<Server>, caller: Caller, uri: Uri) -> Answer {
    let of: OfZone = query(&uri)?;
    caller.require_zone(of.zone.as_deref())?;
    json(&server.node.names().publish(of.zone.as_deref()).await?)
}

pub(super) async fn resolve(State(server): State<Server>, JsonBody(resolve): JsonBody<ResolveName>) -> Answer {
    let timeout_s = Some(timeout(resolve.timeout_s)?.as_secs_f64());
    json(&server.node.names().resolve(ResolveName { timeout_s, ..resolve }).await?)
}
