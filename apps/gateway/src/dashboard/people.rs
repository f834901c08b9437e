//! The user, whom they know, and the invites by which they come to know others.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use maud::{Markup, html};
use p2p_api::{
    AcceptInvite, ApiError, ContactInfo, CreatedIdentity, CreatedInvite, ErrorKind, IdentityInfo, InviteInfo,
    InviteState, NewIdentity, NewInvite, Result, Verified, VerifyContact,
};
use qrcode::{Color, EcLevel, QrCode};

use super::fields::{self, Fields};
use super::layout::{self, Section};
use super::sessions::Session;
use super::{Desk, parts};

/// How long accepting an invite waits for the other side, in seconds; it goes on afterwards.
const ACCEPT_TIME_S: f64 = 5.0;
/// How the text of a scanned code begins.
const CODE_PREFIX: &str = "p2pv:";
/// Light dots around a QR code.
const QUIET: usize = 4;

/// What is told once, right after it was made.
#[derive(Default)]
struct Fresh {
    identity: Option<CreatedIdentity>,
    invite: Option<CreatedInvite>,
}

pub(crate) async fn page(State(desk): State<Desk>, Extension(session): Extension<Session>) -> Response {
    show(&desk, &session, &Fresh::default(), None).await
}

pub(crate) async fn create(State(desk): State<Desk>, form: Fields) -> Response {
    let new = NewIdentity { name: form.get("name").trim().to_owned(), zone: None };
    match desk.node.people().create_identity(new).await {
        Ok(identity) => show(&desk, &form.session, &Fresh { identity: Some(identity), invite: None }, None).await,
        Err(error) => show(&desk, &form.session, &Fresh::default(), Some(&error)).await,
    }
}

pub(crate) async fn invite(State(desk): State<Desk>, form: Fields) -> Response {
    let name = Some(form.get("name").trim().to_owned()).filter(|name| !name.is_empty());
    let new = NewInvite { name, in_person: !form.get("in_person").is_empty(), ..NewInvite::default() };
    match desk.node.people().invite(new).await {
        Ok(invite) => show(&desk, &form.session, &Fresh { invite: Some(invite), identity: None }, None).await,
        Err(error) => show(&desk, &form.session, &Fresh::default(), Some(&error)).await,
    }
}

pub(crate) async fn accept(State(desk): State<Desk>, form: Fields) -> Response {
    let name = Some(form.get("name").trim().to_owned()).filter(|name| !name.is_empty());
    let accept = AcceptInvite {
        link: form.get("link").trim().to_owned(),
        name,
        in_person: !form.get("in_person").is_empty(),
        wait_s: Some(ACCEPT_TIME_S),
    };
    done(&desk, &form, desk.node.people().accept(accept).await.map(drop)).await
}

pub(crate) async fn confirm(State(desk): State<Desk>, form: Fields) -> Response {
    done(&desk, &form, desk.node.people().confirm(form.get("invite")).await.map(drop)).await
}

pub(crate) async fn revoke(State(desk): State<Desk>, form: Fields) -> Response {
    done(&desk, &form, desk.node.people().revoke(form.get("invite")).await).await
}

pub(crate) async fn verify(State(desk): State<Desk>, form: Fields) -> Response {
    // One field for both: what they read out, and what a scanner says.
    let told = form.get("number").trim().to_owned();
    let is_code = told.get(..CODE_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(CODE_PREFIX));
    let verify = if is_code {
        VerifyContact { scanned: Some(told), ..VerifyContact::default() }
    } else {
        VerifyContact { number: told, ..VerifyContact::default() }
    };
    done(&desk, &form, desk.node.people().verify(form.get("contact"), verify).await.map(drop)).await
}

async fn done(desk: &Desk, form: &Fields, result: Result<()>) -> Response {
    match result {
        Ok(()) => Redirect::to("/people").into_response(),
        Err(error) => show(desk, &form.session, &Fresh::default(), Some(&error)).await,
    }
}

