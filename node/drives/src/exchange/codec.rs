//! Bytes <-> messages of the drive protocol, and nothing else (specs/drives.md, section 16).

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::bounded::{Bounded, BoundedBytes, TooLong};
use super::wire::{
    Control, GetMany, Item, MAX_EARLY_REQUESTS, MAX_FILE_BYTES_PER_REQUEST, MAX_FILES_PER_REQUEST, MAX_FRAME_BYTES,
    MAX_LOG_HEADS, MAX_NODE_BYTES, MAX_PREFETCH_BYTES, Mac, Presence, Prove, Request, RequestFrame, Status, Summary,
};

/// Why bytes are not a message. The remote is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Cut short, above a bound, or no such value.
    #[error("malformed message")]
    Malformed(#[source] postcard::Error),
    /// Something follows a complete message.
    #[error("{0} bytes behind the message")]
    TrailingBytes(usize),
    /// More bytes than a frame may have.
    #[error("frame of {0} bytes, at most {MAX_FRAME_BYTES}")]
    FrameTooLong(usize),
    /// A status or item of a later version: what follows cannot be read.
    #[error("unknown number {0}")]
    UnknownNumber(u8),
    /// A number above its limit.
    #[error("{value} is above the limit of {max}")]
    AboveLimit {
        /// What was sent.
        value: u64,
        /// The limit.
        max: u64,
    },
    /// A presence bitmap of a wrong length or with spare bits set.
    #[error("malformed presence bitmap")]
    Presence,
}

/// Why a message cannot be sent: it breaks a limit of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// More bytes than a frame may have.
    #[error("frame of {0} bytes, at most {MAX_FRAME_BYTES}")]
    FrameTooLong(usize),
    /// A list above its bound.
    #[error("message is above a limit")]
    Limit(#[source] postcard::Error),
    /// A number above its limit.
    #[error("{value} is above the limit of {max}")]
    AboveLimit {
        /// What was to be sent.
        value: u64,
        /// The limit.
        max: u64,
    },
}

/// A message that fills one frame.
pub trait Message: Sized {
    /// The frame's content, without the length prefix.
    ///
    /// # Errors
    /// The message breaks a limit of the protocol.
    fn encode(&self) -> Result<Vec<u8>, EncodeError>;

    /// Reads a whole frame. Takes memory in proportion to `frame` only.
    ///
    /// # Errors
    /// The frame is no such message.
    fn decode(frame: &[u8]) -> Result<Self, DecodeError>;
}

/// `Prove` as it is coded: each request is a byte string, so that an unknown one can be stepped over.
#[derive(Serialize, Deserialize)]
struct ProveBody {
    proof: Mac,
    summary: Summary,
    requests: Bounded<BoundedBytes<MAX_FRAME_BYTES>, MAX_EARLY_REQUESTS>,
}

/// The fields of `Item::Blob` as they are coded.
#[derive(Serialize, Deserialize)]
struct BlobBody {
    hash: p2p_identity::ContentId,
    size: u32,
}

impl Message for Control {
    fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let number = vec![self.number()];
        finish(match self {
            Self::Hello(body) => append(number, body),
            Self::Nonce(body) => append(number, body),
            Self::Prove(body) => append(number, &ProveBody::try_from(body)?),
            Self::Accept(body) => append(number, body),
            Self::Refused | Self::Unknown(_) => Ok(number),
            Self::Have(body) => append(number, body),
            Self::HeadAnnounce(body) => append(number, body),
            Self::Bye(reason) => append(number, reason),
        }?)
    }

    fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        let (number, body) = split_number(frame)?;
        match number {
            1 => body_of(body).map(Self::Hello),
            2 => body_of(body).map(Self::Nonce),
            3 => Prove::try_from(body_of::<ProveBody>(body)?).map(Self::Prove),
            4 => body_of(body).map(Self::Accept),
            5 => body_of(body).map(|()| Self::Refused),
            6 => body_of(body).map(Self::Have),
            7 => body_of(body).map(Self::HeadAnnounce),
            8 => body_of(body).map(Self::Bye),
            unknown => Ok(Self::Unknown(unknown)),
        }
    }
}

impl TryFrom<&Prove> for ProveBody {
    type Error = EncodeError;

