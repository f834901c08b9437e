//! `/p2pnode/gns-revocations/1`: two nodes even out which zones they know to be revoked (specs/names.md, 12.5).
//!
//! Who opened the connection opens the stream. A zone is its 36 bytes, a message the 372 bytes of a revocation.
//! 1. Opener: the digest of its zones, 32 bytes: BLAKE3 of all of them in order.
//! 2. Acceptor: u8 0 where its own digest is the same, and both close. Else u8 1 for all its zones, or u8 2 and two zones
//!    for those from the one to the other, both included; then u16 n, big-endian, and n zones in ascending order.
//! 3. Opener: u8 n and n messages that the acceptor lacks; u8 m and m zones of which it wants the message.
//! 4. Acceptor: u8 n and n messages of those, and both close. Then each judges what it got.
//!
//! Anything else ends the stream.

use std::io;

use p2p_names::{REVOCATION_BYTES, ZONE_ID_BYTES};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The protocol's name.
pub(super) const PROTOCOL: &str = "/p2pnode/gns-revocations/1";
/// The topic of revocations that are new, in a network.
pub(super) fn topic(network: &str) -> String {
    format!("/p2pnode/{network}/gns-revocation/1")
}

/// Most messages in one direction of an exchange.
pub(super) const MAX_MESSAGES: usize = 64;
/// Most zones in a list, 144 KiB; who knows of more lists some of them.
pub(super) const MAX_LISTED: usize = 4_096;

const SAME: u8 = 0;
const ALL: u8 = 1;
const SOME: u8 = 2;

/// A zone on the wire.
pub(super) type ZoneId = [u8; ZONE_ID_BYTES];
/// Digest of a list of zones.
pub(super) type Digest = [u8; 32];

/// The acceptor's zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum List {
    Same,
    /// These and no others.
    All(Vec<ZoneId>),
    /// These, and no others from the first bound to the second.
    Some {
        from: ZoneId,
        to: ZoneId,
        zones: Vec<ZoneId>,
    },
}

/// What the opener gives, and what it wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trade {
    pub(super) messages: Vec<Vec<u8>>,
    pub(super) wanted: Vec<ZoneId>,
}

/// Writes a list. It has at most [`MAX_LISTED`] zones.
pub(super) async fn write_list(io: &mut (impl AsyncWrite + Unpin), list: &List) -> io::Result<()> {
    let zones = match list {
        List::Same => return io.write_u8(SAME).await,
        List::All(zones) => {
            io.write_u8(ALL).await?;
            zones
        }
        List::Some { from, to, zones } => {
            io.write_u8(SOME).await?;
            io.write_all(&[*from, *to].concat()).await?;
            zones
        }
    };
    let count = u16::try_from(zones.len()).map_err(io::Error::other)?;
    io.write_u16(count).await?;
    io.write_all(&zones.concat()).await
}

/// Reads a list, which is in order.
pub(super) async fn read_list(io: &mut (impl AsyncRead + Unpin)) -> io::Result<List> {
    let bounds = match io.read_u8().await? {
        SAME => return Ok(List::Same),
        ALL => None,
        SOME => {
            let mut bounds = [[0; ZONE_ID_BYTES]; 2];
            for bound in &mut bounds {
                io.read_exact(bound).await?;
            }
            Some(bounds)
        }
        _ => return Err(bad("the kind of the list is unknown")),
    };
    let count = usize::from(io.read_u16().await?);
    if count > MAX_LISTED {
        return Err(bad("the list of zones is too long"));
    }
    let zones = read_zones(io, count).await?;
    if !zones.is_sorted_by(|a, b| a < b) {
        return Err(bad("the list of zones is not in order"));
    }
    Ok(match bounds {
        None => List::All(zones),
        Some([from, to]) => List::Some { from, to, zones },
    })
}

/// Writes what is given and wanted; at most [`MAX_MESSAGES`] each.
pub(super) async fn write_trade(io: &mut (impl AsyncWrite + Unpin), trade: &Trade) -> io::Result<()> {
    write_messages(io, &trade.messages).await?;
    io.write_u8(u8::try_from(trade.wanted.len()).map_err(io::Error::other)?).await?;
    io.write_all(&trade.wanted.concat()).await
}

