//! The app: where it listens, what it answers on the local socket, and what it does for its whole life.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use http::Method;
use p2p_api::gateway::{OpenRequest, Opened};
use p2p_api::{ApiError, App, AppRequest, AppResponse, ErrorKind, Link, Node, Open, Result};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::dashboard::{Dashboard, Sessions};
use crate::entrance::Entrance;
use crate::host::Urls;
use crate::jobs::Jobs;
use crate::listen::listen;
use crate::news::News;
use crate::rates::Rates;
use crate::server::serve;
use crate::site::Sites;
use crate::{NotLoopback, Settings};

/// Shows drives as websites, and the dashboard, to browsers on this computer.
pub struct Gateway {
    settings: Settings,
    /// `None` where the port was taken.
    urls: Option<Urls>,
    /// Taken by [`App::run`].
    listeners: Mutex<Vec<TcpListener>>,
    sessions: Sessions,
    jobs: Jobs,
    files: Option<Arc<dyn App>>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Takes the port, so that [`Self::address`] is known before the node is. A port that is taken is a warning in the
    /// log, and a gateway that is off.
    ///
    /// # Errors
    /// An address is not a loopback address.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn bind(settings: Settings) -> Result<Self, NotLoopback> {
        let listeners = listen(&settings)?;
        let port = listeners.first().and_then(|listener| listener.local_addr().ok()).map(|address| address.port());
        Ok(Self {
            settings,
            urls: port.map(Urls::new),
            listeners: Mutex::new(listeners),
            sessions: Sessions::default(),
            jobs: Jobs::default(),
            files: None,
        })
    }

    /// With the app that shares folders (`files`), so that the dashboard can share one.
    #[must_use]
    pub fn with_files(mut self, files: Arc<dyn App>) -> Self {
        self.files = Some(files);
        self
    }

    /// Where the dashboard is; `None` where the gateway is off.
    pub fn address(&self) -> Option<String> {
        self.urls.map(|urls| format!("{}/", urls.dashboard_origin()))
    }

    /// An address of the dashboard that lets its first visitor in, within ten minutes. Show it to the user only.
    ///
    /// # Errors
    /// The gateway is off.
    pub fn dashboard_url(&self) -> Result<String> {
        let urls = self.urls()?;
        let token = self.sessions.invite()?;
        Ok(format!("{}/?token={token}", urls.dashboard_origin()))
    }

    /// The address of what a link leads to.
    ///
    /// # Errors
    /// The gateway is off, or the link is none that it can show.
    pub fn site_url(&self, link: &str) -> Result<String> {
        let urls = self.urls()?;
        let link: Link = link.parse().map_err(|error| ApiError::invalid(format!("{link:?}: {error}")))?;
        let unsupported = || ApiError::new(ErrorKind::Unsupported, "only drives can be shown so far");
        urls.of_link(&link).ok_or_else(unsupported)
    }

    fn urls(&self) -> Result<Urls> {
        self.urls.ok_or_else(|| {
            ApiError::new(ErrorKind::Unsupported, "the web gateway is off").with_hint(
                "another program may have its port, or the node was started with --gateway off; its log says which",
            )
        })
    }

    fn open(&self, node: &Node, request: OpenRequest) -> Result<Opened> {
        let Some(link) = request.link else { return Ok(Opened { url: self.dashboard_url()? }) };
        let url = self.site_url(&link)?;
        // The hints of a link do not survive in an address: they are used now, and the peers found are remembered.
        let (node, open) = (node.clone(), Open { link, timeout: Some(self.settings.patience) });
        self.jobs.spawn(async move {
            if let Err(error) = node.drives().open(open).await {
                debug!(%error, "a drive that is to be shown was not found yet");
            }
        });
        Ok(Opened { url })
    }
}

#[async_trait]
impl App for Gateway {
    fn name(&self) -> &'static str {
        "gateway"
    }

    /// Runs once; a second call only waits.
    async fn run(&self, node: Node, stop: CancellationToken) -> Result<()> {
        let listeners = std::mem::take(&mut *self.listeners.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(urls) = self.urls.filter(|_| !listeners.is_empty()) else {
            stop.cancelled().await;
            return Ok(());
        };
        info!(address = urls.dashboard_origin(), "the web gateway is open");
        let news = News::new();
        let sites = Sites::new(node.clone(), news.clone(), urls, self.jobs.clone(), &self.settings);
        let rates = Rates::default();
        let dashboard = Dashboard::new(
            node.clone(),
            urls,
            self.sessions.clone(),
            news.clone(),
            self.jobs.clone(),
            self.files.clone(),
            rates.clone(),
        );
        let entrance = Arc::new(Entrance { settings: self.settings.clone(), urls, sites, dashboard });
        tokio::join!(
            serve(&listeners, &entrance, stop.cancelled()),
            news.run(&node, &stop),
            rates.run(&node, &news, &stop)
        );
        self.jobs.end().await;
        Ok(())
    }

    /// `POST open` with an [`OpenRequest`] answers [`Opened`].
    async fn handle(&self, node: &Node, request: AppRequest) -> AppResponse {
        let answer = match (request.path.trim_matches('/'), &request.method) {
            ("open", &Method::POST) => request.json().and_then(|wanted| self.open(node, wanted)),
            (path, method) => Err(ApiError::not_found(format!("the app gateway has no {method} {path:?}"))
                .with_hint("it answers POST open")),
        };
        match answer {
            Ok(opened) => AppResponse::json(&opened),
            Err(error) => AppResponse::problem(error),
        }
    }
}
