//! What all pages have around them.

use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;
use maud::{DOCTYPE, Markup, html};
use p2p_api::ApiError;

use super::assets;
use crate::human;

/// The pages in the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Overview,
    Drives,
    Names,
    People,
    Peers,
    Storage,
    Doctor,
}

const MENU: [(Section, &str, &str); 7] = [
    (Section::Overview, "/", "Overview"),
    (Section::Drives, "/drives", "Drives"),
    (Section::Names, "/names", "Names"),
    (Section::People, "/people", "People"),
    (Section::Peers, "/peers", "Peers"),
    (Section::Storage, "/storage", "Storage"),
    (Section::Doctor, "/doctor", "Doctor"),
];

/// A page of the dashboard.
pub(crate) fn page(section: Section, title: &str, body: &Markup) -> Html<String> {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body {
                a.skip href="#main" { "Skip to content" }
                header.top {
                    a.brand href="/" { (assets::mark()) "p2pnode" }
                    nav aria-label="Main" { ul {
                        @for (target, href, name) in MENU {
                            @let current = (target == section).then_some("page");
                            li { a href=(href) aria-current=[current] { (name) } }
                        }
                    } }
                    p.live #live-state hidden role="status" { }
                }
                main #main tabindex="-1" { (body) }
            }
        }
    };
    Html(markup.into_string())
}

/// A page without a menu, for who is not in.
pub(crate) fn plain(title: &str, body: &Markup) -> Html<String> {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body.plain { main { (assets::mark()) (body) } }
        }
    };
    Html(markup.into_string())
}

fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " · p2pnode" }
            link rel="icon" type="image/svg+xml" href=(assets::ICON);
            link rel="stylesheet" href=(assets::STYLE);
            script src=(assets::SCRIPT) defer {}
        }
    }
}

/// What went wrong, and what to do.
pub(crate) fn error(error: &ApiError) -> Markup {
    html! {
        div.alert.bad role="alert" {
            p { strong { (human::sentence(&error.message)) } }
            @if let Some(hint) = &error.hint { p { (human::sentence(hint)) } }
        }
    }
}

/// A page that says only what went wrong.
pub(crate) fn failed(section: Section, title: &str, failure: &ApiError) -> Response {
    let status = StatusCode::from_u16(failure.kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = html! { h1 { (title) } (error(failure)) };
    (status, page(section, title, &body)).into_response()
}

/// For addresses that lead nowhere.
pub(crate) async fn not_found() -> Response {
    let body = html! {
        h1 { "This page does not exist" }
        p { a href="/" { "To the overview" } }
    };
    (StatusCode::NOT_FOUND, plain("Not found", &body)).into_response()
}
