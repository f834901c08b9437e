//! The app as a process of its own, against the local socket of a running node:
//!
//! ```text
//! cargo run -p p2p-files --example files-process -- SOCKET share DIR
//! cargo run -p p2p-files --example files-process -- SOCKET clone LINK DIR
//! ```
//!
//! Prints what the app answers: one JSON object a line.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures::TryStreamExt;
use http::Method;
use p2p_api::files::{CloneRequest, ShareRequest};
use p2p_api::{App, AppRequest};
use p2p_client::Client;
use p2p_files::Files;

const USAGE: &str = "usage: files-process SOCKET share DIR | files-process SOCKET clone LINK DIR";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let (Some(socket), Some(command)) = (args.next(), args.next()) else { bail!(USAGE) };
    let rest: Vec<_> = args.collect();
    let request = match (command.to_str(), rest.as_slice()) {
        (Some("share"), [dir]) => {
            let path = std::path::absolute(dir).context("the folder's path")?;
            post(
                "shares",
                serde_json::to_vec(&ShareRequest { path, title: String::new(), once: true, profile: false })?,
            )
        }
        (Some("clone"), [link, dir]) => {
            let link = link.to_str().context("the link is not text")?.to_owned();
            let target = std::path::absolute(dir).context("the folder's path")?;
            let wanted =
                CloneRequest { link, target, allow_external_links: false, follow: false, at: None, timeout_s: None };
            post("clones", serde_json::to_vec(&wanted)?)
        }
        _ => bail!(USAGE),
    };

    let socket = PathBuf::from(socket);
    let client = Client::connect(&socket)
        .await
        .with_context(|| format!("no node answers at {}; start one with: p2pnode start", socket.display()))?;
    let mut response = Files::new().handle(&client.node(), request).await;
    let mut out = std::io::stdout().lock();
    while let Some(bytes) = response.body.try_next().await? {
        out.write_all(&bytes)?;
        out.flush()?;
    }
    anyhow::ensure!(response.status < 400, "the app answered status {}", response.status);
    Ok(())
}

fn post(path: &str, body: Vec<u8>) -> AppRequest {
    AppRequest { method: Method::POST, path: path.to_owned(), query: String::new(), body: Bytes::from(body) }
}
