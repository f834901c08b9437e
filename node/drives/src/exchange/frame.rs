//! Frames on a stream: a length (u32, big-endian) and that many bytes.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::codec::{DecodeError, EncodeError, Message};
use super::wire::MAX_FRAME_BYTES;

/// Why a frame was not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The stream ended between two frames: the remote is done.
    #[error("stream closed")]
    Closed,
    /// The stream failed, or ended within a frame.
    #[error("reading or writing a frame")]
    Io(#[source] io::Error),
    /// A length prefix above the limit; nothing of it was read.
    #[error("frame of {0} bytes, at most {MAX_FRAME_BYTES}")]
    TooLong(usize),
    /// The frame holds no message.
    #[error("undecodable frame")]
    Decode(#[source] DecodeError),
    /// The message cannot be sent.
    #[error("unsendable message")]
    Encode(#[source] EncodeError),
}

/// Reads one frame's bytes. Takes memory only for a length within [`MAX_FRAME_BYTES`].
///
/// Not cancel safe: dropped midway, the stream is out of step.
///
/// # Errors
/// [`FrameError::Closed`] at a clean end; otherwise what went wrong.
pub async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, FrameError> {
    let mut prefix = [0; 4];
    let got = stream.read(&mut prefix).await.map_err(FrameError::Io)?;
    if got == 0 {
        return Err(FrameError::Closed);
    }
    stream.read_exact(&mut prefix[got..]).await.map_err(FrameError::Io)?;
    let len = u32::from_be_bytes(prefix) as usize;
    if len > MAX_FRAME_BYTES {
        return Err(FrameError::TooLong(len));
    }
    let mut frame = vec![0; len];
    stream.read_exact(&mut frame).await.map_err(FrameError::Io)?;
    Ok(frame)
}

/// Writes one frame, prefix and bytes in one piece. Does not flush.
///
/// Not cancel safe: dropped midway, the stream is out of step.
///
/// # Errors
/// The frame is too long (nothing was written), or the stream failed.
pub async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> Result<(), FrameError> {
    if frame.len() > MAX_FRAME_BYTES {
        return Err(FrameError::TooLong(frame.len()));
    }
    let mut bytes = Vec::with_capacity(4 + frame.len());
    bytes.extend_from_slice(&(frame.len() as u32).to_be_bytes());
    bytes.extend_from_slice(frame);
    stream.write_all(&bytes).await.map_err(FrameError::Io)
}

/// Reads one frame and the message in it. Not cancel safe.
///
/// # Errors
/// As [`read_frame`], or the frame holds no such message.
pub async fn read_message<M: Message>(stream: &mut (impl AsyncRead + Unpin)) -> Result<M, FrameError> {
    M::decode(&read_frame(stream).await?).map_err(FrameError::Decode)
}

/// Writes a message as one frame. Does not flush. Not cancel safe.
///
/// # Errors
/// The message breaks a limit (nothing was written), or the stream failed.
pub async fn write_message<M: Message>(stream: &mut (impl AsyncWrite + Unpin), message: &M) -> Result<(), FrameError> {
    write_frame(stream, &message.encode().map_err(FrameError::Encode)?).await
}

#[cfg(test)]
mod tests {
    use super::super::wire::{ByeReason, Control};
    use super::*;

    #[tokio::test]
    async fn messages_arrive_in_order_and_the_end_is_clean() {
        let mut wire = Vec::new();
        write_message(&mut wire, &Control::Refused).await.expect("written");
        write_message(&mut wire, &Control::Bye(ByeReason::STOPPING)).await.expect("written");
        assert_eq!(wire, [0, 0, 0, 1, 5, 0, 0, 0, 2, 8, 1]);
        let mut stream = &wire[..];
        assert_eq!(read_message::<Control>(&mut stream).await.expect("first"), Control::Refused);
        assert_eq!(read_message::<Control>(&mut stream).await.expect("second"), Control::Bye(ByeReason::STOPPING));
        assert!(matches!(read_frame(&mut stream).await, Err(FrameError::Closed)));
    }

    #[tokio::test]
    async fn a_long_prefix_is_refused_before_memory_is_taken() {
        let mut stream = &[0xff, 0xff, 0xff, 0xff, 1, 2][..];
        assert!(matches!(read_frame(&mut stream).await, Err(FrameError::TooLong(0xffff_ffff))));
        let mut stream = &[0, 1, 0, 1][..];
        assert!(matches!(read_frame(&mut stream).await, Err(FrameError::TooLong(65_537))));
        let mut wire = Vec::new();
        assert!(matches!(write_frame(&mut wire, &[0; 65_537]).await, Err(FrameError::TooLong(65_537))));
        assert!(wire.is_empty());
    }

    #[tokio::test]
    async fn a_frame_cut_short_is_an_error() {
        for cut in 1..8 {
            let mut stream = &[0, 0, 0, 4, 1, 2, 3, 4][..cut];
            assert!(matches!(read_frame(&mut stream).await, Err(FrameError::Io(_))), "{cut}");
        }
    }
}
