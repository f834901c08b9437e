//! `p2p dht find|provide KEY`.

use clap::{Args, Subcommand};
use p2p_api::DEFAULT_TIMEOUT;
use p2p_identity::ContentId;
use serde_json::json;

use crate::failure::Result;
use crate::human::printable;
use crate::session::{Context, Need};

/// Asks the distributed hash table.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p dht find 6a09e667f3bcc908b2fb1366ea957d3e3adec17512775099da2f590b0667322a")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    call: Call,
}

#[derive(Debug, Subcommand)]
enum Call {
    /// Finds peers that say they provide a key.
    #[command(after_help = "Example: p2p dht find 6a09e667f3bcc908b2fb1366ea957d3e3adec17512775099da2f590b0667322a")]
    Find {
        /// 64 hexadecimal digits.
        key: ContentId,
    },
    /// Says that this node provides a key, and again before that expires.
    #[command(after_help = "Example: p2p dht provide 6a09e667f3bcc908b2fb1366ea957d3e3adec17512775099da2f590b0667322a")]
    Provide {
        /// 64 hexadecimal digits.
        key: ContentId,
        /// Stop saying so.
        #[arg(long)]
        stop: bool,
    },
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let timeout = context.global.timeout.unwrap_or(DEFAULT_TIMEOUT);
    context
        .with_node(Need::Running, async |console, client, _| {
            let dht = client.node().dht();
            match arguments.call {
                Call::Find { key } => {
                    let providers = dht.find_providers(key.into(), timeout).await?;
                    console.emit(&providers)?;
                    if providers.is_empty() {
                        console.say("Nobody who was reached provides this key.")?;
                    }
                    for provider in providers {
                        console.say(format!("{}  {}", provider.peer, printable(&provider.addresses.join(" "))))?;
                    }
                    Ok(())
                }
                Call::Provide { key, stop: false } => {
                    dht.provide(key.into()).await?;
                    console.emit(&json!({ "key": key, "provided": true }))?;
                    console.say("Announced, and again before it expires.")
                }
                Call::Provide { key, stop: true } => {
                    dht.stop_providing(key.into()).await?;
                    console.emit(&json!({ "key": key, "provided": false }))?;
                    console.say("No longer announced.")
                }
            }
        })
        .await
}
