//! Reading against a plain map, and hostile nodes.

use super::*;
use crate::entry::{Dot, Version};

fn small_model() -> impl Strategy<Value = Model> {
    let part = prop_oneof![Just("a"), Just("b"), Just("a!"), Just("a\u{2}"), Just("é"), Just("dir")];
    let path = proptest::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
    let entry = path.prop_flat_map(|path| any_entry(key(&path)));
    proptest::collection::vec(entry, 0..40)
        .prop_map(|entries| entries.into_iter().map(|entry| (entry.key().clone(), entry)).collect())
}

fn naive_list(model: &Model, dir: Option<&PathKey>) -> Vec<Listed> {
    let depth = dir.map_or(0, |dir| dir.components().count());
    let mut listed = BTreeMap::new();
    for (path, entry) in model {
        if dir.is_some_and(|dir| !path.is_under(dir) || path == dir) {
            continue;
        }
        let parts: Vec<_> = path.components().collect();
        let child = key(&parts[..=depth].join("/"));
        if child == *path {
            listed.insert(child, Listed::Entry(entry.clone()));
        } else {
            listed.entry(child.clone()).or_insert(Listed::Implied(child));
        }
    }
    listed.into_values().collect()
}

fn naive_sum(model: &Model, prefix: &PathKey) -> Sum {
    let under: Vec<_> = model.values().filter(|entry| entry.key().is_under(prefix)).collect();
    Sum { entries: under.len() as u64, bytes: under.iter().map(|entry| entry.shown().file_bytes()).sum() }
}

fn naive_diff(old: &Model, new: &Model) -> Vec<Change> {
    let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    keys.into_iter()
        .filter_map(|key| match (old.get(key), new.get(key)) {
            (Some(before), Some(after)) if before == after => None,
            (Some(before), Some(after)) => Some(Change::Changed { before: before.clone(), after: after.clone() }),
            (Some(before), None) => Some(Change::Removed(before.clone())),
            (None, after) => after.cloned().map(Change::Added),
        })
        .collect()
}

fn check_reading(model: &Model, other_keys: &Model) {
    let mut nodes = Nodes::default();
    let root = nodes.build(model);
    let tree = nodes.tree(root);
    for key in model.keys().chain(other_keys.keys()).take(60) {
        assert_eq!(tree.lookup(key).unwrap().as_ref(), model.get(key));
        let from: Vec<Entry> = tree.range(key.as_bytes()).take(5).collect::<Result<_, _>>().unwrap();
        assert_eq!(from, model.range(key..).map(|(_, entry)| entry.clone()).take(5).collect::<Vec<_>>());
        let listed: Vec<Listed> = tree.list_dir(Some(key)).collect::<Result<_, _>>().unwrap();
        assert_eq!(listed, naive_list(model, Some(key)));
        let parent = key.parent().unwrap_or(key.clone());
        assert_eq!(tree.sum_under(Some(&parent)).unwrap(), naive_sum(model, &parent));
    }
    let listed: Vec<Listed> = tree.list_dir(None).collect::<Result<_, _>>().unwrap();
    assert_eq!(listed, naive_list(model, None));
    assert_eq!(tree.sum_under(None).unwrap(), Sum { entries: root.entries, bytes: root.bytes });
}