async fn show(desk: &Desk, session: &Session, fresh: &Fresh, failure: Option<&ApiError>) -> Response {
    let people = desk.node.people();
    let identity = match people.identity().await {
        Ok(identity) => Some(identity),
        Err(error) if error.kind == ErrorKind::NotFound => None,
        Err(error) if error.kind == ErrorKind::Unsupported => return without(),
        Err(error) => return layout::failed(Section::People, "People", &error),
    };
    let (contacts, invites) = match tokio::try_join!(people.contacts(), people.invites()) {
        Ok(found) => found,
        Err(error) => return layout::failed(Section::People, "People", &error),
    };
    let locked = desk.node.info().await.is_ok_and(|info| info.locked);
    let body = html! {
        h1 { "People" }
        @if let Some(error) = failure { (layout::error(error)) }
        @if locked {
            div.alert.warn role="status" {
                p { strong { "The keys of this node are locked." } }
                p { "What needs one waits until you type " code { "p2p unlock" } "." }
            }
        }
        @if let Some(created) = &fresh.identity { (words(created)) }
        @if let Some(invite) = &fresh.invite { (fresh_invite(invite)) }
        @match &identity {
            None => (create_form(session)),
            Some(identity) => {
                section aria-labelledby="contacts" {
                    h2 #contacts { "Your contacts" }
                    div #contact-list data-live { (contact_list(&contacts, session)) }
                }
                @if !invites.is_empty() {
                    section aria-labelledby="invites" {
                        h2 #invites { "Invites" }
                        div #invite-list data-live { (invite_list(&invites, session)) }
                    }
                }
                div.columns {
                    (invite_form(session))
                    (accept_form(session))
                }
                (you(identity))
            }
        }
    };
    let status = failure.map_or(StatusCode::OK, |_| StatusCode::BAD_REQUEST);
    (status, layout::page(Section::People, "People", &body)).into_response()
}

fn without() -> Response {
    let body = html! {
        h1 { "People" }
        (parts::empty("This node knows nobody", &html! { "The program it runs as was built without contacts." }))
    };
    layout::page(Section::People, "People", &body).into_response()
}

fn create_form(session: &Session) -> Markup {
    html! {
        section.panel.first aria-labelledby="create" {
            h2 #create { "Who are you?" }
            p.note { "An identity is a key of yours, made here. There is no account and nobody to ask." }
            form.line method="post" action="/people/identity" {
                (fields::token(session))
                label for="identity-name" { "What others call you" }
                input #identity-name name="name" required maxlength="64" autocomplete="name" placeholder="Alice";
                button type="submit" { "Make it" }
            }
        }
    }
}

fn words(created: &CreatedIdentity) -> Markup {
    html! {
        section.panel.first aria-labelledby="words" {
            h2 #words { "Write down these 24 words" }
            p { "They are shown this once and kept nowhere. Who has them is you: keep them on paper." }
            ol.words { @for word in created.words.split(' ') { li { (word) } } }
        }
    }
}

fn fresh_invite(invite: &CreatedInvite) -> Markup {
    html! {
        section.panel.first aria-labelledby="fresh" {
            h2 #fresh { "Your invite" }
            p.note {
                @if invite.info.in_person { "Let them scan it now: it works once, for a few minutes. Then confirm them below." }
                @else { "Send it, or let them scan it: it works once, for a day. It is shown this once." }
            }
            (parts::copyable(&invite.link, "the invite"))
            @if let Some(code) = qr(&invite.qr, "The invite as a QR code") { (code) }
        }
    }
}

/// A QR code, dark on light in every theme.
fn qr(text: &str, label: &str) -> Option<Markup> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let width = code.width();
    let side = width + 2 * QUIET;
    let mut path = String::new();
    for (index, _) in code.to_colors().iter().enumerate().filter(|(_, color)| **color == Color::Dark) {
        path.push_str(&format!("M{} {}h1v1h-1z", index % width + QUIET, index / width + QUIET));
    }
    Some(html! {
        svg.qr xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {side} {side}")) width="280" height="280" role="img"
            aria-label=(label) shape-rendering="crispEdges" {
            rect width=(side) height=(side) fill="#fff" {}
            path d=(path) fill="#000" {}
        }
    })
}

fn contact_list(contacts: &[ContactInfo], session: &Session) -> Markup {
    if contacts.is_empty() {
        return parts::empty("You know nobody yet", &html! { "Make an invite below, or accept one." });
    }
    html! {
        div.table tabindex="0" role="region" aria-label="Contacts" { table.stack {
            thead { tr {
                th scope="col" { "Name" } th scope="col" { "Verified" } th scope="col" { "Their node" }
                th scope="col" { "The number you share" }
            } }
            tbody { @for contact in contacts { tr {
                td data-name="Name" {
                    span.name { (contact.name) }
                    @if contact.own_name != contact.name { " " span.note { "calls themselves " (contact.own_name) } }
                }
                td data-name="Verified" { (verified(contact)) }
                td data-name="Their node" {
                    @if contact.connected { span.badge.good { "Connected" } } @else { span.badge.dim { "Away" } }
                }
                td data-name="Number" {
                    @if matches!(contact.verified, Verified::Number | Verified::Scanned) { code { (contact.safety_number) } }
                    @else {
                        details {
                            summary { "Compare" }
                            p.note { "Read it to each other, face to face or by phone; or let them scan the code, and scan theirs." }
                            p { code { (contact.safety_number) } }
                            @let label = format!("The code that {} scans", contact.name);
                            @if let Some(code) = qr(&contact.code.to_uppercase(), &label) { (code) }
                            form.line method="post" action="/people/verify" {
                                (fields::token(session))
                                input type="hidden" name="contact" value=(contact.identity);
                                @let field = format!("number-{}", contact.identity);
                                label for=(field) { "The number as they see it, or what their code says" }
                                input id=(field) name="number" required autocomplete="off" spellcheck="false"
                                    autocapitalize="none" placeholder="12345 67890 …";
                                button.small type="submit" { "Verify" }
                            }
                        }
                    }
                }
            } } }
        } }
    }
}

