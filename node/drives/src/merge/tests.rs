//! Three judges of one truth: the merge of trees, the specification word by word, and what writers did in which order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;

use bytes::Bytes;
use p2p_identity::ContentId;

use super::*;
use crate::entry::Kind;
use crate::tree::{NodeId, TreeBuilder};

/// Random histories in one run; the seed of a failure is printed.
const HISTORIES: u64 = 10_000;
const PATHS: [&str; 7] = ["a", "b", "d", "d/x", "d/y", "e", "e/z"];

#[derive(Default)]
struct Nodes(HashMap<NodeId, Bytes>);

impl NodeSource for Nodes {
    type Error = Infallible;

    fn node(&self, id: &NodeId) -> Result<Option<Bytes>, Infallible> {
        Ok(self.0.get(id).cloned())
    }
}

type Model = BTreeMap<PathKey, Entry>;

impl Nodes {
    fn build(&mut self, model: &Model) -> Expected {
        let mut builder = TreeBuilder::new(|node: BuiltNode| {
            self.0.insert(node.id, node.encoded);
            Ok::<_, Infallible>(())
        });
        model.values().for_each(|entry| builder.push(entry.clone()).unwrap());
        expected(builder.finish().unwrap())
    }
}

fn expected(root: Root) -> Expected {
    Expected::root_with_sums(root.id, root.entries, root.bytes)
}

/// A head, with its tree twice.
#[derive(Clone, Debug)]
struct Head {
    source: Source,
    model: Model,
}

fn key(path: &str) -> PathKey {
    PathKey::from_path(path).unwrap()
}

fn writer(number: u8) -> WriterKey {
    WriterKey::from([number + 1; 32])
}

fn version(by: u8, counter: u64, value: u64) -> Version {
    let dot = Dot { writer: writer(by).prefix(), counter };
    Version::blob(dot, Kind::File, 0o644, 0, value, value % 7, ContentId::of(&(value % 11).to_be_bytes()))
}

fn vector(counters: &BTreeMap<WriterKey, u64>) -> VersionVector {
    VersionVector::new(counters.iter().map(|(writer, counter)| (*writer, *counter)).collect()).unwrap()
}

/// The specification, word by word (5.2): slow, and with no idea of trees.
fn reference(heads: &[Head], revoked: &[(WriterKey, u64)]) -> Model {
    let owner = heads[0].source.writer;
    let at_hand = |writer: &WriterKey| heads.iter().find(|head| head.source.writer == *writer);
    let keys: BTreeSet<&PathKey> = heads.iter().flat_map(|head| head.model.keys()).collect();
    let is_at = |head: &Head, key: &PathKey, dot: Dot| {
        head.model.get(key).is_some_and(|entry| entry.versions().iter().any(|version| version.dot == dot))
    };
    let may_write = |head: &Head, key: &PathKey| head.source.prefix.as_ref().is_none_or(|prefix| key.is_under(prefix));
    let mut state = Model::new();
    for key in keys {
        let mut dots: BTreeSet<Dot> = BTreeSet::new();
        for head in heads {
            dots.extend(head.model.get(key).into_iter().flat_map(Entry::versions).map(|version| version.dot));
        }
        let mut survivors = Vec::new();
        for dot in dots {
            let get = |head: &Head| head.model.get(key)?.versions().iter().find(|version| version.dot == dot).cloned();
            // (a) it counts
            let author = heads.iter().find(|head| head.source.writer.prefix() == dot.writer);
            let by_author = author.filter(|u| may_write(u, key) && dot.counter <= u.source.counter).and_then(get);
            let Some(content) = by_author.or_else(|| get(&heads[0])) else { continue };
            let revocation = revoked.iter().find(|(writer, _)| writer.prefix() == dot.writer);
            if revocation.is_some_and(|(_, last)| dot.counter > *last) {
                continue;
            }
            // (b) nobody who saw it dropped it
            let is_dropped = heads.iter().filter(|w| may_write(w, key)).any(|w| {
                let entry = w.source.vv.counters().iter().find(|(writer, _)| writer.prefix() == dot.writer);
                let Some((u, claimed)) = entry else { return false };
                let signed = revoked.iter().find(|(r, _)| r == u).map(|(_, last)| *last);
                let covered = match (signed, at_hand(u).map(|u| u.source.counter)) {
                    (Some(last), _) => *claimed.min(&last),
                    (None, newest) if *claimed <= newest.unwrap_or(0) => *claimed,
                    (None, newest) if w.source.writer == owner => newest.unwrap_or(0),
                    (None, _) => 0,
                };
                dot.counter <= covered && !is_at(w, key, dot)
            });
            if !is_dropped {
                survivors.push(content);
            }
        }
        if let Ok(entry) = Entry::new(key.clone(), survivors) {
            state.insert(key.clone(), entry);
        }
    }
    state
}

