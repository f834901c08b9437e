//! Several sources of one drive: of uneven speed, one that stalls, one that lies, and such as are not done themselves.
//! Real engines, in virtual time over lines of a given speed (specs/drives.md, 7 and 20.5).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use p2p_identity::{DriveId, Link, Target};
use tokio::time::Instant;

use super::network::{Net, TestNode, Uplink, files_under};
use crate::{Extent, ExternalLinks};

const MIB: u64 = 1024 * 1024;
/// A file that is fetched in pieces, beside small ones.
const LARGE: u64 = 96 * MIB;

/// The owner, and others that have all of its drive.
struct Scene {
    net: Arc<Net>,
    holders: Vec<TestNode>,
    link: Link,
    folder: PathBuf,
    bytes: u64,
}

impl Scene {
    async fn start(holders: u8) -> Self {
        let net = Arc::new(Net::default());
        let owner = TestNode::start(&net, 1);
        let folder = owner.home.path().join("shared");
        std::fs::create_dir(&folder).unwrap();
        let mut files: Vec<(String, u64)> = (0..40).map(|n| (format!("small-{n:02}"), 100 * 1024)).collect();
        files.push(("film".into(), LARGE));
        for (name, len) in &files {
            let mut bytes = vec![0; *len as usize];
            blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        let id: DriveId = owner.drives.create(Some(&folder), "shared").unwrap().id;
        owner.import(&id, files.iter().map(|(name, _)| name), Extent::Everything).await;
        net.show(owner.peer);
        let link = Link::to(Target::Drive(id));
        let bytes = files.iter().map(|(_, len)| len).sum();
        let mut scene = Self { net, holders: vec![owner], link, folder, bytes };
        for number in 2..=holders {
            let node = TestNode::start(&scene.net, number);
            scene.copy(&node).await.unwrap();
            scene.net.show(node.peer);
            scene.holders.push(node);
        }
        scene
    }

    /// Copies the drive to a node; how long that took.
    async fn copy(&self, node: &TestNode) -> Result<Duration, crate::DriveError> {
        let (target, begun) = (node.home.path().join("copy"), Instant::now());
        let patience = Some(Duration::from_secs(60));
        node.drives.copy(&self.link, &target, ExternalLinks::LeaveOut, patience, Arc::default()).await?;
        let took = begun.elapsed();
        assert_eq!(files_under(&target), files_under(&self.folder), "byte for byte");
        let sent: Vec<u64> = self.holders.iter().map(|holder| self.net.sent(holder.peer) / 1024).collect();
        println!("KiB sent by each: {sent:?}");
        Ok(took)
    }

    /// Gives the holders lines of 1, 3, 6 and 12 MiB a second.
    fn shape(&self, change: impl Fn(u64, &mut Uplink)) {
        for (holder, rate) in self.holders.iter().zip([1, 3, 6, 12]) {
            let mut uplink = Uplink::new(rate * MIB);
            change(rate, &mut uplink);
            self.net.set_uplink(holder.peer, uplink);
        }
    }

    fn stop(self) {
        self.holders.iter().for_each(|node| node.drives.stop());
    }
}

#[tokio::test(start_paused = true)]
async fn four_providers_of_uneven_speed_give_nine_tenths_of_their_sum() {
    let scene = Scene::start(4).await;
    scene.shape(|_, _| {});
    let reader = TestNode::start(&scene.net, 9);
    let took = scene.copy(&reader).await.unwrap();
    let ideal = scene.bytes as f64 / (22 * MIB) as f64;
    println!("took {took:?}, the sum of all would take {ideal:.2} s");
    assert!(took.as_secs_f64() <= ideal / 0.9, "{took:?} against {ideal:.2} s");
    reader.drives.stop();
    scene.stop();
}

#[tokio::test(start_paused = true)]
async fn where_one_of_them_stalls_the_others_give_nine_tenths_of_what_remains() {
    let scene = Scene::start(4).await;
    let stall = Duration::from_secs(1);
    let at = Instant::now() + stall;
    scene.shape(|rate, uplink| uplink.stalls_at = (rate == 6).then_some(at));
    let reader = TestNode::start(&scene.net, 9);
    let took = scene.copy(&reader).await.unwrap();
    let ideal = stall.as_secs_f64() + (scene.bytes - 22 * MIB) as f64 / (16 * MIB) as f64;
    println!("took {took:?}, ideal {ideal:.2} s");
    assert!(took.as_secs_f64() <= ideal / 0.9, "{took:?} against {ideal:.2} s");
    reader.drives.stop();
    scene.stop();
}

#[tokio::test(start_paused = true)]
async fn one_of_them_that_lies_is_banned_and_the_bytes_are_right() {
    let scene = Scene::start(4).await;
    scene.shape(|rate, uplink| uplink.lies_after = (rate == 12).then_some(10 * MIB));
    let liar = scene.holders[3].peer;
    let reader = TestNode::start(&scene.net, 9);
    let took = scene.copy(&reader).await.unwrap();
    // Three requests of it may have been under way.
    let sent = scene.net.sent(liar);
    println!("took {took:?}, {} MiB from the liar", sent / MIB);
    assert!(sent <= 10 * MIB + 24 * MIB, "it was asked on: {sent} bytes");
    let ideal = 10.0 / 12.0 + (scene.bytes - 22 * MIB) as f64 / (10 * MIB) as f64;
    assert!(took.as_secs_f64() <= ideal * 1.5, "{took:?} against {ideal:.2} s");
    reader.drives.stop();
    scene.stop();
}

#[tokio::test(start_paused = true)]
async fn those_who_are_not_done_serve_what_they_have() {
    let scene = Scene::start(1).await;
    let owner = &scene.holders[0];
    scene.net.set_uplink(owner.peer, Uplink::new(8 * MIB));
    let readers: Vec<TestNode> = (2..=4).map(|number| TestNode::start(&scene.net, number)).collect();
    for reader in &readers {
        scene.net.show(reader.peer);
        scene.net.set_uplink(reader.peer, Uplink::new(64 * MIB));
    }
    let took = futures::future::join_all(readers.iter().map(|reader| scene.copy(reader))).await;
    let longest = took.into_iter().map(Result::unwrap).max().unwrap();
    let (sent, once) = (scene.net.sent(owner.peer), scene.bytes as f64 / (8 * MIB) as f64);
    println!("took {longest:?}, once over the owner's line {once:.2} s; {:.2} times", sent as f64 / scene.bytes as f64);
    // Each for itself it would be three times.
    assert!(sent <= scene.bytes * 3 / 2, "the owner sent {sent} of {} bytes", scene.bytes);
    assert!(longest.as_secs_f64() <= once * 1.5, "{longest:?} against {once:.2} s");
    readers.iter().for_each(|reader| reader.drives.stop());
    scene.stop();
}

#[tokio::test(start_paused = true)]
async fn who_follows_somebody_that_is_behind_still_finds_the_owner() {
    let scene = Scene::start(2).await;
    let [owner, behind] = &scene.holders[..] else { panic!("two holders") };
    scene.net.show_nobody();
    scene.net.show(behind.peer);
    let reader = TestNode::start(&scene.net, 9);
    let target = reader.home.path().join("copy");
    let mut following =
        reader.drives.follow(&scene.link, &target, ExternalLinks::LeaveOut, None, Arc::default()).await.unwrap();
    assert_eq!(following.next().await.unwrap().version, 1);
    std::fs::write(scene.folder.join("small-00"), "new").unwrap();
    let Target::Drive(id) = scene.link.target else { panic!("a drive") };
    owner.import(&id, ["small-00"], Extent::Part).await;
    scene.net.provide(owner.peer);
    let next = tokio::time::timeout(Duration::from_secs(900), following.next()).await;
    assert_eq!(next.expect("the owner is looked for").unwrap().version, 2);
    reader.drives.stop();
    scene.stop();
}

#[tokio::test(start_paused = true)]
async fn a_peer_with_an_older_version_is_asked_again() {
    let scene = Scene::start(2).await;
    let [owner, behind] = &scene.holders[..] else { panic!("two holders") };
    let Target::Drive(id) = scene.link.target else { panic!("a drive") };
    std::fs::write(scene.folder.join("small-00"), "new").unwrap();
    owner.import(&id, ["small-00"], Extent::Part).await;
    scene.net.show_nobody();
    scene.net.show(owner.peer);
    let reader = TestNode::start(&scene.net, 9);
    let target = reader.home.path().join("copy");
    let copy = || reader.drives.copy(&scene.link, &target, ExternalLinks::LeaveOut, None, Arc::default());
    assert_eq!(copy().await.unwrap().version, 2);
    // The newest version is known here, and whoever has it is away.
    scene.net.show_nobody();
    scene.net.show(behind.peer);
    let error = copy().await.unwrap_err().to_string();
    assert!(error.contains("1 has an older version"), "{error}");
    // That is nobody's fault: as soon as it has caught up it is of use. Ten minutes of silence would outlast this.
    let mut link = scene.link.clone();
    link.hints.peers = vec![format!("/ip4/192.0.2.1/tcp/1/p2p/{}", owner.peer).parse().unwrap()];
    let catch_up = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let target = behind.home.path().join("copy");
        behind.drives.copy(&link, &target, ExternalLinks::LeaveOut, None, Arc::default()).await.unwrap()
    };
    let (copied, caught_up) = tokio::join!(copy(), catch_up);
    assert_eq!((copied.unwrap().version, caught_up.version), (2, 2));
    reader.drives.stop();
    scene.stop();
}
