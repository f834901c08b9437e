//! `p2p app …`: programs that want to use this node, and what they were granted.

use clap::{Args, Subcommand};
use http::Method;
use p2p_api::wire::encode_component;
use p2p_api::{AppInfo, AppManifest, AppState, DecideApp, routes};
use p2p_client::{Client, RequestBody};
use serde_json::json;

use crate::console::Console;
use crate::failure::Result;
use crate::human::{bytes, count, number, printable};
use crate::session::{Context, Need};

/// Programs that want to use this node: what they ask for, and what they were granted.
///
/// A program of your own user can do everything anyway. Tokens confine programs that run as another user or in a sandbox,
/// and those that confine themselves.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p app requests")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    call: Call,
}

#[derive(Debug, Subcommand)]
enum Call {
    /// All apps that ever asked.
    #[command(after_help = "Example: p2p app ls")]
    Ls,
    /// Those that wait for your answer, with what they ask for.
    #[command(after_help = "Example: p2p app requests")]
    Requests,
    /// Grants what an app asks for, and makes its token; once more makes a new one.
    #[command(after_help = "Example: p2p app approve org.example.chat")]
    Approve {
        /// The app's id.
        id: String,
    },
    /// Refuses what an app asks for; what it was granted before stays.
    #[command(after_help = "Example: p2p app deny org.example.chat")]
    Deny {
        /// The app's id.
        id: String,
    },
    /// Takes back everything at once and forgets the app; its streams close, its folder stays.
    #[command(after_help = "Example: p2p app revoke org.example.chat")]
    Revoke {
        /// The app's id.
        id: String,
    },
    /// What apps do now.
    #[command(after_help = "Example: p2p app top")]
    Top,
    /// Calls that were refused, the newest last.
    #[command(after_help = "Example: p2p app audit")]
    Audit,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    context
        .with_node(Need::Running, async |console, client, _| match arguments.call {
            Call::Ls => {
                let apps = list(client).await?;
                console.emit(&apps)?;
                if apps.is_empty() {
                    return console.say("No app has asked for anything.");
                }
                let rows = apps.iter().map(|app| {
                    let AppManifest { id, name, version, scopes, .. } = &app.manifest;
                    let version = printable(version);
                    [printable(id), format!("{} {version}", printable(name)), state(app).to_owned(), joined(scopes)]
                });
                console.table(["ID", "APP", "STATE", "GRANTED"], rows.collect())
            }
            Call::Requests => {
                let mut apps = list(client).await?;
                apps.retain(|app| asked(app).is_some());
                console.emit(&apps)?;
                if apps.is_empty() {
                    return console.say("No app waits for an answer.");
                }
                apps.iter().try_for_each(|app| say_request(console, app))
            }
            Call::Approve { id } => {
                let app = decide(client, &id, AppState::Approved).await?;
                console.emit(&app)?;
                console.say(format!(
                    "{} may do now: {}",
                    printable(&app.manifest.name),
                    joined(&app.manifest.scopes)
                ))?;
                if let Some(file) = &app.token_file {
                    console.say(format!("Its token is in {}", printable(&file.to_string_lossy())))?;
                }
                Ok(())
            }
            Call::Deny { id } => {
                let app = decide(client, &id, AppState::Denied).await?;
                console.emit(&app)?;
                match app.state {
                    AppState::Approved => console.say("Denied; what it was granted before stays."),
                    _ => console.say("Denied."),
                }
            }
            Call::Revoke { id } => {
                drop(client.request(Method::DELETE, &of_app(&id), RequestBody::Empty).await?.ok().await?);
                console.emit(&json!({ "id": id, "revoked": true }))?;
                console.say("Taken back; its token is worth nothing any more.")
            }
            Call::Top => {
                let apps = list(client).await?;
                console.emit(&apps)?;
                let rows = apps.iter().filter(|app| app.state == AppState::Approved).map(|app| {
                    [
                        printable(&app.manifest.id),
                        app.requests_per_second.to_string(),
                        number(app.requests),
                        number(app.refused),
                        app.streams.to_string(),
                        bytes(app.stream_bytes),
                        format!("{}/s", bytes(app.bytes_per_second)),
                    ]
                });
                console.table(["ID", "REQUESTS/S", "REQUESTS", "REFUSED", "STREAMS", "MOVED", "RATE"], rows.collect())
            }
            Call::Audit => {
                let text = client.get(routes::AUDIT).await?.bytes().await?;
                let text = String::from_utf8_lossy(&text);
                let lines: Vec<&str> = text.lines().collect();
                console.emit(&lines)?;
                lines.iter().try_for_each(|line| console.say(printable(line)))
            }
        })
        .await
}

async fn list(client: &Client) -> Result<Vec<AppInfo>> {
    Ok(client.list(routes::APP_LIST).await?)
}

async fn decide(client: &Client, id: &str, state: AppState) -> Result<AppInfo> {
    let body = RequestBody::json(&DecideApp { state })?;
    Ok(client.request(Method::PUT, &of_app(id), body).await?.ok().await?.json().await?)
}

fn of_app(id: &str) -> String {
    routes::APP.replace("{app}", &encode_component(id))
}

/// What an app waits for, if it does.
fn asked(app: &AppInfo) -> Option<&AppManifest> {
    match app.state {
        AppState::Pending => Some(&app.manifest),
        _ => app.asks_for.as_ref(),
    }
}

fn say_request(console: &mut Console, app: &AppInfo) -> Result<()> {
    let Some(wanted) = asked(app) else { return Ok(()) };
    let scopes = count(wanted.scopes.len() as u64, "thing", "things");
    console.say(format!("{} ({}) asks for {scopes}:", printable(&wanted.name), printable(&wanted.id)))?;
    for scope in &wanted.scopes {
        let known = app.state == AppState::Approved && app.manifest.scopes.contains(scope);
        console.say(format!("  {}{}", printable(scope), if known { "  (has it)" } else { "" }))?;
    }
    if wanted.storage_quota > 0 {
        console.say(format!("  a folder of its own with up to {}", bytes(wanted.storage_quota)))?;
    }
    console.say(format!("  p2p app approve {0}   or   p2p app deny {0}", printable(&wanted.id)))
}

fn state(app: &AppInfo) -> &'static str {
    match (app.state, &app.asks_for) {
        (AppState::Pending, _) => "pending",
        (AppState::Approved, None) => "approved",
        (AppState::Approved, Some(_)) => "approved, asks for more",
        (AppState::Denied, _) => "denied",
    }
}

fn joined(scopes: &[String]) -> String {
    if scopes.is_empty() { "nothing".to_owned() } else { printable(&scopes.join(" ")) }
}
