//! A site and the dashboard over a folder, without a node and without a network: for work on the pages, and to measure
//! what the gateway itself costs.
//!
//! ```text
//! cargo run -p p2p-gateway --example folder-site -- FOLDER [ADDRESS:PORT]
//! ```
//!
//! Prints the address of the site and one of the dashboard, and runs until it is interrupted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt, stream};
use p2p_api::testing::FakeNode;
use p2p_api::{App, Change, Import, ImportEvent, NewDrive};
use p2p_gateway::{Gateway, Settings};
use tokio_util::sync::CancellationToken;

const USAGE: &str = "usage: folder-site FOLDER [ADDRESS:PORT]";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut args = std::env::args().skip(1);
    let Some(folder) = args.next().map(PathBuf::from) else { bail!(USAGE) };
    let settings = match args.next() {
        Some(address) => Settings::at(address.parse().context(USAGE)?),
        None => Settings::default(),
    };
    let folder = std::fs::canonicalize(&folder).with_context(|| format!("no folder at {}", folder.display()))?;
    let node = FakeNode::new().node();
    let drive = node.drives().create(NewDrive { path: Some(folder.clone()), title: String::new() }).await?;
    // Path order: a separator sorts below every other byte.
    let mut paths = BTreeMap::new();
    collect(&folder, &folder, &mut paths)?;
    let changes: Vec<_> = paths.into_values().map(|path| Ok(Change { path, ..Change::default() })).collect();
    let import = node.drives().import(drive.drive, Import::default(), stream::iter(changes).boxed()).await?;
    let _: Vec<ImportEvent> = import.try_collect().await?;

    let gateway = Gateway::bind(settings)?;
    println!("{}", gateway.site_url(&drive.link)?);
    println!("{}", gateway.dashboard_url()?);
    let stop = CancellationToken::new();
    let mut running = std::pin::pin!(gateway.run(node, stop.clone()));
    tokio::select! {
        ended = &mut running => ended?,
        _ = tokio::signal::ctrl_c() => {
            stop.cancel();
            running.await?;
        }
    }
    Ok(())
}

fn collect(root: &Path, folder: &Path, paths: &mut BTreeMap<String, String>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let name = path.strip_prefix(root)?.to_str().context("a name is no UTF-8")?.to_owned();
        paths.insert(name.replace('/', "\u{1}"), name);
        if entry.file_type()?.is_dir() {
            collect(root, &path, paths)?;
        }
    }
    Ok(())
}
