//! `p2p name zone …`.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use p2p_api::{ApiError, ErrorKind, ImportZoneFile, NewZone, RevokeZone, Revoking, ZoneInfo, ZoneKind, ZoneRecords};
use p2p_client::Client;

use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::human::{count, printable};
use crate::session::{Context, Need};

/// Largest file that may hold a key, in bytes; larger ones are zone files.
const MAX_KEY_FILE_BYTES: u64 = 4 * 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum Zone {
    /// Makes a zone and prints its zTLD, under which everybody finds it.
    #[command(after_help = "Example: p2p name zone create alice")]
    Create {
        /// Its name on this node, one label.
        name: String,
        /// The type of its key.
        #[arg(long = "type", value_name = "TYPE", default_value = "edkey")]
        kind: Kind,
    },
    /// Lists the zones of this node.
    #[command(after_help = "Example: p2p name zone ls")]
    Ls,
    /// Prints the secret key of a zone, or its public records as a zone file.
    #[command(after_help = "Example: p2p name zone export alice --zone-file > alice.zone")]
    Export {
        /// The zone.
        name: String,
        /// The public records in the syntax of zone files, in place of the key.
        #[arg(long)]
        zone_file: bool,
    },
    /// Takes in a zone: its secret key, or the records of a DNS zone file. A zone that is not there yet is made.
    #[command(after_help = "Example: p2p name zone import alice example.org.zone --origin example.org")]
    Import {
        /// The zone's name on this node.
        name: String,
        /// A file with a secret key as `export` prints it, or a zone file.
        file: PathBuf,
        /// The DNS name of the zone, if the zone file does not say it.
        #[arg(long, value_name = "DOMAIN", default_value = "")]
        origin: String,
    },
    /// Removes a zone and its key from this node. What was published is withdrawn first, as far as other nodes are in reach.
    /// Whoever else has the key can go on with the zone: `revoke` is what gives it up for everybody.
    #[command(after_help = "Example: p2p name zone rm alice --yes")]
    Rm {
        /// The zone.
        name: String,
        /// Also if it has records, which are lost then.
        #[arg(long)]
        yes: bool,
    },
    /// Revokes a zone for good. Without FILE the proofs of work are computed first, which takes days; run it again to see
    /// how far it is, and to go on after a restart.
    #[command(after_help = "Example: p2p name zone revoke alice --compute-only")]
    Revoke {
        /// The zone.
        name: String,
        /// A file with a revocation that was computed before, in hexadecimal digits.
        file: Option<PathBuf>,
        /// Compute and print it, but keep it back.
        #[arg(long, conflicts_with = "file")]
        compute_only: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// ECDSA, as most zones of GNUnet.
    Pkey,
    /// Ed25519.
    Edkey,
}

pub(crate) async fn run(context: &mut Context, call: Zone) -> Result<()> {
    context
        .with_node(Need::Running, async |console, client, _| {
            let names = client.node().names();
            match call {
                Zone::Create { name, kind } => {
                    let kind = if matches!(kind, Kind::Pkey) { ZoneKind::Pkey } else { ZoneKind::Edkey };
                    let zone = names.create_zone(NewZone { name, kind, key: None }).await?;
                    console.emit(&zone)?;
                    console.say(format!("Zone {} is {}", printable(&zone.zone), zone.ztld))
                }
                Zone::Ls => {
                    let zones = names.zones().await?;
                    console.emit(&zones)?;
                    if zones.is_empty() {
                        return console.say("There is no zone yet. Make one: p2p name zone create NAME");
                    }
                    console.table(["ZONE", "TYPE", "LABELS", "ZTLD"], zones.iter().map(row).collect())
                }
                Zone::Export { name, zone_file: true } => {
                    let file = names.zone_file(&name).await?;
                    console.emit(&file)?;
                    console.say(file.text.trim_end())
                }
                Zone::Export { name, zone_file: false } => {
                    let secret = names.export_zone(&name).await?;
                    console.emit(&secret)?;
                    console.say(&secret.key)?;
                    console.note("Whoever has this key owns the zone: keep it secret.");
                    Ok(())
                }
                Zone::Import { name, file, origin } => import(console, client, name, &file, origin).await,
                Zone::Rm { name, yes } => {
                    let records = if yes { ZoneRecords::Lose } else { ZoneRecords::Keep };
                    let removed = names.remove_zone(&name, records).await?;
                    console.emit(&removed)?;
                    let labels = count(removed.labels, "label", "labels");
                    console.say(format!("Removed zone {} with {labels}, and its key", printable(&removed.zone)))?;
                    let left = removed.published.saturating_sub(removed.withdrawn);
                    if left > 0 {
                        let left = count(left, "label lives", "labels live");
                        console.note(format!("{left} on at other nodes until they expire: not withdrawn in time."));
                    }
                    Ok(())
                }
                Zone::Revoke { name, file, compute_only } => {
                    let message = file.as_deref().map(read_text).transpose()?;
                    let state = names.revoke_zone(&name, RevokeZone { message, compute_only }).await?;
                    console.emit(&state)?;
                    say_revoking(console, &state)
                }
            }
        })
        .await
}

fn row(zone: &ZoneInfo) -> [String; 4] {
    let kind = if zone.kind == ZoneKind::Pkey { "pkey" } else { "edkey" };
    let state = if zone.revoked { format!("{} (revoked)", zone.ztld) } else { zone.ztld.clone() };
    [printable(&zone.zone), kind.to_owned(), zone.labels.to_string(), state]
}

fn say_revoking(console: &mut Console, state: &Revoking) -> Result<()> {
    let zone = printable(&state.zone);
    if state.revoked {
        return console.say(format!(
            "Zone {zone} is revoked; {} this.",
            count(u64::from(state.stored_on), "other node stores", "other nodes store")
        ));
    }
    match &state.message {
        Some(message) => console.say(message),
        None => console.say(format!(
            "The proofs of work for revoking {zone} are being computed: {:.1} of {} bits. This takes days.",
            state.average, state.difficulty
        )),
    }
}

async fn import(console: &mut Console, client: &Client, name: String, file: &Path, origin: String) -> Result<()> {
    let names = client.node().names();
    let path = std::path::absolute(file).map_err(|error| Failure::disk("find the file", &error))?;
    if let Some(key) = key_in(&path)? {
        let zone = names.create_zone(NewZone { name, kind: ZoneKind::Edkey, key: Some(key) }).await?;
        console.emit(&zone)?;
        return console.say(format!("Zone {} is {}", printable(&zone.zone), zone.ztld));
    }
    let is_known = names.zones().await?.iter().any(|zone| zone.zone == name || zone.ztld == name);
    if !is_known {
        names.create_zone(NewZone { name: name.clone(), kind: ZoneKind::Edkey, key: None }).await?;
    }
    let done = names.import_zone_file(&name, ImportZoneFile { path, origin }).await?;
    console.emit(&done)?;
    let (records, labels) = (count(done.records, "record", "records"), count(done.labels, "label", "labels"));
    console.say(format!("Took {records} under {labels} into zone {}", printable(&done.zone)))?;
    for skipped in &done.skipped {
        console.note(format!("  line {}: {}: {}", skipped.line, printable(&skipped.what), printable(&skipped.reason)));
    }
    Ok(())
}

/// The secret key that a small file of one word holds.
fn key_in(path: &Path) -> Result<Option<String>> {
    let size = std::fs::metadata(path).map_err(|error| Failure::disk(&format!("read {}", path.display()), &error))?;
    if size.len() > MAX_KEY_FILE_BYTES {
        return Ok(None);
    }
    let text = read_text(path)?;
    let text = text.trim();
    let is_key = text.len() == 58 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    Ok(is_key.then(|| text.to_owned()))
}

fn read_text(path: &Path) -> Result<String> {
    let cannot = |error: &std::io::Error| Failure::disk(&format!("read {}", path.display()), error);
    let size = std::fs::metadata(path).map_err(|error| cannot(&error))?.len();
    if size > MAX_KEY_FILE_BYTES {
        let error = ApiError::new(ErrorKind::InvalidInput, format!("{} is too large for this", path.display()));
        return Err(error.into());
    }
    std::fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(|error| cannot(&error))
}