/// Rule 3 of section 5, for two states with their vectors.
fn merge_two(
    a: &(Model, BTreeMap<WriterKey, u64>),
    b: &(Model, BTreeMap<WriterKey, u64>),
) -> (Model, BTreeMap<WriterKey, u64>) {
    let covers = |vv: &BTreeMap<WriterKey, u64>, dot: Dot| {
        vv.iter().any(|(writer, counter)| writer.prefix() == dot.writer && dot.counter <= *counter)
    };
    let keys: BTreeSet<&PathKey> = a.0.keys().chain(b.0.keys()).collect();
    let mut model = Model::new();
    for key in keys {
        let of = |model: &Model| -> Vec<Version> { model.get(key).map(|e| e.versions().to_vec()).unwrap_or_default() };
        let (left, right) = (of(&a.0), of(&b.0));
        let mut kept: Vec<Version> = Vec::new();
        for v in &left {
            if right.iter().any(|w| w.dot == v.dot) || !covers(&b.1, v.dot) {
                kept.push(v.clone());
            }
        }
        for v in &right {
            if !left.iter().any(|w| w.dot == v.dot) && !covers(&a.1, v.dot) {
                kept.push(v.clone());
            }
        }
        if let Ok(entry) = Entry::new(key.clone(), kept) {
            model.insert(key.clone(), entry);
        }
    }
    let mut vv = a.1.clone();
    for (writer, counter) in &b.1 {
        let mine = vv.entry(*writer).or_default();
        *mine = (*mine).max(*counter);
    }
    (model, vv)
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn path(&mut self) -> PathKey {
        key(PATHS[self.below(PATHS.len() as u64) as usize])
    }
}

/// Writers that are not always connected.
struct World {
    nodes: Nodes,
    /// Of each replica the newest head it has of each writer.
    replicas: Vec<BTreeMap<WriterKey, Head>>,
    /// Every head ever made: messages that may arrive at any time, and again.
    sent: Vec<Head>,
    /// What every version was seen and replaced by, path by path.
    replaced: BTreeSet<(PathKey, Dot)>,
    written: BTreeMap<(PathKey, Dot), Version>,
    clock: u64,
}

impl World {
    fn new(writers: u8) -> Self {
        let mut nodes = Nodes::default();
        let root = nodes.build(&Model::new());
        let vv = vector(&[(writer(0), 1)].into());
        let source = Source { writer: writer(0), counter: 1, vv, prefix: None, root };
        let first = Head { source, model: Model::new() };
        let replicas = vec![BTreeMap::from([(writer(0), first.clone())]); writers.into()];
        let (replaced, written) = (BTreeSet::new(), BTreeMap::new());
        Self { nodes, replicas, sent: vec![first], replaced, written, clock: 0 }
    }

    fn heads(&self, replica: usize) -> Vec<Head> {
        // `writer(0)` is the lowest key, so the owner comes first.
        self.replicas[replica].values().cloned().collect()
    }

    fn merged(&mut self, replica: usize) -> Root {
        let heads = self.heads(replica);
        let others: Vec<Source> = heads[1..].iter().map(|head| head.source.clone()).collect();
        let mut made = Vec::new();
        let root = merge(&heads[0].source, &others, &[], &self.nodes, |node| {
            made.push(node);
            Ok::<_, Infallible>(())
        });
        made.into_iter().for_each(|node| drop(self.nodes.0.insert(node.id, node.encoded)));
        root.unwrap()
    }

