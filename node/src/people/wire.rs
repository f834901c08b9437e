//! `/p2pnode/contacts/1`: two people come to know each other, and ask each other small things (specs/overlay.md, 4.2).
//!
//! Each message is its length as a u16 (big-endian) and so many bytes, at most [`MAX_MESSAGE_BYTES`]. The opener begins.
//! ```text
//! meet         1, invite id (16), nonce (16)            who accepts an invite, to who made it
//!   challenge  0, nonce (16)          | refusal
//!   answer     proof (32), card                         proof = keyed BLAKE3 under the invite's secret
//!   welcome    0, proof (32), card    | 1 (wait until the user has confirmed) | refusal
//! writer key   2, drive (32)                            a contact asks: with which key do you write there?
//!   key        0, key (32)            | refusal
//! refusal      2, reason (1)
//! ```
//! What a proof covers: `"p2pnode contacts v1"`, peer id of the inviter (32) and of the accepter (32), invite id (16), the
//! accepter's nonce, the inviter's nonce, the card. The connection proves the peer ids. Anything else ends the stream.

use std::io;

use p2p_identity::{InviteId, PeerId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The protocol.
pub(super) const PROTOCOL: &str = "/p2pnode/contacts/1";
/// Longest message, in bytes.
pub(super) const MAX_MESSAGE_BYTES: usize = 2_048;
/// Bytes of a nonce.
pub(super) const NONCE_BYTES: usize = 16;
const PROOF_BYTES: usize = 32;
const DOMAIN: &[u8] = b"p2pnode contacts v1";

const MEET: u8 = 1;
const WRITER_KEY: u8 = 2;
const YES: u8 = 0;
const WAIT: u8 = 1;
const REFUSED: u8 = 2;

/// A random number that makes each meeting another one.
pub(super) type Nonce = [u8; NONCE_BYTES];
/// See the head of this file.
pub(super) type Proof = [u8; PROOF_BYTES];

/// Why the other side does not do what it was asked. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// 1: there is no such invite, or it was taken back.
    Unknown,
    /// 2: it has expired.
    Expired,
    /// 3: somebody else has used it.
    Used,
    /// 4: proof or card are wrong.
    Bad,
    /// 5: its keys are locked; later perhaps.
    Locked,
    /// 6: only contacts may ask this.
    NotAContact,
    /// 7: it failed there; later perhaps.
    Failed,
    /// Another number.
    Other(u8),
}

impl Reason {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Unknown => 1,
            Self::Expired => 2,
            Self::Used => 3,
            Self::Bad => 4,
            Self::Locked => 5,
            Self::NotAContact => 6,
            Self::Failed => 7,
            Self::Other(number) => number,
        }
    }

    pub(super) fn of_number(number: u8) -> Self {
        match number {
            1 => Self::Unknown,
            2 => Self::Expired,
            3 => Self::Used,
            4 => Self::Bad,
            5 => Self::Locked,
            6 => Self::NotAContact,
            7 => Self::Failed,
            other => Self::Other(other),
        }
    }

    /// Whether asking again later may help.
    pub(super) fn may_pass(self) -> bool {
        matches!(self, Self::Locked | Self::Failed)
    }

    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Unknown => "the other side knows no such invite, or has taken it back",
            Self::Expired => "the invite has expired",
            Self::Used => "somebody else has used the invite",
            Self::Bad => "the other side does not believe this node",
            Self::Locked => "the keys of the other side are locked",
            Self::NotAContact => "the other side does not have you among its contacts",
            Self::Failed => "it failed on the other side",
            Self::Other(_) => "the other side refused for a reason that this version does not know",
        }
    }
}

/// What the opener asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    Meet { invite: InviteId, nonce: Nonce },
    WriterKey { drive: [u8; 32] },
}

impl Request {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Meet { invite, nonce } => [&[MEET], invite.as_slice(), nonce].concat(),
            Self::WriterKey { drive } => [&[WRITER_KEY], drive.as_slice()].concat(),
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        match *kind {
            MEET => {
                let (invite, nonce) = rest.split_first_chunk()?;
                Some(Self::Meet { invite: *invite, nonce: nonce.try_into().ok()? })
            }
            WRITER_KEY => Some(Self::WriterKey { drive: rest.try_into().ok()? }),
            _ => None,
        }
    }
}

/// An answer: what was asked for, a while to wait, or a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Yes(Vec<u8>),
    Wait,
    Refused(Reason),
}

impl Reply {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Yes(bytes) => [&[YES], bytes.as_slice()].concat(),
            Self::Wait => vec![WAIT],
            Self::Refused(reason) => vec![REFUSED, reason.number()],
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        match (*kind, rest) {
            (YES, _) => Some(Self::Yes(rest.to_vec())),
            (WAIT, []) => Some(Self::Wait),
            (REFUSED, [reason]) => Some(Self::Refused(Reason::of_number(*reason))),
            _ => None,
        }
    }
}

/// A card with its proof.
pub(super) fn join(proof: &Proof, card: &[u8]) -> Vec<u8> {
    [proof.as_slice(), card].concat()
}

/// Takes a card from its proof.
pub(super) fn split(bytes: &[u8]) -> Option<(&Proof, &[u8])> {
    bytes.split_first_chunk()
}

/// What a proof covers.
pub(super) struct Transcript {
    pub(super) inviter: PeerId,
    pub(super) accepter: PeerId,
    pub(super) invite: InviteId,
    pub(super) accepter_nonce: Nonce,
    pub(super) inviter_nonce: Nonce,
}

impl Transcript {
    pub(super) fn message(&self, card: &[u8]) -> Vec<u8> {
        let parts: [&[u8]; 7] = [
            DOMAIN,
            self.inviter.as_bytes(),
            self.accepter.as_bytes(),
            &self.invite,
            &self.accepter_nonce,
            &self.inviter_nonce,
            card,
        ];
        parts.concat()
    }
}

/// Writes one message.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    stream.flush().await
}

/// Reads one message; its length is checked before memory is taken.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > MAX_MESSAGE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_never_change_their_form() {
        let meet = Request::Meet { invite: [1; 16], nonce: [2; 16] };
        assert_eq!(meet.encode(), [&[1][..], &[1; 16], &[2; 16]].concat());
        assert_eq!(Request::decode(&meet.encode()), Some(meet));
        let ask = Request::WriterKey { drive: [3; 32] };
        assert_eq!(ask.encode(), [&[2][..], &[3; 32]].concat());
        assert_eq!(Request::decode(&ask.encode()), Some(ask));
        for reply in [Reply::Yes(vec![9]), Reply::Wait, Reply::Refused(Reason::Used), Reply::Refused(Reason::Other(77))]
        {
            assert_eq!(Reply::decode(&reply.encode()), Some(reply));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = (Request::decode(&bytes), Reply::decode(&bytes), split(&bytes));
        }
    }

    #[tokio::test]
    async fn a_message_that_claims_too_much_is_refused_unread() {
        let mut claims: &[u8] = &[0xff, 0xff, 1, 2, 3];
        assert_eq!(read(&mut claims).await.expect_err("too long").kind(), io::ErrorKind::InvalidData);
        let mut cut: &[u8] = &[0, 5, 1];
        assert!(read(&mut cut).await.is_err());
    }
}
