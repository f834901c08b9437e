//! Whatever is shared, changed, dropped and taken up again, in whatever order: all versions that are kept can be read.

use proptest::prelude::*;

use super::*;

const DRIVES: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// Changes, adds and removes some files of a drive.
    Change {
        drive: usize,
        seed: u32,
        step: usize,
    },
    /// Gives a drive the content of another: they share all nodes.
    CopyFrom {
        drive: usize,
        from: usize,
    },
    /// Drops an earlier version.
    Forget {
        drive: usize,
        index: usize,
    },
    Tag {
        drive: usize,
        index: usize,
    },
    Stop {
        drive: usize,
    },
    TakeUp {
        drive: usize,
    },
    Pass {
        minutes: u64,
    },
    Collect {
        now: bool,
    },
    Kill {
        steps: u64,
    },
    LoseCache,
}

fn step() -> impl Strategy<Value = Step> {
    let drive = 0..DRIVES;
    prop_oneof![
        6 => (drive.clone(), any::<u32>(), 1..60_usize).prop_map(|(drive, seed, step)| Step::Change { drive, seed, step }),
        1 => (drive.clone(), drive.clone()).prop_map(|(drive, from)| Step::CopyFrom { drive, from }),
        3 => (drive.clone(), 0..8_usize).prop_map(|(drive, index)| Step::Forget { drive, index }),
        1 => (drive.clone(), 0..8_usize).prop_map(|(drive, index)| Step::Tag { drive, index }),
        1 => drive.clone().prop_map(|drive| Step::Stop { drive }),
        2 => drive.prop_map(|drive| Step::TakeUp { drive }),
        2 => (1..90_u64).prop_map(|minutes| Step::Pass { minutes }),
        3 => any::<bool>().prop_map(|now| Step::Collect { now }),
        2 => (0..12_u64).prop_map(|steps| Step::Kill { steps }),
        1 => Just(Step::LoseCache),
    ]
}

/// What a drive should be.
struct Expectation {
    id: DriveId,
    model: Model,
    is_active: bool,
    /// Root, content and tag of the versions that are kept; the newest is the last.
    versions: Vec<(NodeId, Model, bool)>,
}

struct World {
    scene: Scene,
    drives: Vec<Expectation>,
    passed: Duration,
}