    fn state(&mut self, replica: usize) -> Model {
        let root = self.merged(replica);
        let tree = Tree::new(&self.nodes, expected(root));
        tree.range(&[]).map(|entry| entry.unwrap()).map(|entry| (entry.key().clone(), entry)).collect()
    }

    /// Paths that become a new file, or go.
    fn write(&mut self, replica: usize, edits: &[(PathKey, bool)]) {
        let mut model = self.state(replica);
        let me = writer(replica as u8);
        let heads = &self.replicas[replica];
        let counter = heads.get(&me).map_or(0, |head| head.source.counter) + 1;
        let mut vv: BTreeMap<WriterKey, u64> =
            heads.iter().map(|(writer, head)| (*writer, head.source.counter)).collect();
        let at_hand: BTreeMap<[u8; 8], u64> = vv.iter().map(|(writer, counter)| (writer.prefix(), *counter)).collect();
        vv.insert(me, counter);
        for (key, is_there) in edits {
            let seen = model.remove(key);
            // What it knows from the owner's tree alone it cannot cover: that writer's head may be of before.
            let is_at_hand = |v: &&Version| at_hand.get(&v.dot.writer).is_some_and(|newest| v.dot.counter <= *newest);
            let seen = seen.iter().flat_map(Entry::versions).filter(is_at_hand);
            self.replaced.extend(seen.map(|v| (key.clone(), v.dot)));
            if *is_there {
                self.clock += 1;
                let version = version(replica as u8, counter, self.clock);
                self.written.insert((key.clone(), version.dot), version.clone());
                model.insert(key.clone(), Entry::new(key.clone(), vec![version]).unwrap());
            }
        }
        let root = self.nodes.build(&model);
        let source = Source { writer: me, counter, vv: vector(&vv), prefix: None, root };
        let head = Head { source, model };
        self.sent.push(head.clone());
        self.replicas[replica].insert(me, head);
    }

    fn receive(&mut self, replica: usize, head: &Head) {
        let known = self.replicas[replica].get(&head.source.writer).map_or(0, |known| known.source.counter);
        if head.source.counter > known {
            self.replicas[replica].insert(head.source.writer, head.clone());
        }
    }

    /// What no write or delete that saw it has replaced.
    fn survivors(&self) -> Model {
        let mut by_path: BTreeMap<&PathKey, Vec<Version>> = BTreeMap::new();
        for ((key, dot), version) in &self.written {
            if !self.replaced.contains(&(key.clone(), *dot)) {
                by_path.entry(key).or_default().push(version.clone());
            }
        }
        by_path.into_iter().map(|(key, versions)| (key.clone(), Entry::new(key.clone(), versions).unwrap())).collect()
    }
}

fn one_history(seed: u64) {
    let mut random = Random(seed);
    let writers = 1 + random.below(5) as u8;
    let mut world = World::new(writers);
    for _ in 0..2 + random.below(14) {
        let replica = random.below(writers.into()) as usize;
        match random.below(8) {
            0..=2 => {
                let edits: BTreeMap<_, _> = (0..=random.below(2)).map(|_| (random.path(), true)).collect();
                world.write(replica, &edits.into_iter().collect::<Vec<_>>());
            }
            3 => {
                let gone = random.path();
                world.write(replica, &[(gone, false)]);
            }
            4 => {
                let (from, to) = (random.path(), random.path());
                if from != to {
                    world.write(replica, &[(from, false), (to, true)]);
                }
            }
            // One message, however old, arrives.
            5 => {
                let head = world.sent[random.below(world.sent.len() as u64) as usize].clone();
                world.receive(replica, &head);
            }
            // Two meet; one of them gets some or all of what the other has.
            _ => {
                let other = random.below(writers.into()) as usize;
                for head in world.heads(other) {
                    if random.below(4) > 0 {
                        world.receive(replica, &head);
                    }
                }
            }
        }
        if random.below(4) == 0 {
            assert_eq!(world.state(replica), reference(&world.heads(replica), &[]), "seed {seed}: before healing");
        }
    }
    // Everything arrives everywhere, in another order at each.
    let sent = world.sent.clone();
    for replica in 0..usize::from(writers) {
        let mut order: Vec<usize> = (0..sent.len()).collect();
        order.sort_by_cached_key(|_| random.below(u64::MAX));
        order.into_iter().for_each(|index| world.receive(replica, &sent[index]));
    }
    let roots: Vec<Root> = (0..usize::from(writers)).map(|replica| world.merged(replica)).collect();
    assert!(roots.iter().all(|root| root.id == roots[0].id), "seed {seed}: roots differ");
    let state = world.state(0);
    assert_eq!(state, reference(&world.heads(0), &[]), "seed {seed}: not what the specification says");
    assert_eq!(state, world.survivors(), "seed {seed}: an edit is missing, or came back");
    let mut heads = world.heads(0);
    heads.sort_by_cached_key(|_| random.below(u64::MAX));
    let states = heads.iter().map(|head| (head.model.clone(), head.source.vv.counters().iter().copied().collect()));
    let folded = states.reduce(|a, b| merge_two(&a, &b)).unwrap();
    assert_eq!(state, folded.0, "seed {seed}: not what merging two at a time gives");
}

