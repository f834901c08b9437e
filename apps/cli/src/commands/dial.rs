//! `p2p dial ADDR_OR_PEER`.

use clap::Args;
use p2p_api::DEFAULT_TIMEOUT;

use crate::failure::Result;
use crate::human::printable;
use crate::session::{Context, Need};

/// Connects to a peer.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p dial /ip4/192.0.2.7/tcp/4001")]
pub(crate) struct Arguments {
    /// A multiaddr, or the id of a peer: of this network, in the DHT (nodes that others can dial), or at a relay that is connected.
    #[arg(value_name = "ADDR_OR_PEER")]
    target: String,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let timeout = context.global.timeout.unwrap_or(DEFAULT_TIMEOUT);
    context
        .with_node(Need::Running, async |console, client, _| {
            let dialed = client.node().peers().dial(&arguments.target, timeout).await?;
            console.emit(&dialed)?;
            console.say(format!("Connected to {} at {}", dialed.peer, printable(&dialed.address)))
        })
        .await
}
