//! `p2p dht find|provide|get KEY`, `p2p dht put NAME VALUE`.

use clap::{Args, Subcommand};
use p2p_api::{DEFAULT_TIMEOUT, PutValue};
use p2p_identity::ContentId;
use serde_json::json;

use crate::failure::Result;
use crate::human::{count, printable};
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
    /// Stores a small value, signed with a key of this node, under a key that only this node can write to.
    #[command(after_help = "Example: p2p dht put status 'back on Monday' --expires 3600")]
    Put {
        /// Its name among this node's values, at most 64 bytes. The same name replaces the value.
        name: String,
        /// The value, at most 8,000 bytes; @FILE takes it from a file, - from stdin.
        #[arg(allow_hyphen_values = true)]
        value: String,
        /// Seconds until it expires, at most and by default three days.
        #[arg(long, value_name = "SECONDS")]
        expires: Option<u64>,
    },
    /// Prints the newest value under a key, if its signature is right.
    #[command(after_help = "Example: p2p dht get 6a09e667f3bcc908b2fb1366ea957d3e3adec17512775099da2f590b0667322a")]
    Get {
        /// 64 hexadecimal digits, as `put` prints them.
        #[arg(value_parser = key)]
        key: ContentId,
    },
    /// Finds peers that say they provide a key.
    #[command(after_help = "Example: p2p dht find 6a09e667f3bcc908b2fb1366ea957d3e3adec17512775099da2f590b0667322a")]
    Find {
        /// 64 hexadecimal digits.
        #[arg(value_parser = key)]
        key: ContentId,
    },
    /// Says that this node provides a key, and again before that expires.
    #[command(after_help = "Example: p2p dht provide 6a09e667f3bcc908b2fb1366ea957d3e3adec17512775099da2f590b0667322a")]
    Provide {
        /// 64 hexadecimal digits.
        #[arg(value_parser = key)]
        key: ContentId,
        /// Stop saying so.
        #[arg(long)]
        stop: bool,
    },
}

/// A key as it is typed.
fn key(text: &str) -> std::result::Result<ContentId, String> {
    if let Some(other) = text.chars().find(|other| !other.is_ascii_hexdigit()) {
        return Err(format!("a key has 64 hexadecimal digits (0-9, a-f), and {other:?} is none"));
    }
    let digits = text.len();
    text.parse().map_err(|_| format!("a key has 64 hexadecimal digits, and these are {digits}"))
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let timeout = context.global.timeout.unwrap_or(DEFAULT_TIMEOUT);
    context
        .with_node(Need::Running, async |console, client, _| {
            let dht = client.node().dht();
            match arguments.call {
                Call::Put { name, value, expires } => {
                    let value = super::api::read(&value)?.into();
                    let stored = dht.put(PutValue { app: None, name, value, expires_s: expires }).await?;
                    console.emit(&stored)?;
                    console.say(&stored.key)?;
                    match stored.stored {
                        0 => console.say("  stored here; no other node could be asked for it"),
                        nodes => console.say(format!("  {} gave it back", count(nodes.into(), "node", "nodes"))),
                    }
                }
                Call::Get { key } => {
                    let found = dht.get(key.into(), timeout).await?;
                    console.emit(&found)?;
                    console.write_foreign(&found.value)
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_told_apart() {
        assert!(key(&"6a".repeat(32)).is_ok());
        assert_eq!(key("zz").unwrap_err(), "a key has 64 hexadecimal digits (0-9, a-f), and 'z' is none");
        assert_eq!(key("6a09").unwrap_err(), "a key has 64 hexadecimal digits, and these are 4");
        assert!(key("").is_err() && key(&"6a".repeat(33)).is_err());
    }
}