fn base_seed() -> u64 {
    let given = std::env::var("P2P_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).unwrap();
        u64::from_be_bytes(bytes) >> 16
    })
}

#[test]
fn after_healing_all_roots_are_equal_and_no_surviving_edit_is_missing() {
    let base = base_seed();
    println!("seeds {base} to {}; P2P_SEED={base} runs them again", base + HISTORIES - 1);
    (base..base + HISTORIES).for_each(one_history);
}

/// Heads of writers that follow no rule: any versions under any names, any vectors, prefixes, revocations.
fn hostile(seed: u64) {
    let mut random = Random(seed);
    let mut nodes = Nodes::default();
    let count = 1 + random.below(4) as u8;
    let revoked: Vec<(WriterKey, u64)> =
        (count..count + random.below(3) as u8).map(|n| (writer(n), random.below(4))).collect();
    let heads: Vec<Head> = (0..count)
        .map(|n| {
            let mut model = Model::new();
            for path in PATHS {
                let versions: BTreeMap<Dot, Version> = (0..random.below(4))
                    .map(|_| version(random.below(7) as u8, 1 + random.below(5), random.below(100)))
                    .map(|version| (version.dot, version))
                    .collect();
                if let Ok(entry) = Entry::new(key(path), versions.into_values().collect()) {
                    model.insert(key(path), entry);
                }
            }
            let counter = 1 + random.below(4);
            let mut vv: BTreeMap<WriterKey, u64> =
                (0..random.below(7) as u8).map(|u| (writer(u), 1 + random.below(6))).collect();
            vv.insert(writer(n), counter);
            let prefix = (n > 0 && random.below(2) == 0).then(|| random.path());
            let root = nodes.build(&model);
            Head { source: Source { writer: writer(n), counter, vv: vector(&vv), prefix, root }, model }
        })
        .collect();
    let others: Vec<Source> = heads[1..].iter().map(|head| head.source.clone()).collect();
    let mut made = Vec::new();
    let root = merge(&heads[0].source, &others, &revoked, &nodes, |node| {
        made.push(node);
        Ok::<_, Infallible>(())
    })
    .unwrap();
    made.into_iter().for_each(|node| drop(nodes.0.insert(node.id, node.encoded)));
    let state = reference(&heads, &revoked);
    let merged: Model = Tree::new(&nodes, expected(root))
        .range(&[])
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.key().clone(), entry))
        .collect();
    assert_eq!(merged, state, "seed {seed}");
    assert_eq!(nodes.build(&state), expected(root), "seed {seed}: the tree of the state");
}

#[test]
fn whatever_writers_sign_trees_merge_as_the_specification_says() {
    let base = base_seed();
    println!("seeds {base} to {}; P2P_SEED={base} runs them again", base + HISTORIES - 1);
    (base..base + HISTORIES).for_each(hostile);
}

/// A head as far as one path goes: writer, counter, vector, prefix, versions.
type PathHead<'a> = (u8, u64, &'a [(u8, u64)], Option<&'a str>, Vec<Version>);