    fn try_from(prove: &Prove) -> Result<Self, EncodeError> {
        let requests: Result<Vec<_>, EncodeError> = prove
            .requests
            .iter()
            .map(|request| request.encode()?.try_into().map_err(|TooLong { len, .. }| EncodeError::FrameTooLong(len)))
            .collect();
        let requests = requests?.try_into().expect("as many as `prove.requests`, which has the same bound");
        Ok(Self { proof: prove.proof, summary: prove.summary.clone(), requests })
    }
}

impl TryFrom<ProveBody> for Prove {
    type Error = DecodeError;

    fn try_from(body: ProveBody) -> Result<Self, DecodeError> {
        let requests: Result<Vec<_>, DecodeError> =
            body.requests.iter().map(|request| Request::decode(request)).collect();
        let requests = requests?.try_into().expect("as many as `body.requests`, which has the same bound");
        Ok(Self { proof: body.proof, summary: body.summary, requests })
    }
}

impl Message for Request {
    fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let number = vec![self.number()];
        finish(match self {
            Self::Open(body) => {
                check_sent(body.prefetch_bytes.into(), MAX_PREFETCH_BYTES.into())?;
                append(number, body)
            }
            Self::Nodes(body) => append(number, body),
            Self::Changes(body) => append(number, body),
            Self::Get(body) => append(number, body),
            Self::GetMany(body) => {
                check_sent(file_bytes(body), MAX_FILE_BYTES_PER_REQUEST)?;
                append(number, body)
            }
            Self::Heads(body) => append(number, body),
            Self::Log(body) => {
                check_sent(body.max.into(), MAX_LOG_HEADS.into())?;
                append(number, body)
            }
            Self::Unknown(_) => Ok(number),
        }?)
    }

    fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        let (number, body) = split_number(frame)?;
        let request = match number {
            1 => Self::Open(body_of(body)?),
            2 => Self::Nodes(body_of(body)?),
            3 => Self::Changes(body_of(body)?),
            4 => Self::Get(body_of(body)?),
            5 => Self::GetMany(body_of(body)?),
            6 => Self::Heads(body_of(body)?),
            9 => Self::Log(body_of(body)?),
            unknown => Self::Unknown(unknown),
        };
        match &request {
            Self::Open(open) => check_received(open.prefetch_bytes.into(), MAX_PREFETCH_BYTES.into())?,
            Self::Log(log) => check_received(log.max.into(), MAX_LOG_HEADS.into())?,
            Self::GetMany(many) => check_received(file_bytes(many), MAX_FILE_BYTES_PER_REQUEST)?,
            _ => {}
        }
        Ok(request)
    }
}

impl Message for RequestFrame {
    fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut frame = append(Vec::new(), &self.session)?;
        frame.extend(self.request.encode()?);
        finish(frame)
    }

    fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        check_frame(frame)?;
        let (session, request) = postcard::take_from_bytes(frame).map_err(DecodeError::Malformed)?;
        Ok(Self { session, request: Request::decode(request)? })
    }
}

impl Message for Status {
    fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let number = vec![self.number()];
        match self {
            Self::Busy { retry_ms } => append(number, retry_ms),
            _ => Ok(number),
        }
    }

    fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        let (number, body) = split_number(frame)?;
        let plain = |status| body_of(body).map(|()| status);
        match number {
            0 => plain(Self::Ok),
            1 => plain(Self::NotFound),
            2 => plain(Self::Stale),
            3 => body_of(body).map(|retry_ms| Self::Busy { retry_ms }),
            4 => plain(Self::Refused),
            5 => plain(Self::BadRequest),
            6 => plain(Self::TooLarge),
            unknown => Err(DecodeError::UnknownNumber(unknown)),
        }
    }
}

