//! A peer that speaks the protocol well, knows the drive, and lies in one point.

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use p2p_identity::{ContentId, PeerId, SecretKey};
use tokio::io::{AsyncWriteExt, DuplexStream};

use super::network::{Net, Owner, peer};
use crate::codec::{Message, encode_node_len};
use crate::frame::{read_frame, read_message, write_frame, write_message};
use crate::head::HeadEnvelope;
use crate::sources::today;
use crate::topic::{Session, Side};
use crate::tree::NodeSource;
use crate::wire::{
    Accept, Control, Get, GetMany, Hello, Item, MAX_NODE_BYTES, Nodes, NonceProof, Presence, Request, RequestFrame,
    Status, Summary, VectorList,
};
use crate::{Encoder, hash_bytes};

/// The point in which a [`Liar`] lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// Never answers a `Hello`.
    SilentAtHello,
    /// Answers a `Hello` with a frame of 4 GiB.
    LongFrame,
    /// Cannot prove that it may read the drive.
    WrongProof,
    /// Accepts, and says the same word for ever instead of answering.
    WrongMessage,
    /// The head's signature is wrong.
    BadSignature,
    /// A good head of another drive.
    OtherDrive,
    /// Index nodes without end.
    EndlessNodes,
    /// Heads without end.
    EndlessHeads,
    /// Proves itself, then answers no request.
    SilentAtRequest,
    /// A byte now and then, for ever, instead of index nodes.
    DripAtNodes,
    /// Another node than was asked for.
    WrongNode,
    /// A node of 4 GiB.
    LongNode,
    /// A status frame of 4 GiB.
    LongStatus,
    /// One wrong byte in small files.
    WrongBytesInMany,
    /// A bitmap with bits beyond the files.
    WrongBitmap,
    /// Half of the small files, then the end.
    HalfMany,
    /// The small files, then more without end.
    EndlessMany,
    /// One wrong byte in a large file.
    WrongBytesInGet,
    /// One wrong byte in a proof of a large file.
    WrongProofInGet,
    /// Another size than the index says.
    WrongSize,
    /// Half of a large file, then the end.
    HalfGet,
    /// A large file, then more without end.
    EndlessGet,
    /// Half of a large file, then silence.
    SilentInGet,
    /// The newest head is not what the owner published: the liar has the key, or an old head.
    Forged,
}

/// A version of the liar's own.
pub(super) struct Forgery {
    pub(super) head: HeadEnvelope,
    pub(super) nodes: HashMap<ContentId, Bytes>,
}

/// The liar.
pub(super) struct Liar {
    pub(super) owner: Arc<Owner>,
    pub(super) lie: Lie,
    pub(super) forgery: Option<Forgery>,
    pub(super) net: Weak<Net>,
    /// Bytes that it got rid of beyond what it was asked for.
    pub(super) excess: AtomicUsize,
    /// Proofs that openers sent.
    pub(super) proves: AtomicUsize,
}

/// Its id.
pub(super) fn liar_peer() -> PeerId {
    peer(66)
}

impl Liar {
    /// Enters and shows a liar.
    pub(super) fn start(net: &Arc<Net>, owner: &Arc<Owner>, lie: Lie, forgery: Option<Forgery>) -> Arc<Self> {
        let liar = Arc::new(Self {
            owner: owner.clone(),
            lie,
            forgery,
            net: Arc::downgrade(net),
            excess: AtomicUsize::new(0),
            proves: AtomicUsize::new(0),
        });
        let accept = liar.clone();
        net.enter(
            liar_peer(),
            Arc::new(move |from, stream| {
                let liar = accept.clone();
                Box::pin(async move { liar.accept(from, stream).await.unwrap_or_default() })
            }),
        );
        net.show(liar_peer());
        liar
    }

    /// `None` when the opener went away.
    async fn accept(&self, from: PeerId, mut stream: DuplexStream) -> Option<()> {
        let first = read_frame(&mut stream).await.ok()?;
        if first.first() == Some(&1) {
            let Ok(Control::Hello(hello)) = Control::decode(&first) else { panic!("the opener's Hello decodes") };
            return self.control(from, &mut stream, hello).await;
        }
        let frame = RequestFrame::decode(&first).expect("the opener's request decodes");
        assert_eq!(frame.session, SESSION);
        self.answer(&mut stream, frame.request).await?;
        stream.shutdown().await.ok()
    }