impl World {
    fn new() -> Self {
        let scene = Scene::new();
        let drives = (0..DRIVES).map(|n| {
            let (id, model) = (scene.create(&format!("d{n}")), files(400 + 100 * n));
            let root = scene.publish(&id, &model, None);
            Expectation { id, versions: vec![(root, model.clone(), false)], model, is_active: true }
        });
        let drives = drives.collect();
        Self { scene, drives, passed: Duration::ZERO }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Change { drive, seed, step } => {
                let model = self.drives[*drive].model.clone();
                let mut next = model.clone();
                let mut changed = BTreeSet::new();
                for path in model.keys().skip(*seed as usize % step.max(&1)).step_by(*step) {
                    match seed % 5 {
                        0 => drop(next.remove(path)),
                        1 => drop(next.insert(format!("{path} more"), *seed)),
                        _ => drop(next.insert(path.clone(), *seed)),
                    }
                    changed.extend([path.clone(), format!("{path} more")]);
                }
                if next.len() < 2_000 {
                    self.publish(*drive, next, Some(&changed));
                }
            }
            Step::CopyFrom { drive, from } => {
                let model = self.drives[*from].model.clone();
                self.publish(*drive, model, None);
            }
            Step::Forget { drive, index } => {
                let expected = &mut self.drives[*drive];
                let may_go = expected.is_active && index + 1 < expected.versions.len();
                if may_go && !expected.versions[*index].2 {
                    let (of, registry) = (self.scene.drive(&expected.id), &self.scene.shared().registry);
                    // Versions with equal roots are told apart by their place.
                    let hash = registry.history(&of).unwrap()[*index].hash;
                    registry.forget_heads(&of, &[hash]).unwrap();
                    expected.versions.remove(*index);
                }
            }
            Step::Tag { drive, index } => {
                let expected = &mut self.drives[*drive];
                if expected.is_active && *index < expected.versions.len() {
                    let (of, registry) = (self.scene.drive(&expected.id), &self.scene.shared().registry);
                    let hash = registry.history(&of).unwrap()[*index].hash;
                    registry.set_tag(&expected.id, &format!("t{}", hash.fmt_short()), Some(&hash)).unwrap();
                    expected.versions[*index].2 = true;
                }
            }
            Step::Stop { drive } => {
                let expected = &mut self.drives[*drive];
                if std::mem::take(&mut expected.is_active) {
                    self.scene.stop(&expected.id);
                }
            }
            Step::TakeUp { drive } => {
                let expected = &mut self.drives[*drive];
                if !expected.is_active {
                    expected.is_active = true;
                    self.scene.create(&format!("d{drive}"));
                    // As an import does: whatever is still here is found, the rest is made again.
                    let of = self.scene.drive(&expected.id);
                    let kept = self.scene.shared().registry.history(&of).unwrap();
                    let counters: Vec<_> = kept.iter().map(|note| note.root).collect();
                    let newest = expected.versions.pop().unwrap();
                    let mut versions = expected.versions.clone();
                    if counters.len() <= versions.len() {
                        // The hour was over: only what has a tag is left, beside the newest.
                        versions.retain(|(_, _, is_tagged)| *is_tagged);
                    }
                    versions.push(newest);
                    assert_eq!(counters, versions.iter().map(|(root, ..)| *root).collect::<Vec<_>>());
                    expected.versions = versions;
                    let model = expected.model.clone();
                    self.publish(*drive, model, None);
                }
            }
            Step::Pass { minutes } => {
                let time = Duration::from_secs(minutes * 60);
                self.passed += time;
                self.scene.let_pass(time);
            }
            Step::Collect { now } => drop(self.scene.collect(if *now { When::Now } else { When::Later })),
            Step::Kill { steps } => {
                let pace = Pace::brisk(CancellationToken::new());
                pace.left.store(*steps, Ordering::Relaxed);
                let _ = collect(self.scene.shared(), When::Now, &pace);
                self.scene.reopen();
                self.scene.let_pass(self.passed);
            }
            Step::LoseCache => {
                self.scene.cache = Arc::new(MemoryCache::default());
                let node = self.scene.node.take().unwrap();
                node.drives.stop();
                let moved_to = PathBuf::from("aside");
                self.scene.start(node.home, CacheOpened::Rebuilt { moved_to, reason: "a test".into() });
                self.scene.let_pass(self.passed);
            }
        }
    }

    fn publish(&mut self, drive: usize, model: Model, changed: Option<&BTreeSet<String>>) {
        let expected = &mut self.drives[drive];
        if expected.is_active {
            let root = self.scene.publish(&expected.id, &model, changed);
            expected.versions.push((root, model.clone(), false));
            expected.model = model;
        }
    }

    fn check(&self) {
        for expected in &self.drives {
            for (root, model, is_tagged) in &expected.versions {
                if expected.is_active || *is_tagged {
                    self.scene.check(*root, model);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_version_that_is_kept_can_be_read(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for step in &steps {
                world.take(step);
                world.check();
            }
            // Whatever happened: of what nobody needs nothing is left in the end.
            for expected in &mut world.drives {
                if std::mem::take(&mut expected.is_active) {
                    world.scene.stop(&expected.id);
                }
            }
            let done = world.scene.collect(When::Now);
            assert_eq!((done.damaged.len(), done.waiting_bytes), (0, 0));
            world.check();
            if world.drives.iter().flat_map(|drive| &drive.versions).all(|(.., is_tagged)| !is_tagged) {
                assert_eq!(world.scene.rows(), 0);
            }
        });
    }
}
