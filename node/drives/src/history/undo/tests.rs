use std::sync::Arc;

use super::*;
use crate::hostile_tests::network::Net;
use crate::hostile_tests::party::Member;

fn undo(writer: WriterKey) -> Undo {
    Undo { writer, since: 1, path: None, remove_added: false, dry_run: false }
}

fn names(left: &[LeftOut]) -> Vec<&str> {
    left.iter().map(|left| left.path.as_str()).collect()
}

/// An owner, an honest writer and one that turns bad, all in step.
async fn three(net: &Arc<Net>) -> (Member, Member, Member) {
    let owner = Member::owner(
        net,
        &[
            ("a", "a of the owner"),
            ("b", "b of the owner"),
            ("d/c", "c"),
            ("d/e", "e"),
            ("keep", "keep"),
            ("own", "own"),
        ],
    )
    .await;
    let good = Member::writer(net, 2, &owner, None).await;
    let bad = Member::writer(net, 3, &owner, None).await;
    good.sync().await;
    bad.sync().await;
    (owner, good, bad)
}

async fn stop(members: [Member; 3]) {
    members.iter().for_each(|member| member.node.drives.stop());
}

#[tokio::test(start_paused = true)]
async fn what_a_writer_changed_or_deleted_comes_back_and_what_others_wrote_stays() {
    let net = Arc::new(Net::default());
    let (owner, good, bad) = three(&net).await;
    good.write("by good", "good's first");
    good.publish().await.unwrap();
    for member in [&owner, &bad] {
        member.until_text("by good", Some("good's first")).await;
    }
    // Content that is to come back is kept in the background; here it is not waited for.
    let kept = |text: &str| {
        let (hash, size) = (p2p_identity::ContentId::of(text.as_bytes()), text.len() as u64);
        owner.node.drives.shared().kept.has(&hash, size)
    };
    let long = "long enough not to lie in the index itself, where nothing could be lost of it: 64 bytes and more";
    owner.write("long", long);
    owner.publish().await.unwrap();
    bad.until_text("long", Some(long)).await;
    crate::history::keep_now(owner.node.drives.shared(), &owner.node.drives.known(&owner.id).unwrap());
    assert!(kept(long));
    // The bad one changes, deletes, adds.
    bad.write("a", "spoilt");
    bad.write("by good", "spoilt too");
    bad.write("long", "spoilt as well, and longer than what lies in the index by itself: 64 bytes and then some");
    bad.write("own", "spoilt");
    bad.write("spam", "spam");
    bad.remove("d/c");
    bad.publish().await.unwrap();
    owner.until_text("a", Some("spoilt")).await;
    owner.until_text("d/c", None).await;
    good.until_text("spam", Some("spam")).await;
    // Others go on: one deletes by itself, one writes over what was spoilt.
    good.remove("d/e");
    good.write("own", "good's own again");
    good.publish().await.unwrap();
    owner.until_text("own", Some("good's own again")).await;
    owner.until_text("d/e", None).await;
    let writer = bad.key();
    owner.node.drives.remove_writer(&owner.id, writer).await.unwrap();

    // Later versions do not name it any more, and are none from before all the same.
    owner.write("keep", "kept and edited");
    owner.publish().await.unwrap();
    let drives = &owner.node.drives;
    let would = drives.undo_writer(&owner.id, Undo { dry_run: true, ..undo(writer) }).await.unwrap();
    assert_eq!(would.restored, ["a", "by good", "d/c", "long"]);
    assert_eq!((names(&would.kept), would.version), (vec!["spam"], 0));
    assert_eq!(owner.read("a").as_deref(), Some("spoilt"), "only said, not done");
    let before = drives.status(&owner.id).unwrap().version;
    let done = drives.undo_writer(&owner.id, undo(writer)).await.unwrap();
    assert_eq!((&done.restored, names(&done.kept)), (&would.restored, vec!["spam"]));
    assert_eq!((done.version, done.files, done.left_out.as_slice()), (before + 1, 4, [].as_slice()), "one version");
    let good_has = [
        ("a", Some("a of the owner")),
        ("b", Some("b of the owner")),
        ("by good", Some("good's first")),
        ("long", Some(long)),
        ("d/c", Some("c")),
        ("d/e", None),
        ("own", Some("good's own again")),
        ("spam", Some("spam")),
    ];
    for (path, text) in good_has {
        assert_eq!(owner.read(path).as_deref(), text, "{path}");
        good.until_text(path, text).await;
    }
    let log = drives.log(&owner.id, None, 1).await.unwrap();
    assert_eq!(
        (log[0].counter, log[0].message.as_str()),
        (before + 1, format!("restored from before {writer}").as_str())
    );
    // The folder is what the version says, and there is nothing more to do.
    assert!(!owner.publish().await.unwrap().changed);
    let again = drives.undo_writer(&owner.id, undo(writer)).await.unwrap();
    assert_eq!((again.restored.len(), again.version), (0, 0));
    // What it added goes only when that is said.
    let gone = drives.undo_writer(&owner.id, Undo { remove_added: true, ..undo(writer) }).await.unwrap();
    assert_eq!(gone.removed, ["spam"], "{gone:?}");
    good.until_text("spam", None).await;
    assert!(!owner.publish().await.unwrap().changed);
    stop([owner, good, bad]).await;
}

