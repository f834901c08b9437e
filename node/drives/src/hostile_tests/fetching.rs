//! Each lie twice: told by the only peer there is, and beside an honest one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use p2p_identity::{Link, Target};
use tokio::time::Instant;

use super::liar::{Forgery, Liar, Lie};
use super::network::{Net, Owner, PIPE_BYTES, TestNode, files_under};
use crate::folder::is_temporary_name;
use crate::{Copied, CopyProgress, DriveError, ExternalLinks};

/// How long a copy goes on without progress; longer than any timeout of one request.
const PATIENCE: Duration = Duration::from_secs(15);
/// One timeout of a request may begin just before patience ends.
const SLACK: Duration = Duration::from_secs(11);

/// What a copy from the liar alone comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alone {
    /// It fails, and says why in words that contain this.
    Fails(&'static str),
    /// It ends well: what was wrong did not matter.
    Ends,
}

/// A liar, a reader and what became of the copy.
pub(super) struct Outcome {
    pub(super) result: Result<Copied, DriveError>,
    pub(super) liar: Arc<Liar>,
    pub(super) owner: Arc<Owner>,
    pub(super) reader: TestNode,
}

/// Copies from a liar, and from the honest owner as soon as the lie is out if `with_owner`.
pub(super) async fn copy(lie: Lie, forge: impl Fn(&Owner) -> Option<Forgery>, with_owner: bool) -> Outcome {
    let net = Arc::new(Net::default());
    let owner = Owner::start(&net).await;
    let liar = Liar::start(&net, &owner, lie, forge(&owner));
    if with_owner {
        net.hide(owner.node.peer);
    }
    let reader = TestNode::start(&net, 2);
    let target = reader.home.path().join("target");
    let (link, progress) = (Link::to(Target::Drive(owner.id)), Arc::new(CopyProgress::default()));
    let began = Instant::now();
    let result = reader.drives.copy(&link, &target, ExternalLinks::LeaveOut, Some(PATIENCE), progress).await;
    assert!(began.elapsed() <= 2 * PATIENCE + SLACK, "{lie:?} took {:?}", began.elapsed());
    assert!(owner.lie_was_told(), "{lie:?} was never told");
    Outcome { result, liar, owner, reader }
}

