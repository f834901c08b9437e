//! Zones of this node and their records, and the way from a name to what it stands for.

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use maud::{Markup, html};
use p2p_api::{
    ApiError, ErrorKind, NewZone, Publication, RemoveRecords, ResolveName, Resolved, Result, SetRecord, ZoneInfo,
    ZoneKind, ZoneRecord, ZoneRecords,
};
use serde::Deserialize;

use super::fields::{self, Fields};
use super::layout::{self, Section};
use super::sessions::Session;
use super::{Desk, parts};
use crate::human;

/// How long a name is looked for before the page says so, in seconds.
const RESOLVE_TIME_S: f64 = 10.0;
/// Most records of all zones that are shown.
const MAX_RECORDS: usize = 1_000;

/// The name to resolve; it stands in the address, so that the answer can be reloaded.
#[derive(Default, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    name: String,
}

/// What was typed into a form that could not be done.
#[derive(Default)]
struct Typed<'form> {
    zone: &'form str,
    label: &'form str,
    record_type: &'form str,
    value: &'form str,
    of: &'form str,
}

pub(crate) async fn page(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Query(asked): Query<Asked>,
) -> Response {
    show(&desk, &session, asked.name.trim(), &Typed::default(), None).await
}

pub(crate) async fn create_zone(State(desk): State<Desk>, form: Fields) -> Response {
    let typed = Typed { zone: form.get("zone").trim(), ..Typed::default() };
    let new = NewZone { name: typed.zone.to_owned(), kind: ZoneKind::default(), key: None };
    answer(&desk, &form, &typed, desk.node.names().create_zone(new).await.map(drop)).await
}

/// The page has told how much goes with it, and asked.
pub(crate) async fn remove_zone(State(desk): State<Desk>, form: Fields) -> Response {
    let removed = desk.node.names().remove_zone(form.get("zone"), ZoneRecords::Lose).await;
    answer(&desk, &form, &Typed::default(), removed.map(drop)).await
}

pub(crate) async fn set(State(desk): State<Desk>, form: Fields) -> Response {
    let typed = Typed {
        label: form.get("label").trim(),
        record_type: form.get("type").trim(),
        value: form.get("value").trim(),
        of: form.get("of").trim(),
        ..Typed::default()
    };
    let set = SetRecord {
        zone: Some(typed.of.to_owned()).filter(|zone| !zone.is_empty()),
        label: typed.label.to_owned(),
        record_type: typed.record_type.to_uppercase(),
        value: typed.value.to_owned(),
        private: !form.get("private").is_empty(),
        ..SetRecord::default()
    };
    answer(&desk, &form, &typed, desk.node.names().set(set).await.map(drop)).await
}

pub(crate) async fn remove(State(desk): State<Desk>, form: Fields) -> Response {
    let remove = RemoveRecords {
        zone: Some(form.get("of").to_owned()),
        label: form.get("label").to_owned(),
        record_type: Some(form.get("type").to_owned()),
    };
    answer(&desk, &form, &Typed::default(), desk.node.names().remove(remove).await.map(drop)).await
}

async fn answer(desk: &Desk, form: &Fields, typed: &Typed<'_>, done: Result<()>) -> Response {
    match done {
        Ok(()) => Redirect::to("/names").into_response(),
        Err(error) => show(desk, &form.session, "", typed, Some(&error)).await,
    }
}