    async fn control(&self, from: PeerId, stream: &mut DuplexStream, hello: Hello) -> Option<()> {
        match self.lie {
            Lie::SilentAtHello => {
                self.tell();
                pending::<()>().await;
            }
            Lie::LongFrame => return self.long(stream).await,
            _ => {}
        }
        let topic = self.owner.read_key.topic(today().0);
        let session =
            Session { opener_nonce: hello.nonce, acceptor_nonce: [3; 16], opener: from, acceptor: liar_peer(), topic };
        let mut proof = *self.owner.read_key.proof(Side::Acceptor, &session).as_bytes();
        if self.lie == Lie::WrongProof {
            proof[31] ^= 1;
            self.tell();
        }
        write_message(stream, &Control::Nonce(NonceProof { nonce: [3; 16], proof })).await.ok()?;
        let Control::Prove(prove) = read_message(stream).await.ok()? else { panic!("Prove after Nonce") };
        self.proves.fetch_add(1, Ordering::Relaxed);
        assert_eq!(prove.proof, *self.owner.read_key.proof(Side::Opener, &session).as_bytes());
        let root = ContentId::from([0; 32]);
        let summary = Summary { root, vector: VectorList::default(), complete: true };
        write_message(stream, &Control::Accept(Accept { session: SESSION, summary })).await.ok()?;
        if self.lie == Lie::WrongMessage {
            self.tell();
            loop {
                write_message(stream, &Control::Refused).await.ok()?;
            }
        }
        write_message(stream, &Status::Ok).await.ok()?;
        self.items(stream).await?;
        while read_message::<Control>(stream).await.is_ok() {}
        Some(())
    }

    async fn items(&self, stream: &mut DuplexStream) -> Option<()> {
        let mut head = self.owner.head.as_bytes().to_vec();
        match self.lie {
            Lie::BadSignature => {
                self.tell();
                *head.last_mut().unwrap() ^= 1;
            }
            Lie::OtherDrive => {
                self.tell();
                head = self.head_of_other_drive().as_bytes().to_vec();
            }
            Lie::Forged => {
                self.tell();
                head = self.forgery.as_ref().unwrap().head.as_bytes().to_vec();
            }
            Lie::EndlessNodes => {
                self.tell();
                for number in 0u64.. {
                    let mut node = vec![0; MAX_NODE_BYTES];
                    node[..8].copy_from_slice(&number.to_be_bytes());
                    write_message(stream, &Item::Node { len: MAX_NODE_BYTES as u32 }).await.ok()?;
                    self.write_excess(stream, &node).await?;
                }
            }
            Lie::EndlessHeads => {
                self.tell();
                loop {
                    write_message(stream, &Item::Head(head.clone().try_into().unwrap())).await.ok()?;
                    self.excess.fetch_add(head.len(), Ordering::Relaxed);
                }
            }
            _ => {}
        }
        write_message(stream, &Item::Head(head.try_into().unwrap())).await.ok()?;
        write_message(stream, &Item::End).await.ok()
    }

    fn head_of_other_drive(&self) -> HeadEnvelope {
        let key = SecretKey::from_seed(&[9; 32]);
        let mut head = self.owner.head.body().clone();
        head.drive = key.public().into();
        head.writer = p2p_identity::WriterKey::from(*head.drive.as_bytes());
        head.vv = crate::VersionVector::new(vec![(head.writer, head.counter)]).unwrap();
        HeadEnvelope::sign(&head, &key).unwrap()
    }

    async fn answer(&self, stream: &mut DuplexStream, request: Request) -> Option<()> {
        match self.lie {
            Lie::SilentAtRequest => {
                self.tell();
                pending::<()>().await;
            }
            Lie::LongStatus => return self.long(stream).await,
            _ => {}
        }
        write_message(stream, &Status::Ok).await.ok()?;
        match request {
            Request::Nodes(nodes) => self.nodes(stream, nodes).await,
            Request::GetMany(many) => self.many(stream, many).await,
            Request::Get(get) => self.get(stream, get).await,
            _ => self.items(stream).await,
        }
    }

