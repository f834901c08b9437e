//! One request to a site.

mod body;
mod conditions;
mod file;
mod listing;
mod live;
mod manifest;
mod media;
mod pages;
mod path;
mod ranges;
mod store;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use p2p_api::wire::query_value;
use p2p_api::{ApiError, DriveId, ErrorKind, Node, Result, VersionRef};
use tokio::time::Instant;

use self::file::{How, Lifetime};
use self::manifest::Manifest;
use self::path::SitePath;
pub(crate) use self::store::Store;
use self::store::{Found, Site};
pub(crate) use self::trouble::{refused, unknown_host, unusable};
use crate::Settings;
use crate::host::Urls;
use crate::jobs::Jobs;
use crate::news::News;
use crate::places::Places;

/// Pages that may watch for new versions at a time.
const MAX_WATCHERS: usize = 256;
/// Sites whose list of files to load ahead is worked on at a time.
const MAX_WARMING: usize = 4;
/// How long a page waits for a drive to be found before it says so, and asks again.
const PAGE_SEARCH_TIME: Duration = Duration::from_secs(6);
/// Most bytes loaded ahead for one page.
const WARM_BYTES: u64 = 4 * 1024 * 1024;

/// All sites.
#[derive(Clone)]
pub(crate) struct Sites {
    store: Store,
    news: News,
    urls: Urls,
    watchers: Places,
    warming: Places,
    jobs: Jobs,
    settings: Arc<Settings>,
}

/// What the path of a request came to.
enum Answer {
    File(Box<Found>, StatusCode),
    Response(Response),
}

impl Sites {
    pub(crate) fn new(node: Node, news: News, urls: Urls, jobs: Jobs, settings: &Settings) -> Self {
        Self {
            store: Store::new(node, jobs.clone(), settings),
            news,
            urls,
            watchers: Places::new(MAX_WATCHERS),
            warming: Places::new(MAX_WARMING),
            jobs,
            settings: Arc::new(settings.clone()),
        }
    }

    /// Answers a `GET` or `HEAD` that was allowed.
    pub(crate) async fn answer(&self, drive: DriveId, request: &Parts) -> Response {
        let mut answer = self.try_answer(drive, request).await;
        if answer.as_ref().is_err_and(|error| error.kind == ErrorKind::Conflict) {
            // A version came out between two steps of the answer; with that one both agree.
            answer = self.try_answer(drive, request).await;
        }
        match answer {
            Ok(response) => response,
            Err(error) => trouble::of(&error, self.peers(drive).await),
        }
    }

    async fn peers(&self, drive: DriveId) -> Option<u32> {
        self.store.node().drives().get(drive).await.ok().map(|info| info.peers)
    }

    async fn try_answer(&self, drive: DriveId, request: &Parts) -> Result<Response> {
        let deadline = Instant::now() + self.settings.patience;
        let url_path = request.uri.path();
        match url_path {
            live::SCRIPT => return Ok(live::script()),
            live::EVENTS => {
                return live::events(self.store.clone(), &self.news, &self.watchers, drive, deadline).await;
            }
            _ => {}
        }
        let Some(path) = SitePath::of_url(url_path) else {
            return Err(ApiError::not_found("no file can have this address"));
        };
        // A person is told soon that the search goes on; a page's parts wait for it.
        let search_until = if wants_page(request) { deadline.min(Instant::now() + PAGE_SEARCH_TIME) } else { deadline };
        let site = self.store.site(drive, search_until).await?;
        let (site, lifetime) = match asked_version(request) {
            None => (site, Lifetime::Live),
            Some(version) if is_newest(&site, &version) => (site, Lifetime::Fixed),
            Some(version) => (site.at(version), Lifetime::Fixed),
        };
        let file = if path.is_folder { path.child("index.html") } else { path.path.clone() };
        // At the same time: in a drive that is far away each costs a round trip.
        let (manifest, found) = tokio::join!(site.manifest(deadline), site.find(&file, wants_whole(request), deadline));
        let (manifest, found) = (manifest?, found?);
        if wants_page(request) {
            self.warm(&site, &manifest);
        }
        let answer = match found {
            Some(found) => Answer::File(Box::new(found), StatusCode::OK),
            None => self.instead(&site, &manifest, &path, request, deadline).await?,
        };
        let mut response = match answer {
            Answer::Response(response) => response,
            Answer::File(found, status) => {
                let how = How { method: &request.method, headers: &request.headers, status, lifetime, deadline };
                file::answer(*found, how).await?
            }
        };
        if lifetime == Lifetime::Fixed
            && !site.is_earlier()
            && self.store.info(drive, deadline).await?.version != site.info.version
        {
            // What was read may be the newer one, and would be kept for ever under the older one's address.
            let error = ApiError::new(ErrorKind::Conflict, "a new version was published meanwhile");
            return Err(error.with_hint("load the page again"));
        }
        for (name, value) in manifest.headers(url_path) {
            response.headers_mut().append(name, value.clone());
        }
        if let Some(fault) = &manifest.fault {
            note_fault(&mut response, fault);
        }
        Ok(response)
    }

