//! Openers that break the rules.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use p2p_identity::{ContentId, PeerId};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::liar::write_raw;
use super::network::{Net, Owner, peer};
use crate::codec::Message;
use crate::frame::{read_frame, read_message, write_message};
use crate::sources::today;
use crate::topic::{ReadKey, Session, Side, Topic};
use crate::wire::{
    Control, Heads, Hello, MAX_UNPROVEN_STREAMS_PER_CONNECTION, MAX_UNPROVEN_STREAMS_PER_MINUTE, NonceProof, Prove,
    Request, RequestFrame, Status, Summary, VectorList,
};

const NONCE: [u8; 16] = [5; 16];

struct Scene {
    net: Arc<Net>,
    owner: Arc<Owner>,
}

impl Scene {
    async fn new() -> Self {
        let net = Arc::new(Net::default());
        let owner = Owner::start(&net).await;
        Self { net, owner }
    }

    fn open(&self, from: PeerId) -> DuplexStream {
        self.net.open(from, self.owner.node.peer).unwrap()
    }

    fn topic(&self) -> Topic {
        self.owner.read_key.topic(today().0)
    }

    /// Says `Hello`; what the acceptor answers, if it does.
    async fn hello(&self, from: PeerId, topic: Topic) -> (DuplexStream, Option<NonceProof>) {
        let mut stream = self.open(from);
        write_message(&mut stream, &Control::Hello(Hello { topic: *topic.as_bytes(), nonce: NONCE })).await.unwrap();
        match read_message(&mut stream).await {
            Ok(Control::Nonce(nonce)) => (stream, Some(nonce)),
            Ok(other) => panic!("{other:?} after Hello"),
            Err(_) => (stream, None),
        }
    }

    fn session(&self, from: PeerId, topic: Topic, nonce: &NonceProof) -> Session {
        let acceptor = self.owner.node.peer;
        Session { opener_nonce: NONCE, acceptor_nonce: nonce.nonce, opener: from, acceptor, topic }
    }

    /// A proven session and its number.
    async fn prove(&self, from: PeerId) -> (DuplexStream, u32) {
        let (mut stream, nonce) = self.hello(from, self.topic()).await;
        let session = self.session(from, self.topic(), &nonce.unwrap());
        let proof = *self.owner.read_key.proof(Side::Opener, &session).as_bytes();
        write_message(&mut stream, &prove(proof)).await.unwrap();
        let Ok(Control::Accept(accept)) = read_message(&mut stream).await else { panic!("not accepted") };
        (stream, accept.session)
    }

    async fn ask(&self, from: PeerId, session: u32) -> Status {
        let mut stream = self.open(from);
        let request = Request::Heads(Heads { after: VectorList::default() });
        write_message(&mut stream, &RequestFrame { session, request }).await.unwrap();
        read_message(&mut stream).await.unwrap()
    }
}

fn prove(proof: [u8; 32]) -> Control {
    let summary = Summary { root: ContentId::from([0; 32]), vector: VectorList::default(), complete: false };
    Control::Prove(Prove { proof, summary, requests: Vec::new().try_into().unwrap() })
}

/// All that still comes, to the end of the stream.
async fn rest(stream: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    bytes
}

