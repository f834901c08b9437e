//! Two people on real nodes over loopback: who they are, how they come to know each other, what knowing each other is for.

mod homes;

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use p2p_api::{
    AcceptInvite, AnswerPick, AskWriterKey, Change, ContactInfo, CreatedInvite, DriveId, ErrorKind, Import,
    InviteState, NewDrive, NewIdentity, NewInvite, NewWriter, NewZone, Node, PickContact, RenameContact, ResolveName,
    SetRecord, Verified, VerifyContact,
};

use homes::{Home, PATIENCE, connected};

impl Home {
    /// With an identity of this name.
    async fn of(name: &str, bootstrap: &[String]) -> Self {
        let home = Self::new(bootstrap).await;
        let new = NewIdentity { name: name.into(), zone: None };
        home.node().people().create_identity(new).await.expect("an identity");
        home
    }

    async fn contact(&self, name: &str) -> ContactInfo {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let contacts = self.node().people().contacts().await.expect("contacts");
            if let Some(found) = contacts.iter().find(|contact| contact.name == name) {
                return found.clone();
            }
            assert!(
                Instant::now() < deadline,
                "no contact {name}, but {contacts:?}; {:?}",
                self.node().people().invites().await
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn invite(&self, new: NewInvite) -> CreatedInvite {
        self.node().people().invite(new).await.expect("an invite")
    }
}

fn accept(link: &str, wait_s: f64) -> AcceptInvite {
    AcceptInvite { link: link.into(), name: None, in_person: true, wait_s: Some(wait_s) }
}

async fn txt(node: &Node, name: &str) -> p2p_api::Result<String> {
    let resolve =
        ResolveName { name: name.into(), record_type: Some("TXT".into()), fresh: true, timeout_s: Some(15.0) };
    node.names().resolve(resolve).await.map(|found| found.records[0].value.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_invite_makes_two_people_know_each_other_and_works_once() {
    let alice = Home::of("Alice", &[]).await;
    let bob = Home::of("Bob Miller", &[]).await;
    let eve = Home::of("Eve", &[]).await;
    let invite = alice.invite(NewInvite::default()).await;
    assert!(invite.link.starts_with("p2pn:1:") && invite.link.len() <= 295, "{}", invite.link);
    let asked = Instant::now();
    // As a QR code has it.
    let accepted = bob.node().people().accept(accept(&invite.qr, 10.0)).await.expect("accepted");
    let took = asked.elapsed();
    let theirs = accepted.contact.expect("met at once");
    assert_eq!((theirs.name.as_str(), theirs.own_name.as_str(), theirs.verified), ("alice", "Alice", Verified::No));
    assert!(took < Duration::from_secs(10), "{took:?}");
    let ours = alice.contact("bob-miller").await;
    assert_eq!(ours.identity, bob.node().people().identity().await.expect("an identity").identity);
    assert_eq!(ours.peer, bob.running.peer_id());
    assert_eq!(ours.safety_number, theirs.safety_number);
    // Again by the same: nothing new. By another: refused.
    let again = bob.node().people().accept(accept(&invite.link, 10.0)).await.expect("accepted");
    assert_eq!(again.contact.expect("known").identity, theirs.identity);
    let error = eve.node().people().accept(accept(&invite.link, 10.0)).await.expect_err("used");
    assert!(error.kind == ErrorKind::NotAllowed && error.message.contains("somebody else has used"), "{error}");
    assert!(eve.node().people().contacts().await.expect("contacts").is_empty());
    assert_eq!(alice.node().people().contacts().await.expect("contacts").len(), 1);

    // Names: what Bob calls Alice leads into Alice's zone.
    let record =
        SetRecord { label: "door".into(), record_type: "TXT".into(), value: "open".into(), ..SetRecord::default() };
    alice.node().names().set(record).await.expect("set");
    let deadline = Instant::now() + PATIENCE;
    while txt(&bob.node(), "door.alice").await.ok().as_deref() != Some("open") {
        assert!(Instant::now() < deadline, "door.alice: {:?}", txt(&bob.node(), "door.alice").await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let renamed = bob.node().people().rename("alice", RenameContact { name: "ally".into() }).await.expect("renamed");
    assert_eq!(renamed.name, "ally");
    assert_eq!(txt(&bob.node(), "door.ally").await.expect("resolved"), "open");
    assert!(txt(&bob.node(), "door.alice").await.is_err());

    // The number: a wrong one is refused, the right one counts.
    let verify = |number: &str| VerifyContact { number: number.into(), ..VerifyContact::default() };
    let wrong = bob.node().people().verify("ally", verify("12345")).await.expect_err("another number");
    assert_eq!(wrong.kind, ErrorKind::NotAllowed);
    let right = bob.node().people().verify("ally", verify(&ours.safety_number.replace(' ', ""))).await.expect("right");
    assert_eq!(right.verified, Verified::Number);
    // The codes: what one shows the other takes, and nobody takes one that is not for them.
    let ally = bob.contact("ally").await;
    let scanned = |text: &str| VerifyContact { scanned: Some(text.into()), ..VerifyContact::default() };
    let own = bob.node().people().verify("ally", scanned(&ally.code)).await.expect_err("one's own code");
    assert!(own.kind == ErrorKind::NotAllowed && own.message.contains("not of ally"), "{own}");
    let to_another = format!("p2pv:1:{}:{}", ally.identity, ally.identity);
    let error = bob.node().people().verify("ally", scanned(&to_another)).await.expect_err("not for bob");
    assert!(error.message.contains("another identity than yours"), "{error}");
    assert_eq!(bob.contact("ally").await.verified, Verified::Number, "nothing was marked");
    assert_eq!(ours.code, format!("p2pv:1:{}:{}", ally.identity, ours.identity), "what alice shows to bob");
    let right = bob.node().people().verify("ally", scanned(&ours.code)).await.expect("right");
    assert_eq!(right.verified, Verified::Scanned);
    // A picked contact is one of the list, and no more than it takes to reach them.
    let ask = PickContact { app: Some("chat".into()), reason: "to greet".into() };
    let asked = bob.node().people().pick_contact(ask).await.expect("asked");
    let answer = AnswerPick { contact: Some("ally".into()) };
    bob.node().people().answer_pick(&asked.pick, answer).await.expect("picked");
    let picked = bob.node().people().pick(&asked.pick, Duration::ZERO).await.expect("answered").contact;
    assert_eq!(picked.map(|picked| (picked.identity, picked.peer)), Some((ally.identity, ally.peer)));
    bob.node().people().verify("ally", verify(&ours.safety_number)).await.expect("right");

    // All of it is there after a restart; what is removed is not.
    let bob = bob.stop().await.start(&[]).await;
    assert_eq!(bob.contact("ally").await.verified, Verified::Number);
    bob.node().people().remove("ally").await.expect("removed");
    let error = bob.node().people().accept(accept(&invite.link, 1.0)).await.expect_err("used before");
    assert!(error.message.contains("was used before"), "{error}");
    assert!(txt(&bob.node(), "door.ally").await.is_err());
    let bob = bob.stop().await.start(&[]).await;
    assert!(bob.node().people().contacts().await.expect("contacts").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_accept_one_invite_at_the_same_moment_one_gets_in() {
    let alice = Home::of("Alice", &[]).await;
    let (bob, eve) = (Home::of("Bob", &[]).await, Home::of("Eve", &[]).await);
    for _ in 0..10 {
        let invite = alice.invite(NewInvite::default()).await;
        let (bobs, eves) = (bob.node().people(), eve.node().people());
        let (one, other) =
            tokio::join!(bobs.accept(accept(&invite.link, 10.0)), eves.accept(accept(&invite.link, 10.0)));
        let met =
            |accepted: p2p_api::Result<p2p_api::Accepted>| accepted.is_ok_and(|accepted| accepted.contact.is_some());
        let (one, other) = (met(one), met(other));
        assert!(one != other, "bob {one}, eve {other}");
        let names: Vec<String> =
            alice.node().people().contacts().await.expect("contacts").into_iter().map(|contact| contact.name).collect();
        assert_eq!(names, [if one { "bob" } else { "eve" }]);
        for (home, name) in [(&alice, names[0].as_str()), (if one { &bob } else { &eve }, "alice")] {
            home.node().people().remove(name).await.expect("removed");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invites_that_expired_were_taken_back_or_are_damaged_are_refused() {
    let alice = Home::of("Alice", &[]).await;
    let bob = Home::of("Bob", &[]).await;
    let own = alice.invite(NewInvite::default()).await;
    let refused = async |node: &Node, link: &str| node.people().accept(accept(link, 10.0)).await.expect_err("refused");
    assert_eq!(refused(&alice.node(), &own.link).await.kind, ErrorKind::InvalidInput, "an own one");
    assert_eq!(refused(&bob.node(), "p2p://x/").await.kind, ErrorKind::InvalidInput);
    let cut = &own.link[..own.link.len() - 2];
    assert!(refused(&bob.node(), cut).await.message.contains("damaged"));
    alice.node().people().revoke(&own.info.invite).await.expect("taken back");
    let error = refused(&bob.node(), &own.link).await;
    assert!(error.kind == ErrorKind::NotAllowed && error.message.contains("taken it back"), "{error}");
    for (life_s, kind) in [(Some(0), ErrorKind::InvalidInput), (Some(15 * 86_400), ErrorKind::InvalidInput)] {
        let new = NewInvite { life_s, ..NewInvite::default() };
        assert_eq!(alice.node().people().invite(new).await.expect_err("refused").kind, kind);
    }
    // No more than 64 are open.
    for _ in 0..64 {
        alice.invite(NewInvite::default()).await;
    }
    let error = alice.node().people().invite(NewInvite::default()).await.expect_err("too many");
    assert_eq!(error.kind, ErrorKind::StorageFull);
    let nobody = Home::new(&[]).await;
    assert_eq!(nobody.node().people().invite(NewInvite::default()).await.expect_err("who?").kind, ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_person_the_user_confirms_and_both_are_sure() {
    let alice = Home::of("Alice", &[]).await;
    let bob = Home::of("Bob", &[]).await;
    let invite = alice.invite(NewInvite { in_person: true, name: Some("bobby".into()), ..NewInvite::default() }).await;
    // Bob's node goes on asking until Alice has confirmed.
    let bobs = bob.node().people();
    let accepting = bobs.accept(accept(&invite.link, 30.0));
    let people = alice.node().people();
    let waiting = async {
        loop {
            let all = people.invites().await.expect("invites");
            if all[0].state == InviteState::Waiting {
                return all[0].clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let confirm = async {
        let waiting = waiting.await;
        assert_eq!(waiting.name.as_deref(), Some("Bob"));
        assert!(people.contacts().await.expect("contacts").is_empty());
        people.confirm(&waiting.invite).await.expect("confirmed")
    };
    let (accepted, ours) = tokio::join!(accepting, confirm);
    assert_eq!(accepted.expect("accepted").contact.expect("confirmed").verified, Verified::InPerson);
    assert_eq!((ours.name.as_str(), ours.verified), ("bobby", Verified::InPerson));
    assert_eq!(bob.contact("alice").await.verified, Verified::InPerson);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_are_never_online_together_meet_through_the_dht() {
    let middle = Home::new(&[]).await;
    let at = [middle.address()];
    let alice = Home::of("Alice", &at).await;
    let bob = Home::of("Bob", &at).await;
    connected(&alice.node()).await;
    let invite = alice.invite(NewInvite::default()).await;
    let alice = alice.stop().await;
    connected(&bob.node()).await;
    // Alice is away: Bob leaves his card, and goes.
    let pending = bob.node().people().accept(accept(&invite.link, 1.0)).await.expect("goes on");
    assert!(pending.contact.is_none() && pending.invite.state == InviteState::Accepting);
    left(&bob).await;
    let bob = bob.stop().await;
    // Alice comes, finds him, and goes.
    let alice = alice.start(&at).await;
    alice.contact("bob").await;
    left(&alice).await;
    let alice = alice.stop().await;
    // Bob comes again and finds her answer.
    let bob = bob.start(&at).await;
    let found = bob.contact("alice").await;
    assert!(!found.connected);
    drop(alice);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_left_their_cards_only_the_one_that_was_taken_believes_it() {
    let middle = Home::new(&[]).await;
    let at = [middle.address()];
    let alice = Home::of("Alice", &at).await;
    let invite = alice.invite(NewInvite::default()).await;
    let alice = alice.stop().await;
    let mut away = Vec::new();
    for name in ["Bob", "Carol"] {
        let home = Home::of(name, &at).await;
        connected(&home.node()).await;
        home.node().people().accept(accept(&invite.link, 0.5)).await.expect("goes on");
        left(&home).await;
        away.push(home.stop().await);
    }
    let alice = alice.start(&at).await;
    let deadline = Instant::now() + PATIENCE;
    while alice.node().people().contacts().await.expect("contacts").is_empty() {
        assert!(Instant::now() < deadline, "nobody was found");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    left(&alice).await;
    let taken = alice.node().people().contacts().await.expect("contacts")[0].name.clone();
    let _alice = alice.stop().await;
    let (bob, carol) = (away.remove(0), away.remove(0));
    let (winner, loser) = if taken == "bob" { (bob, carol) } else { (carol, bob) };
    let loser = loser.start(&at).await;
    connected(&loser.node()).await;
    winner.start(&at).await.contact("alice").await;
    // By now the other one has looked as well.
    assert!(loser.node().people().contacts().await.expect("contacts").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepter_who_waits_is_found_when_the_inviter_comes_back() {
    let middle = Home::new(&[]).await;
    let at = [middle.address()];
    let alice = Home::of("Alice", &at).await;
    let bob = Home::of("Bob", &at).await;
    let invite = alice.invite(NewInvite::default()).await;
    let alice = alice.stop().await;
    connected(&bob.node()).await;
    bob.node().people().accept(accept(&invite.link, 0.5)).await.expect("goes on");
    let alice = alice.start(&at).await;
    alice.contact("bob").await;
    bob.contact("alice").await;
}

/// Waits until another node holds what was left for the other side of the only invite.
async fn left(home: &Home) {
    let deadline = Instant::now() + PATIENCE;
    while home.node().people().invites().await.expect("invites")[0].left_on == 0 {
        assert!(Instant::now() < deadline, "nothing was left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn drive(home: &Home) -> DriveId {
    let folder = home.dir.path().join("folder");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("file"), "text").expect("written");
    let new = NewDrive { path: Some(folder), title: "notes".into() };
    let drive = home.node().drives().create(new).await.expect("a drive").drive;
    publish(home, drive).await.expect("published");
    drive
}

async fn publish(home: &Home, drive: DriveId) -> p2p_api::Result<()> {
    let changes = futures::stream::iter([Ok(Change { path: "file".into(), ..Change::default() })]);
    let events = home.node().drives().import(drive, Import::default(), Box::pin(changes)).await?;
    events.try_collect::<Vec<_>>().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_is_let_in_to_write_by_name_or_by_the_invite_itself() {
    let alice = Home::of("Alice", &[]).await;
    let bob = Home::of("Bob", &[]).await;
    let drive = drive(&alice).await;
    let invite = alice.invite(NewInvite { drive: Some(drive), prefix: "bobs".into(), ..NewInvite::default() }).await;
    let accepted = bob.node().people().accept(accept(&invite.link, 10.0)).await.expect("accepted");
    assert_eq!(accepted.invite.drive, Some(drive));
    let deadline = Instant::now() + PATIENCE;
    let writer = loop {
        let writers = alice.node().writers().list(drive).await.expect("writers").writers;
        if let [writer] = writers.as_slice() {
            break writer.clone();
        }
        assert!(Instant::now() < deadline, "nobody was let in");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((writer.contact.as_deref(), writer.prefix.as_str()), (Some("bob"), "bobs"));
    let asked = alice.node().people().writer_key("bob", AskWriterKey { drive }).await.expect("told");
    assert_eq!(asked.writer_key, writer.writer_key);
    let everywhere =
        NewWriter { writer_key: asked.writer_key, prefix: String::new(), not_after: None, max_counter: None };
    alice.node().writers().add(drive, everywhere).await.expect("let in");
    // Who is no contact is told nothing.
    alice.node().people().remove("bob").await.expect("removed");
    let error = bob.node().people().writer_key("alice", AskWriterKey { drive }).await.expect_err("refused");
    assert!(error.message.contains("does not have you among its contacts"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_keys_sign_nothing_and_what_is_public_goes_on() {
    let alice = Home::of("Alice", &[]).await;
    let node = alice.node();
    let drive = drive(&alice).await;
    let keystore = node.keystore();
    assert_eq!(keystore.lock().await.expect_err("no passphrase").kind, ErrorKind::Conflict);
    // Of two who set the first passphrase at once, the second is asked for that of the first.
    let other = keystore.clone();
    let (one, two) =
        tokio::join!(keystore.set_passphrase(None, Some("first")), other.set_passphrase(None, Some("other")));
    one.expect("set");
    assert_eq!(two.expect_err("there is one").kind, ErrorKind::NotAllowed);
    assert_eq!(keystore.set_passphrase(None, Some("x")).await.expect_err("not told").kind, ErrorKind::NotAllowed);
    assert_eq!(keystore.set_passphrase(Some("no"), Some("x")).await.expect_err("wrong").kind, ErrorKind::NotAllowed);
    assert_eq!(keystore.set_passphrase(Some("first"), Some("x")).await.expect_err("too soon").kind, ErrorKind::Busy);
    tokio::time::sleep(Duration::from_millis(600)).await;
    keystore.set_passphrase(Some("first"), Some("second")).await.expect("changed");
    let begun = Instant::now();
    assert!(keystore.lock().await.expect("locked").locked);
    assert!(begun.elapsed() < Duration::from_millis(300), "{:?}", begun.elapsed());
    assert!(node.info().await.expect("info").locked);

    let is_locked = |error: p2p_api::ApiError| assert_eq!(error.kind, ErrorKind::Locked, "{error}");
    is_locked(node.people().invite(NewInvite::default()).await.expect_err("locked"));
    is_locked(node.names().export_zone("me").await.expect_err("locked"));
    is_locked(
        node.names()
            .create_zone(NewZone { name: "x".into(), kind: Default::default(), key: None })
            .await
            .expect_err("locked"),
    );
    std::fs::write(alice.dir.path().join("folder/file"), "more text").expect("written");
    is_locked(publish(&alice, drive).await.expect_err("locked"));
    is_locked(keystore.set_passphrase(Some("second"), None).await.expect_err("locked"));
    // What needs no key goes on, for others too.
    let stranger = Home::new(&[alice.address()]).await;
    let link = node.drives().get(drive).await.expect("known").link;
    let opened = stranger.node().drives().open(p2p_api::Open { link, timeout: Some(PATIENCE) }).await.expect("served");
    assert_eq!(opened.version, 1);
    // A name can be changed, and is published when the keys are there again.
    let record =
        SetRecord { label: "x".into(), record_type: "TXT".into(), value: "new".into(), ..SetRecord::default() };
    node.names().set(record).await.expect("kept");
    // It is locked after a start as well. (A handle that is kept would keep the ledger open.)
    drop((keystore, other, node));
    let alice = alice.stop().await.start(&[]).await;
    let node = alice.node();
    assert!(node.info().await.expect("info").locked);
    assert_eq!(node.keystore().unlock("first").await.expect_err("an old one").kind, ErrorKind::NotAllowed);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!node.keystore().unlock("second").await.expect("unlocked").locked);
    publish(&alice, drive).await.expect("published");
    assert_eq!(node.drives().get(drive).await.expect("known").version, 2);
    let ztld = node.names().zones().await.expect("zones")[0].ztld.clone();
    let stranger = Home::new(&[alice.address()]).await;
    let deadline = Instant::now() + PATIENCE;
    while txt(&stranger.node(), &format!("x.{ztld}")).await.ok().as_deref() != Some("new") {
        assert!(Instant::now() < deadline, "not published");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
