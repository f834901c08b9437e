//! `p2p open [LINK]`.

use std::process::Stdio;

use clap::Args;
use p2p_api::gateway::{OpenRequest, Opened};
use p2p_api::routes;

use crate::failure::Result;
use crate::link;
use crate::session::{Context, Need};

/// What opens an address on this system.
const OPENER: &str = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };

/// Opens the site in the browser, or the dashboard.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p open p2p://…/")]
pub(crate) struct Arguments {
    /// The link, a bare id, or a name; without one it is the dashboard.
    link: Option<String>,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let link = arguments.link.as_deref().map(link::reference).transpose()?;
    let timeout = context.global.timeout;
    let only_told = context.global.json;
    context
        .with_node(Need::Running, async move |console, client, _| {
            let link = match link {
                Some(link) => Some(link.link(client, timeout).await?.text),
                None => None,
            };
            let request = OpenRequest { link };
            let opened: Opened = client.post(routes::GATEWAY_OPEN, &request).await?.json().await?;
            console.emit(&opened)?;
            if only_told {
                return Ok(());
            }
            let started = tokio::process::Command::new(OPENER)
                .arg(&opened.url)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .await;
            if started.is_ok_and(|status| status.success()) {
                console.say(format!("Opened {}", opened.url))
            } else {
                console.note(format!("{OPENER} opens no browser here; visit this address with one on this computer:"));
                console.say(&opened.url)
            }
        })
        .await
}