impl Outcome {
    /// Whatever stands in the folder under its own name is what the owner has there, and nothing lies beside it.
    pub(super) fn check_files(&self) {
        for (path, bytes) in files_under(&self.reader.home.path().join("target")) {
            let name = Path::new(&path).file_name().unwrap().to_str().unwrap();
            if !is_temporary_name(name) {
                assert!(self.owner.files.get(&path) == Some(&bytes), "{:?}: {path} is not verified", self.liar.lie);
            }
        }
        let mut beside: Vec<_> =
            std::fs::read_dir(self.reader.home.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        beside.sort();
        // Of a copy of which nothing came not even the folder is left.
        beside.retain(|name| name != "target");
        assert_eq!(beside, ["drives", "keys"]);
    }

    /// The copy ended, and the folders are equal.
    pub(super) fn check_equal(&self) {
        if let Err(error) = &self.result {
            panic!("{:?}: {error}", self.liar.lie);
        }
        let copied = files_under(&self.reader.home.path().join("target"));
        assert!(copied == files_under(&self.owner.folder), "{:?}: {:?}", self.liar.lie, copied.keys());
    }
}

async fn check(lie: Lie, alone: Alone) {
    let outcome = copy(lie, |_| None, false).await;
    outcome.check_files();
    match alone {
        Alone::Ends => outcome.check_equal(),
        Alone::Fails(why) => {
            let error = outcome.result.as_ref().expect_err("the liar has nothing else").to_string();
            assert!(error.contains(why), "{lie:?}: {error:?}");
        }
    }
    let outcome = copy(lie, |_| None, true).await;
    outcome.check_files();
    outcome.check_equal();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_is_given_up() {
    check(Lie::SilentAtHello, Alone::Fails("no peer was found")).await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_of_four_gibibytes_is_not_read() {
    check(Lie::LongFrame, Alone::Fails("1 sent something wrong")).await;
    check(Lie::LongStatus, Alone::Fails("1 sent something wrong")).await;
    let outcome = copy(Lie::LongFrame, |_| None, false).await;
    assert!(outcome.liar.excess.load(Ordering::Relaxed) <= PIPE_BYTES, "only what lies in the pipe was taken");
}

#[tokio::test(start_paused = true)]
async fn an_acceptor_with_a_wrong_proof_gets_no_proof_of_ours() {
    check(Lie::WrongProof, Alone::Fails("1 does not have the drive")).await;
    let outcome = copy(Lie::WrongProof, |_| None, false).await;
    assert_eq!(outcome.liar.proves.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_out_of_turn_ends_the_session() {
    check(Lie::WrongMessage, Alone::Fails("no peer was found")).await;
}

#[tokio::test(start_paused = true)]
async fn a_head_with_a_wrong_signature_is_refused() {
    check(Lie::BadSignature, Alone::Fails("1 sent something wrong")).await;
}

#[tokio::test(start_paused = true)]
async fn a_head_of_another_drive_is_refused() {
    check(Lie::OtherDrive, Alone::Fails("1 sent something wrong")).await;
}

#[tokio::test(start_paused = true)]
async fn items_without_end_are_cut_before_they_fill_the_memory() {
    /// Every level of a tree, every writer's head, and the prefetched content.
    const ENOUGH: usize = 8 * 1024 * 1024;
    for lie in [Lie::EndlessNodes, Lie::EndlessHeads] {
        check(lie, Alone::Fails("1 sent something wrong")).await;
        let outcome = copy(lie, |_| None, false).await;
        let taken = outcome.liar.excess.load(Ordering::Relaxed);
        assert!(taken <= ENOUGH, "{lie:?}: {taken} bytes were taken");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_request_costs_its_timeout_only() {
    check(Lie::SilentAtRequest, Alone::Fails("no peer was found")).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_drips_does_not_hold_up_the_index() {
    check(Lie::DripAtNodes, Alone::Fails("no peer was found")).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_with_another_hash_is_refused() {
    check(Lie::WrongNode, Alone::Fails("has another hash")).await;
    check(Lie::LongNode, Alone::Fails("1 sent something wrong")).await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_byte_in_small_files_is_found() {
    check(Lie::WrongBytesInMany, Alone::Fails("with other content")).await;
}

#[tokio::test(start_paused = true)]
async fn a_bitmap_with_spare_bits_is_refused() {
    check(Lie::WrongBitmap, Alone::Fails("1 sent something wrong")).await;
}

#[tokio::test(start_paused = true)]
async fn half_an_answer_is_fetched_again() {
    check(Lie::HalfMany, Alone::Fails("ended too soon")).await;
    check(Lie::HalfGet, Alone::Fails("ended too soon")).await;
}

#[tokio::test(start_paused = true)]
async fn bytes_beyond_what_was_asked_are_ignored() {
    for lie in [Lie::EndlessMany, Lie::EndlessGet] {
        check(lie, Alone::Ends).await;
        let outcome = copy(lie, |_| None, false).await;
        let taken = outcome.liar.excess.load(Ordering::Relaxed);
        assert!(taken <= 8 * PIPE_BYTES, "{lie:?}: {taken} bytes were taken");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_byte_in_a_large_file_is_found() {
    check(Lie::WrongBytesInGet, Alone::Fails("1 sent something wrong")).await;
    check(Lie::WrongProofInGet, Alone::Fails("1 sent something wrong")).await;
}

#[tokio::test(start_paused = true)]
async fn a_large_file_with_another_size_is_refused() {
    check(Lie::WrongSize, Alone::Fails("with another size")).await;
}

#[tokio::test(start_paused = true)]
async fn a_large_file_that_stops_midway_is_fetched_from_another() {
    check(Lie::SilentInGet, Alone::Fails("stalled")).await;
}
