//! The encoding: it does not drift, is unique, and takes any bytes.

use p2p_identity::{CodecError, ContentId};

use super::*;
use crate::entry::{Dot, EntryError, Kind, Version};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sample_leaf() -> Node {
    let mut first = file(0xaa, 3, 7, b"hi");
    first.mtime_ns = 1000;
    let mut second = Version { dot: Dot { writer: [0xbb; 8], counter: 300 }, ..first.clone() };
    second.mtime_ns = 900;
    let mut link = Version::with_content(Dot { writer: [0xaa; 8], counter: 4 }, Kind::Symlink, 0o777, 901, 8, b"../t");
    link.inline = None;
    link.xattr = Some(ContentId::from([0x11; 32]));
    link.cipher_root = Some(ContentId::from([0x22; 32]));
    Node::Leaf(vec![
        Entry::new(key("dir/a"), vec![first, second]).unwrap(),
        Entry::new(key("dir/b"), vec![link]).unwrap(),
    ])
}

fn sample_interior() -> Node {
    let child = |path: &str, id: u8, bytes| Child { last_key: key(path), id: [id; 32].into(), entries: 2, bytes };
    Node::Interior { level: 1, children: vec![child("dir/a", 1, 300), child("dir/b", 2, 5)] }
}

#[test]
fn the_bytes_of_a_leaf_do_not_drift() {
    let expected = [
        "010000",           // format, seal, level
        "02",               // two writers
        "aaaaaaaaaaaaaaaa", //
        "bbbbbbbbbbbbbbbb", //
        "02",               // two entries
        "0005",             // nothing shared, 5 bytes
        "6469720161",       // dir 01 a
        "02",               // two versions
        "000301",           // writer 0, counter 3, inline
        "00a40302",         // file, mode 0644, size 2
        HASH_HI,            //
        "d00f07",           // mtime 1000, clock 7
        "026869",           // inline "hi"
        "01ac0209",         // writer 1, counter 300, inline and same
        "c70107",           // mtime 100 less, clock 7
        "026869",           // inline "hi"
        "0401",             // 4 bytes shared, 1 new
        "62",               // b
        "01",               // one version
        "000406",           // writer 0, counter 4, xattr and cipher
        "02ff0304",         // symlink, mode 0777, size 4
        HASH_TARGET,        //
        "0208",             // mtime 1 more, clock 8
        "1111111111111111111111111111111111111111111111111111111111111111",
        "2222222222222222222222222222222222222222222222222222222222222222",
    ]
    .concat();
    assert_eq!(hex(&sample_leaf().encode()), expected);
    assert_eq!(Node::decode(&sample_leaf().encode()), Ok(sample_leaf()));
}

const HASH_HI: &str = "85052e9aab1b67b6622d94a08441b09fd5b7aca61ee360416d70de5da67d86ca";
const HASH_TARGET: &str = "46d8344a3fb071f1e4e4675819b2c1d40d57b85b3a77f55694b56e046b5ccbd7";

#[test]
fn the_bytes_of_an_interior_node_do_not_drift() {
    let expected = [
        "010001",         // format, seal, level
        "02",             // two children
        "00056469720161", // dir 01 a
        "0101010101010101010101010101010101010101010101010101010101010101",
        "02ac02", // 2 entries, 300 bytes
        "040162", // 4 bytes shared, b
        "0202020202020202020202020202020202020202020202020202020202020202",
        "0205", // 2 entries, 5 bytes
    ]
    .concat();
    assert_eq!(hex(&sample_interior().encode()), expected);
    assert_eq!(Node::decode(&sample_interior().encode()), Ok(sample_interior()));
}

fn any_leaf() -> impl Strategy<Value = Node> {
    any_model(12).prop_map(|model| Node::Leaf(model.into_values().collect()))
}