async fn show(desk: &Desk, session: &Session, asked: &str, typed: &Typed<'_>, failure: Option<&ApiError>) -> Response {
    let names = desk.node.names();
    let (zones, records) = match tokio::try_join!(names.zones(), names.records(None)) {
        Ok(found) => found,
        Err(error) if error.kind == ErrorKind::Unsupported => return without(),
        Err(error) => return layout::failed(Section::Names, "Names", &error),
    };
    let resolved = if asked.is_empty() {
        None
    } else {
        let timeout_s = Some(RESOLVE_TIME_S);
        Some(names.resolve(ResolveName { name: asked.to_owned(), timeout_s, ..ResolveName::default() }).await)
    };
    let body = html! {
        h1 { "Names" }
        @if let Some(error) = failure { (layout::error(error)) }
        section.panel.first aria-labelledby="resolve" {
            h2 #resolve { "What does a name stand for?" }
            form.line method="get" action="/names" {
                label for="resolve-name" { "Name" }
                input #resolve-name name="name" value=(asked) required autocomplete="off" spellcheck="false"
                    autocapitalize="none" placeholder="docs.alice";
                button type="submit" { "Resolve" }
            }
            @match &resolved {
                None => {}
                Some(Ok(found)) => (answers(found)),
                Some(Err(error)) => div.result { (layout::error(error)) },
            }
        }
        section aria-labelledby="zones" {
            h2 #zones { "Your zones" }
            div #zone-list data-live { (zone_list(&zones, session)) }
        }
        @if !zones.is_empty() {
            section aria-labelledby="records" {
                h2 #records { "Records" }
                div #record-list data-live { (record_list(&records, session)) }
            }
        }
        div.columns {
            @if !zones.is_empty() { (set_form(&zones, session, typed)) }
            section.panel aria-labelledby="new-zone" {
                h2 #new-zone { "Make a zone" }
                p.note { "A zone is a key of yours. Names in it cannot be taken from you, and need no registrar." }
                form method="post" action="/names/zones" {
                    (fields::token(session))
                    label for="zone-name" { "What you call it" }
                    input #zone-name name="zone" value=(typed.zone) required maxlength="63" autocomplete="off"
                        spellcheck="false" autocapitalize="none" placeholder="alice";
                    button type="submit" { "Make the zone" }
                }
            }
        }
    };
    let status = failure.map_or(StatusCode::OK, |_| StatusCode::BAD_REQUEST);
    (status, layout::page(Section::Names, "Names", &body)).into_response()
}

fn without() -> Response {
    let body = html! {
        h1 { "Names" }
        (parts::empty("This node has no names", &html! { "The program it runs as was built without them." }))
    };
    layout::page(Section::Names, "Names", &body).into_response()
}

fn answers(found: &Resolved) -> Markup {
    let source = match found.source.as_str() {
        "local" => "in a zone of this node",
        "cache" => "in what this node remembers",
        "dht" => "at other nodes",
        "dns" => "by DNS",
        other => other,
    };
    html! {
        div.result role="status" {
            @if found.records.is_empty() { p { "There is nothing under " code { (found.name) } "." } }
            @else {
                dl.facts.plain { @for record in &found.records {
                    dt { (record.record_type) }
                    dd {
                        @if record.record_type == "P2PDRIVE" && record.value.starts_with("p2p://") {
                            (parts::copyable(&record.value, "the link"))
                        } @else { code { (record.value) } }
                    }
                } }
            }
            @let age = found.age_s.max(0.0) as u64;
            p.note { "Found " (source) @if age > 0 { ", " (human::span(age)) " old" } "." }
        }
    }
}

fn zone_list(zones: &[ZoneInfo], session: &Session) -> Markup {
    if zones.is_empty() {
        let text = html! { "Make one below, and give your drives names that last." };
        return parts::empty("No zones yet", &text);
    }
    html! {
        div.table tabindex="0" role="region" aria-label="Zones" { table.stack {
            thead { tr {
                th scope="col" { "Zone" } th scope="col" { "Its name everywhere" } th.number scope="col" { "Labels" }
                th scope="col" { "State" } th scope="col" { span.unseen { "Remove" } }
            } }
            tbody { @for zone in zones { tr {
                td data-name="Zone" { span.name { (zone.zone) } }
                td data-name="Everywhere" { (parts::copyable(&zone.ztld, "the name of the zone")) }
                td.number data-name="Labels" { (human::grouped(zone.labels)) }
                td data-name="State" {
                    @if zone.revoked { span.badge.bad { "Revoked" } } @else { span.badge.good { "Good" } }
                }
                td.side { (remove_zone_form(zone, session)) }
            } } }
        } }
    }
}

