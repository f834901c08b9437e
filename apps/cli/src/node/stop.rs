//! `p2pnode stop`.

use std::time::Duration;

use p2p_api::{DEFAULT_TIMEOUT, ErrorKind};
use p2p_client::{Client, ConnectError};

use crate::arguments::Global;
use crate::console::Console;
use crate::failure::{Failure, Result};

/// How often to look whether it has gone.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) async fn run(console: &mut Console, global: &Global) -> Result<()> {
    let socket = global.socket()?.path;
    let client = Client::connect(&socket).await?;
    client.node().stop().await?;
    let limit = global.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let gone = async {
        // A node that ends may cut the connection in any way; only one that still answers is still there.
        while !matches!(Client::connect(&socket).await, Err(ConnectError::NoNode { .. })) {
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
