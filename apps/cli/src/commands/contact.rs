//! `p2p contact …`.

mod pick;

use std::time::Duration;

use clap::{Args, Subcommand};
use p2p_api::{
    AcceptInvite, ContactInfo, CreatedInvite, DEFAULT_TIMEOUT, ErrorKind, InviteInfo, InviteState, NewInvite,
    RenameContact, Verified, VerifyContact,
};
use p2p_client::Client;

use crate::commands::identity;
use crate::console::Console;
use crate::drive;
use crate::failure::{Failure, Result};
use crate::human::{count, printable};
use crate::qr;
use crate::session::{Context, Need};

/// How often it is looked whether somebody has scanned the code.
const LOOK: Duration = Duration::from_millis(500);

/// The people you know: invite them, accept their invites, compare numbers.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p contact invite")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes an invite: a link to send, and the same as a QR code. It works once, for a day.
    #[command(after_help = "Example: p2p contact invite --name bob")]
    Invite {
        /// What you will call them; what they call themselves without it.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// They are here and scan the code now: it works for five minutes, and you confirm them.
        #[arg(long)]
        in_person: bool,
        /// Confirm whoever scans it without asking.
        #[arg(long, requires = "in_person")]
        yes: bool,
        /// For how long, such as 90s, 15m, 12h or 7d.
        #[arg(long, value_name = "DURATION", value_parser = crate::human::duration)]
        expires: Option<Duration>,
        /// They may also write to this folder or drive of yours.
        #[arg(long, value_name = "DRIVE_OR_DIR")]
        writer: Option<String>,
        /// With --writer: only at and under this path.
        #[arg(long, value_name = "PATH", default_value = "", requires = "writer")]
        prefix: String,
    },
    /// Accepts an invite.
    #[command(after_help = "Example: p2p contact accept p2pn:1:… --name alice")]
    Accept {
        /// The invite, or what its QR code says.
        #[arg(value_name = "INVITE")]
        link: String,
        /// What you will call them; what they call themselves without it.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// They stand before you, and showed you the code themselves: then they are verified.
        #[arg(long)]
        in_person: bool,
    },
    /// Lists your contacts.
    #[command(after_help = "Example: p2p contact ls")]
    Ls,
    /// Lists invites that are open, being accepted, or done a short while ago.
    #[command(after_help = "Example: p2p contact invites")]
    Invites,
    /// Confirms who used an invite that was shown in person.
    #[command(after_help = "Example: p2p contact confirm INVITE_ID")]
    Confirm {
        /// The invite's id.
        #[arg(value_name = "INVITE_ID")]
        invite: String,
    },
    /// Takes an invite back, or stops accepting it.
    #[command(after_help = "Example: p2p contact revoke INVITE_ID")]
    Revoke {
        /// The invite's id.
        #[arg(value_name = "INVITE_ID")]
        invite: String,
    },
    /// Calls a contact something else.
    #[command(after_help = "Example: p2p contact rename bob robert")]
    Rename {
        /// The contact: its name or identity.
        contact: String,
        /// The new name.
        name: String,
    },
    /// Shows the number that you and a contact compare; with what they read to you, marks them as verified.
    ///
    /// With --qr it shows a code instead, which they scan; what you scanned on their side goes behind --scanned.
    #[command(after_help = "Example: p2p contact verify bob --number \"12345 67890 …\"")]
    Verify {
        /// The contact: its name or identity.
        contact: String,
        /// The number as they see it.
        #[arg(long, value_name = "DIGITS", group = "told")]
        number: Option<String>,
        /// What their code said when you scanned it.
        #[arg(long, value_name = "TEXT", group = "told")]
        scanned: Option<String>,
        /// Show a code for them to scan.
        #[arg(long, conflicts_with = "told")]
        qr: bool,
        /// Believe them although another identity speaks for their zone now.
        #[arg(long, requires = "told")]
        accept_change: bool,
    },
    Pick(pick::Pick),
    /// Forgets a contact. What they may write to stays until you take it back.
    #[command(after_help = "Example: p2p contact rm bob")]
    Rm {
        /// The contact: its name or identity.
        contact: String,
    },
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let timeout = context.global.timeout;
    context
        .with_node(Need::Running, async |console, client, course| {
            let people = client.node().people();
            match arguments.command {
                Command::Invite { name, in_person, yes, expires, writer, prefix } => {
                    let drive = match writer {
                        Some(which) => Some(drive::find(client, &which, timeout).await?),
                        None => None,
                    };
                    let created_identity = identity::ensure(console, client).await?;
                    let life_s = expires.map(|life| life.as_secs());
                    let prefix = drive::path_inside(&prefix)?;
                    let new = NewInvite { life_s, in_person, drive, prefix, name };
                    let invite = people.invite(new).await?;
                    let mut json = serde_json::to_value(&invite).unwrap_or_default();
                    if let (Some(created), Some(json)) = (created_identity, json.as_object_mut()) {
                        json.insert("words".into(), created.words.into());
                    }
                    console.emit(&json)?;
                    say_invite(console, &invite)?;
                    if in_person {
                        course.may_end();
                        return wait_for_scan(console, client, &invite, yes).await;
                    }
                    Ok(())
                }
                Command::Accept { link, name, in_person } => {
                    identity::ensure(console, client).await?;
                    let wait_s = Some(timeout.unwrap_or(DEFAULT_TIMEOUT).as_secs_f64());
                    let accepted = people.accept(AcceptInvite { link, name, in_person, wait_s }).await?;
                    console.emit(&accepted)?;
                    match &accepted.contact {
                        Some(contact) => say_contact(console, contact),
                        None if accepted.invite.in_person => {
                            console.say("They have to confirm you on their side; this node goes on asking.")
                        }
                        None => console.say(
                            "Their node was not met yet. This node goes on trying until the invite expires, also after a \
                             restart: p2p contact invites",
                        ),
                    }
                }
                Command::Ls => {
                    let contacts = people.contacts().await?;
                    console.emit(&contacts)?;
                    if contacts.is_empty() {
                        return console.say("You know nobody yet: p2p contact invite");
                    }
                    let rows = contacts.iter().map(|contact| {
                        [
                            printable(&contact.name),
                            printable(&contact.own_name),
                            verified(contact).to_owned(),
                            if contact.connected { "connected" } else { "" }.to_owned(),
                            contact.identity.to_string(),
                        ]
                    });
                    console.table(["NAME", "CALLS THEMSELVES", "VERIFIED", "NODE", "IDENTITY"], rows.collect())
                }
                Command::Invites => {
                    let invites = people.invites().await?;
                    console.emit(&invites)?;
                    let rows = invites.iter().map(invite_row);
                    console.table(["INVITE", "STATE", "WHO", "FOR"], rows.collect())
                }
                Command::Confirm { invite } => {
                    let contact = people.confirm(&invite).await?;
                    console.emit(&contact)?;
                    say_contact(console, &contact)
                }
                Command::Revoke { invite } => {
                    people.revoke(&invite).await?;
                    console.emit(&serde_json::json!({ "revoked": true }))?;
                    console.say("Taken back: nobody can use it any more.")
                }
                Command::Rename { contact, name } => {
                    let contact = people.rename(&contact, RenameContact { name }).await?;
                    console.emit(&contact)?;
                    console.say(format!("{} from now on", printable(&contact.name)))
                }
                Command::Verify { contact, qr: true, .. } => {
                    let contact = find(client, &contact).await?;
                    console.emit(&contact)?;
                    say_code(console, &contact)
                }
                Command::Verify { contact, number, scanned, accept_change, .. }
                    if number.is_some() || scanned.is_some() =>
                {
                    let verify = VerifyContact { number: number.unwrap_or_default(), scanned, accept_change };
                    let contact = people.verify(&contact, verify).await?;
                    console.emit(&contact)?;
                    console.say(format!("{} is who they seem to be.", printable(&contact.name)))
                }
                Command::Verify { contact, .. } => {
                    let contact = find(client, &contact).await?;
                    console.emit(&contact)?;
                    console.say(format!("You and {} both see this number, if nobody stands in between:", printable(&contact.name)))?;
                    let groups: Vec<&str> = contact.safety_number.split(' ').collect();
                    for line in groups.chunks(4) {
                        console.say(format!("    {}", line.join(" ")))?;
                    }
                    if contact.changed {
                        console.say("Careful: another identity now speaks for their zone.")?;
                    }
                    console.say("Compare it face to face or by phone, then: p2p contact verify NAME --number \"…\"; or scan: --qr")
                }
                Command::Pick(arguments) => pick::run(console, client, arguments).await,
                Command::Rm { contact } => {
                    people.remove(&contact).await?;
                    console.emit(&serde_json::json!({ "removed": contact }))?;
                    console.say(format!("{} is forgotten.", printable(&contact)))
                }
            }
        })
        .await
}

