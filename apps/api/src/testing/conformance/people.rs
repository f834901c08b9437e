//! The user: keys that are locked, an identity, invites. The identity stays; nobody else is needed.

use std::time::Duration;

use p2p_identity::{GenesisLink, IdentityId, Invite, InviteSecret, PeerId, Purpose, RecoveryWords};

use crate::{
    AcceptInvite, AnswerPick, AskWriterKey, ErrorKind, InviteState, MAX_PICKS_PER_APP, NewIdentity, NewInvite, Node,
    PickContact, PickState, RenameContact, Result, ZoneInfo,
};

#[track_caller]
fn fails<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind) {
    let error = result.expect_err("a refusal");
    assert_eq!(error.kind, kind, "{error}");
    assert!(!error.message.is_empty(), "an error says what went wrong");
}

pub(super) async fn identity(node: &Node, zone: &ZoneInfo) {
    let people = node.people();
    fails(people.identity().await, ErrorKind::NotFound);
    fails(people.invite(NewInvite::default()).await, ErrorKind::NotFound);
    let new = |name: &str, zone: Option<&str>| NewIdentity { name: name.into(), zone: zone.map(str::to_owned) };
    fails(people.create_identity(new("", Some("suite"))).await, ErrorKind::InvalidInput);
    fails(people.create_identity(new(&"x".repeat(65), Some("suite"))).await, ErrorKind::InvalidInput);
    fails(people.create_identity(new("Suite", Some("nowhere"))).await, ErrorKind::NotFound);
    let created = people.create_identity(new("Suite", Some("suite"))).await.expect("an identity");
    assert_eq!((created.info.name.as_str(), &created.info.ztld), ("Suite", &zone.ztld));
    assert_eq!(created.info.peer, node.info().await.expect("info").peer_id);
    let genesis = data_encoding::HEXLOWER.decode(created.info.genesis.as_bytes()).expect("hexadecimal");
    let genesis = GenesisLink::read(&genesis).expect("both signatures are right");
    assert_eq!(genesis.id(), created.info.identity);
    // The words are those of the root key.
    let words = RecoveryWords::parse(&created.words).expect("24 words");
    assert_eq!(words.root(0).public(), genesis.root);
    assert_eq!(people.identity().await.expect("an identity"), created.info);
    fails(people.create_identity(new("Other", Some("suite"))).await, ErrorKind::Conflict);
}

pub(super) async fn invites(node: &Node) {
    let people = node.people();
    let made = people.invite(NewInvite { name: Some("bob".into()), ..NewInvite::default() }).await.expect("an invite");
    assert_eq!(made.info.state, InviteState::Open);
    let invite: Invite = made.link.parse().expect("an invite");
    assert_eq!(made.qr.parse::<Invite>().as_ref(), Ok(&invite));
    assert_eq!(invite.identity, people.identity().await.expect("an identity").identity);
    assert!(people.invites().await.expect("invites").iter().any(|known| known.invite == made.info.invite));
    for life_s in [Some(0), Some(15 * 86_400)] {
        fails(people.invite(NewInvite { life_s, ..NewInvite::default() }).await, ErrorKind::InvalidInput);
    }
    let accept = |link: &str| AcceptInvite { link: link.into(), name: None, in_person: false, wait_s: Some(0.1) };
    fails(people.accept(accept(&made.link)).await, ErrorKind::InvalidInput);
    fails(people.accept(accept("hello")).await, ErrorKind::InvalidInput);
    fails(people.confirm(&made.info.invite).await, ErrorKind::Conflict);
    people.revoke(&made.info.invite).await.expect("taken back");
    fails(people.revoke(&made.info.invite).await, ErrorKind::NotFound);
    fails(people.confirm(&made.info.invite).await, ErrorKind::NotFound);
    // One of somebody who is not there goes on by itself.
    let theirs = Invite {
        purpose: Purpose::Contact,
        in_person: false,
        identity: IdentityId::from([1; 32]),
        secret: InviteSecret::generate(),
        expires_minute: invite.expires_minute,
        peer: PeerId::from([2; 32]),
        addresses: Vec::new(),
    };
    let accepted = people.accept(accept(&theirs.to_string())).await.expect("goes on");
    assert!(accepted.contact.is_none() && accepted.invite.state == InviteState::Accepting);
    assert_eq!(accepted.invite.identity, Some(theirs.identity));
    people.revoke(&accepted.invite.invite).await.expect("stopped");
    assert!(people.contacts().await.expect("contacts").is_empty());
    fails(people.rename("bob", RenameContact { name: "rob".into() }).await, ErrorKind::NotFound);
    fails(people.remove("bob").await, ErrorKind::NotFound);
    let drive = crate::DriveId::from([3; 32]);
    fails(people.writer_key("bob", AskWriterKey { drive }).await, ErrorKind::NotFound);
}