fn remove_zone_form(zone: &ZoneInfo, session: &Session) -> Markup {
    html! {
        details.danger {
            summary aria-label={ "Remove the zone " (zone.zone) " …" } { "Remove …" }
            p {
                "The key of " strong { (zone.zone) } " is gone for ever"
                @if zone.labels > 0 { ", with the records of " (human::count(zone.labels, "label", "labels")) }
                ". What others store of it is withdrawn as far as they are reached now; the rest lives on there until it \
                 expires. To keep the key, export it first: " code { "p2p name zone export " (zone.zone) } "."
            }
            form method="post" action="/names/zones/remove" {
                (fields::token(session))
                input type="hidden" name="zone" value=(zone.zone);
                button.bad type="submit" { "Remove the zone" }
            }
        }
    }
}

fn record_list(records: &[ZoneRecord], session: &Session) -> Markup {
    if records.is_empty() {
        return parts::empty("No records yet", &html! { "Set the first one below." });
    }
    html! {
        div.table tabindex="0" role="region" aria-label="Records" { table.stack {
            thead { tr {
                th scope="col" { "Name" } th scope="col" { "Type" } th scope="col" { "Value" }
                th scope="col" { "State" } th scope="col" { span.unseen { "Remove" } }
            } }
            tbody { @for record in records.iter().take(MAX_RECORDS) { tr {
                @let name = format!("{}.{}", record.label, record.zone);
                td data-name="Name" { code { (name) } }
                td data-name="Type" { (record.record_type) }
                td data-name="Value" { code.clip title=(record.value) { (record.value) } }
                td data-name="State" { (state(record)) }
                td.side {
                    form method="post" action="/names/remove" {
                        (fields::token(session))
                        input type="hidden" name="of" value=(record.zone);
                        input type="hidden" name="label" value=(record.label);
                        input type="hidden" name="type" value=(record.record_type);
                        button.small type="submit" aria-label={ "Remove " (record.record_type) " of " (name) } {
                            "Remove"
                        }
                    }
                }
            } } }
        } }
        @if records.len() > MAX_RECORDS {
            p.note { "Only the first " (human::grouped(MAX_RECORDS as u64)) " records are shown." }
        }
    }
}

fn state(record: &ZoneRecord) -> Markup {
    let (class, word, meaning) = match record.state {
        _ if record.private => ("dim", "Private", "It never leaves this node"),
        Publication::Stored => ("dim", "Kept here", "Nothing of it is public"),
        Publication::Waiting => ("warn", "Waiting", "No other node stores it yet"),
        Publication::Published => ("good", "Published", "Other nodes store it"),
    };
    html! { span.badge.(class) title=(meaning) { (word) } }
}

fn set_form(zones: &[ZoneInfo], session: &Session, typed: &Typed<'_>) -> Markup {
    html! {
        section.panel aria-labelledby="set-record" {
            h2 #set-record { "Set a record" }
            p.note { "It takes the place of the records of this type under the same label." }
            form method="post" action="/names/records" {
                (fields::token(session))
                label for="set-zone" { "Zone" }
                select #set-zone name="of" { @for zone in zones {
                    option value=(zone.zone) selected[zone.zone == typed.of] { (zone.zone) }
                } }
                label for="set-label" { "Label " span.note { "(@ for the zone itself)" } }
                input #set-label name="label" value=(typed.label) required maxlength="63" autocomplete="off"
                    spellcheck="false" autocapitalize="none" placeholder="docs";
                label for="set-type" { "Type" }
                input #set-type name="type" list="record-types" required autocomplete="off" spellcheck="false"
                    value=(if typed.record_type.is_empty() { "P2PDRIVE" } else { typed.record_type });
                datalist #record-types { @for known in ["P2PDRIVE", "A", "AAAA", "CNAME", "TXT"] { option value=(known) {} } }
                label for="set-value" { "Value" }
                input #set-value name="value" value=(typed.value) required autocomplete="off" spellcheck="false"
                    autocapitalize="none" placeholder="p2p://…";
                label.check { input type="checkbox" name="private" value="1"; " Private: never leaves this node" }
                button type="submit" { "Set" }
            }
        }
    }
}