impl Message for Item {
    fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let number = vec![self.number()];
        finish(match self {
            Self::Head(envelope) => append(number, envelope),
            Self::Node { len } => {
                check_sent((*len).into(), MAX_NODE_BYTES as u64)?;
                append(number, len)
            }
            Self::Blob { hash, size } => {
                check_sent((*size).into(), MAX_PREFETCH_BYTES.into())?;
                append(number, &BlobBody { hash: *hash, size: *size })
            }
            Self::End => Ok(number),
            Self::Change(record) => append(number, record),
        }?)
    }

    fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        let (number, body) = split_number(frame)?;
        match number {
            1 => body_of(body).map(Self::Head),
            2 => {
                let len: u32 = body_of(body)?;
                check_received(len.into(), MAX_NODE_BYTES as u64)?;
                Ok(Self::Node { len })
            }
            3 => {
                let BlobBody { hash, size } = body_of(body)?;
                check_received(size.into(), MAX_PREFETCH_BYTES.into())?;
                Ok(Self::Blob { hash, size })
            }
            4 => body_of(body).map(|()| Self::End),
            5 => body_of(body).map(Self::Change),
            unknown => Err(DecodeError::UnknownNumber(unknown)),
        }
    }
}

/// The length before each object of a `Nodes` answer; `None` means not held.
///
/// # Errors
/// More than [`MAX_NODE_BYTES`].
pub fn decode_node_len(prefix: [u8; 4]) -> Result<Option<usize>, DecodeError> {
    let len = u32::from_be_bytes(prefix);
    check_received(len.into(), MAX_NODE_BYTES as u64)?;
    Ok((len > 0).then_some(len as usize))
}

/// The length to put before an object of a `Nodes` answer; `None` for one that is not held.
///
/// # Errors
/// More than [`MAX_NODE_BYTES`].
pub fn encode_node_len(len: Option<usize>) -> Result<[u8; 4], EncodeError> {
    let len = len.unwrap_or(0);
    check_sent(len as u64, MAX_NODE_BYTES as u64)?;
    Ok((len as u32).to_be_bytes())
}

impl Presence {
    /// Bytes that the bitmap of `files` files takes: what to read before calling [`Presence::decode`].
    pub fn encoded_len(files: usize) -> usize {
        files.min(MAX_FILES_PER_REQUEST).div_ceil(8)
    }

    /// The bitmap, raw.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; Self::encoded_len(self.present.len())];
        for (index, _) in self.present.iter().enumerate().filter(|(_, present)| **present) {
            bytes[index / 8] |= 1 << (index % 8);
        }
        bytes
    }

    /// Reads the bitmap of an answer to a request for `files` files.
    ///
    /// # Errors
    /// Another length than `files` needs, or a spare bit is set.
    pub fn decode(files: usize, bytes: &[u8]) -> Result<Self, DecodeError> {
        if files > MAX_FILES_PER_REQUEST || bytes.len() != Self::encoded_len(files) {
            return Err(DecodeError::Presence);
        }
        let mut bits = bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        let present = bits.by_ref().take(files).collect();
        if bits.any(|spare| spare) { Err(DecodeError::Presence) } else { Ok(Self { present }) }
    }
}

fn file_bytes(many: &GetMany) -> u64 {
    many.files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
}

fn append<T: Serialize>(number: Vec<u8>, body: &T) -> Result<Vec<u8>, EncodeError> {
    postcard::to_extend(body, number).map_err(EncodeError::Limit)
}

fn finish(frame: Vec<u8>) -> Result<Vec<u8>, EncodeError> {
    if frame.len() > MAX_FRAME_BYTES { Err(EncodeError::FrameTooLong(frame.len())) } else { Ok(frame) }
}

fn check_frame(frame: &[u8]) -> Result<(), DecodeError> {
    if frame.len() > MAX_FRAME_BYTES { Err(DecodeError::FrameTooLong(frame.len())) } else { Ok(()) }
}

fn split_number(frame: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
    check_frame(frame)?;
    let (number, body) =
        frame.split_first().ok_or(DecodeError::Malformed(postcard::Error::DeserializeUnexpectedEnd))?;
    Ok((*number, body))
}

fn body_of<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    let (value, rest) = postcard::take_from_bytes(body).map_err(DecodeError::Malformed)?;
    if rest.is_empty() { Ok(value) } else { Err(DecodeError::TrailingBytes(rest.len())) }
}

fn check_sent(value: u64, max: u64) -> Result<(), EncodeError> {
    if value > max { Err(EncodeError::AboveLimit { value, max }) } else { Ok(()) }
}

fn check_received(value: u64, max: u64) -> Result<(), DecodeError> {
    if value > max { Err(DecodeError::AboveLimit { value, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
