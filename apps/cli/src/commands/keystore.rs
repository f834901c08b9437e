//! `p2p lock`, `p2p unlock`, `p2p passphrase`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use p2p_api::{ErrorKind, KeystoreInfo, LockLevel};

use crate::failure::{Failure, Result};
use crate::passphrase::{Source, ask, from_private_file};
use crate::session::{Context, Need};

/// How long unlocking waits for its turn after a wrong passphrase.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it tries meanwhile.
const PAUSE: Duration = Duration::from_millis(250);

/// How often it is looked whether the node has closed or started.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Wipes the keys of the node from memory.
///
/// What is shared is served and followed as before; what needs a key waits for `p2p unlock`.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p lock")]
pub(crate) struct Lock {
    /// Close the whole node as well: it leaves the network, and starts again with `p2p unlock`. With the setting `lock = "full"`
    /// that is what locking does, and the node waits for its passphrase after every start.
    #[arg(long)]
    full: bool,
}

/// Opens the keys of the node with the passphrase.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p unlock")]
pub(crate) struct Unlock {
    #[command(flatten)]
    source: Source,
}

/// Sets, changes or takes away the passphrase of the node's keys.
///
/// With a passphrase the keys are locked at every start of the node, and by `p2p lock`. Without it nobody can open them
/// again: write it down.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p passphrase")]
pub(crate) struct Passphrase {
    /// Take it away: whoever can read the files of this node can use its keys.
    #[arg(long, conflicts_with = "new_passphrase_file")]
    remove: bool,
    #[command(flatten)]
    source: Source,
    /// Read the new passphrase from this file, which only you may read.
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
}

pub(crate) async fn lock(context: &mut Context, arguments: Lock) -> Result<()> {
    let patience = context.global.timeout.unwrap_or(PATIENCE);
    context
        .with_node(Need::Running, async |console, client, _| {
            let keystore = client.node().keystore();
            let mut info = if arguments.full { keystore.lock_all().await? } else { keystore.lock().await? };
            if arguments.full || info.closed || info.level == LockLevel::Full {
                // Its socket is gone for a moment.
                let closed = async {
                    loop {
                        match keystore.info().await {
                            Ok(info) if info.closed => return info,
                            _ => tokio::time::sleep(LOOK_EVERY).await,
                        }
                    }
                };
                info = tokio::time::timeout(patience, closed).await.map_err(|_| {
                    Failure::new(ErrorKind::TimedOut, "the keys are locked, and the node did not close".to_owned())
                })?;
                console.emit(&shown(&info))?;
                return console.say("The node is closed: it is in no network. It starts again with: p2p unlock");
            }
            console.emit(&shown(&info))?;
            console.say("The keys are locked. What is shared goes on; what needs a key waits for: p2p unlock")
        })
        .await
}

pub(crate) async fn unlock(context: &mut Context, arguments: Unlock) -> Result<()> {
    let patience = context.global.timeout.unwrap_or(PATIENCE);
    context
        .with_node(Need::Running, async |console, client, _| {
            let keystore = client.node().keystore();
            let info = keystore.info().await?;
            let was_closed = info.closed;
            if !info.locked {
                console.emit(&shown(&info))?;
                return console.say("The keys are not locked.");
            }
            let passphrase = arguments.source.read("Passphrase: ")?;
            let deadline = std::time::Instant::now() + patience;
            let info = loop {
                match keystore.unlock(&passphrase).await {
                    Err(error) if error.kind == ErrorKind::Busy && std::time::Instant::now() < deadline => {
                        tokio::time::sleep(PAUSE).await;
                    }
                    answer => break answer?,
                }
            };
            if was_closed {
                // The call waits at the socket until the node is there.
                client.node().info().await?;
            }
            console.emit(&shown(&info))?;
            console.say(if was_closed { "The node is open again." } else { "The keys are unlocked." })
        })
        .await
}

pub(crate) async fn passphrase(context: &mut Context, arguments: Passphrase) -> Result<()> {
    context
        .with_node(Need::Running, async |console, client, _| {
            let keystore = client.node().keystore();
            let info = keystore.info().await?;
            if info.locked {
                return Err(p2p_api::ApiError::locked().into());
            }
            if arguments.remove && !info.protected {
                console.emit(&shown(&info))?;
                return console.say("There is no passphrase.");
            }
            let current = match info.protected {
                true => Some(arguments.source.read("Passphrase there is: ")?),
                false => None,
            };
            let new = match (&arguments.new_passphrase_file, arguments.remove) {
                (_, true) => None,
                (Some(path), _) => Some(from_private_file(path)?),
                // Without one before, the only passphrase there can be is the new one.
                (None, _) if current.is_none() => {
                    let new = arguments.source.read("New passphrase: ")?;
                    if arguments.source.is_a_person() && *ask("Once more: ")? != *new {
                        return Err(Failure::usage("the two are not the same; nothing was changed"));
                    }
                    Some(new)
                }
                (None, _) => {
                    let new = ask("New passphrase: ")?;
                    if *ask("Once more: ")? != *new {
                        return Err(Failure::usage("the two are not the same; nothing was changed"));
                    }
                    Some(new)
                }
            };
            let info =
                keystore.set_passphrase(current.as_deref().map(String::as_str), new.as_deref().map(String::as_str));
            let info = info.await?;
            console.emit(&shown(&info))?;
            match info.protected {
                true => console.say("The passphrase is set. Nobody can open the keys without it: write it down."),
                false => console.say("The passphrase is taken away. Whoever reads the node's files can use its keys."),
            }
        })
        .await
}

fn shown(info: &KeystoreInfo) -> serde_json::Value {
    serde_json::json!({ "protected": info.protected, "locked": info.locked, "closed": info.closed })
}