fn check_diff(old: &Model, new: &Model) {
    let mut nodes = Nodes::default();
    let (old_root, new_root) = (nodes.build(old), nodes.build(new));
    let diff = nodes.tree(old_root).diff(&nodes.tree(new_root)).unwrap();
    assert_eq!(diff.collect::<Result<Vec<_>, _>>().unwrap(), naive_diff(old, new));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn reading_a_small_tree_equals_reading_a_map(model in small_model(), other in small_model()) {
        check_reading(&model, &other);
        check_diff(&model, &other);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn reading_a_large_tree_equals_reading_a_map(model in any_model(250), other in any_model(40), changes in any_changes()) {
        check_reading(&model, &other);
        check_diff(&model, &apply(&model, &changes));
        check_diff(&model, &other);
    }
}

#[test]
fn a_lookup_reads_one_node_per_level() {
    let mut nodes = Nodes::default();
    let root = nodes.build(&long_model(2000));
    let tree = nodes.tree(root);
    let (found, reads) = nodes.reads(|| tree.lookup(&key(&long_path(1234))).unwrap());
    assert!(found.is_some());
    assert_eq!(reads, usize::from(root.level) + 1);
    let (found, reads) = nodes.reads(|| tree.lookup(&key("zzz")).unwrap());
    assert!(found.is_none() && reads == 1, "a key above everything needs the root only");
}

#[test]
fn a_listing_skips_subtrees() {
    let mut nodes = Nodes::default();
    let root = nodes.build(&long_model(2000));
    let tree = nodes.tree(root);
    let (listed, reads) = nodes.reads(|| tree.list_dir(None).collect::<Result<Vec<_>, _>>().unwrap());
    assert_eq!(listed.len(), 7);
    assert!(reads <= 8 * (usize::from(root.level) + 1), "{reads} of {} nodes read", nodes.nodes.len());
    let (sum, reads) = nodes.reads(|| tree.sum_under(Some(&key("3"))).unwrap());
    assert_eq!(sum.entries, 286);
    assert!(reads <= 2 * (usize::from(root.level) + 1), "{reads} nodes read");
}

#[test]
fn a_diff_skips_equal_subtrees() {
    let mut nodes = Nodes::default();
    let model = long_model(2000);
    let root = nodes.build(&model);
    let edit = |path: String| {
        let key = key(&path);
        (key.clone(), Some(Entry::new(key, vec![file(2, 2, 2, b"new")]).unwrap()))
    };
    let mut changes = vec![edit(long_path(17)), edit(long_path(1500)), edit("9/added".to_owned())];
    changes.sort_by(|a, b| a.0.cmp(&b.0));
    let (new, _) = nodes.update(root, changes);
    let (diff, reads) =
        nodes.reads(|| nodes.tree(root).diff(&nodes.tree(new)).unwrap().collect::<Result<Vec<_>, _>>().unwrap());
    assert_eq!(diff.len(), 3);
    assert!(reads <= 3 * 4 * (usize::from(root.level) + 1), "{reads} of {} nodes read", nodes.nodes.len());
    let (diff, reads) = nodes.reads(|| nodes.tree(root).diff(&nodes.tree(root)).unwrap().count());
    assert_eq!((diff, reads), (0, 0));
}

/// A parent that lies about its child in one way; `lie` changes what it says.
fn lying_parent(lie: impl Fn(&mut Child)) -> (Nodes, Expected) {
    let mut nodes = Nodes::default();
    let mut children = Vec::new();
    for names in [["a", "b"], ["c", "d"]] {
        let entries = names.map(|name| Entry::new(key(name), vec![file(1, 1, 1, b"12345")]).unwrap());
        let leaf = Node::Leaf(entries.to_vec()).encode();
        let id = NodeId::of(&leaf);
        nodes.nodes.insert(id, leaf);
        children.push(Child { last_key: key(names[1]), id, entries: 2, bytes: 10 });
    }
    lie(&mut children[1]);
    let root = Node::Interior { level: 1, children };
    let encoded = root.encode();
    let id = NodeId::of(&encoded);
    nodes.nodes.insert(id, encoded);
    (nodes, Expected::root(id))
}

fn walk_error(nodes: &Nodes, root: &Expected) -> Option<NodeError> {
    match Tree::new(nodes, root.clone()).range(b"").find_map(Result::err)? {
        WalkError::Bad { source, .. } => Some(source),
        other => panic!("{other}"),
    }
}

#[test]
fn what_a_parent_says_of_its_child_is_checked() {
    let (nodes, root) = lying_parent(|_| ());
    assert_eq!(walk_error(&nodes, &root), None);
    let (nodes, root) = lying_parent(|child| child.entries = 3);
    assert_eq!(walk_error(&nodes, &root), Some(NodeError::WrongSums));
    let (nodes, root) = lying_parent(|child| child.bytes = 9);
    assert_eq!(walk_error(&nodes, &root), Some(NodeError::WrongSums));
    let (nodes, root) = lying_parent(|child| child.last_key = key("e"));
    assert_eq!(walk_error(&nodes, &root), Some(NodeError::WrongKeys));
    let honest = Nodes::default().build(&model_of([], |_| key("a")));
    let sums = Expected::root_with_sums(root.id, 5, 20);
    let (nodes, _) = lying_parent(|child| child.last_key = key("e"));
    assert_eq!(walk_error(&nodes, &sums), Some(NodeError::WrongSums));
    assert_eq!(honest.entries, 0);
}

#[test]
fn a_child_whose_keys_overlap_the_one_before_is_refused() {
    let mut nodes = Nodes::default();
    let mut child = |names: [&str; 2]| {
        let entries = names.map(|name| Entry::new(key(name), vec![file(1, 1, 1, b"")]).unwrap());
        let leaf = Node::Leaf(entries.to_vec()).encode();
        let id = NodeId::of(&leaf);
        nodes.nodes.insert(id, leaf);
        Child { last_key: key(names[1]), id, entries: 2, bytes: 0 }
    };
    let children = vec![child(["a", "c"]), child(["b", "d"])];
    let root = Node::Interior { level: 1, children }.encode();
    let id = NodeId::of(&root);
    nodes.nodes.insert(id, root);
    assert_eq!(walk_error(&nodes, &Expected::root(id)), Some(NodeError::WrongKeys));
}

#[test]
fn a_level_that_does_not_decrease_by_one_is_refused() {
    let (mut nodes, root) = lying_parent(|_| ());
    let inner = Node::decode(&nodes.nodes[&root.id]).unwrap();
    let child = Child { last_key: inner.last_key().unwrap().clone(), id: root.id, entries: 4, bytes: 20 };
    for level in [1, 3] {
        let outer = Node::Interior { level, children: vec![child.clone()] }.encode();
        let id = NodeId::of(&outer);
        nodes.nodes.insert(id, outer);
        let error = walk_error(&nodes, &Expected::root(id));
        assert_eq!(error, Some(NodeError::WrongLevel { expected: level - 1, found: 1 }));
    }
}

#[test]
fn missing_and_swapped_nodes_are_named() {
    let mut nodes = Nodes::default();
    let root = nodes.build(&long_model(200));
    let Node::Interior { children, .. } = Node::decode(&nodes.nodes[&root.id]).unwrap() else { panic!() };
    let (first, second) = (children[0].id, children[1].id);
    let bytes = nodes.nodes[&second].clone();
    nodes.nodes.insert(first, bytes);
    let error = nodes.tree(root).range(b"").next().unwrap().unwrap_err();
    assert!(matches!(error, WalkError::Bad { id, source: NodeError::WrongHash } if id == first));
    nodes.nodes.remove(&first);
    let mut range = nodes.tree(root).range(b"");
    assert!(matches!(range.next(), Some(Err(WalkError::Missing(id))) if id == first));
    assert!(range.next().is_none(), "an error ends the range");
}

#[test]
fn the_version_that_is_shown_decides_the_size() {
    let mut nodes = Nodes::default();
    let hidden = Version { size: 1 << 40, inline: None, ..file(1, 1, 1, b"") };
    let shown = Version { dot: Dot { writer: [2; 8], counter: 1 }, ..file(2, 1, 2, b"four") };
    let entry = Entry::new(key("a"), vec![hidden, shown]).unwrap();
    let root = nodes.build(&[(key("a"), entry)].into());
    assert_eq!(root.bytes, 4);
}