#[tokio::test(start_paused = true)]
async fn garbage_in_the_first_frame_ends_the_stream() {
    let scene = Scene::new().await;
    let bad_request = [0, 0, 0, 1, Status::BadRequest.number()];
    for (first, answer) in [
        (&[][..], &[][..]),
        (&[0], &[]),
        (&[1], &[]),
        (&[1, 2, 3], &[]),
        (&[2; 49], &[]),
        (&[127; 100], &[]),
        (&[128], &bad_request),
        (&[0xff; 64], &bad_request),
    ] {
        let mut stream = scene.open(peer(7));
        write_raw(&mut stream, first).await;
        assert_eq!(rest(&mut stream).await, answer, "{first:?}");
    }
    let mut stream = scene.open(peer(7));
    stream.write_all(&[0xff; 100]).await.unwrap();
    assert_eq!(rest(&mut stream).await, [0_u8; 0], "a frame of 4 GiB");
    let (_control, session) = scene.prove(peer(7)).await;
    assert_eq!(scene.ask(peer(7), session).await, Status::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_word_is_let_go() {
    let scene = Scene::new().await;
    let mut stream = scene.open(peer(7));
    assert_eq!(rest(&mut stream).await, [0_u8; 0]);
    let (mut stream, nonce) = scene.hello(peer(7), scene.topic()).await;
    assert!(nonce.is_some());
    assert_eq!(rest(&mut stream).await, [0_u8; 0], "no Prove");
}

#[tokio::test(start_paused = true)]
async fn a_session_belongs_to_the_peer_that_opened_it() {
    let scene = Scene::new().await;
    let (control, session) = scene.prove(peer(7)).await;
    assert_eq!(scene.ask(peer(7), session).await, Status::Ok);
    assert_eq!(scene.ask(peer(8), session).await, Status::Refused);
    assert_eq!(scene.ask(peer(7), session + 1).await, Status::Refused);
    drop(control);
    while scene.owner.node.drives.status(&scene.owner.id).unwrap().peers > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.ask(peer(7), session).await, Status::Refused, "the session is over");
}

#[tokio::test(start_paused = true)]
async fn unproven_streams_are_few_at_a_time() {
    let scene = Scene::new().await;
    let mut open = Vec::new();
    for _ in 0..MAX_UNPROVEN_STREAMS_PER_CONNECTION {
        let (stream, nonce) = scene.hello(peer(7), scene.topic()).await;
        assert!(nonce.is_some());
        open.push(stream);
    }
    assert!(scene.hello(peer(7), scene.topic()).await.1.is_none(), "one too many");
    assert!(scene.hello(peer(8), scene.topic()).await.1.is_some(), "another peer has its own");
    let mut first = open.swap_remove(0);
    write_message(&mut first, &prove([0; 32])).await.unwrap();
    rest(&mut first).await;
    assert!(scene.hello(peer(7), scene.topic()).await.1.is_some(), "one has ended");
}

#[tokio::test(start_paused = true)]
async fn unproven_streams_are_few_in_a_minute() {
    let scene = Scene::new().await;
    for number in 0..=MAX_UNPROVEN_STREAMS_PER_MINUTE {
        let (mut stream, nonce) = scene.hello(peer(7), scene.topic()).await;
        assert_eq!(nonce.is_some(), number < MAX_UNPROVEN_STREAMS_PER_MINUTE, "{number}");
        if nonce.is_some() {
            write_message(&mut stream, &prove([0; 32])).await.unwrap();
            rest(&mut stream).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_proves_may_come_back_as_often_as_it_likes() {
    let scene = Scene::new().await;
    for _ in 0..=2 * MAX_UNPROVEN_STREAMS_PER_MINUTE {
        drop(scene.prove(peer(7)).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_proof_looks_like_an_unknown_topic() {
    let scene = Scene::new().await;
    let unknown = ReadKey::of_public(&p2p_identity::DriveId::from([9; 32]));
    let mut answers = Vec::new();
    for (topic, key) in [(scene.topic(), &scene.owner.read_key), (unknown.topic(today().0), &unknown)] {
        let mut stream = scene.open(peer(7));
        let hello = Control::Hello(Hello { topic: *topic.as_bytes(), nonce: NONCE });
        write_message(&mut stream, &hello).await.unwrap();
        let mut frame = read_frame(&mut stream).await.unwrap();
        let Ok(Control::Nonce(nonce)) = Control::decode(&frame) else { panic!("no Nonce") };
        let session = scene.session(peer(7), topic, &nonce);
        let is_proven = nonce.proof == *key.proof(Side::Acceptor, &session).as_bytes();
        assert_eq!(is_proven, topic == scene.topic(), "who has not got a drive cannot prove that it has");
        // The right proof of the opener does not help with a topic that nobody has.
        let mut proof = *key.proof(Side::Opener, &session).as_bytes();
        if topic == scene.topic() {
            proof[0] ^= 1;
        }
        write_message(&mut stream, &prove(proof)).await.unwrap();
        frame.truncate(1);
        answers.push((frame, rest(&mut stream).await));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].1, Control::Refused.encode().map(|m| [vec![0, 0, 0, 1], m].concat()).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_proof_of_another_peer_is_refused() {
    let scene = Scene::new().await;
    let (mut stream, nonce) = scene.hello(peer(8), scene.topic()).await;
    let of_other = scene.session(peer(7), scene.topic(), &nonce.unwrap());
    let proof = *scene.owner.read_key.proof(Side::Opener, &of_other).as_bytes();
    write_message(&mut stream, &prove(proof)).await.unwrap();
    assert!(matches!(read_message(&mut stream).await, Ok(Control::Refused)));
}

/// What arbitrary openers send: frames with a plausible first byte, and bytes without any frame.
fn openings() -> impl Strategy<Value = Vec<u8>> {
    let frame = |first: Vec<u8>, body: Vec<u8>| {
        let frame = [first, body].concat();
        [(frame.len() as u32).to_be_bytes().to_vec(), frame].concat()
    };
    let body = || proptest::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        body(),
        body().prop_map(move |body| frame(vec![1], body)),
        (128u8.., 1u8..9, body()).prop_map(move |(session, request, body)| frame(vec![session, 1, request], body)),
        (proptest::collection::vec(any::<u8>(), 48), body()).prop_map(move |(hello, rest)| [
            frame(vec![1], hello),
            frame(vec![3], rest)
        ]
        .concat()),
    ]
}

#[test]
fn arbitrary_openings_never_panic() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let scene = runtime.block_on(Scene::new());
    let number = Cell::new(0u64);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(500));
    let result = runner.run(&openings(), |bytes| {
        // Each case is a peer of its own, or the limits would soon stop all of them.
        number.set(number.get() + 1);
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.get().to_be_bytes());
        runtime.block_on(async {
            let (mut near, far) = tokio::io::duplex(64 * 1024);
            near.write_all(&bytes).await.unwrap();
            near.shutdown().await.unwrap();
            scene.owner.node.drives.serve(PeerId::from(id), Box::new(far)).await;
        });
        Ok(())
    });
    runtime.block_on(async { scene.owner.node.drives.stop() });
    result.unwrap();
}