/// Reads what is given and wanted.
pub(super) async fn read_trade(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Trade> {
    let messages = read_messages(io, MAX_MESSAGES).await?;
    let count = usize::from(io.read_u8().await?);
    if count > MAX_MESSAGES {
        return Err(bad("too many messages are wanted"));
    }
    Ok(Trade { messages, wanted: read_zones(io, count).await? })
}

/// Writes messages, at most [`MAX_MESSAGES`].
pub(super) async fn write_messages(io: &mut (impl AsyncWrite + Unpin), messages: &[Vec<u8>]) -> io::Result<()> {
    io.write_u8(u8::try_from(messages.len()).map_err(io::Error::other)?).await?;
    io.write_all(&messages.concat()).await
}

/// Reads messages, at most `most`.
pub(super) async fn read_messages(io: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Vec<Vec<u8>>> {
    let count = usize::from(io.read_u8().await?);
    if count > most {
        return Err(bad("too many messages"));
    }
    let mut messages = Vec::with_capacity(count);
    for _ in 0..count {
        let mut message = vec![0; REVOCATION_BYTES];
        io.read_exact(&mut message).await?;
        messages.push(message);
    }
    Ok(messages)
}

async fn read_zones(io: &mut (impl AsyncRead + Unpin), count: usize) -> io::Result<Vec<ZoneId>> {
    let mut zones = Vec::with_capacity(count);
    for _ in 0..count {
        let mut zone = [0; ZONE_ID_BYTES];
        io.read_exact(&mut zone).await?;
        zones.push(zone);
    }
    Ok(zones)
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn list_bytes(list: &List) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_list(&mut bytes, list).await.expect("into memory");
        bytes
    }

    #[tokio::test]
    async fn the_bytes_are_as_written_down() {
        assert_eq!(list_bytes(&List::Same).await, [0]);
        let zones = vec![[1; ZONE_ID_BYTES], [2; ZONE_ID_BYTES]];
        let expected = [[1, 0, 2].as_slice(), &[1; 36], &[2; 36]].concat();
        assert_eq!(list_bytes(&List::All(zones.clone())).await, expected);
        let some = List::Some { from: [0; ZONE_ID_BYTES], to: [3; ZONE_ID_BYTES], zones: zones.clone() };
        assert_eq!(list_bytes(&some).await, [[2].as_slice(), &[0; 36], &[3; 36], &expected[1..]].concat());
        assert_eq!(read_list(&mut list_bytes(&some).await.as_slice()).await.expect("reads"), some);
        let trade = Trade { messages: vec![vec![7; REVOCATION_BYTES]], wanted: vec![zones[0]] };
        let mut bytes = Vec::new();
        write_trade(&mut bytes, &trade).await.expect("into memory");
        assert_eq!(bytes, [[1].as_slice(), &[7; 372], &[1], &[1; 36]].concat());
        assert_eq!(read_trade(&mut bytes.as_slice()).await.expect("reads"), trade);
    }

    #[tokio::test]
    async fn long_lists_disorder_and_too_many_messages_end_the_stream() {
        let refused = async |bytes: Vec<u8>| read_list(&mut bytes.as_slice()).await.expect_err("refused").kind();
        let disorder = [[1, 0, 2].as_slice(), &[2; 36], &[1; 36]].concat();
        let twice = [[1, 0, 2].as_slice(), &[2; 36], &[2; 36]].concat();
        for bytes in [vec![1, 0x10, 1], disorder, twice, vec![3, 0, 0]] {
            assert_eq!(refused(bytes).await, io::ErrorKind::InvalidData);
        }
        assert_eq!(refused(vec![1, 0x10, 0]).await, io::ErrorKind::UnexpectedEof, "4,096 are allowed");
        for bytes in [vec![65], vec![0, 65]] {
            let error = read_trade(&mut bytes.as_slice()).await.expect_err("refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        assert!(read_messages(&mut [2].as_slice(), 1).await.is_err(), "more than was asked for");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async {
                let _ = read_list(&mut bytes.as_slice()).await;
                let _ = read_trade(&mut bytes.as_slice()).await;
                let _ = read_messages(&mut bytes.as_slice(), MAX_MESSAGES).await;
            });
        }
    }
}
