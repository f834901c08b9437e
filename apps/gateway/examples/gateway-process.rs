//! The gateway as a process of its own, against the local socket of a running node:
//!
//! ```text
//! cargo run -p p2p-gateway --example gateway-process -- SOCKET [ADDRESS:PORT]
//! ```
//!
//! Prints the address of the dashboard, which lets its first visitor in, and runs until it is interrupted. Each line on
//! its input is a link (or nothing, for the dashboard), to which it prints the address.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use async_trait::async_trait;
use futures::StreamExt;
use http::StatusCode;
use p2p_api::wire::{JSON, NDJSON, PROBLEM_JSON, encode_path};
use p2p_api::{App, AppRequest, AppResponse, Node, Result};
use p2p_client::{Client, RequestBody};
use p2p_gateway::{Gateway, Settings};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_util::sync::CancellationToken;

const USAGE: &str = "usage: gateway-process SOCKET [ADDRESS:PORT]";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut args = std::env::args().skip(1);
    let Some(socket) = args.next().map(PathBuf::from) else { bail!(USAGE) };
    let settings = match args.next() {
        Some(address) => Settings::at(address.parse().context(USAGE)?),
        None => Settings::default(),
    };
    let client = Client::connect(&socket)
        .await
        .with_context(|| format!("no node answers at {}; start one with: p2pnode start", socket.display()))?;
    let gateway = Gateway::bind(settings)?.with_files(Arc::new(RemoteFiles(client.clone())));
    println!("{}", gateway.dashboard_url()?);

    let stop = CancellationToken::new();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut running = std::pin::pin!(gateway.run(client.node(), stop.clone()));
    let mut has_input = true;
    loop {
        tokio::select! {
            ended = &mut running => return Ok(ended?),
            _ = tokio::signal::ctrl_c() => stop.cancel(),
            line = lines.next_line(), if has_input => match line? {
                None => has_input = false,
                Some(line) if line.trim().is_empty() => println!("{}", gateway.dashboard_url()?),
                Some(line) => match gateway.site_url(line.trim()) {
                    Ok(url) => println!("{url}"),
                    Err(error) => eprintln!("{error}"),
                },
            },
        }
    }
}

/// The app `files` of the node at the socket.
struct RemoteFiles(Client);

impl RemoteFiles {
    async fn pass_on(&self, request: AppRequest) -> Result<AppResponse> {
        let path = format!("/v1/apps/files/{}?{}", encode_path(&request.path), request.query);
        let body = match request.body.is_empty() {
            true => RequestBody::Empty,
            false => RequestBody::Json(request.body),
        };
        let response = self.0.request(request.method, &path, body).await?;
        let status = response.status();
        let content_type =
            match response.headers().get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) {
                Some(NDJSON) => NDJSON,
                Some(PROBLEM_JSON) => PROBLEM_JSON,
                _ => JSON,
            };
        Ok(AppResponse {
            status: StatusCode::as_u16(&status),
            content_type,
            next: None,
            body: response.into_stream().boxed(),
        })
    }
}

#[async_trait]
impl App for RemoteFiles {
    fn name(&self) -> &'static str {
        "files"
    }

    async fn run(&self, _node: Node, stop: CancellationToken) -> Result<()> {
        stop.cancelled().await;
        Ok(())
    }

    async fn handle(&self, _node: &Node, request: AppRequest) -> AppResponse {
        self.pass_on(request).await.unwrap_or_else(AppResponse::problem)
    }
}