fn verified(contact: &ContactInfo) -> Markup {
    let (class, word, meaning) = match (contact.changed, contact.verified) {
        (true, _) => ("bad", "Changed", "Another identity now speaks for their zone: ask them"),
        (_, Verified::No) => ("dim", "Not yet", "As sure as the way by which the invite came"),
        (_, Verified::InPerson) => ("good", "In person", "The invite was shown face to face"),
        (_, Verified::Number) => ("good", "Number compared", "Both have compared the number"),
        (_, Verified::Scanned) => ("good", "Code scanned", "You have scanned the code that they showed"),
    };
    html! { span.badge.(class) title=(meaning) { (word) } }
}

fn invite_list(invites: &[InviteInfo], session: &Session) -> Markup {
    html! {
        div.table tabindex="0" role="region" aria-label="Invites" { table.stack {
            thead { tr {
                th scope="col" { "Who" } th scope="col" { "State" } th scope="col" { span.unseen { "What to do" } }
            } }
            tbody { @for invite in invites { tr {
                @let name = invite.name.as_deref().unwrap_or("Somebody");
                td data-name="Who" { (name) }
                td data-name="State" { (state(invite)) }
                td.side {
                    @if invite.state == InviteState::Waiting {
                        (button("/people/confirm", &invite.invite, session, "Confirm", &format!("Confirm {name}")))
                    }
                    @let word = if invite.state == InviteState::Used { "Forget" } else { "Take back" };
                    (button("/people/revoke", &invite.invite, session, word, &format!("{word} the invite for {name}")))
                }
            } } }
        } }
    }
}

fn state(invite: &InviteInfo) -> Markup {
    let (class, word, meaning) = match invite.state {
        InviteState::Open => ("dim", "Open", "Nobody has used it yet"),
        InviteState::Waiting => ("warn", "Waits for you", "They have scanned it: confirm that they are who you think"),
        InviteState::Accepting => {
            ("warn", "Being accepted", "Their node has not answered yet; this node goes on trying")
        }
        InviteState::Used => ("good", "Used", "You know each other"),
        InviteState::Failed => ("bad", "Failed", invite.reason.as_deref().unwrap_or_default()),
    };
    html! { span.badge.(class) title=(meaning) { (word) } }
}

fn button(action: &str, invite: &str, session: &Session, word: &str, label: &str) -> Markup {
    html! {
        form method="post" action=(action) {
            (fields::token(session))
            input type="hidden" name="invite" value=(invite);
            button.small type="submit" aria-label=(label) { (word) }
        }
    }
}

fn invite_form(session: &Session) -> Markup {
    html! {
        section.panel aria-labelledby="new-invite" {
            h2 #new-invite { "Invite somebody" }
            form method="post" action="/people/invite" {
                (fields::token(session))
                label for="invite-name" { "What you call them " span.note { "(may be empty)" } }
                input #invite-name name="name" maxlength="63" autocomplete="off" spellcheck="false" autocapitalize="none"
                    placeholder="bob";
                label.check { input type="checkbox" name="in_person" value="1"; " They are here and scan it now" }
                button type="submit" { "Make an invite" }
            }
        }
    }
}

fn accept_form(session: &Session) -> Markup {
    html! {
        section.panel aria-labelledby="accept" {
            h2 #accept { "Accept an invite" }
            form method="post" action="/people/accept" {
                (fields::token(session))
                label for="accept-link" { "The invite" }
                input #accept-link name="link" required autocomplete="off" spellcheck="false" autocapitalize="none"
                    placeholder="p2pn:1:…";
                label for="accept-name" { "What you call them " span.note { "(may be empty)" } }
                input #accept-name name="name" maxlength="63" autocomplete="off" spellcheck="false" autocapitalize="none"
                    placeholder="alice";
                label.check { input type="checkbox" name="in_person" value="1"; " They stand before me and showed it" }
                button type="submit" { "Accept" }
            }
        }
    }
}

fn you(identity: &IdentityInfo) -> Markup {
    html! {
        section aria-labelledby="you" {
            h2 #you { "You" }
            dl.facts {
                dt { "Name" } dd { (identity.name) }
                dt { "Identity" } dd { (parts::copyable(&identity.identity.to_string(), "your identity")) }
                dt { "Zone" } dd { (identity.zone) " " (parts::copyable(&identity.ztld, "your zone")) }
            }
        }
    }
}
