//! The app: its routes, and what it does for its whole life.

use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use p2p_api::page::{Page, PageQuery};
use p2p_api::{ApiError, App, AppRequest, AppResponse, Node, Result};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::keep::Keeper;
use crate::turns::Turns;
use crate::{copy, share, shares};

/// Shares folders as drives and copies drives into folders.
#[derive(Clone, Debug, Default)]
pub struct Files {
    turns: Arc<Turns>,
    keeper: Keeper,
}

impl Files {
    /// The app, ready for [`App::run`].
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl App for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    async fn run(&self, node: Node, stop: CancellationToken) -> Result<()> {
        self.keeper.run(node, self.turns.clone(), stop.clone()).await?;
        stop.cancelled().await;
        Ok(())
    }

    async fn handle(&self, node: &Node, request: AppRequest) -> AppResponse {
        match self.answer(node, &request).await {
            Ok(response) => response,
            Err(error) => AppResponse::problem(error),
        }
    }
}

impl Files {
    async fn answer(&self, node: &Node, request: &AppRequest) -> Result<AppResponse> {
        let path = request.path.trim_matches('/');
        match (path, &request.method) {
            ("shares", &Method::POST) => {
                let events = share::share(node, &self.turns, &self.keeper, body(request)?).await?;
                Ok(AppResponse::lines(events))
            }
            ("shares", &Method::GET) => {
                let (asked, all) = (PageQuery::from_query(&request.query)?, shares::list(node).await?);
                Ok(AppResponse::page(Page::of(&all, &asked, |drive| drive.drive.to_string())?))
            }
            ("shares", &Method::DELETE) => {
                let which = parameter(request, "which")?;
                let removed = shares::remove(node, &which).await?;
                self.keeper.leave(removed.drive).await;
                Ok(AppResponse::json(&removed))
            }
            ("clones", &Method::POST) => Ok(AppResponse::lines(copy::copy(node, body(request)?).await?)),
            ("syncs", &Method::POST) => Ok(AppResponse::lines(copy::sync(node, &self.keeper, body(request)?).await?)),
            _ => Err(ApiError::not_found(format!("the app files has no {} {path:?}", request.method))
                .with_hint("it answers POST, GET and DELETE for shares, and POST for clones and syncs")),
        }
    }
}

fn body<T: DeserializeOwned>(request: &AppRequest) -> Result<T> {
    serde_json::from_slice(&request.body).map_err(|error| {
        ApiError::invalid(format!("the body of the request is not what {} takes: {error}", request.path))
    })
}

fn parameter(request: &AppRequest, name: &str) -> Result<String> {
    form_urlencoded::parse(request.query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
        .filter(|value| !value.is_empty())
        .ok_or_else(|| ApiError::invalid(format!("the query has no {name}")))
}
