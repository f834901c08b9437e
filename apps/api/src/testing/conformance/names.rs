//! Zones and names, as far as a node without any network has them. The zones it makes stay.

use std::path::Path;

use super::scene;
use crate::{
    ErrorKind, NewZone, Node, Open, Publication, RemoveRecords, ResolveName, Result, SetRecord, ZoneInfo, ZoneKind,
    ZoneRecords,
};

fn new(name: &str) -> NewZone {
    NewZone { name: name.to_owned(), kind: ZoneKind::Edkey, key: None }
}

fn record(label: &str, record_type: &str, value: &str) -> SetRecord {
    SetRecord { label: label.into(), record_type: record_type.into(), value: value.into(), ..SetRecord::default() }
}

async fn resolve(node: &Node, name: &str, record_type: Option<&str>) -> Result<Vec<(String, String)>> {
    let resolve =
        ResolveName { name: name.into(), record_type: record_type.map(str::to_owned), ..ResolveName::default() };
    let found = node.names().resolve(resolve).await?;
    assert_eq!(found.name, name);
    Ok(found.records.into_iter().map(|record| (record.record_type, record.value)).collect())
}

#[track_caller]
fn fails<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind) {
    let error = result.expect_err("a refusal");
    assert_eq!(error.kind, kind, "{error}");
    assert!(!error.message.is_empty(), "an error says what went wrong");
}

pub(super) async fn zones(node: &Node) -> ZoneInfo {
    let names = node.names();
    fails(names.set(record("www", "A", "192.0.2.7")).await, ErrorKind::NotFound);
    let made = names.create_zone(new("suite")).await.expect("a zone");
    assert_eq!((made.zone.as_str(), made.ztld.len(), made.labels, made.revoked), ("suite", 58, 0, false));
    assert!(names.zones().await.expect("zones").contains(&made));
    fails(names.create_zone(new("suite")).await, ErrorKind::Conflict);
    for bad in ["", "a.b", "@", "+"] {
        fails(names.create_zone(new(bad)).await, ErrorKind::InvalidInput);
    }
    let secret = names.export_zone("suite").await.expect("the key");
    assert_eq!((secret.ztld.as_str(), secret.key.len()), (made.ztld.as_str(), 58));
    fails(names.create_zone(NewZone { key: Some(secret.key), ..new("again") }).await, ErrorKind::Conflict);
    fails(names.create_zone(NewZone { key: Some("x".into()), ..new("bad") }).await, ErrorKind::InvalidInput);
    fails(names.export_zone("nowhere").await, ErrorKind::NotFound);
    names.create_zone(new("brief")).await.expect("a zone");
    names.set(SetRecord { zone: Some("brief".into()), ..record("www", "A", "192.0.2.9") }).await.expect("set");
    fails(names.remove_zone("brief", ZoneRecords::Keep).await, ErrorKind::Conflict);
    let removed = names.remove_zone("brief", ZoneRecords::Lose).await.expect("removed");
    assert_eq!((removed.zone.as_str(), removed.labels, removed.published), ("brief", 1, 0));
    fails(names.remove_zone("brief", ZoneRecords::Lose).await, ErrorKind::NotFound);
    fails(names.export_zone("brief").await, ErrorKind::NotFound);
    fails(names.records(Some("brief")).await, ErrorKind::NotFound);
    let me = names.whoami().await.expect("whoami");
    assert_eq!(me.peer_id, node.info().await.expect("info").peer_id);
    assert!(me.zones.contains(&made));
    made
}