    /// What is shown where there is no file.
    async fn instead(
        &self,
        site: &Site,
        manifest: &Manifest,
        path: &SitePath,
        request: &Parts,
        deadline: Instant,
    ) -> Result<Answer> {
        if let Some(redirect) = manifest.redirect(request.uri.path(), self.urls) {
            let location = match redirect.location.strip_prefix('/') {
                Some(_) => format!("{}{}", self.urls.site_origin(site.info.drive), redirect.location),
                None => redirect.location,
            };
            return Ok(Answer::Response(redirect_to(redirect.status, &location)));
        }
        if let Some(folder) = listing::find(site, &path.path, deadline).await? {
            if path.is_folder {
                return Ok(Answer::Response(listing::page(site, &manifest.title, path, folder)));
            }
            let query = request.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
            let location = format!("{}/{query}", self.urls.site(site.info.drive, &path.path));
            return Ok(Answer::Response(redirect_to(StatusCode::MOVED_PERMANENTLY, &location)));
        }
        if let Some(app) = manifest.spa.as_deref().filter(|_| accepts_page(request))
            && let Some(found) = site.find(app, wants_whole(request), deadline).await?
        {
            return Ok(Answer::File(Box::new(found), StatusCode::OK));
        }
        if let Some(page) = &manifest.not_found
            && let Some(found) = site.find(page, true, deadline).await?
        {
            return Ok(Answer::File(Box::new(found), StatusCode::NOT_FOUND));
        }
        Err(ApiError::not_found(format!("this site has nothing at {}", request.uri.path())))
    }

    /// Loads what the page will ask for next. Best effort, and never more than a few sites at a time.
    fn warm(&self, site: &Site, manifest: &Arc<Manifest>) {
        if manifest.prefetch.is_empty() {
            return;
        }
        let (site, manifest) = (site.clone(), manifest.clone());
        let Some(place) = self.warming.take() else { return };
        let patience = self.settings.patience;
        self.jobs.spawn(async move {
            let _ = tokio::time::timeout(patience, site.warm(&manifest.prefetch, WARM_BYTES)).await;
            drop(place);
        });
    }
}

/// The version that the address names. Only pages can: a `?v=` of an image or a style is the site's own business, and so
/// is one that is no version.
fn asked_version(request: &Parts) -> Option<VersionRef> {
    let is_page = request.headers.get("sec-fetch-dest").is_none_or(|dest| dest == "document" || dest == "iframe");
    let version = request.uri.query().filter(|_| is_page).and_then(|query| query_value(query, "v"));
    version.and_then(|version| version.parse().ok())
}

fn is_newest(site: &Site, version: &VersionRef) -> bool {
    match version {
        VersionRef::Counter(counter) => *counter == site.info.version,
        head @ VersionRef::Head(_) => site.info.head.is_some_and(|newest| head.matches_head(newest.as_bytes())),
    }
}

fn wants_whole(request: &Parts) -> bool {
    let conditional = [header::RANGE, header::IF_MATCH, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];
    let is_plain = conditional.iter().all(|name| !request.headers.contains_key(name));
    request.method == http::Method::GET && is_plain
}

fn wants_page(request: &Parts) -> bool {
    request.headers.get("sec-fetch-dest").is_some_and(|dest| dest == "document")
}

/// Whether the client can show a page: browsers say so for what is in the address bar, not for images and scripts.
fn accepts_page(request: &Parts) -> bool {
    let accept = request.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn redirect_to(status: StatusCode, location: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(location) {
        headers.insert(header::LOCATION, location);
    }
    // Even a permanent one can change with the next version.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// For the site's owner, who looks at headers when something does not work.
fn note_fault(response: &mut Response, fault: &str) {
    let text: String = fault.chars().filter(|c| c.is_ascii() && !c.is_control()).take(200).collect();
    if let Ok(value) = HeaderValue::try_from(format!("site.json is ignored: {text}")) {
        response.headers_mut().insert(HeaderName::from_static("p2p-notice"), value);
    }
}