/// The state of one path, by the heads of the owner and of others.
fn judged(heads: &[PathHead<'_>], revoked: &[(u8, u64)]) -> Vec<Dot> {
    let path = key("d/x");
    let source = |(n, counter, vv, prefix, _): &PathHead<'_>| Source {
        writer: writer(*n),
        counter: *counter,
        vv: vector(&vv.iter().map(|(u, c)| (writer(*u), *c)).collect()),
        prefix: prefix.map(key),
        root: Nodes::default().build(&Model::new()),
    };
    let sources: Vec<Source> = heads.iter().map(source).collect();
    let revoked: Vec<_> = revoked.iter().map(|(n, last)| (writer(*n), *last)).collect();
    let entries: Vec<Option<Entry>> = heads.iter().map(|head| Entry::new(path.clone(), head.4.clone()).ok()).collect();
    let entries: Vec<Option<&Entry>> = entries.iter().map(Option::as_ref).collect();
    let state = Judge::new(&sources[0], &sources[1..], &revoked).judge(&path, &entries);
    state.iter().flat_map(Entry::versions).map(|version| version.dot).collect()
}

fn dots(of: &[(u8, u64)]) -> Vec<Dot> {
    of.iter().map(|(n, counter)| Dot { writer: writer(*n).prefix(), counter: *counter }).collect()
}

#[test]
fn a_hostile_writer_reaches_no_further_than_its_own_name_and_place() {
    let v = |n, counter| version(n, counter, u64::from(n) * 10 + counter);
    // It cannot put words into another's mouth, nor bring back what that one replaced.
    let state = judged(
        &[
            (0, 1, &[(0, 1)], None, vec![]),
            (1, 3, &[(1, 3)], None, vec![v(1, 3)]),
            (2, 1, &[(2, 1)], None, vec![v(1, 2), v(2, 1)]),
        ],
        &[],
    );
    assert_eq!(state, dots(&[(1, 3), (2, 1)]));
    // Nor act outside its prefix: neither write nor delete.
    let state =
        judged(&[(0, 1, &[(0, 1)], None, vec![v(0, 1)]), (2, 1, &[(0, 1), (2, 1)], Some("e"), vec![v(2, 1)])], &[]);
    assert_eq!(state, dots(&[(0, 1)]));
    // Nor erase what another has yet to sign.
    let state = judged(
        &[
            (0, 1, &[(0, 1)], None, vec![]),
            (1, 5, &[(1, 5)], None, vec![v(1, 5)]),
            (2, 1, &[(1, u64::MAX), (2, 1)], None, vec![]),
        ],
        &[],
    );
    assert_eq!(state, dots(&[(1, 5)]));
    // The owner's vector is cut to what is at hand.
    let state = judged(&[(0, 2, &[(0, 2), (1, 9)], None, vec![]), (1, 5, &[(1, 5)], None, vec![v(1, 5)])], &[]);
    assert_eq!(state, dots(&[]));
    // It can delete and change what lies in its place: signed by it.
    let state =
        judged(&[(0, 1, &[(0, 1)], None, vec![v(0, 1)]), (2, 1, &[(0, 1), (2, 1)], Some("d"), vec![v(2, 1)])], &[]);
    assert_eq!(state, dots(&[(2, 1)]));
}

#[test]
fn after_a_revocation_only_what_the_owner_keeps_stays() {
    let v = |n, counter| version(n, counter, u64::from(n) * 10 + counter);
    const OWNERS: &[(u8, u64)] = &[(0, 2), (2, 3)];
    const OTHERS: &[(u8, u64)] = &[(0, 2), (1, 1), (2, 9)];
    let owner = |versions: Vec<Version>| (0, 2, OWNERS, None, versions);
    assert_eq!(judged(&[owner(vec![v(2, 3)])], &[(2, 3)]), dots(&[(2, 3)]), "kept");
    assert_eq!(judged(&[owner(vec![v(2, 3), v(2, 4)])], &[(2, 3)]), dots(&[(2, 3)]), "made too late");
    assert_eq!(judged(&[owner(vec![])], &[(2, 3)]), dots(&[]));
    // Another writer that has seen later versions of the revoked one erases nothing by that.
    let other = (1, 1, OTHERS, None, vec![v(0, 2)]);
    assert_eq!(judged(&[owner(vec![v(0, 2)]), other], &[(2, 3)]), dots(&[(0, 2)]));
}
