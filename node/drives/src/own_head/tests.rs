use std::sync::Arc;

use crate::DriveError;
use crate::hostile_tests::network::Net;
use crate::hostile_tests::party::Member;

/// All files of a folder, with their content.
fn texts(member: &Member) -> Vec<(String, Vec<u8>)> {
    crate::hostile_tests::network::files_under(&member.folder).into_iter().collect()
}

/// What a backup holds of a folder comes back: what was made since is gone.
fn restore_folder(member: &Member, saved: &[(String, Vec<u8>)]) {
    std::fs::remove_dir_all(&member.folder).unwrap();
    for (path, bytes) in saved {
        let path = member.folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_home_restored_from_a_backup_continues_above_what_it_had_written() {
    let net = Arc::new(Net::default());
    let owner = Member::owner(&net, &[("a", "first"), ("b", "first"), ("d/gone", "x")]).await;
    let follower = Member::writer(&net, 2, &owner, None).await;
    follower.sync().await;
    let (ledger, folder) = (owner.saved_ledger(), texts(&owner));
    let counter = |member: &Member| member.node.drives.status(&member.id).unwrap().version;
    let saved = counter(&owner);
    // Two more versions, which the follower has.
    owner.write("a", "second");
    owner.write("new", "made after the backup");
    owner.publish().await.unwrap();
    owner.remove("d/gone");
    owner.write("b", "third");
    owner.publish().await.unwrap();
    assert_eq!(counter(&owner), saved + 2);
    follower.until_text("b", Some("third")).await;
    follower.until_text("d/gone", None).await;
    // The disk breaks, and the backup comes back: home and folder as they were.
    let owner = owner.restarted(&net, 1, Some(ledger));
    restore_folder(&owner, &folder);
    assert_eq!(counter(&owner), saved);
    // One edit of a file that was edited since as well, and one of its own.
    owner.write("b", "edited after the restore");
    owner.write("mine", "mine");
    let behind = owner.publish().await;
    assert!(matches!(behind, Err(DriveError::Behind { counter }) if counter == saved + 2), "{behind:?}");
    // Nothing of either is lost.
    assert_eq!(owner.read("a").as_deref(), Some("second"));
    assert_eq!(owner.read("new").as_deref(), Some("made after the backup"));
    assert_eq!(owner.read("b").as_deref(), Some("third"));
    assert_eq!(owner.read("b (local 1)").as_deref(), Some("edited after the restore"));
    assert_eq!(owner.read("mine").as_deref(), Some("mine"));
    assert_eq!(owner.read("d/gone"), None);
    let published = owner.publish().await.unwrap();
    assert_eq!((published.version, published.changed), (saved + 3, true));
    follower.until_text("mine", Some("mine")).await;
    follower.until_text("b (local 1)", Some("edited after the restore")).await;
    follower.until("the same state", |follower| follower.root() == owner.root()).await;
    assert_eq!(follower.read("b").as_deref(), Some("third"));
    // One head of each counter: no fork.
    let drive = follower.node.drives.known(&follower.id).unwrap();
    let notes = follower.node.drives.shared().registry.history(&drive).unwrap();
    let mut counters: Vec<u64> = notes.iter().filter(|note| note.is_by_owner).map(|note| note.counter).collect();
    counters.sort_unstable();
    let before = counters.len();
    counters.dedup();
    assert_eq!((counters.len(), counters.last()), (before, Some(&(saved + 3))));
    follower.node.drives.stop();
    owner.node.drives.stop();
}

#[tokio::test(start_paused = true)]
async fn a_writer_restored_from_a_backup_does_so_too() {
    let net = Arc::new(Net::default());
    let owner = Member::owner(&net, &[("a", "first")]).await;
    let writer = Member::writer(&net, 2, &owner, None).await;
    writer.sync().await;
    let (ledger, folder) = (writer.saved_ledger(), texts(&writer));
    writer.write("w", "one");
    writer.publish().await.unwrap();
    owner.until_text("w", Some("one")).await;
    // Nobody brings it in by itself before the first edit: the node is started without its syncer finding anybody.
    let alone = Arc::new(Net::default());
    let writer = writer.restarted(&alone, 2, Some(ledger));
    restore_folder(&writer, &folder);
    writer.write("v", "two");
    let published = writer.publish().await.unwrap();
    assert!(published.changed, "alone it writes all the same");
    writer.node.drives.stop();
    owner.node.drives.stop();
}

#[tokio::test(start_paused = true)]
async fn who_is_alone_or_changes_nothing_is_not_kept_from_going_on() {
    let net = Arc::new(Net::default());
    let owner = Member::owner(&net, &[("a", "first")]).await;
    let owner = owner.restarted(&Arc::new(Net::default()), 1, None);
    assert!(!owner.publish().await.unwrap().changed);
    let drive = owner.node.drives.known(&owner.id).unwrap();
    let asked = || drive.knows_own_head.load(std::sync::atomic::Ordering::Relaxed);
    assert!(!asked(), "for nothing nobody is asked");
    owner.write("a", "offline");
    assert_eq!(owner.publish().await.unwrap().version, 2);
    assert!(asked(), "and it is asked once");
    owner.node.drives.stop();
}
