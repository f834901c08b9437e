//! `p2p name set`, `rm`, `ls`, `publish`, `resolve`, `whoami`.

use std::time::Duration;

use clap::Args;
use p2p_api::{NameChange, Publication, RemoveRecords, ResolveName, SetRecord, ZoneRecord};

use crate::console::Console;
use crate::failure::Result;
use crate::human::{count, date, printable, seconds};
use crate::session::{Context, Need};

/// Sets the records of a type under a label, in place of those that were there.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p name set www A 192.0.2.7 --expires 1d")]
pub(crate) struct Set {
    /// The label; @ for the zone itself.
    label: String,
    /// The type of record: A, AAAA, TXT, P2PDRIVE …
    #[arg(value_name = "TYPE")]
    record_type: String,
    /// The value as text; of a P2PDRIVE the link.
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// The zone; not needed where there is one.
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// How long it lives after each publication: 30s, 10m, 12h, 7d.
    #[arg(long, value_name = "DURATION", value_parser = crate::human::duration)]
    expires: Option<Duration>,
    /// Never leaves this node.
    #[arg(long)]
    private: bool,
    /// Counts only when all others of the type have expired.
    #[arg(long)]
    shadow: bool,
}

/// Removes the records under a label, or those of one type.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p name rm www A")]
pub(crate) struct Rm {
    /// The label; @ for the zone itself.
    label: String,
    /// Only records of this type.
    #[arg(value_name = "TYPE")]
    record_type: Option<String>,
    /// The zone; not needed where there is one.
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
}

/// Finds the records of a name.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p name resolve www.alice A")]
pub(crate) struct Resolve {
    /// A name that ends in a zTLD or in the name of a zone here.
    name: String,
    /// Only records of this type.
    #[arg(value_name = "TYPE")]
    record_type: Option<String>,
    /// Ask the network even if the answer is in the cache.
    #[arg(long)]
    fresh: bool,
}

pub(crate) async fn set(context: &mut Context, arguments: Set) -> Result<()> {
    let set = SetRecord {
        zone: arguments.zone,
        label: arguments.label,
        record_type: arguments.record_type,
        value: arguments.value,
        expires_s: arguments.expires.map(|expires| expires.as_secs_f64()),
        private: arguments.private,
        shadow: arguments.shadow,
    };
    context
        .with_node(Need::Running, async |console, client, _| {
            let change = client.node().names().set(set).await?;
            say_change(console, &change, "Set")
        })
        .await
}

pub(crate) async fn rm(context: &mut Context, arguments: Rm) -> Result<()> {
    let Rm { label, record_type, zone } = arguments;
    context
        .with_node(Need::Running, async |console, client, _| {
            let change = client.node().names().remove(RemoveRecords { zone, label, record_type }).await?;
            say_change(console, &change, "Removed")
        })
        .await
}

pub(crate) async fn ls(context: &mut Context, zone: Option<String>) -> Result<()> {
    context
        .with_node(Need::Running, async |console, client, _| {
            let records = client.node().names().records(zone.as_deref()).await?;
            console.emit(&records)?;
            if records.is_empty() {
                return console.say("There are no records yet. Set one: p2p name set LABEL TYPE VALUE");
            }
            console.table(["NAME", "TYPE", "EXPIRES", "STATE", "VALUE"], records.iter().map(row).collect())
        })
        .await
}

pub(crate) async fn publish(context: &mut Context, zone: Option<String>) -> Result<()> {
    context
        .with_node(Need::Running, async |console, client, _| {
            let done = client.node().names().publish(zone.as_deref()).await?;
            console.emit(&done)?;
            let (zone, labels) = (printable(&done.zone), count(done.labels, "label", "labels"));
            match (done.labels, done.published) {
                (0, _) => console.say(format!("Zone {zone} has nothing public.")),
                (all, published) if published < all => console.say(format!(
                    "{published} of {labels} of zone {zone} published; the rest waits for other nodes. It is done then \
                     by itself."
                )),
                _ => console.say(format!(
                    "{labels} of zone {zone} published: stored on {} of {} other nodes",
                    done.stored_on,
                    done.nodes.max(done.stored_on)
                )),
            }
        })
        .await
}

pub(crate) async fn resolve(context: &mut Context, arguments: Resolve) -> Result<()> {
    let resolve = ResolveName {
        name: arguments.name,
        record_type: arguments.record_type,
        fresh: arguments.fresh,
        timeout_s: context.global.timeout.map(|timeout| timeout.as_secs_f64()),
    };
    context
        .with_node(Need::RunningOrInside, async |console, client, _| {
            let found = client.node().names().resolve(resolve).await?;
            console.emit(&found)?;
            for record in &found.records {
                let (kind, value) = (printable(&record.record_type), printable(&record.value));
                console.say(format!("{kind}  {value}  (until {})", until(record.expires)))?;
            }
            let from = found.from.as_ref().map(|from| format!(", from {}", printable(from))).unwrap_or_default();
            console.say(format!("source {}, {} old{from}", found.source, seconds(found.age_s)))
        })
        .await
}

pub(crate) async fn whoami(context: &mut Context) -> Result<()> {
    context
        .with_node(Need::Running, async |console, client, _| {
            let me = client.node().names().whoami().await?;
            console.emit(&me)?;
            console.say(format!("node  {}", me.peer_id))?;
            for zone in &me.zones {
                console.say(format!("zone  {}  {}", printable(&zone.zone), zone.ztld))?;
            }
            Ok(())
        })
        .await
}

fn say_change(console: &mut Console, change: &NameChange, what: &str) -> Result<()> {
    console.emit(change)?;
    let name = printable(&format!("{}.{}", change.label, change.zone));
    let state = match change.state {
        Publication::Stored => "stored here, nothing of it is public".to_owned(),
        Publication::Waiting => "stored here, published as soon as another node is in reach".to_owned(),
        Publication::Published => {
            format!("stored on {} of {} other nodes", change.stored_on, change.nodes.max(change.stored_on))
        }
    };
    console.say(format!("{what} {name}: {state}"))?;
    if let Some(warning) = &change.warning {
        console.note(format!("note: {}", printable(warning)));
    }
    Ok(())
}

fn row(record: &ZoneRecord) -> [String; 5] {
    let expires = match (record.expires_s, record.expires) {
        (Some(life), _) => seconds(life as f64),
        (None, Some(end)) => until(end),
        (None, None) => String::new(),
    };
    let state = match record.state {
        _ if record.private => "private",
        Publication::Stored => "stored",
        Publication::Waiting => "waiting",
        Publication::Published => "published",
    };
    let kind = if record.shadow { format!("{} (shadow)", record.record_type) } else { record.record_type.clone() };
    let name = format!("{}.{}", record.label, record.zone);
    [printable(&name), printable(&kind), expires, state.to_owned(), printable(&record.value)]
}

/// Microseconds since 1970 for people.
fn until(micros: u64) -> String {
    if micros == u64::MAX {
        return "ever".to_owned();
    }
    i64::try_from(micros).ok().and_then(|micros| micros.checked_mul(1_000)).map_or_else(|| "ever".to_owned(), date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_is_for_ever() {
        assert_eq!(until(u64::MAX), "ever");
        assert_eq!(until(0), "1970-01-01 00:00");
    }
}