#[tokio::test(start_paused = true)]
async fn what_others_wrote_meanwhile_comes_back_as_they_left_it() {
    let net = Arc::new(Net::default());
    let (owner, good, bad) = three(&net).await;
    bad.write("a", "bad's first");
    bad.publish().await.unwrap();
    owner.until_text("a", Some("bad's first")).await;
    good.until_text("a", Some("bad's first")).await;
    // Both know that writer by now.
    owner.write("b", "the owner's later b");
    owner.write("late", "made by the owner later");
    owner.publish().await.unwrap();
    good.until_text("late", Some("made by the owner later")).await;
    good.write("keep", "good's later keep");
    good.publish().await.unwrap();
    owner.until_text("keep", Some("good's later keep")).await;
    bad.until_text("keep", Some("good's later keep")).await;
    bad.write("b", "spoilt");
    bad.write("keep", "spoilt");
    bad.remove("late");
    bad.publish().await.unwrap();
    owner.until_text("late", None).await;
    owner.until_text("keep", Some("spoilt")).await;
    let done = owner.node.drives.undo_writer(&owner.id, undo(bad.key())).await.unwrap();
    assert_eq!(done.restored, ["a", "b", "keep", "late"], "{done:?}");
    for (path, text) in [
        ("a", "a of the owner"),
        ("b", "the owner's later b"),
        ("keep", "good's later keep"),
        ("late", "made by the owner later"),
    ] {
        assert_eq!(owner.read(path).as_deref(), Some(text), "{path}");
    }
    assert!(!owner.publish().await.unwrap().changed);
    stop([owner, good, bad]).await;
}

#[tokio::test(start_paused = true)]
async fn only_what_came_after_a_counter_is_undone_and_only_below_a_path() {
    let net = Arc::new(Net::default());
    let (owner, good, bad) = three(&net).await;
    bad.write("a", "still good");
    bad.write("d/c", "still good");
    bad.publish().await.unwrap();
    owner.until_text("a", Some("still good")).await;
    // A version of the owner that knows of it, from which it comes back.
    owner.write("b", "b again");
    owner.publish().await.unwrap();
    bad.until_text("b", Some("b again")).await;
    bad.write("a", "spoilt");
    bad.write("d/c", "spoilt");
    bad.write("d/e", "spoilt");
    bad.publish().await.unwrap();
    owner.until_text("d/e", Some("spoilt")).await;
    let writer = bad.key();
    let part = Undo { since: 2, path: Some(PathKey::from_path("d").unwrap()), ..undo(writer) };
    let done = owner.node.drives.undo_writer(&owner.id, part).await.unwrap();
    assert_eq!(done.restored, ["d/c", "d/e"]);
    assert_eq!(owner.read("d/c").as_deref(), Some("still good"));
    assert_eq!(owner.read("d/e").as_deref(), Some("e"));
    assert_eq!(owner.read("a").as_deref(), Some("spoilt"));
    bad.until_text("d/c", Some("still good")).await;
    stop([owner, good, bad]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_kept_is_named_and_edits_here_are_not_lost() {
    let net = Arc::new(Net::default());
    let (owner, good, bad) = three(&net).await;
    let long = "content of more than sixty-four bytes, so that it is kept apart from the index or not at all";
    owner.write("long", long);
    owner.publish().await.unwrap();
    bad.until_text("long", Some(long)).await;
    bad.write("long", "short");
    bad.write("a", "spoilt");
    bad.publish().await.unwrap();
    owner.until_text("a", Some("spoilt")).await;
    owner.until_text("long", Some("short")).await;
    // Nothing of earlier versions is left.
    let kept = &owner.node.drives.shared().kept;
    for (hash, _) in kept.all().unwrap() {
        kept.remove_one(&hash).unwrap();
    }
    owner.write("a", "an edit that nobody has seen");
    let done = owner.node.drives.undo_writer(&owner.id, undo(bad.key())).await.unwrap();
    assert_eq!(done.restored, ["a"]);
    assert_eq!(names(&done.left_out), ["a", "long"], "{:?}", done.left_out);
    assert!(done.left_out[1].reason.contains("is not kept"), "{:?}", done.left_out);
    assert_eq!(owner.read("a").as_deref(), Some("a of the owner"));
    assert_eq!(owner.read("a (local 1)").as_deref(), Some("an edit that nobody has seen"));
    assert_eq!(owner.read("long").as_deref(), Some("short"));
    // Only the owner, and never its own word.
    let refused = good.node.drives.undo_writer(&good.id, undo(bad.key())).await;
    assert!(matches!(refused, Err(DriveError::Invalid(_))), "{refused:?}");
    let own = owner.node.drives.undo_writer(&owner.id, undo(owner.key())).await;
    assert!(matches!(own, Err(DriveError::Invalid(_))), "{own:?}");
    stop([owner, good, bad]).await;
}