proptest! {
    #[test]
    fn a_node_survives_its_bytes(leaf in any_leaf()) {
        prop_assert_eq!(Node::decode(&leaf.encode()), Ok(leaf));
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(
        leaf in any_leaf(), at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>(), is_cut: bool,
    ) {
        for node in [leaf, sample_leaf(), sample_interior()] {
            let mut bytes = node.encode().to_vec();
            let index = at.index(bytes.len());
            bytes[index] = byte;
            if is_cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Ok(decoded) = Node::decode(&bytes) {
                prop_assert_eq!(decoded.encode(), bytes);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(level in 0..9u8, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Node::decode(&bytes);
        let _ = Node::decode(&[&[1, 0, level], bytes.as_slice()].concat());
    }

    #[test]
    fn a_flipped_bit_never_passes_for_the_node_that_was_asked_for(leaf in any_leaf(), bit in any::<prop::sample::Index>()) {
        let mut bytes = leaf.encode().to_vec();
        let expected = Expected::root(NodeId::of(&bytes));
        prop_assert_eq!(expected.decode(&bytes), Ok(leaf));
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(expected.decode(&bytes), Err(NodeError::WrongHash));
    }
}

#[test]
fn frames_of_other_versions_are_refused_with_their_number() {
    let mut bytes = sample_interior().encode().to_vec();
    bytes[0] = 2;
    assert_eq!(Node::decode(&bytes), Err(NodeError::UnknownFormat(2)));
    bytes[0] = 1;
    bytes[1] = 1;
    let sealed = Node::decode(&bytes).unwrap_err();
    assert_eq!(sealed, NodeError::Sealed(1));
    assert!(sealed.to_string().contains("newer version"));
    bytes[1] = 0;
    bytes[2] = 8;
    assert_eq!(Node::decode(&bytes), Err(NodeError::TooDeep(8)));
    bytes[2] = 7;
    assert!(Node::decode(&bytes).is_ok());
    bytes.push(0);
    assert_eq!(Node::decode(&bytes), Err(NodeError::Codec(CodecError::Trailing(1))));
    assert_eq!(Node::decode(&vec![0; MAX_NODE_BYTES + 1]), Err(NodeError::TooLarge(MAX_NODE_BYTES + 1)));
}

#[test]
fn nodes_that_break_a_rule_are_refused_for_it() {
    let child = |path: &str| Child { last_key: key(path), id: [1; 32].into(), entries: 1, bytes: 1 };
    let decode = |children| Node::decode(&Node::Interior { level: 1, children }.encode());
    assert_eq!(decode(vec![]), Err(NodeError::NoChildren));
    assert_eq!(decode(vec![child("b"), child("a")]), Err(NodeError::Unsorted));
    assert_eq!(decode(vec![child("a"), child("a")]), Err(NodeError::Unsorted));
    let huge = Child { bytes: u64::MAX, ..child("a") };
    assert_eq!(decode(vec![huge, child("b")]), Err(NodeError::SumOverflow));
    let long = |n: u32| child(&format!("{n:03}/{}", "x/".repeat(600) + "x"));
    assert_eq!(decode((0..40).map(long).collect()), Err(NodeError::TooFull));
    let many = (0..1004).map(|n| child(&format!("{n}"))).collect();
    assert!(matches!(decode(many), Err(NodeError::Codec(CodecError::TooMany { what: "children", .. }))));
}

/// A leaf with one entry `a`, its version written by hand.
fn leaf_of(writers: &[u8], versions: &[&[u8]]) -> Result<Node, NodeError> {
    let mut bytes = vec![1, 0, 0, writers.len() as u8];
    for writer in writers {
        bytes.extend([*writer; 8]);
    }
    bytes.extend([1, 0, 1, b'a', versions.len() as u8]);
    bytes.extend(versions.concat());
    Node::decode(&bytes)
}

#[test]
fn a_leaf_has_one_encoding_only() {
    let hash = [9; 32];
    let version = |writer: u8, counter: u8, flags: u8| {
        let mut bytes = vec![writer, counter, flags];
        if flags & 8 == 0 {
            bytes.extend([0, 0, 1]);
            bytes.extend(hash);
        }
        bytes.extend([0, 0]);
        bytes
    };
    assert!(leaf_of(&[1], &[&version(0, 1, 0)]).is_ok());
    assert!(leaf_of(&[1, 2], &[&version(0, 1, 0), &version(1, 1, 8)]).is_ok());
    let refused = |writers: &[u8], versions: &[&[u8]]| leaf_of(writers, versions).unwrap_err();
    assert_eq!(refused(&[1], &[&version(0, 1, 8)]), NodeError::NotCanonical("the first version"));
    assert_eq!(
        refused(&[1, 2], &[&version(0, 1, 0), &version(1, 1, 0)]),
        NodeError::NotCanonical("a version equal to the one before it")
    );
    assert_eq!(refused(&[1, 2], &[&version(0, 1, 0)]), NodeError::NotCanonical("the table of writers"));
    assert_eq!(
        refused(&[2, 1], &[&version(0, 1, 0), &version(1, 1, 8)]),
        NodeError::NotCanonical("the table of writers")
    );
    assert_eq!(
        refused(&[1], &[&version(0, 2, 0), &version(0, 1, 8)]),
        NodeError::NotCanonical("the order of versions")
    );
    assert_eq!(refused(&[1], &[&version(0, 1, 16)]), NodeError::UnknownFlags(16));
    assert_eq!(refused(&[1], &[&version(0, 0, 0)]), NodeError::Entry(EntryError::CounterZero));
    assert_eq!(refused(&[], &[]), NodeError::Entry(EntryError::VersionCount(0)));
    let mut unknown_kind = version(0, 1, 0);
    unknown_kind[3] = 3;
    assert_eq!(refused(&[1], &[&unknown_kind]), NodeError::UnknownKind(3));
}
