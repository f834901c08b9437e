//! `p2p log DRIVE`.

use clap::Args;
use p2p_api::{LogQuery, VersionInfo};

use crate::drive;
use crate::failure::Result;
use crate::human::{bytes, count, date, number, printable};
use crate::session::{Context, Need};
use crate::withheld;

/// Lists the versions of a drive that are kept, newest first.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p log ./site")]
pub(crate) struct Arguments {
    /// The folder, or the drive's id, link or name.
    drive: String,
    /// At most so many.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 100)]
    limit: u32,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let timeout = context.global.timeout;
    context
        .with_node(Need::Running, async |console, client, _| {
            let drive = drive::find(client, &arguments.drive, timeout).await?;
            let query = LogQuery { limit: Some(arguments.limit), before: None };
            let versions = client.node().history().log(drive, query).await?;
            if versions.is_empty() {
                console.note("There is no version yet.");
            }
            for version in &versions {
                console.emit(version)?;
                console.say(line(version))?;
            }
            withheld::note(console, &client.node().drives().get(drive).await?);
            Ok(())
        })
        .await
}

fn line(version: &VersionInfo) -> String {
    let name = match version.version {
        Some(number) => format!("version {number}"),
        None => format!("{}… {}", version.writer.to_string().chars().take(8).collect::<String>(), version.counter),
    };
    let time = date(i64::try_from(version.time).unwrap_or(i64::MAX).saturating_mul(1_000_000));
    let mut line =
        format!("{name:<12}  {time}  {:>9}, {}", count(version.entries, "entry", "entries"), bytes(version.bytes));
    if !version.tags.is_empty() {
        line.push_str(&format!("  [{}]", version.tags.join(", ")));
    }
    if !version.message.is_empty() {
        line.push_str(&format!("  {}", printable(&version.message)));
    }
    match version.not_kept {
        Some(missing) if missing > 0 => {
            line.push_str(&format!(
                "  content of {} not retained",
                if missing == 1 { "1 file".into() } else { format!("{} files", number(missing)) }
            ));
        }
        _ => {}
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_kept() {
        let mut version = VersionInfo {
            version: Some(3),
            head: "y".repeat(52),
            writer: [1; 32].into(),
            counter: 3,
            time: 0,
            entries: 2,
            bytes: 2_048,
            message: String::new(),
            tags: vec!["first".into()],
            not_kept: Some(1),
        };
        assert_eq!(
            line(&version),
            "version 3     1970-01-01 00:00  2 entries, 2.0 KiB  [first]  content of 1 file not retained"
        );
        version.not_kept = None;
        version.tags.clear();
        version.version = None;
        assert!(!line(&version).contains("retained"));
    }
}