    async fn nodes(&self, stream: &mut DuplexStream, nodes: Nodes) -> Option<()> {
        for hash in nodes.hashes.iter() {
            let forged = self.forgery.as_ref().and_then(|forgery| forgery.nodes.get(hash).cloned());
            let there = || self.owner.node.drives.shared().nodes.node(&(*hash.as_bytes()).into()).unwrap();
            let Some(bytes) = forged.or_else(there) else {
                stream.write_all(&encode_node_len(None).unwrap()).await.ok()?;
                continue;
            };
            let mut bytes = bytes.to_vec();
            match self.lie {
                Lie::LongNode => return self.long(stream).await,
                Lie::WrongNode => {
                    self.tell();
                    *bytes.last_mut().unwrap() ^= 1;
                }
                Lie::DripAtNodes => {
                    self.tell();
                    stream.write_all(&encode_node_len(Some(MAX_NODE_BYTES)).unwrap()).await.ok()?;
                    loop {
                        stream.write_all(&[0]).await.ok()?;
                        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    }
                }
                _ => {}
            }
            stream.write_all(&encode_node_len(Some(bytes.len())).unwrap()).await.ok()?;
            stream.write_all(&bytes).await.ok()?;
        }
        Some(())
    }

    async fn many(&self, stream: &mut DuplexStream, many: GetMany) -> Option<()> {
        let mut bitmap = Presence::new(many.files.iter().map(|_| true)).encode();
        let mut body: Vec<u8> = many.files.iter().flat_map(|file| self.content(&file.hash)).collect();
        match self.lie {
            Lie::WrongBitmap => {
                self.tell();
                *bitmap.last_mut().unwrap() = 0xff;
            }
            Lie::WrongBytesInMany => {
                self.tell();
                let middle = body.len() / 2;
                body[middle] ^= 1;
            }
            Lie::HalfMany => {
                self.tell();
                body.truncate(body.len() / 2);
            }
            _ => {}
        }
        stream.write_all(&bitmap).await.ok()?;
        stream.write_all(&body).await.ok()?;
        if self.lie == Lie::EndlessMany { self.endless(stream).await } else { Some(()) }
    }

    async fn get(&self, stream: &mut DuplexStream, get: Get) -> Option<()> {
        let content = self.content(&get.hash);
        let outboard = hash_bytes(&content).1.unwrap_or_default();
        let mut encoder = Encoder::new(&get.hash, content.len() as u64, &get.ranges, get.grain, get.size_proof);
        let mut body = encoder.size_prefix().to_vec();
        while encoder.encode_unit(&content, &outboard, &mut body).unwrap() {}
        match self.lie {
            Lie::WrongSize => {
                self.tell();
                body[7] ^= 1;
            }
            Lie::WrongProofInGet => {
                self.tell();
                body[20] ^= 1;
            }
            Lie::WrongBytesInGet => {
                self.tell();
                let middle = body.len() / 2;
                body[middle] ^= 1;
            }
            Lie::HalfGet | Lie::SilentInGet => {
                self.tell();
                body.truncate(body.len() / 2);
            }
            _ => {}
        }
        stream.write_all(&body).await.ok()?;
        match self.lie {
            Lie::EndlessGet => self.endless(stream).await,
            Lie::SilentInGet => pending().await,
            _ => Some(()),
        }
    }

    fn content(&self, hash: &ContentId) -> Vec<u8> {
        self.owner.files.values().find(|bytes| ContentId::of(bytes) == *hash).unwrap().clone()
    }

    /// A frame or node whose length says 4 GiB, and as much of it as is taken.
    async fn long(&self, stream: &mut DuplexStream) -> Option<()> {
        self.tell();
        stream.write_all(&[0xff; 4]).await.ok()?;
        self.endless(stream).await
    }

    async fn endless(&self, stream: &mut DuplexStream) -> Option<()> {
        self.tell();
        loop {
            self.write_excess(stream, &[0; 4_096]).await?;
        }
    }

    async fn write_excess(&self, stream: &mut DuplexStream, bytes: &[u8]) -> Option<()> {
        stream.write_all(bytes).await.ok()?;
        self.excess.fetch_add(bytes.len(), Ordering::Relaxed);
        Some(())
    }

    /// The lie is out: now honest peers may come.
    fn tell(&self) {
        self.owner.lie_was_told.store(true, Ordering::Relaxed);
        if let Some(net) = self.net.upgrade() {
            net.show_hidden();
        }
    }
}

/// The session number that the liar gives.
const SESSION: u32 = 200;

/// Writes a frame of raw bytes, as a hostile opener does.
pub(super) async fn write_raw(stream: &mut DuplexStream, frame: &[u8]) {
    write_frame(stream, frame).await.unwrap();
}
