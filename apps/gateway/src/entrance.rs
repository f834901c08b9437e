//! Every request comes in here: which host, which method, who asks; then it goes to a site or to the dashboard.

use axum::body::Body;
use axum::response::Response;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use p2p_api::{Link, Target};

use crate::dashboard::Dashboard;
use crate::host::{Place, Urls, place};
use crate::site::{self, Sites};
use crate::{Settings, guard, proxy, shield};

/// What all connections share.
pub(crate) struct Entrance {
    pub(crate) settings: Settings,
    pub(crate) urls: Urls,
    pub(crate) sites: Sites,
    pub(crate) dashboard: Dashboard,
}

impl Entrance {
    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response {
        let (mut parts, body) = request.into_parts();
        let Some(place) = self.place(&parts) else {
            let mut response = site::unknown_host();
            shield::for_site(response.headers_mut());
            return response;
        };
        let own = self.urls.origin_of(place);
        if guard::check(&parts.method, &parts.headers, own.as_deref()).is_err() {
            return shielded(site::refused());
        }
        match place {
            Place::Dashboard => {
                let mut response = self.dashboard.answer(Request::from_parts(parts, Body::new(body))).await;
                shield::for_dashboard(response.headers_mut());
                response
            }
            _ if !matches!(parts.method, Method::GET | Method::HEAD) => shielded(only_reading()),
            Place::Site(drive) => {
                let is_flooded = shield::without_cookies(&mut parts.headers);
                let mut response = shielded(self.sites.answer(drive, &parts).await);
                if is_flooded {
                    shield::clear_cookies(response.headers_mut());
                }
                response
            }
            Place::NoSite(why) => shielded(site::unusable(why)),
            Place::Local => shielded(self.lead_on(&parts)),
        }
    }

    /// A proxy's client puts the host into the target and means that one (RFC 9112, section 3.2.2).
    fn place(&self, request: &Parts) -> Option<Place> {
        let mut hosts = request.headers.get_all(header::HOST).iter();
        let (host, another) = (hosts.next(), hosts.next());
        if another.is_some() {
            return None;
        }
        let authority = match request.uri.authority() {
            Some(authority) => authority.as_str(),
            None => host?.to_str().ok()?,
        };
        place(authority, self.urls.port())
    }

    /// From `localhost` to where things live: `/p2p/<id>/path` and `/p2p://<id>/path` to the site, the rest to the
    /// dashboard.
    fn lead_on(&self, request: &Parts) -> Response {
        let path = request.uri.path();
        if path == proxy::PATH {
            return proxy::file(self.urls);
        }
        if path == "/" {
            return lead_to(StatusCode::FOUND, &format!("{}/", self.urls.dashboard_origin()));
        }
        let rest = path.strip_prefix("/p2p://").or_else(|| path.strip_prefix("/p2p/"));
        let link = rest.and_then(|rest| rest.parse::<Link>().ok());
        let Some(link) = link else { return site::unknown_host() };
        let Target::Drive(drive) = link.target else { return site::unusable(crate::host::NoSite::Later("no drive")) };
        let slash = if path.ends_with('/') && !link.path.is_empty() { "/" } else { "" };
        let query = request.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        lead_to(StatusCode::MOVED_PERMANENTLY, &format!("{}{slash}{query}", self.urls.site(drive, &link.path)))
    }
}

fn shielded(mut response: Response) -> Response {
    shield::for_site(response.headers_mut());
    response
}

fn lead_to(status: StatusCode, location: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn only_reading() -> Response {
    let mut response = Response::new("Sites can only be read.\n".into());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}