/// The code that this user shows to one contact.
fn say_code(console: &mut Console, contact: &ContactInfo) -> Result<()> {
    let name = printable(&contact.name);
    if let Some(code) = qr::render(&contact.code.to_uppercase()) {
        console.say(code)?;
    }
    console.say(&contact.code)?;
    console.say(format!("{name} scans it, or reads it, and types: p2p contact verify YOU --scanned TEXT"))?;
    console.say(format!("Then scan theirs, and type: p2p contact verify {name} --scanned TEXT"))
}

async fn find(client: &Client, contact: &str) -> Result<ContactInfo> {
    let all = client.node().people().contacts().await?;
    let found = all.into_iter().find(|known| known.name == contact || known.identity.to_string() == contact);
    found.ok_or_else(|| {
        let message = format!("there is no contact {contact:?}");
        Failure::hinted(ErrorKind::NotFound, message, "see them: p2p contact ls".to_owned())
    })
}

/// The user shows the code; whoever scans it is confirmed here.
async fn wait_for_scan(console: &mut Console, client: &Client, invite: &CreatedInvite, yes: bool) -> Result<()> {
    let people = client.node().people();
    console.note("Waiting for the code to be scanned; Ctrl-C ends the waiting, not the invite.");
    loop {
        let all = people.invites().await?;
        let Some(now) = all.into_iter().find(|known| known.invite == invite.info.invite) else {
            return Err(Failure::new(ErrorKind::TimedOut, "nobody scanned the code in time"));
        };
        match now.state {
            InviteState::Waiting => {
                let name = printable(now.name.as_deref().unwrap_or("somebody"));
                if !yes && !confirmed(&format!("{name} has scanned the code. Is that who stands before you? [y/N] "))? {
                    people.revoke(&now.invite).await?;
                    return Err(Failure::new(ErrorKind::NotAllowed, "not confirmed; the invite is taken back"));
                }
                let contact = people.confirm(&now.invite).await?;
                console.emit(&contact)?;
                return say_contact(console, &contact);
            }
            InviteState::Used => return Ok(()),
            InviteState::Failed => {
                return Err(Failure::new(
                    ErrorKind::TimedOut,
                    "nobody scanned the code in time: the invite has expired",
                ));
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

fn confirmed(question: &str) -> Result<bool> {
    use std::io::{BufRead, IsTerminal, Write};
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::hinted(
            ErrorKind::InvalidInput,
            "somebody has scanned the code, and there is no terminal to ask at".to_owned(),
            "confirm them with p2p contact confirm INVITE_ID, or use --yes".to_owned(),
        ));
    }
    let mut err = std::io::stderr();
    let asked = write!(err, "{question}").and_then(|()| err.flush());
    let mut answer = String::new();
    let read = asked.and_then(|()| stdin.lock().read_line(&mut answer));
    read.map_err(|error| Failure::new(ErrorKind::Io, format!("cannot ask: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn say_invite(console: &mut Console, invite: &CreatedInvite) -> Result<()> {
    console.say(&invite.link)?;
    if let Some(code) = qr::render(&invite.qr) {
        console.say(code)?;
    }
    let what = if invite.info.in_person {
        "They scan the code, or type the link after `p2p contact accept`. It works once, for a few minutes."
    } else {
        "Send them the link, or let them scan the code: p2p contact accept LINK. It works once."
    };
    console.say(what)
}

fn say_contact(console: &mut Console, contact: &ContactInfo) -> Result<()> {
    let name = printable(&contact.name);
    console.say(format!("You and {name} know each other now ({}).", verified(contact)))?;
    console.say(format!("Names of theirs end in .{name} for you, such as docs.{name}"))
}

fn verified(contact: &ContactInfo) -> &'static str {
    match (contact.changed, contact.verified) {
        (true, _) => "ANOTHER IDENTITY SPEAKS FOR THEIR ZONE",
        (_, Verified::No) => "not verified",
        (_, Verified::InPerson) => "in person",
        (_, Verified::Number) => "number compared",
        (_, Verified::Scanned) => "code scanned",
    }
}

fn invite_row(invite: &InviteInfo) -> [String; 4] {
    let state = match invite.state {
        InviteState::Open => "open".to_owned(),
        InviteState::Waiting => "waits for p2p contact confirm".to_owned(),
        InviteState::Accepting if invite.left_on > 0 => {
            format!(
                "being accepted; your answer waits for them on {}",
                count(u64::from(invite.left_on), "node", "nodes")
            )
        }
        InviteState::Accepting => "being accepted".to_owned(),
        InviteState::Used => "used".to_owned(),
        InviteState::Failed => format!("failed: {}", invite.reason.as_deref().unwrap_or_default()),
    };
    let what = invite.drive.map_or_else(|| "contact".to_owned(), |drive| format!("writing to {drive}"));
    [invite.invite.clone(), state, printable(invite.name.as_deref().unwrap_or("-")), what]
}
