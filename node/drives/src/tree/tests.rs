use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    convert::Infallible,
};

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    boundary::child_nominal_bytes,
    node::{Child, Expected, Node, NodeError, NodeId},
    *,
};
use crate::{
    entry::{
        Entry,
        tests::{any_entry, file, key},
    },
    key::PathKey,
};

mod codec;
mod walk;

/// Nodes in memory, and which of them were read.
#[derive(Default)]
pub(super) struct Nodes {
    nodes: HashMap<NodeId, Bytes>,
    read: RefCell<Vec<NodeId>>,
}

impl NodeSource for Nodes {
    type Error = Infallible;

    fn node(&self, id: &NodeId) -> Result<Option<Bytes>, Infallible> {
        self.read.borrow_mut().push(*id);
        Ok(self.nodes.get(id).cloned())
    }
}

type Model = BTreeMap<PathKey, Entry>;

impl Nodes {
    fn add(&mut self, node: &BuiltNode) {
        self.nodes.insert(node.id, node.encoded.clone());
    }

    fn build(&mut self, model: &Model) -> Root {
        let mut builder = TreeBuilder::new(|node: BuiltNode| {
            self.add(&node);
            Ok::<_, Infallible>(())
        });
        for entry in model.values() {
            builder.push(entry.clone()).unwrap();
        }
        builder.finish().unwrap()
    }

    fn update(&mut self, root: Root, changes: Vec<(PathKey, Option<Entry>)>) -> (Root, Vec<BuiltNode>) {
        let mut made = Vec::new();
        let new = update(&expected(root), &*self, changes, |node| {
            made.push(node);
            Ok::<_, Infallible>(())
        });
        for node in &made {
            self.add(node);
        }
        (new.unwrap(), made)
    }

    fn tree(&self, root: Root) -> Tree<'_, Self> {
        Tree::new(self, expected(root))
    }

    /// How many nodes `work` reads.
    fn reads<T>(&self, work: impl FnOnce() -> T) -> (T, usize) {
        self.read.borrow_mut().clear();
        let done = work();
        (done, self.read.borrow().len())
    }
}

pub(super) fn expected(root: Root) -> Expected {
    Expected { level: Some(root.level), ..Expected::root_with_sums(root.id, root.entries, root.bytes) }
}

/// A path of about 700 bytes, so that few entries make many nodes; `n` below 10,000.
fn long_path(n: u32) -> String {
    let fill = "x".repeat(230);
    format!("{}/{n:04}-{fill}/{fill}/{fill}", n % 7)
}

fn model_of(numbers: impl IntoIterator<Item = u32>, make_key: impl Fn(u32) -> PathKey) -> Model {
    let entry = |n: u32| {
        let key = make_key(n);
        (key.clone(), Entry::new(key, vec![file(1, 1, u64::from(n), &n.to_be_bytes())]).unwrap())
    };
    numbers.into_iter().map(entry).collect()
}

fn long_model(count: u32) -> Model {
    model_of(0..count, |n| key(&long_path(n)))
}

/// The rules of section 4.3 written as naively as possible: all items of a level in a list, cut from left to right.
fn naive_nodes(level: u8, items: &[(PathKey, usize)]) -> Vec<usize> {
    let mut sizes = Vec::new();
    let (mut count, mut nominal) = (0usize, 0usize);
    for (key, size) in items {
        if count > 0 && nominal + size > 49_152 {
            sizes.push(count);
            (count, nominal) = (0, 0);
        }
        count += 1;
        nominal += size;
        let material = [&[level], key.as_bytes()].concat();
        let hash = blake3::derive_key("p2p-drives boundary v1", &material);
        let h = u128::from(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]));
        let limit = (*size as u128 * (1u128 << 32) / 12_288).min(u128::from(u32::MAX));
        if nominal >= 4096 && h < limit && (level == 0 || count >= 2) {
            sizes.push(count);
            (count, nominal) = (0, 0);
        }
    }
    if count > 0 {
        sizes.push(count);
    }
    sizes
}

