//! `p2p identity …`.

use clap::{Args, Subcommand};
use p2p_api::{CreatedIdentity, ErrorKind, IdentityInfo, NewIdentity};
use p2p_client::Client;

use crate::console::Console;
use crate::failure::Result;
use crate::human::printable;
use crate::session::{Context, Need};

/// Words in one line of the 24.
const WORDS_A_LINE: usize = 6;

/// Who you are for others: made here, without an account.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p identity create --name Alice")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes an identity, and shows the 24 words behind it once.
    #[command(after_help = "Example: p2p identity create --name Alice")]
    Create {
        /// What others are told to call you; your user name without it.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// The zone that speaks for you; the only one there is, or a new one without it.
        #[arg(long, value_name = "ZONE")]
        zone: Option<String>,
    },
    /// Shows your identity.
    #[command(after_help = "Example: p2p identity show")]
    Show,
    /// Prints what others need to check that something is yours: genesis link and certificate, in hexadecimal.
    #[command(after_help = "Example: p2p identity export")]
    Export,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    context
        .with_node(Need::Running, async |console, client, _| {
            let people = client.node().people();
            match arguments.command {
                Command::Create { name, zone } => {
                    let name = name.unwrap_or_else(user_name);
                    let created = people.create_identity(NewIdentity { name, zone }).await?;
                    console.emit(&created)?;
                    say(console, &created.info)?;
                    for line in words(&created) {
                        console.say(line)?;
                    }
                    Ok(())
                }
                Command::Show => {
                    let info = people.identity().await?;
                    console.emit(&info)?;
                    say(console, &info)
                }
                Command::Export => {
                    let info = people.identity().await?;
                    console.emit(&info)?;
                    console.say(format!("genesis      {}", info.genesis))?;
                    console.say(format!("certificate  {}", info.certificate))
                }
            }
        })
        .await
}

/// Makes an identity where there is none yet, so that nobody has to know that one is needed. The words go to stderr: they
/// are shown this once.
pub(crate) async fn ensure(console: &mut Console, client: &Client) -> Result<Option<CreatedIdentity>> {
    let people = client.node().people();
    match people.identity().await {
        Err(error) if error.kind == ErrorKind::NotFound => {}
        known => return known.map(|_| None).map_err(Into::into),
    }
    let created = people.create_identity(NewIdentity { name: user_name(), zone: None }).await?;
    console.note(format!("You are {} from now on (p2p identity show).", printable(&created.info.name)));
    for line in words(&created) {
        console.note(line);
    }
    Ok(Some(created))
}

fn say(console: &mut Console, info: &IdentityInfo) -> Result<()> {
    console.say(format!("identity  {}", info.identity))?;
    console.say(format!("name      {}", printable(&info.name)))?;
    console.say(format!("zone      {}  {}", printable(&info.zone), info.ztld))?;
    console.say(format!("device    {}", info.device))?;
    console.say(format!("node      {}", info.peer))
}

fn words(created: &CreatedIdentity) -> Vec<String> {
    let words: Vec<&str> = created.words.split(' ').collect();
    let mut lines =
        vec!["Write down these 24 words; they are shown this once and kept nowhere. Who has them is you:".into()];
    lines.extend(words.chunks(WORDS_A_LINE).map(|line| format!("    {}", line.join(" "))));
    lines
}

fn user_name() -> String {
    ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "me".to_owned())
}
