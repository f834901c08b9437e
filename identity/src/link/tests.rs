use proptest::prelude::*;

use super::*;
use crate::address::tests::any_address;

fn drive() -> DriveId {
    DriveId::from([7; 32])
}

fn any_target() -> impl Strategy<Value = Target> {
    (0..4u8, any::<[u8; 32]>()).prop_map(|(kind, key)| match kind {
        0 => Target::Drive(key.into()),
        1 => Target::Snapshot(key),
        2 => Target::Blob(key.into()),
        _ => Target::WriterInvitation(key),
    })
}

fn any_version() -> impl Strategy<Value = VersionRef> {
    prop_oneof![
        (1..1_000_000_000_000_000u64).prop_map(VersionRef::Counter),
        "[ybndrfg8ejkmcpqxot1uwisza345h769]{16,52}".prop_map(VersionRef::Head),
    ]
}

fn any_link() -> impl Strategy<Value = Link> {
    let path = proptest::collection::vec("[^/\0]{1,12}", 0..4).prop_map(|parts| parts.join("/"));
    let hints = (proptest::collection::vec(any_address(), 0..=MAX_HINT_PEERS), proptest::option::of(any_address()));
    (any_target(), path, proptest::option::of(any_version()), hints).prop_map(
        |(target, path, version, (peers, relay))| Link { target, path, version, hints: Hints { peers, relay } },
    )
}

proptest! {
    #[test]
    fn every_link_survives_its_text(link in any_link()) {
        let text = link.to_string();
        prop_assert!(text.len() <= MAX_LINK_BYTES);
        prop_assert_eq!(text.parse::<Link>(), Ok(link));
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,120}", tail in "(/|\\?v=|#|%|[a-z2-7]|\\.){0,60}") {
        let _ = text.parse::<Link>();
        let _ = format!("p2p://{}{tail}", drive()).parse::<Link>();
    }

    #[test]
    fn damaged_hints_never_hide_the_rest(hints in "[a-z0-9%+/=]{0,512}") {
        let link: Link = format!("p2p://{}/a#{hints}", drive()).parse().unwrap();
        prop_assert_eq!(link.target, Target::Drive(drive()));
        prop_assert_eq!(link.path, "a");
    }
}

#[test]
fn a_link_is_taken_apart() {
    let link: Link = format!("p2p://{}/Fotos/S%C3%BCd%20pol.jpg?v=7", drive()).parse().unwrap();
    assert_eq!(link.target, Target::Drive(drive()));
    assert_eq!(link.path, "Fotos/Süd pol.jpg");
    assert_eq!(link.version, Some(VersionRef::Counter(7)));
    assert!(link.hints.is_empty());
    assert_eq!(link.to_string(), format!("p2p://{}/Fotos/S%C3%BCd%20pol.jpg?v=7", drive()));
}

#[test]
fn short_forms_mean_the_same() {
    let expected = Link::to(Target::Drive(drive()));
    let id = drive().to_string();
    for text in [
        id.clone(),
        format!("{id}/"),
        format!("p2p://{id}"),
        format!("P2P://{}//", id.to_uppercase()),
        format!("  p2p://{id}/?#\n"),
    ] {
        assert_eq!(text.parse::<Link>().as_ref(), Ok(&expected), "{text}");
    }
    assert_eq!(format!("{id}/docs/").parse::<Link>().unwrap().path, "docs");
}

#[test]
fn each_mistake_has_its_own_sentence() {
    let id = drive().to_string();
    let damaged = format!("{}{}", if id.ends_with('y') { "b" } else { "y" }, &id[1..]).replacen('y', "b", 1);
    assert_eq!(damaged.parse::<Link>(), Err(LinkError::DamagedId));
    assert_eq!(format!("p2p://{damaged}.{}/", "y".repeat(52)).parse::<Link>(), Err(LinkError::DamagedId));
    assert_eq!(format!("p2p://{id}.{}/a", "y".repeat(52)).parse::<Link>(), Err(LinkError::PrivateNotSupported));
    let seed = text::encode_id(4, &[1; 32]);
    assert_eq!(seed.parse::<Link>(), Err(LinkError::UnknownType(4)));
    assert!(LinkError::UnknownType(4).to_string().contains("newer version"));
    let name = |host: &str| Err(LinkError::NotAnId { host: host.to_owned() });
    assert_eq!("p2p://Docs.Alice/x".parse::<Link>(), name("docs.alice"));
    assert_eq!("docs.alice".parse::<Link>(), name("docs.alice"));
    let almost = format!("{id}.short");
    assert_eq!(almost.parse::<Link>(), name(&almost));
    for text in [
        "",
        "p2p://",
        "p2p:///a",
        "http://example.org/",
        &format!("{id}/a%2Fb"),
        &format!("{id}/a%00"),
        &format!("{id}/a%zz"),
        &format!("{id}/a%e"),
        &format!("{id}/%ff"),
        &format!("{id}/{}", "a".repeat(4097)),
        &format!("{id}/?v=0"),
        &format!("{id}/?v=abc"),
        &format!("{id}/?v=1&v=2"),
        &format!("{id}/?w=1"),
        &format!("{id}/#{}", "a".repeat(513)),
        &"a".repeat(MAX_LINK_BYTES + 1),
    ] {
        assert!(matches!(text.parse::<Link>(), Err(LinkError::Malformed(_))), "{text}");
    }
}

#[test]
fn the_parts_of_a_named_link_are_joined_with_what_the_name_means() {
    let parts: LinkParts = "p2p://docs.alice/a/b?v=3".parse().unwrap();
    assert_eq!(parts.host, "docs.alice");
    let link = parts.with_target(Target::Drive(drive()));
    assert_eq!(link.to_string(), format!("p2p://{}/a/b?v=3", drive()));
}

#[test]
fn a_version_is_a_number_or_the_beginning_of_a_hash() {
    let hash = [0x5a; 32];
    let text = text::hash_to_text(&hash);
    assert!(text[..16].parse::<VersionRef>().unwrap().matches_head(&hash));
    assert!(text.parse::<VersionRef>().unwrap().matches_head(&hash));
    assert!(!text.parse::<VersionRef>().unwrap().matches_head(&[0x5b; 32]));
    assert_eq!("999999999999999".parse(), Ok(VersionRef::Counter(999_999_999_999_999)));
    assert_eq!("1111111111111111".parse(), Ok(VersionRef::Head("1111111111111111".to_owned())));
    assert!(text[..15].parse::<VersionRef>().is_err());
}

#[test]
fn the_longest_hints_fit_their_limit() {
    let address = crate::PeerAddr {
        peer: [255; 32].into(),
        transport: crate::Transport::Quic,
        ip: [0xffff; 8].into(),
        port: u16::MAX,
    };
    let hints = Hints { peers: vec![address; 5], relay: Some(address) };
    assert_eq!(hints.to_text().len(), 343);
    assert_eq!(Hints::from_text(&hints.to_text()).unwrap().peers.len(), MAX_HINT_PEERS);
}