fn naive_build(model: &Model) -> (NodeId, u8) {
    let cut = |sizes: Vec<usize>| {
        let mut start = 0;
        sizes.into_iter().map(move |size| {
            start += size;
            start - size..start
        })
    };
    let entries: Vec<Entry> = model.values().cloned().collect();
    let items: Vec<_> =
        entries.iter().map(|e| (e.key().clone(), e.key().as_bytes().len() + 64 * e.versions().len())).collect();
    let mut nodes: Vec<Node> = cut(naive_nodes(0, &items)).map(|range| Node::Leaf(entries[range].to_vec())).collect();
    if nodes.is_empty() {
        nodes.push(Node::Leaf(vec![]));
    }
    let mut level = 0;
    while nodes.len() > 1 {
        level += 1;
        let children: Vec<Child> = nodes
            .iter()
            .map(|node| {
                let (entries, bytes) = node.sums().unwrap();
                Child { last_key: node.last_key().unwrap().clone(), id: NodeId::of(&node.encode()), entries, bytes }
            })
            .collect();
        let items: Vec<_> =
            children.iter().map(|c| (c.last_key.clone(), child_nominal_bytes(c.last_key.as_bytes().len()))).collect();
        nodes = cut(naive_nodes(level, &items))
            .map(|range| Node::Interior { level, children: children[range].to_vec() })
            .collect();
    }
    (NodeId::of(&nodes[0].encode()), level)
}

/// Any set of entries: keys of all lengths, so that both ways to end a node occur.
fn any_model(max_entries: usize) -> impl Strategy<Value = Model> {
    let short = (0..400u32).prop_map(|n| format!("{}/{}", n % 5, n)).boxed();
    let long = (0..400u32).prop_map(long_path).boxed();
    let path = prop_oneof![1 => short, 3 => long];
    let entry = path.prop_flat_map(|path| any_entry(key(&path)));
    proptest::collection::vec(entry, 0..max_entries)
        .prop_map(|entries| entries.into_iter().map(|entry| (entry.key().clone(), entry)).collect())
}

fn any_changes() -> impl Strategy<Value = BTreeMap<PathKey, Option<Entry>>> {
    let one = (0..800u32, any::<bool>(), 0..3u8).prop_flat_map(|(n, is_long, what)| {
        let key = key(&if is_long { long_path(n) } else { format!("{}/{}", n % 5, n) });
        let entry = any_entry(key.clone());
        entry.prop_map(move |entry| (key.clone(), (what > 0).then_some(entry)))
    });
    proptest::collection::vec(one, 0..40).prop_map(|changes| changes.into_iter().collect())
}

fn apply(model: &Model, changes: &BTreeMap<PathKey, Option<Entry>>) -> Model {
    let mut model = model.clone();
    for (key, entry) in changes {
        match entry {
            Some(entry) => model.insert(key.clone(), entry.clone()),
            None => model.remove(key),
        };
    }
    model
}

