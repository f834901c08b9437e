//! Meeting over a stream: both sides of the protocol in `wire`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use p2p_api::{ApiError, Duplex, ErrorKind, Result};
use p2p_identity::{Card, DriveId, InviteId, PeerId, Side};

use super::invites::Taken;
use super::wire::{self, PROTOCOL, Reason, Reply, Request, Transcript};
use super::{Inner, blocking, random};

/// How long a conversation may take; the dial has its own limit.
const CONVERSATION: Duration = Duration::from_secs(15);
/// How long reaching the other node may take.
const DIAL: Duration = Duration::from_secs(10);

/// What came of asking the inviter.
pub(super) enum Met {
    Done,
    Wait,
    Refused(Reason),
}

/// Opens a stream to a peer.
async fn open(inner: &Inner, peer: PeerId) -> Result<Box<dyn Duplex>> {
    let opened = inner.network.open_stream(peer, PROTOCOL, DIAL).await;
    let (_, stream) = opened.map_err(|error| ApiError::not_found(format!("cannot reach their node: {error}")))?;
    Ok(stream)
}

/// Goes to the inviter's node with an invite.
pub(super) async fn meet(inner: &Arc<Inner>, id: InviteId, inviter: PeerId) -> Result<Met> {
    let mut stream = open(inner, inviter).await?;
    let talk = async {
        let nonce = random()?;
        wire::write(&mut stream, &Request::Meet { invite: id, nonce }.encode()).await.map_err(broken)?;
        let inviter_nonce = match reply(&mut stream).await? {
            Reply::Yes(nonce) => nonce.try_into().map_err(|_| nonsense())?,
            Reply::Wait => return Err(nonsense()),
            Reply::Refused(reason) => return Ok(Met::Refused(reason)),
        };
        let (invite, accepter) = (id, inner.me);
        let transcript = Transcript { inviter, accepter, invite, accepter_nonce: nonce, inviter_nonce };
        let secret = inner.secret(&id)?;
        let card = blocking(inner, move |inner| inner.card(&id, Side::Accepter)).await?;
        let proof = secret.mac(Side::Accepter, &transcript.message(card.as_bytes()));
        wire::write(&mut stream, &wire::join(&proof, card.as_bytes())).await.map_err(broken)?;
        let welcome = match reply(&mut stream).await? {
            Reply::Yes(welcome) => welcome,
            Reply::Wait => return Ok(Met::Wait),
            Reply::Refused(reason) => return Ok(Met::Refused(reason)),
        };
        let (proof, card) = wire::split(&welcome).ok_or_else(nonsense)?;
        if !secret.check_mac(Side::Inviter, &transcript.message(card), proof) {
            return Err(nonsense());
        }
        // The card has to be that of the node we talk with.
        let theirs = Card::read(card, &id, Side::Inviter).map_err(|_| nonsense())?;
        if theirs.certificate.peer != inviter {
            return Err(nonsense());
        }
        let card = card.to_vec();
        blocking(inner, move |inner| inner.take_answer(&id, &card)).await?;
        Ok(Met::Done)
    };
    tokio::time::timeout(CONVERSATION, talk).await.map_err(|_| ApiError::new(ErrorKind::TimedOut, "no answer"))?
}

/// Asks a contact's node for the key with which they write to a drive.
pub(super) async fn ask_key(inner: &Inner, peer: PeerId, drive: DriveId) -> Result<[u8; 32]> {
    let mut stream = open(inner, peer).await?;
    let talk = async {
        let request = Request::WriterKey { drive: *drive.as_bytes() };
        wire::write(&mut stream, &request.encode()).await.map_err(broken)?;
        match reply(&mut stream).await? {
            Reply::Yes(key) => key.try_into().map_err(|_| nonsense()),
            Reply::Wait => Err(nonsense()),
            Reply::Refused(reason) => Err(ApiError::new(ErrorKind::NotAllowed, reason.sentence())),
        }
    };
    tokio::time::timeout(CONVERSATION, talk).await.map_err(|_| ApiError::new(ErrorKind::TimedOut, "no answer"))?
}

