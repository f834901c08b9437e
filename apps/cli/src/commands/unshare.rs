//! `p2p unshare DRIVE_OR_DIR`.

use std::path::Path;

use clap::Args;
use http::Method;
use p2p_api::wire::encode_component;
use p2p_api::{Removed, routes};
use p2p_client::RequestBody;

use crate::failure::{Failure, Result};
use crate::human::printable;
use crate::session::{Context, Need};
use crate::{link, place};

/// Stops sharing or following; keeps the files. Earlier versions without a tag are freed an hour later; until then sharing the
/// folder again brings them back.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p unshare ./site")]
pub(crate) struct Arguments {
    /// The folder, or the drive's id or link.
    #[arg(value_name = "DRIVE_OR_DIR")]
    which: String,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let which = match link::parse(&arguments.which) {
        Ok(link) => link.drive.to_string(),
        Err(failure) if arguments.which.contains("://") => return Err(failure),
        Err(_) => {
            let path = place::absolute(Path::new(&arguments.which))?;
            path.to_str().ok_or_else(|| Failure::usage("the path is no UTF-8; name the drive's id"))?.to_owned()
        }
    };
    let path = format!("{}?which={}", routes::SHARES, encode_component(&which));
    context
        .with_node(Need::Running, async |console, client, _| {
            let answer = client.request(Method::DELETE, &path, RequestBody::Empty).await?;
            let removed: Removed = answer.ok().await?.json().await?;
            console.emit(&removed)?;
            match &removed.path {
                Some(path) => {
                    let path = printable(&path.display().to_string());
                    console.say(format!("No longer shared: {path}. Its files stay."))
                }
                None => console.say(format!("No longer shared: {}.", removed.drive)),
            }
        })
        .await
}
