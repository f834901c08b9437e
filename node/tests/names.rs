//! Names between real nodes over real sockets on loopback: an owner, a stranger, and one that only brings them together.

mod homes;

use std::time::Duration;

use futures::StreamExt;
use homes::{Home, PATIENCE, connected, record, resolve, revoke, three, until, value, zone};
use p2p_api::{
    Change, ErrorKind, Follow, Import, NewDrive, NewZone, Publication, RemoveRecords, RevokeZone, SetRecord,
    TransferEvent, ZoneRecords,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_resolves_a_name_and_clones_what_it_stands_for() {
    let (owner, middle, stranger) = three().await;
    let alice = zone(&owner.node(), "alice").await;
    let folder = owner.dir.path().join("docs");
    std::fs::create_dir(&folder).expect("made");
    std::fs::write(folder.join("a.txt"), "hello").expect("written");
    let drives = owner.node().drives();
    let drive = drives.create(NewDrive { path: Some(folder), title: "docs".into() }).await.expect("made");
    let changes = futures::stream::iter([Ok(Change { path: "a.txt".into(), ..Change::default() })]).boxed();
    let imported: Vec<_> =
        drives.import(drive.drive, Import::default(), changes).await.expect("imports").collect().await;
    assert!(imported.iter().all(Result::is_ok), "{imported:?}");

    let set = owner.node().names().set(record("www", "A", "192.0.2.7")).await.expect("set");
    assert_eq!(set.state, Publication::Published, "{set:?}");
    assert_eq!((set.stored_on, set.nodes), (2, 2), "the bootstrap node and the stranger");
    let link = format!("p2p://{}/", drive.drive);
    owner.node().names().set(record("docs", "P2PDRIVE", &link)).await.expect("set");

    let found = resolve(&stranger.node(), &format!("www.{}", alice.ztld), false).await.expect("found");
    assert_eq!((found.records[0].value.as_str(), found.source.as_str()), ("192.0.2.7", "dht"));
    assert_eq!(value(&owner.node(), "www.alice").await, "192.0.2.7", "the owner says it shorter");
    let follow = Follow {
        link: format!("docs.{}", alice.ztld),
        target: stranger.dir.path().join("copy"),
        allow_external_links: false,
        stay: false,
        timeout: Some(PATIENCE),
    };
    let events: Vec<_> = stranger.node().drives().follow(follow).await.expect("followed").collect().await;
    assert!(matches!(events.last(), Some(Ok(TransferEvent::Done { files: 1, .. }))), "{events:?}");
    assert_eq!(std::fs::read_to_string(stranger.dir.path().join("copy/a.txt")).expect("read"), "hello");
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let again = resolve(&stranger.node(), &format!("www.{}", alice.ztld), false).await.expect("found");
    assert_eq!(again.source, "cache", "it is believed until it expires");
    let nothing = resolve(&stranger.node(), &format!("nothing.{}", alice.ztld), false).await.expect_err("not there");
    assert_eq!(nothing.kind, ErrorKind::NotFound, "{nothing}");

    // A change is seen at once, also by one who knows the old value.
    owner.node().names().set(record("www", "A", "192.0.2.8")).await.expect("set");
    let took = until(&stranger.node(), &format!("www.{}", alice.ztld), "192.0.2.8").await;
    assert!(took < Duration::from_secs(2), "{took:?}");

    // Without its owner, and with a bootstrap node that has been restarted.
    owner.running.shutdown().await;
    let middle = middle.restart(&[stranger.address()]).await;
    connected(&middle.node()).await;
    let late = Home::new(&[middle.address()]).await;
    connected(&late.node()).await;
    assert_eq!(value(&late.node(), &format!("www.{}", alice.ztld)).await, "192.0.2.8");
    for home in [middle, stranger, late] {
        home.running.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_without_network_is_published_when_there_is_one() {
    let owner = Home::new(&[]).await;
    let alice = zone(&owner.node(), "alice").await;
    let set = owner.node().names().set(record("www", "TXT", "early")).await.expect("set");
    assert_eq!((set.state, set.stored_on), (Publication::Waiting, 0));
    let hidden = SetRecord { private: true, ..record("secret", "TXT", "mine") };
    let set = owner.node().names().set(hidden).await.expect("set");
    assert_eq!(set.state, Publication::Stored);
    assert_eq!(value(&owner.node(), "secret.alice").await, "mine", "the owner sees it");

    let stranger = Home::new(&[owner.address()]).await;
    until(&stranger.node(), &format!("www.{}", alice.ztld), "early").await;
    let error = resolve(&stranger.node(), &format!("secret.{}", alice.ztld), true).await.expect_err("it is private");
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");

    // Removed is removed, and what comes after a restart replaces it: the expiration never goes back.
    let remove = RemoveRecords { label: "www".into(), ..RemoveRecords::default() };
    let removed = owner.node().names().remove(remove).await.expect("removed");
    assert_eq!(removed.state, Publication::Published);
    let gone = resolve(&stranger.node(), &format!("www.{}", alice.ztld), true).await.expect_err("removed");
    assert_eq!(gone.kind, ErrorKind::NotFound, "{gone}");
    let owner = owner.restart(&[stranger.address()]).await;
    connected(&owner.node()).await;
    let brief = SetRecord { expires_s: Some(60.0), ..record("www", "TXT", "late") };
    let set = owner.node().names().set(brief).await.expect("set");
    assert_eq!(set.state, Publication::Published, "{set:?}");
    until(&stranger.node(), &format!("www.{}", alice.ztld), "late").await;
    owner.running.shutdown().await;
    stranger.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_goes_on_elsewhere_with_its_key() {
    let old = Home::new(&[]).await;
    let alice = zone(&old.node(), "alice").await;
    let long = SetRecord { expires_s: Some(300.0 * 86_400.0), ..record("www", "TXT", "old") };
    old.node().names().set(long).await.expect("set");
    let key = old.node().names().export_zone("alice").await.expect("the key").key;
    let new = Home::new(&[old.address()]).await;
    connected(&new.node()).await;
    connected(&old.node()).await;
    until(&new.node(), &format!("www.{}", alice.ztld), "old").await;
    let taken = NewZone { name: "me".into(), kind: Default::default(), key: Some(key.clone()) };
    let taken = new.node().names().create_zone(taken).await.expect("taken in");
    assert_eq!(taken.ztld, alice.ztld);
    let again = NewZone { name: "other".into(), kind: Default::default(), key: Some(key) };
    let refused = new.node().names().create_zone(again).await.expect_err("it is there");
    assert_eq!(refused.kind, ErrorKind::Conflict);
    let set = new.node().names().set(record("www", "TXT", "new")).await.expect("set");
    assert_eq!(set.state, Publication::Published, "it expires later than the old block: {set:?}");
    let third = Home::new(&[new.address()]).await;
    until(&third.node(), &format!("www.{}", alice.ztld), "new").await;
    for home in [old, new, third] {
        home.running.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_zone_does_not_resolve_any_more() {
    let (owner, middle, stranger) = three().await;
    let alice = zone(&owner.node(), "alice").await;
    owner.node().names().set(record("www", "TXT", "here")).await.expect("set");
    let name = format!("www.{}", alice.ztld);
    let kept = revoke(&owner.node(), "alice", RevokeZone { message: None, compute_only: true }).await;
    assert!(!kept.revoked, "computed, and kept back");
    assert_eq!(value(&owner.node(), "www.alice").await, "here");
    let wrong = RevokeZone { message: Some("00".into()), compute_only: false };
    assert_eq!(owner.node().names().revoke_zone("alice", wrong).await.expect_err("none").kind, ErrorKind::InvalidInput);
    let state = revoke(&owner.node(), "alice", RevokeZone { message: kept.message, compute_only: false }).await;
    assert!(state.revoked && state.stored_on == 2, "{state:?}");
    for node in [owner.node(), stranger.node(), middle.node()] {
        let error = resolve(&node, &name, false).await.expect_err("revoked");
        assert!(error.message.contains("revoked"), "{error}");
    }
    // It is remembered.
    let stranger = stranger.restart(&[]).await;
    let error = resolve(&stranger.node(), &name, false).await.expect_err("revoked");
    assert!(error.message.contains("revoked"), "{error}");
    for home in [owner, middle, stranger] {
        home.running.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_zone_is_withdrawn_and_its_key_is_gone() {
    let owner = Home::new(&[]).await;
    let stranger = Home::new(&[owner.address()]).await;
    for home in [&owner, &stranger] {
        connected(&home.node()).await;
    }
    let alice = zone(&owner.node(), "alice").await;
    let name = format!("www.{}", alice.ztld);
    owner.node().names().set(record("www", "TXT", "here")).await.expect("set");
    let hidden = SetRecord { private: true, ..record("hidden", "TXT", "mine") };
    owner.node().names().set(hidden).await.expect("set");
    assert_eq!(value(&stranger.node(), &name).await, "here");

    let kept = owner.node().names().remove_zone("alice", ZoneRecords::Keep).await.expect_err("it has records");
    assert_eq!(kept.kind, ErrorKind::Conflict, "{kept}");
    assert_eq!(value(&owner.node(), "www.alice").await, "here", "nothing was lost");
    let removed = owner.node().names().remove_zone("alice", ZoneRecords::Lose).await.expect("removed");
    assert_eq!((removed.labels, removed.published, removed.withdrawn), (2, 1, 1), "{removed:?}");
    let gone = resolve(&stranger.node(), &name, true).await.expect_err("withdrawn");
    assert_eq!(gone.kind, ErrorKind::NotFound, "{gone}");

    // Neither the zone nor its key come back with the next start, and the name is free.
    let owner = owner.restart(&[stranger.address()]).await;
    assert!(owner.node().names().zones().await.expect("zones").is_empty());
    assert_eq!(owner.node().names().export_zone("alice").await.expect_err("gone").kind, ErrorKind::NotFound);
    assert_ne!(zone(&owner.node(), "alice").await.ztld, alice.ztld);
    owner.running.shutdown().await;
    stranger.running.shutdown().await;
}
