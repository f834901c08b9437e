//! Small things that several pages show.

use maud::{Markup, html};
use p2p_api::{DriveInfo, DriveRole, PathKind};

use crate::human;
use crate::rates::Rate;

/// A long text that can be copied as a whole; `name` says what it is to a screen reader.
pub(crate) fn copyable(text: &str, name: &str) -> Markup {
    html! {
        span.copyable {
            code.clip title=(text) { (text) }
            button.small type="button" hidden data-copy=(text) aria-label={ "Copy " (name) } { "Copy" }
        }
    }
}

/// The first characters of an id, with all of it at hand. Those of all peers begin with the same eight.
pub(crate) fn short_id(id: &str) -> Markup {
    let cut = id.char_indices().nth(18).map_or(id.len(), |(index, _)| index);
    html! { code title=(id) { (&id[..cut]) @if cut < id.len() { "…" } } }
}

/// A drive's name, or what stands for it.
pub(crate) fn title(drive: &DriveInfo) -> String {
    if !drive.title.is_empty() {
        return drive.title.clone();
    }
    let folder = drive.path.as_deref().and_then(|path| path.file_name());
    folder.map_or_else(|| drive.drive.fmt_short(), |name| name.to_string_lossy().into_owned())
}

/// What this node does for a drive.
pub(crate) fn role(role: DriveRole) -> Markup {
    let (class, name) = match role {
        DriveRole::Owner => ("good", "Yours"),
        DriveRole::Mirror => ("calm", "Copy"),
        DriveRole::Reader => ("dim", "Visited"),
    };
    html! { span.badge.(class) { (name) } }
}

/// What a drive without a version stands for.
pub(crate) fn no_version(role: DriveRole) -> &'static str {
    match role {
        DriveRole::Owner => "Nothing published yet",
        DriveRole::Mirror => "Not yet copied",
        DriveRole::Reader => "Not yet found",
    }
}

/// What travels now; nothing where nothing does.
pub(crate) fn rate(rate: Rate) -> Markup {
    let speed = |bytes: f64| format!("{}/s", human::bytes(bytes as u64));
    html! {
        @if rate.now.is_some() {
            span.rate {
                span.flow title="received" { "↓ " span.unseen { "received " } (speed(rate.now.received)) } " "
                span.flow title="sent" { "↑ " span.unseen { "sent " } (speed(rate.now.sent)) }
            }
        }
    }
}

/// What has travelled since the node started.
pub(crate) fn total(rate: Rate) -> Markup {
    html! {
        span.flow title="received since the start" { "↓ " span.unseen { "received " } (human::bytes(rate.total.received as u64)) } " "
        span.flow title="sent since the start" { "↑ " span.unseen { "sent " } (human::bytes(rate.total.sent as u64)) }
    }
}

/// How a connection runs.
pub(crate) fn path_kind(kind: PathKind) -> Markup {
    let (class, name, meaning) = match kind {
        PathKind::Lan => ("good", "Local", "Within this network or computer"),
        PathKind::Direct => ("good", "Direct", "Straight over the Internet"),
        PathKind::Relayed => ("warn", "Relayed", "Through another node, which cannot read it"),
    };
    html! { span.badge.(class) title=(meaning) { (name) } }
}

/// What is there instead of an empty list.
pub(crate) fn empty(title: &str, text: &Markup) -> Markup {
    html! { div.empty { h3 { (title) } p { (text) } } }
}
