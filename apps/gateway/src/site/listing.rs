//! What is in a folder that has no `index.html`.

use axum::response::Response;
use futures::StreamExt;
use maud::html;
use p2p_api::wire::encode_component;
use p2p_api::{EntryKind, Result, TreeEntry, TreeQuery};
use tokio::time::Instant;

use super::pages;
use super::path::SitePath;
use super::store::{Site, within};
use crate::human;

/// Most entries of one page. More are counted and not shown.
const MAX_ENTRIES: usize = 2_000;

/// The entries of a folder.
pub(crate) struct Folder {
    entries: Vec<TreeEntry>,
    is_cut: bool,
}

/// The folder at a path; `None` if there is none.
pub(crate) async fn find(site: &Site, path: &str, deadline: Instant) -> Result<Option<Folder>> {
    let query = TreeQuery { prefix: path.to_owned(), depth: Some(1) };
    let list = async {
        let mut stream = site.tree(query).await?;
        let mut folder = Folder { entries: Vec::new(), is_cut: false };
        let mut is_there = path.is_empty();
        while let Some(entry) = stream.next().await {
            let entry = entry?;
            if entry.path == path {
                if entry.kind != EntryKind::Directory {
                    return Ok(None);
                }
                is_there = true;
            } else if folder.entries.len() == MAX_ENTRIES {
                folder.is_cut = true;
                break;
            } else if entry.path != ".p2p" {
                folder.entries.push(entry);
            }
        }
        Ok(is_there.then_some(folder))
    };
    match within(deadline, list).await {
        Err(error) if error.kind == p2p_api::ErrorKind::NotFound => Ok(None),
        found => found,
    }
}

/// The page that shows a folder.
pub(crate) fn page(site: &Site, title: &str, path: &SitePath, mut folder: Folder) -> Response {
    folder.entries.sort_by_key(|entry| entry.kind != EntryKind::Directory);
    let title = [title, &site.info.title].into_iter().find(|title| !title.is_empty());
    let title = title.unwrap_or("Shared folder");
    let name = path.path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(title);
    let body = html! {
        main.folder {
            p.crumbs { (crumbs(title, path)) }
            h1 { (name) }
            @if folder.entries.is_empty() {
                p.note { "This folder is empty." }
            } @else {
                div.list { table {
                    thead { tr { th scope="col" { "Name" } th.size scope="col" { "Size" } } }
                    tbody { @for entry in &folder.entries {
                        @let name = entry.path.rsplit('/').next().unwrap_or(&entry.path);
                        @let is_folder = entry.kind == EntryKind::Directory;
                        @let slash = if is_folder { "/" } else { "" };
                        tr {
                            td { a href={ "./" (encode_component(name)) (slash) } { (name) (slash) } }
                            td.size { @if entry.kind == EntryKind::File { (human::bytes(entry.size)) } }
                        }
                    } }
                } }
                @if folder.is_cut {
                    p.note { "Only the first " (MAX_ENTRIES) " entries are shown." }
                }
            }
        }
    };
    pages::page(name, &body)
}

fn crumbs(title: &str, path: &SitePath) -> maud::Markup {
    let parts: Vec<&str> = path.path.split('/').filter(|part| !part.is_empty()).collect();
    let parents = parts.len().saturating_sub(1);
    html! {
        @if !parts.is_empty() {
            a href="/" { (title) } " / "
            @for (index, part) in parts.iter().take(parents).enumerate() {
                a href={ @for _ in index..parents { "../" } } { (part) } " / "
            }
        }
    }
}
