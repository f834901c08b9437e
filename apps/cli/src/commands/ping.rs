//! `p2p ping PEER`.

use clap::Args;
use p2p_api::DEFAULT_TIMEOUT;
use p2p_identity::PeerId;

use super::peers::kind;
use crate::failure::Result;
use crate::session::{Context, Need};

/// Measures the round trip to a peer, connecting first if need be.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p ping 12D3KooW…")]
pub(crate) struct Arguments {
    /// A peer id.
    peer: PeerId,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let timeout = context.global.timeout.unwrap_or(DEFAULT_TIMEOUT);
    context
        .with_node(Need::Running, async |console, client, _| {
            let ping = client.node().peers().ping(arguments.peer, timeout).await?;
            console.emit(&ping)?;
            console.say(format!("{}  {:.1} ms  {}", ping.peer, ping.rtt_ms, kind(ping.kind)))
        })
        .await
}
