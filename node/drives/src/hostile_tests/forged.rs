//! Versions that are rightly signed but must not be placed: bad paths, lying sums; and old ones played again.

use std::collections::HashMap;

use bytes::Bytes;
use p2p_identity::ContentId;

use super::fetching::copy;
use super::liar::{Forgery, Lie};
use super::network::Owner;
use crate::entry::{Dot, Entry, Kind, Version};
use crate::head::{HeadEnvelope, VersionVector};
use crate::tree::{Child, Node, NodeId};
use crate::{NodeError, PathKey};

/// Stands where a bad key will stand: as long, and unlike anything else in a leaf.
const PLACE: &str = "QQQQ";

/// A leaf with one small file.
fn leaf(owner: &Owner, path: &str) -> Bytes {
    let dot = Dot { writer: owner.head.body().writer.prefix(), counter: 2 };
    let version = Version::with_content(dot, Kind::File, 0o644, 0, 1, b"evil");
    Node::Leaf(vec![Entry::new(PathKey::from_path(path).unwrap(), vec![version]).unwrap()]).encode()
}

/// The same leaf with a key that no path has.
fn leaf_with_key(owner: &Owner, key: &[u8]) -> Bytes {
    let mut bytes = leaf(owner, PLACE).to_vec();
    let at = bytes.windows(PLACE.len()).position(|four| four == PLACE.as_bytes()).unwrap();
    bytes[at..at + key.len()].copy_from_slice(key);
    bytes.into()
}

/// A version after the owner's, signed with the owner's key.
fn version(owner: &Owner, root: &Bytes, files: u64, file_bytes: u64, more: Vec<Bytes>) -> Forgery {
    let mut head = owner.head.body().clone();
    head.counter += 1;
    head.vv = VersionVector::new(vec![(head.writer, head.counter)]).unwrap();
    head.prev = vec![owner.head.hash()];
    (head.root, head.files, head.bytes) = (NodeId::of(root), files, file_bytes);
    let nodes: HashMap<ContentId, Bytes> =
        more.into_iter().chain([root.clone()]).map(|node| (ContentId::of(&node), node)).collect();
    Forgery { head: HeadEnvelope::sign(&head, &owner.key).unwrap(), nodes }
}

async fn check(forge: impl Fn(&Owner) -> Option<Forgery>) {
    let outcome = copy(Lie::Forged, &forge, false).await;
    outcome.check_files();
    let error = outcome.result.as_ref().expect_err("this version cannot be placed").to_string();
    assert!(error.contains("1 sent something wrong"), "{error}");
    let outcome = copy(Lie::Forged, &forge, true).await;
    outcome.check_files();
    outcome.check_equal();
}

#[tokio::test(start_paused = true)]
async fn a_signed_index_cannot_name_paths_outside_the_folder() {
    for key in [b"..\x01e", b"d\x01..", b"\x01etc", b"/etc", b"a\0bc", b"a\x01\x01b", b"../e", b"a\x01.\x01"] {
        check(|owner| {
            let leaf = leaf_with_key(owner, key);
            assert!(matches!(Node::decode(&leaf), Err(NodeError::Key(_))), "{key:?}");
            Some(version(owner, &leaf, 1, 4, Vec::new()))
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lies_about_sums_is_refused() {
    check(|owner| {
        let leaf = leaf(owner, "evil");
        let last_key = PathKey::from_path("evil").unwrap();
        let child = Child { last_key, id: NodeId::of(&leaf), entries: 7, bytes: 99 };
        let root = Node::Interior { level: 1, children: vec![child] }.encode();
        Some(version(owner, &root, 7, 99, vec![leaf]))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_lies_about_sums_is_refused() {
    check(|owner| Some(version(owner, &leaf(owner, "evil"), 2, 4, Vec::new()))).await;
}

#[tokio::test(start_paused = true)]
async fn a_root_that_nobody_has_does_not_hide_what_the_others_have() {
    let forge = |owner: &Owner| {
        let mut forgery = version(owner, &leaf(owner, "evil"), 1, 4, Vec::new());
        forgery.nodes.clear();
        Some(forgery)
    };
    let outcome = copy(Lie::Forged, forge, false).await;
    outcome.check_files();
    assert!(outcome.result.is_err());
    let outcome = copy(Lie::Forged, forge, true).await;
    outcome.check_equal();
}
