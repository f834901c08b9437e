//! `p2p ping PEER`.

use clap::Args;
use p2p_api::{DEFAULT_TIMEOUT, ErrorKind, Ping};
use p2p_identity::PeerId;
use serde_json::Value;

use crate::failure::{Failure, Result};
use crate::human::printable;
use crate::session::{Context, Need};

/// Measures the round trip to a peer, connecting first if need be, and says which way it goes: lan, direct, punched (through
/// a hole that both sides made in their routers) or relayed.
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
            console.emit(&with_range(&ping)?)?;
            let transport = ping.transport.as_deref().map(|text| format!(", {}", printable(text))).unwrap_or_default();
            let through = ping.relay.map(|relay| format!(" through {relay}")).unwrap_or_default();
            console.say(format!("{}  {}{through}{transport}", ping.peer, ping.way().as_str()))?;
            if let Some(address) = &ping.address {
                console.say(format!("  at {}", printable(address)))?;
            }
            if let Some(why) = &ping.why_relayed {
                console.say(format!("  why not directly: {}", printable(why)))?;
            }
            let (least, most) = ping.range_ms();
            console.say(format!("  {least:.1}/{:.1}/{most:.1} ms (least/mean/most)", ping.rtt_ms))?;
            let trips: Vec<String> = ping.round_trips_ms.iter().map(|trip| format!("{trip:.1}")).collect();
            if !trips.is_empty() {
                console.say(format!("  each: {} ms", trips.join(", ")))?;
            }
            Ok(())
        })
        .await
}

/// What the node says, with the shortest and the longest round trip.
fn with_range(ping: &Ping) -> Result<Value> {
    let mut value = serde_json::to_value(ping).map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))?;
    let (least, most) = ping.range_ms();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("min_ms".to_owned(), least.into());
        fields.insert("avg_ms".to_owned(), ping.rtt_ms.into());
        fields.insert("max_ms".to_owned(), most.into());
    }
    Ok(value)
}