pub(super) async fn records(node: &Node) {
    let names = node.names();
    let set = names.set(record("www", "A", "192.0.2.7")).await.expect("one zone needs no name");
    assert_eq!((set.zone.as_str(), set.label.as_str()), ("suite", "www"));
    assert_ne!(set.state, Publication::Stored, "a public record is published, or waits for it");
    names.set(record("www", "A", "192.0.2.8")).await.expect("replaced");
    let text = SetRecord { zone: Some("suite".into()), private: true, ..record("www", "TXT", "a text") };
    names.set(text).await.expect("set");
    let listed = names.records(Some("suite")).await.expect("records");
    let mut shown: Vec<_> = listed.iter().map(|r| (r.record_type.as_str(), r.value.as_str(), r.private)).collect();
    shown.sort_unstable();
    assert_eq!(shown, [("A", "192.0.2.8", false), ("TXT", "a text", true)]);
    for (bad, kind) in [
        (record("www", "A", "no address"), ErrorKind::InvalidInput),
        (record("www", "NOTYPE", "x"), ErrorKind::InvalidInput),
        (record("a.b", "A", "192.0.2.7"), ErrorKind::InvalidInput),
        (SetRecord { zone: Some("nowhere".into()), ..record("www", "A", "192.0.2.7") }, ErrorKind::NotFound),
    ] {
        fails(names.set(bad).await, kind);
    }
    let published = names.publish(Some("suite")).await.expect("publish");
    assert_eq!((published.zone.as_str(), published.labels), ("suite", 1));
    let file = names.zone_file("suite").await.expect("a zone file");
    assert!(file.text.contains("192.0.2.8") && !file.text.contains("a text"), "public records only: {}", file.text);
}

pub(super) async fn resolution(node: &Node, zone: &ZoneInfo) {
    let found = resolve(node, "www.suite", Some("A")).await.expect("found");
    assert_eq!(found, [("A".to_owned(), "192.0.2.8".to_owned())]);
    assert_eq!(resolve(node, &format!("www.{}", zone.ztld), None).await.expect("found").len(), 2);
    fails(resolve(node, "www.suite", Some("AAAA")).await, ErrorKind::NotFound);
    fails(resolve(node, "nothing.suite", None).await, ErrorKind::NotFound);
    fails(resolve(node, "www.nowhere", None).await, ErrorKind::NotFound);
    fails(resolve(node, "a..b", None).await, ErrorKind::InvalidInput);
    let remove = |record_type: Option<&str>| RemoveRecords {
        zone: None,
        label: "www".into(),
        record_type: record_type.map(str::to_owned),
    };
    let names = node.names();
    names.remove(remove(Some("A"))).await.expect("removed");
    fails(names.remove(remove(Some("A"))).await, ErrorKind::NotFound);
    fails(resolve(node, "www.suite", Some("A")).await, ErrorKind::NotFound);
    names.remove(remove(None)).await.expect("all removed");
    assert!(names.records(None).await.expect("records").is_empty());
}

pub(super) async fn names_for_links(node: &Node, path: &Path) {
    scene::folder(path);
    let drive = scene::create(node, path).await;
    scene::import(node, drive.drive, &scene::PATHS).await;
    let link = format!("p2p://{}/", drive.drive);
    node.names().set(record("docs", "P2PDRIVE", &link)).await.expect("set");
    assert_eq!(node.names().link("docs.suite", None).await.expect("a link"), link);
    let deep = node.names().link("p2p://docs.suite/a/z", None).await.expect("a link");
    assert_eq!(deep, format!("{link}a/z"));
    assert_eq!(node.names().link(&link, None).await.expect("it is one"), link);
    let opened = node.drives().open(Open { link: "docs.suite".into(), timeout: None }).await.expect("opened");
    assert_eq!(opened.drive, drive.drive);
    fails(node.names().link("nothing.suite", None).await, ErrorKind::NotFound);
    node.drives().remove(drive.drive).await.expect("removed");
}

pub(super) async fn several_zones(node: &Node) {
    node.names().create_zone(NewZone { kind: ZoneKind::Pkey, ..new("other") }).await.expect("a zone");
    fails(node.names().set(record("www", "A", "192.0.2.7")).await, ErrorKind::InvalidInput);
    let set = SetRecord { zone: Some("other".into()), ..record("www", "A", "192.0.2.7") };
    assert_eq!(node.names().set(set).await.expect("set").zone, "other");
}