/// The user knows nobody, so nobody can be picked.
pub(super) async fn picks(node: &Node) {
    let people = node.people();
    let ask = |reason: &str| PickContact { app: Some("suite".into()), reason: reason.into() };
    fails(people.pick_contact(ask(&"x".repeat(201))).await, ErrorKind::InvalidInput);
    fails(people.pick_contact(ask("a\nb")).await, ErrorKind::InvalidInput);
    let asked = people.pick_contact(ask("to greet them")).await.expect("asked");
    assert_eq!((asked.app.as_str(), asked.state, &asked.contact), ("suite", PickState::Waiting, &None));
    assert!(people.picks().await.expect("picks").contains(&asked));
    assert_eq!(people.pick(&asked.pick, Duration::ZERO).await.expect("there"), asked);
    for _ in 1..MAX_PICKS_PER_APP {
        people.pick_contact(ask("")).await.expect("there is room");
    }
    fails(people.pick_contact(ask("")).await, ErrorKind::Busy);
    let bob = AnswerPick { contact: Some("bob".into()) };
    fails(people.answer_pick(&asked.pick, bob).await, ErrorKind::NotFound);
    let (people, id) = (node.people(), asked.pick.clone());
    let waiting = tokio::spawn(async move { people.pick(&id, Duration::from_secs(60)).await });
    let people = node.people();
    people.answer_pick(&asked.pick, AnswerPick::default()).await.expect("refused");
    let refused = waiting.await.expect("it ran").expect("answered");
    assert_eq!((refused.state, refused.contact), (PickState::Refused, None));
    fails(people.answer_pick(&asked.pick, AnswerPick::default()).await, ErrorKind::Conflict);
    fails(people.pick("nothing", Duration::ZERO).await, ErrorKind::NotFound);
    fails(people.answer_pick("nothing", AnswerPick::default()).await, ErrorKind::NotFound);
    people.pick_contact(ask("")).await.expect("an answered one takes no room");
}

pub(super) async fn locking(node: &Node) {
    let keystore = node.keystore();
    let info = keystore.info().await.expect("info");
    assert!(!info.protected && !info.locked && info.sealing_key.len() == 64);
    fails(keystore.lock().await, ErrorKind::Conflict);
    fails(keystore.lock_all().await, ErrorKind::Unsupported);
    assert!(!info.closed);
    fails(keystore.unlock("x").await, ErrorKind::Conflict);
    fails(keystore.set_passphrase(None, Some("")).await, ErrorKind::InvalidInput);
    assert!(keystore.set_passphrase(None, Some("one")).await.expect("set").protected);
    fails(keystore.set_passphrase(None, None).await, ErrorKind::NotAllowed);
    assert!(keystore.lock().await.expect("locked").locked);
    assert!(node.info().await.expect("info").locked);
    fails(node.people().invite(NewInvite::default()).await, ErrorKind::Locked);
    fails(keystore.set_passphrase(Some("one"), None).await, ErrorKind::Locked);
    fails(keystore.unlock("two").await, ErrorKind::NotAllowed);
    // After a wrong one the next has to wait, if it is the engine.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!keystore.unlock("one").await.expect("unlocked").locked);
    assert!(!keystore.set_passphrase(Some("one"), None).await.expect("taken away").protected);
}
