//! With files: proofs, content that was kept, fingerprints, and copies that are taken up again.

use std::path::Path;

use futures::{StreamExt, stream};
use p2p_identity::{Link, Target};

use super::*;
use crate::store::CacheTable;
use crate::{ExternalLinks, ImportProgress, LocalPath};

/// More than is hashed again whenever it is read: such a file has a proof.
const LARGE: usize = 1_100_000;

/// Imports all files of a folder, and keeps their content for history.
async fn import(scene: &Scene, id: &DriveId, folder: &Path) {
    let drives = &scene.node.as_ref().unwrap().drives;
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut keys: Vec<_> = names.map(|name| PathKey::from_path(&name).unwrap()).collect();
    keys.sort();
    let paths =
        stream::iter(keys.into_iter().map(|key| Ok(LocalPath { key, at: None, named: crate::Named::Entry }))).boxed();
    drives
        .import(id, paths, crate::Extent::Everything, String::new(), Arc::new(ImportProgress::default()))
        .await
        .unwrap();
    crate::history::keep_now(scene.shared(), &scene.drive(id));
}

#[tokio::test]
async fn proofs_and_kept_content_go_with_the_last_version_that_has_them() {
    let scene = Scene::new();
    let folder = scene.node.as_ref().unwrap().home.path().join("shared");
    std::fs::create_dir(&folder).unwrap();
    let id = scene.create("shared");
    let contents: Vec<Vec<u8>> = (0..4_u8).map(|n| vec![n; LARGE]).collect();
    std::fs::write(folder.join("same"), vec![9; 2 * LARGE]).unwrap();
    for content in &contents {
        std::fs::write(folder.join("a"), content).unwrap();
        import(&scene, &id, &folder).await;
    }
    let shared = scene.shared();
    let proofs = || contents.iter().map(|c| shared.outboards.path(&ContentId::of(c)).exists()).collect::<Vec<_>>();
    let kept = || contents.iter().map(|c| shared.kept.has(&ContentId::of(c), LARGE as u64)).collect::<Vec<_>>();
    assert_eq!((proofs(), kept()), (vec![true; 4], vec![true; 4]));
    assert!(shared.outboards.path(&ContentId::of(&vec![9; 2 * LARGE])).exists());
    let newest_only = vec![false, false, false, true];
    scene.forget_history(&id);
    scene.let_pass(HOUR);
    scene.collect(When::Later);
    assert_eq!((proofs(), kept()), (vec![true; 4], vec![true; 4]), "for an hour after their leaves were dropped");
    scene.let_pass(HOUR);
    let freed = scene.collect(When::Later);
    assert_eq!((proofs(), kept()), (newest_only.clone(), newest_only), "{freed:?}");
    assert_eq!((freed.proofs, freed.contents), (3, 3));
    assert!(shared.outboards.path(&ContentId::of(&vec![9; 2 * LARGE])).exists());
    scene.stop(&id);
    scene.collect(When::Now);
    assert_eq!((proofs(), kept()), (vec![false; 4], vec![false; 4]));
    assert!(shared.outboards.files().is_empty());
    let fingerprints = shared.cache.scan(CacheTable::Leaf, &[], None, 9).unwrap();
    assert!(fingerprints.is_empty());
    // The same folder is the same drive, with the next number.
    let again = scene.node.as_ref().unwrap().drives.create(Some(&folder), "shared").unwrap();
    assert_eq!(again.id, id);
    import(&scene, &id, &folder).await;
    let status = scene.node.as_ref().unwrap().drives.status(&id).unwrap();
    assert_eq!((status.version, status.files), (5, 2));
    assert_eq!((proofs(), kept()), (vec![false, false, false, true], vec![false, false, false, true]));
}

#[tokio::test]
async fn a_copy_that_was_stopped_and_freed_goes_on_in_its_folder() {
    let owner = Scene::new();
    let folder = owner.node.as_ref().unwrap().home.path().join("shared");
    std::fs::create_dir(&folder).unwrap();
    let id = owner.create("shared");
    for name in ["stays", "changes", "goes"] {
        std::fs::write(folder.join(name), format!("{name} {}", "x".repeat(200))).unwrap();
    }
    import(&owner, &id, &folder).await;
    owner.net.show(owner.node.as_ref().unwrap().peer);
    let reader = TestNode::start(&owner.net, 2);
    let target = reader.home.path().join("copy");
    let link = Link::to(Target::Drive(id));
    let copy = async || {
        let patience = Some(Duration::from_secs(60));
        reader.drives.copy(&link, &target, ExternalLinks::LeaveOut, patience, Arc::default()).await.unwrap()
    };
    assert_eq!(copy().await.files, 3);
    reader.drives.remove(&id).unwrap();
    let freed = reader.drives.collect().await.unwrap();
    assert!(freed.nodes > 0, "{freed:?}");
    // Taken up again while nobody is there, it keeps nothing else from being freed.
    let prepared = reader.drives.prepare_copy(id, &target).unwrap();
    let freed = reader.drives.collect().await.unwrap();
    assert_eq!(freed.damaged, []);
    drop(prepared);
    std::fs::write(folder.join("changes"), format!("differently {}", "y".repeat(200))).unwrap();
    std::fs::remove_file(folder.join("goes")).unwrap();
    import(&owner, &id, &folder).await;
    let again = copy().await;
    assert_eq!((again.version, again.files, again.left_out.len()), (2, 2, 0));
    let names: BTreeSet<_> = std::fs::read_dir(&target).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, BTreeSet::from(["stays".into(), "changes".into()]), "the old state was fetched to compare with");
    assert!(again.bytes_fetched < 300, "{again:?}");
    reader.drives.stop();
}