/// Answers a peer that opened a stream.
pub(super) async fn serve(inner: Arc<Inner>, peer: PeerId, mut stream: Box<dyn Duplex>) {
    let served = tokio::time::timeout(CONVERSATION, answer(&inner, peer, &mut stream)).await;
    if let Ok(Err(error)) = served {
        tracing::debug!(%peer, %error, "a meeting broke off");
    }
}

async fn answer(inner: &Arc<Inner>, peer: PeerId, stream: &mut Box<dyn Duplex>) -> io::Result<()> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let reply = match Request::decode(&wire::read(stream).await?).ok_or_else(malformed)? {
        Request::WriterKey { drive } => writer_key(inner, peer, drive.into()).await,
        Request::Meet { invite: id, nonce } => {
            let is_known = inner.rows().invites().get(&id).is_some_and(|row| row.is_ours);
            let secret = if is_known { inner.secret(&id) } else { Err(ApiError::not_found("")) };
            let secret = match secret {
                Ok(secret) => secret,
                Err(error) => {
                    let locked = error.kind == ErrorKind::Locked;
                    let reason = if locked { Reason::Locked } else { Reason::Unknown };
                    return wire::write(stream, &Reply::Refused(reason).encode()).await;
                }
            };
            let inviter_nonce = random().map_err(|_| malformed())?;
            wire::write(stream, &Reply::Yes(inviter_nonce.to_vec()).encode()).await?;
            let (inviter, accepter) = (inner.me, peer);
            let transcript = Transcript { inviter, accepter, invite: id, accepter_nonce: nonce, inviter_nonce };
            let shown = wire::read(stream).await?;
            let (proof, card) = wire::split(&shown).ok_or_else(malformed)?;
            let is_theirs = Card::read(card, &id, Side::Accepter).is_ok_and(|card| card.certificate.peer == peer);
            if !secret.check_mac(Side::Accepter, &transcript.message(card), proof) || !is_theirs {
                return wire::write(stream, &Reply::Refused(Reason::Bad).encode()).await;
            }
            let card = card.to_vec();
            match blocking(inner, move |inner| inner.take_card(&id, &card)).await {
                Ok(Taken::Done(card)) => {
                    let proof = secret.mac(Side::Inviter, &transcript.message(card.as_bytes()));
                    Reply::Yes(wire::join(&proof, card.as_bytes()))
                }
                Ok(Taken::Wait) => Reply::Wait,
                Ok(Taken::Refused(reason)) => Reply::Refused(reason),
                Err(error) if error.kind == ErrorKind::Locked => Reply::Refused(Reason::Locked),
                Err(error) => {
                    tracing::warn!(%error, "an invite could not be taken");
                    Reply::Refused(Reason::Failed)
                }
            }
        }
    };
    wire::write(stream, &reply.encode()).await
}

/// A contact asks with which key this node writes to a drive.
async fn writer_key(inner: &Arc<Inner>, peer: PeerId, drive: DriveId) -> Reply {
    if inner.contact_of(&peer).is_none() {
        return Reply::Refused(Reason::NotAContact);
    }
    let drives = inner.drives.clone();
    match tokio::task::spawn_blocking(move || drives.writer_key(&drive)).await {
        Ok(Ok(key)) => Reply::Yes(key.as_bytes().to_vec()),
        Ok(Err(error)) if error.is_locked() => Reply::Refused(Reason::Locked),
        _ => Reply::Refused(Reason::Failed),
    }
}

async fn reply(stream: &mut Box<dyn Duplex>) -> Result<Reply> {
    Reply::decode(&wire::read(stream).await.map_err(broken)?).ok_or_else(nonsense)
}

#[allow(clippy::needless_pass_by_value)]
fn broken(error: io::Error) -> ApiError {
    ApiError::new(ErrorKind::TimedOut, format!("the connection broke: {error}"))
}

fn nonsense() -> ApiError {
    ApiError::new(ErrorKind::Corrupt, "the other side says what makes no sense")
}
