//! The dashboard at `http://p2pnode.localhost:PORT/`.
//!
//! Pages are made here, whole, and read without a script; `live.js` only fetches the same page again when something
//! happened, and puts its new parts in place.

mod assets;
mod doctor;
mod door;
mod drive;
mod drives;
mod fields;
mod jobs;
mod layout;
mod live;
mod names;
mod overview;
mod parts;
mod past;
mod peers;
mod people;
mod sessions;
mod storage;
mod transfers;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use http::Request;
use p2p_api::{App, Node};
use tower::ServiceExt;

pub(crate) use self::sessions::Sessions;
use self::transfers::Transfers;
use crate::host::Urls;
use crate::jobs::Jobs;
use crate::news::News;
use crate::places::Places;
use crate::proxy;
use crate::rates::Rates;

/// Longest form, in bytes: a link of 14 KiB, encoded, and a path.
const MAX_FORM_BYTES: usize = 64 * 1024;
/// Open pages that are told what happens.
const MAX_WATCHERS: usize = 64;

/// What every page can reach.
#[derive(Clone)]
pub(crate) struct Desk {
    node: Node,
    urls: Urls,
    sessions: Sessions,
    news: News,
    jobs: Jobs,
    files: Option<Arc<dyn App>>,
    transfers: Transfers,
    rates: Rates,
    watchers: Places,
}

/// Answers at the dashboard's host.
pub(crate) struct Dashboard {
    router: Router,
}

impl Dashboard {
    pub(crate) fn new(
        node: Node,
        urls: Urls,
        sessions: Sessions,
        news: News,
        jobs: Jobs,
        files: Option<Arc<dyn App>>,
        rates: Rates,
    ) -> Self {
        let transfers = Transfers::new(news.clone());
        let watchers = Places::new(MAX_WATCHERS);
        let desk = Desk { node, urls, sessions, news, jobs, files, transfers, rates, watchers };
        let inside = Router::new()
            .route("/", get(overview::page))
            .route("/drives", get(drives::page))
            .route("/drives/share", post(drives::share))
            .route("/drives/clone", post(drives::clone))
            .route("/drives/{drive}", get(drive::page))
            .route("/drives/{drive}/remove", post(drive::remove))
            .route("/transfers/{id}/dismiss", post(drives::dismiss))
            .route("/peers", get(peers::page))
            .route("/peers/dial", post(peers::dial))
            .route("/names", get(names::page))
            .route("/names/zones", post(names::create_zone))
            .route("/names/zones/remove", post(names::remove_zone))
            .route("/names/records", post(names::set))
            .route("/names/remove", post(names::remove))
            .route("/people", get(people::page))
            .route("/people/identity", post(people::create))
            .route("/people/invite", post(people::invite))
            .route("/people/accept", post(people::accept))
            .route("/people/confirm", post(people::confirm))
            .route("/people/revoke", post(people::revoke))
            .route("/people/verify", post(people::verify))
            .route("/storage", get(storage::page))
            .route("/storage/free", post(storage::free))
            .route("/doctor", get(doctor::page))
            .route("/events", get(live::events))
            .fallback(layout::not_found)
            .layer(middleware::from_fn_with_state(desk.clone(), door::check));
        let router = Router::new()
            .route(assets::STYLE, get(assets::style))
            .route(assets::SCRIPT, get(assets::script))
            .route(assets::ICON, get(assets::icon))
            .route(proxy::PATH, get(move || async move { proxy::file(urls) }))
            .merge(inside)
            .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
            .with_state(desk);
        Self { router }
    }

    /// Answers a request that was allowed.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response {
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}