/// Every node that `root` needs is there, and nothing is wrong with it.
fn assert_complete(nodes: &Nodes, root: Root, model: &Model) {
    let found: Vec<Entry> = nodes.tree(root).range(b"").collect::<Result<_, _>>().unwrap();
    assert_eq!(found, model.values().cloned().collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_streaming_builder_makes_what_the_naive_rules_make(model in any_model(250)) {
        let mut nodes = Nodes::default();
        let root = nodes.build(&model);
        prop_assert_eq!((root.id, root.level), naive_build(&model));
        prop_assert_eq!(root.entries, model.len() as u64);
        prop_assert_eq!(root.bytes, model.values().map(|entry| entry.shown().file_bytes()).sum::<u64>());
        assert_complete(&nodes, root, &model);
    }

    #[test]
    fn a_changed_tree_has_the_root_of_one_built_anew(model in any_model(250), rounds in proptest::collection::vec(any_changes(), 1..4)) {
        let mut nodes = Nodes::default();
        let mut model = model;
        let mut root = nodes.build(&model);
        for changes in rounds {
            model = apply(&model, &changes);
            let made;
            (root, made) = nodes.update(root, changes.into_iter().collect());
            let mut anew = Nodes::default();
            prop_assert_eq!(root, anew.build(&model));
            assert_complete(&nodes, root, &model);
            for node in &made {
                prop_assert!(anew.nodes.contains_key(&node.id) || node.level > 0, "a leaf was made that the tree does not need");
            }
        }
    }

    #[test]
    fn the_order_of_edits_does_not_matter(model in any_model(60), order in any::<u64>()) {
        let mut nodes = Nodes::default();
        let mut root = nodes.build(&Model::new());
        let mut entries: Vec<_> = model.values().cloned().collect();
        entries.sort_by_key(|entry| blake3::keyed_hash(&[order as u8; 32], entry.key().as_bytes()).as_bytes().to_vec());
        for entry in entries {
            (root, _) = nodes.update(root, vec![(entry.key().clone(), Some(entry))]);
        }
        prop_assert_eq!(root, Nodes::default().build(&model));
        for key in model.keys().rev() {
            (root, _) = nodes.update(root, vec![(key.clone(), None)]);
        }
        prop_assert_eq!(root, Nodes::default().build(&Model::new()));
    }
}

#[test]
fn a_tree_of_thousands_of_entries_has_several_levels_that_keep_the_bounds() {
    let mut nodes = Nodes::default();
    let model = long_model(2000);
    let root = nodes.build(&model);
    assert!(root.level >= 2, "level {}", root.level);
    assert_eq!((root.id, root.level), naive_build(&model));
    for bytes in nodes.nodes.values() {
        assert!(bytes.len() <= MAX_NODE_BYTES);
        let node = Node::decode(bytes).unwrap();
        assert_eq!(node.encode(), bytes);
    }
}

/// What the large edits are drawn from; a failure names the one.
const SEEDS: std::ops::Range<u64> = 0..12;

/// Numbers that depend on `seed` alone.
fn numbers(seed: u64) -> impl FnMut(u32) -> u32 {
    let mut output = blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof();
    move |below| {
        let mut bytes = [0; 4];
        output.fill(&mut bytes);
        u32::from_be_bytes(bytes) % below
    }
}

#[test]
fn a_tree_of_several_levels_survives_edits_of_every_shape() {
    for seed in SEEDS {
        let mut next = numbers(seed);
        let mut nodes = Nodes::default();
        let mut model = long_model(1200);
        let mut root = nodes.build(&model);
        for round in 0..6 {
            let mut changes = BTreeMap::new();
            match next(4) {
                // A whole stretch goes.
                0 => {
                    let start = next(1200) as usize;
                    let stretch = model.keys().skip(start).take(1 + next(600) as usize);
                    changes.extend(stretch.map(|key| (key.clone(), None)));
                }
                // A stretch comes, below or above everything or in between.
                1 => {
                    let at = ["!", "3/0500-", "zz"][next(3) as usize];
                    let new = model_of(0..1 + next(300), |n| key(&format!("{at}{n:04}/{}", long_path(n))));
                    changes.extend(new.into_iter().map(|(key, entry)| (key, Some(entry))));
                }
                // Single paths change, come and go.
                _ => {
                    for _ in 0..1 + next(30) {
                        let path = key(&long_path(next(1500)));
                        let version = file(2, 1 + u64::from(next(50)), 3, b"edit");
                        let entry = Entry::new(path.clone(), vec![version]).unwrap();
                        changes.insert(path, (next(3) > 0).then_some(entry));
                    }
                }
            }
            model = apply(&model, &changes);
            (root, _) = nodes.update(root, changes.into_iter().collect());
            assert_eq!(root, Nodes::default().build(&model), "seed {seed}, round {round}");
        }
        assert_complete(&nodes, root, &model);
    }
}

#[test]
fn full_nodes_give_way_when_what_follows_them_changes() {
    // Keys that never close a leaf: every leaf ends only because the next entry did not fit.
    let never_closes = |path: &PathKey| {
        let hash = blake3::derive_key("p2p-drives boundary v1", &[&[0], path.as_bytes()].concat());
        hash[0] > 0x10
    };
    let model: Model = long_model(1000).into_iter().filter(|(key, _)| never_closes(key)).collect();
    let mut nodes = Nodes::default();
    let root = nodes.build(&model);
    let decoded = nodes.nodes.values().map(|bytes| Node::decode(bytes).unwrap());
    let leaves = decoded.filter(|node| node.level() == 0);
    let starts: Vec<PathKey> = leaves.filter_map(|leaf| leaf.first_key().cloned()).collect();
    assert!(starts.len() > 10);
    let (path, entry) = model.iter().nth(300).unwrap();
    let edited = Entry::new(path.clone(), vec![file(2, 2, 2, b"edit")]).unwrap();
    assert_ne!(*entry, edited);
    nodes.read.borrow_mut().clear();
    let (_, made) = nodes.update(root, vec![(path.clone(), Some(edited))]);
    assert_eq!(made.len(), usize::from(root.level) + 1);
    let reads = nodes.read.borrow().len();
    assert!(reads <= 4 * (usize::from(root.level) + 1), "{reads} nodes read");
    for start in starts {
        // Short enough for what 64 long entries leave of 48 KiB.
        let short = start.parent().and_then(|dir| dir.parent()).unwrap().join("!").unwrap();
        let entry = Entry::new(short.clone(), vec![file(1, 1, 1, b"")]).unwrap();
        for changes in
            [BTreeMap::from([(start.clone(), None)]), BTreeMap::from([(start.clone(), None), (short, Some(entry))])]
        {
            let changed = apply(&model, &changes);
            let (new, _) = nodes.update(root, changes.into_iter().collect());
            assert_eq!(new, Nodes::default().build(&changed), "{start}");
        }
    }
}

#[test]
fn one_change_makes_one_node_per_level_and_reads_a_few() {
    let mut nodes = Nodes::default();
    let model = long_model(2000);
    let root = nodes.build(&model);
    let changed = key(&long_path(1003));
    let entry = Entry::new(changed.clone(), vec![file(2, 9, 9, b"changed")]).unwrap();
    let ((new, made), reads) = {
        nodes.read.borrow_mut().clear();
        let done = nodes.update(root, vec![(changed.clone(), Some(entry.clone()))]);
        let reads = nodes.read.borrow().len();
        (done, reads)
    };
    assert_eq!(made.len(), usize::from(root.level) + 1);
    assert!(reads <= 4 * (usize::from(root.level) + 1), "{reads} nodes read");
    assert_eq!(nodes.tree(new).lookup(&changed).unwrap(), Some(entry));
}

#[test]
fn a_change_that_changes_nothing_keeps_the_root_and_makes_nothing() {
    let mut nodes = Nodes::default();
    let model = long_model(300);
    let root = nodes.build(&model);
    let same = model.values().nth(100).unwrap();
    let absent = key("not there");
    let mut changes = vec![(absent, None), (same.key().clone(), Some(same.clone()))];
    changes.sort_by(|a, b| a.0.cmp(&b.0));
    let (new, made) = nodes.update(root, changes);
    assert_eq!((new, made.len()), (root, 0));
    let (new, made) = nodes.update(root, vec![]);
    assert_eq!((new, made.len()), (root, 0));
}

#[test]
fn the_empty_drive_is_one_empty_leaf() {
    let mut nodes = Nodes::default();
    let root = nodes.build(&Model::new());
    assert_eq!((root.level, root.entries, root.bytes), (0, 0, 0));
    assert_eq!(nodes.nodes[&root.id].as_ref(), [1, 0, 0, 0, 0]);
    let model = long_model(300);
    let all: Vec<_> = model.iter().map(|(key, entry)| (key.clone(), Some(entry.clone()))).collect();
    let (full, _) = nodes.update(root, all);
    assert_eq!(full, Nodes::default().build(&model));
    let none: Vec<_> = model.keys().map(|key| (key.clone(), None)).collect();
    let (empty, _) = nodes.update(full, none);
    assert_eq!(empty, root);
}

#[test]
fn leaves_tell_what_side_tables_need() {
    let model = long_model(200);
    let mut leaves = Vec::new();
    let mut builder = TreeBuilder::new(|node: BuiltNode| {
        if node.level == 0 {
            leaves.push((node.id, node.last_key.unwrap(), node.items));
        }
        Ok::<_, Infallible>(())
    });
    for entry in model.values() {
        builder.push(entry.clone()).unwrap();
    }
    builder.finish().unwrap();
    assert!(leaves.len() > 5);
    assert!(leaves.is_sorted_by(|a, b| a.1 < b.1));
    assert_eq!(leaves.iter().map(|leaf| leaf.2).sum::<usize>(), 200);
    assert_eq!(leaves.last().unwrap().1, *model.keys().last().unwrap());
}

#[test]
fn entries_and_changes_out_of_order_are_refused() {
    let entry = |path: &str| Entry::new(key(path), vec![file(1, 1, 1, b"")]).unwrap();
    let mut builder = TreeBuilder::new(|_| Ok::<_, Infallible>(()));
    builder.push(entry("b")).unwrap();
    assert!(matches!(builder.push(entry("a")), Err(BuildError::Unsorted)));
    assert!(matches!(builder.push(entry("b")), Err(BuildError::Unsorted)));
    let mut nodes = Nodes::default();
    let root = expected(nodes.build(&Model::new()));
    let ignore = |_| Ok::<_, Infallible>(());
    let unsorted = update(&root, &nodes, vec![(key("b"), None), (key("a"), None)], ignore);
    assert!(matches!(unsorted, Err(UpdateError::Build(BuildError::Unsorted))));
    let mixed = update(&root, &nodes, vec![(key("b"), Some(entry("a")))], ignore);
    assert!(matches!(mixed, Err(UpdateError::WrongKey { .. })));
}

#[test]
fn a_failing_sink_stops_the_builder() {
    let mut builder = TreeBuilder::new(|_| Err("disk full"));
    let result = long_model(100).into_values().try_for_each(|entry| builder.push(entry));
    assert!(matches!(result, Err(BuildError::Sink("disk full"))));
}
