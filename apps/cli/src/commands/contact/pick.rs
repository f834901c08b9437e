//! `p2p contact pick`: what apps ask, and what the user answers.

use clap::Args;
use p2p_api::{AnswerPick, PickInfo, PickState};
use p2p_client::Client;

use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::human::printable;

/// Lists the apps that ask for one of your contacts, and answers them: an app sees only whom you pick.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p contact pick PICK_ID bob")]
pub(crate) struct Pick {
    /// Which one; without it, those that wait are listed.
    #[arg(value_name = "PICK_ID")]
    pick: Option<String>,
    /// The contact that the app gets: its name or identity.
    #[arg(value_name = "CONTACT", requires = "pick")]
    contact: Option<String>,
    /// Pick nobody.
    #[arg(long, requires = "pick", conflicts_with = "contact")]
    refuse: bool,
}

pub(super) async fn run(console: &mut Console, client: &Client, arguments: Pick) -> Result<()> {
    let people = client.node().people();
    let Some(pick) = arguments.pick else {
        let picks = people.picks().await?;
        console.emit(&picks)?;
        let waiting: Vec<&PickInfo> = picks.iter().filter(|pick| pick.state == PickState::Waiting).collect();
        if waiting.is_empty() {
            return console.say("No app asks for a contact.");
        }
        let rows = waiting.iter().map(|pick| [pick.pick.clone(), printable(&pick.app), printable(&pick.reason)]);
        console.table(["PICK", "APP", "WHAT FOR"], rows.collect())?;
        return console.say("Answer with: p2p contact pick PICK CONTACT, or p2p contact pick PICK --refuse");
    };
    if arguments.contact.is_none() && !arguments.refuse {
        return Err(Failure::usage_with_hint("name a contact", "or pick nobody: --refuse"));
    }
    let answered = people.answer_pick(&pick, AnswerPick { contact: arguments.contact }).await?;
    console.emit(&answered)?;
    let app = printable(&answered.app);
    match &answered.contact {
        Some(contact) => console.say(format!("{app} gets {}, and sees nobody else.", printable(&contact.name))),
        None => console.say(format!("{app} gets nobody.")),
    }
}
