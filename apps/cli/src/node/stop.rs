//! `p2pnode stop`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use p2p_api::{DEFAULT_TIMEOUT, ErrorKind, socket};
use p2p_client::{Client, ConnectError};

use crate::arguments::Global;
use crate::console::Console;
use crate::failure::{Failure, Result};

/// How often to look whether it has gone.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) async fn run(console: &mut Console, global: &Global) -> Result<()> {
    let path = global.socket()?.path;
    let client = Client::connect(&path).await?;
    let process = process_of(&path);
    client.node().stop().await?;
    let limit = global.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let gone = async {
        // A node that ends may cut the connection in any way; only one that still answers is still there.
        while !matches!(Client::connect(&path).await, Err(ConnectError::NoNode { .. })) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        // Its home is free for the next one when the process has ended.
        while process.as_ref().is_some_and(|process| process.exists()) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    if tokio::time::timeout(limit, gone).await.is_err() {
        let seconds = limit.as_secs_f64();
        return Err(Failure::new(
            ErrorKind::TimedOut,
            format!("the node was asked to stop and still runs after {seconds} s"),
        ));
    }
    console.emit(&serde_json::json!({ "stopped": true }))?;
    console.say("Stopped.")
}

/// Where the system shows the node's process, as far as it does; `None` where the node runs in this very process.
fn process_of(api: &Path) -> Option<PathBuf> {
    let text = std::fs::read(api.with_file_name(socket::DISCOVERY_FILE)).ok()?;
    let document: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let pid = document["pid"].as_u64().filter(|pid| *pid != u64::from(std::process::id()))?;
    Some(PathBuf::from(format!("/proc/{pid}")))
}
