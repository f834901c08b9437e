//! `p2p doctor [nat|lan|memory]`.

use clap::{Args, ValueEnum};
use p2p_api::doctor::{Area, Facts, Level, System, findings, rooms};

use crate::failure::Result;
use crate::human::printable;
use crate::session::{Context, Need};

/// Looks at what may keep things from working, and says what to do about it.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p doctor nat")]
pub(crate) struct Arguments {
    /// Only this: how the node is reached, the local network, or memory.
    about: Option<About>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum About {
    Nat,
    Lan,
    Memory,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    context
        .with_node(Need::Running, async |console, client, _| {
            let node = client.node();
            // First: what it has measured for that, the others tell.
            let health = node.health().await.ok();
            let (info, drives, peers) = (node.info().await?, node.drives().list().await?, node.peers().list().await?);
            let usage = node.drives().usage().await.ok();
            let facts =
                Facts { info: &info, peers: &peers, drives: &drives, usage: usage.as_ref(), health: health.as_ref() };
            let mut found = findings(facts, &System::look());
            if let Some(about) = arguments.about {
                let area = match about {
                    About::Nat => Area::Nat,
                    About::Lan => Area::Lan,
                    About::Memory => Area::Memory,
                };
                found.retain(|finding| finding.area == area);
                if let (Area::Memory, Some(health)) = (area, &health) {
                    // What is full stands above already.
                    found.extend(rooms(health).into_iter().filter(|finding| finding.level == Level::Good));
                }
            }
            console.emit(&found)?;
            for finding in &found {
                let mark = match finding.level {
                    Level::Bad => "broken",
                    Level::Warn => "look at this",
                    Level::Unknown => "not known",
                    Level::Good => "good",
                };
                let title = console.bold(finding.title);
                console.say(format!("{title} ({mark}): {}", printable(&finding.sentence())))?;
                if let Some(advice) = finding.advice() {
                    console.say(format!("    {}", printable(&advice)))?;
                }
            }
            Ok(())
        })
        .await
}
