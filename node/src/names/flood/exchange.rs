//! The two sides of an exchange.

use std::io;

use p2p_names::ZONE_ID_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::wire::{
    Digest, List, MAX_LISTED, MAX_MESSAGES, Trade, ZoneId, read_list, read_messages, read_trade, write_list,
    write_messages, write_trade,
};

/// What this node knows to be revoked.
pub(super) trait Held {
    /// BLAKE3 of all zones in order.
    fn digest(&self) -> Digest;
    /// All zones in order.
    fn zones(&self) -> Vec<ZoneId>;
    /// The message that revoked a zone.
    fn message(&self, zone: &ZoneId) -> Option<Vec<u8>>;
}

/// What an exchange brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Brought {
    /// Messages to be judged.
    pub(super) messages: Vec<Vec<u8>>,
    /// There is more to be exchanged.
    pub(super) is_more: bool,
}

/// The side that opened the stream. `turn` is any number: it says where to begin when there is too much for one exchange.
pub(super) async fn ask<S>(io: &mut S, held: &impl Held, turn: u64) -> io::Result<Brought>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    io.write_all(&held.digest()).await?;
    io.flush().await?;
    let list = read_list(io).await?;
    if list == List::Same {
        return Ok(Brought::default());
    }
    let (give, want) = differences(&held.zones(), &list, turn);
    let is_more = give.len().max(want.len()) > MAX_MESSAGES || matches!(list, List::Some { .. });
    let messages = give.iter().take(MAX_MESSAGES).filter_map(|zone| held.message(zone)).collect();
    let wanted: Vec<ZoneId> = want.into_iter().take(MAX_MESSAGES).collect();
    let most = wanted.len();
    write_trade(io, &Trade { messages, wanted }).await?;
    io.flush().await?;
    Ok(Brought { messages: read_messages(io, most).await?, is_more })
}

/// The side that accepted the stream.
pub(super) async fn answer<S>(io: &mut S, held: &impl Held, turn: u64) -> io::Result<Brought>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut digest: Digest = [0; 32];
    io.read_exact(&mut digest).await?;
    let list = if digest == held.digest() { List::Same } else { list(held.zones(), turn) };
    write_list(io, &list).await?;
    io.flush().await?;
    if list == List::Same {
        return Ok(Brought::default());
    }
    let Trade { messages, wanted } = read_trade(io).await?;
    let answers: Vec<Vec<u8>> = wanted.iter().filter_map(|zone| held.message(zone)).collect();
    write_messages(io, &answers).await?;
    io.flush().await?;
    io.shutdown().await?;
    Ok(Brought { messages, is_more: false })
}

/// All zones, or a window of them that any `turn` places elsewhere, over each zone equally often.
fn list(zones: Vec<ZoneId>, turn: u64) -> List {
    if zones.len() <= MAX_LISTED {
        return List::All(zones);
    }
    let behind = (turn % (zones.len() + MAX_LISTED - 1) as u64) as usize + 1;
    let start = behind.saturating_sub(MAX_LISTED);
    let window = zones.get(start..behind.min(zones.len())).unwrap_or_default();
    let bound = |zone: Option<&ZoneId>, end: u8| zone.copied().unwrap_or([end; ZONE_ID_BYTES]);
    let from = bound(window.first().filter(|_| start > 0), 0);
    let to = bound(window.last().filter(|_| behind < zones.len()), 0xff);
    List::Some { from, to, zones: window.to_vec() }
}

/// The zones that the other side lacks, and those that this side lacks.
fn differences(own: &[ZoneId], list: &List, turn: u64) -> (Vec<ZoneId>, Vec<ZoneId>) {
    let (theirs, told) = match list {
        List::Same => return (Vec::new(), Vec::new()),
        List::All(zones) => (zones, None),
        List::Some { from, to, zones } => (zones, Some(from..=to)),
    };
    let is_told = |zone: &ZoneId| told.as_ref().is_none_or(|told| told.contains(&zone));
    let lacks = |zones: &[ZoneId], zone: &ZoneId| zones.binary_search(zone).is_err();
    let mut give: Vec<ZoneId> = own.iter().filter(|zone| is_told(zone) && lacks(theirs, zone)).copied().collect();
    let mut want: Vec<ZoneId> = theirs.iter().filter(|zone| lacks(own, zone)).copied().collect();
    // What the other side does not take must not stand in the way of the rest for ever.
    for zones in [&mut give, &mut want] {
        if !zones.is_empty() {
            let by = (turn % zones.len() as u64) as usize;
            zones.rotate_left(by);
        }
    }
    (give, want)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Its message says which zone it is of.
    #[derive(Default)]
    struct Known(BTreeMap<ZoneId, Vec<u8>>);

    fn zone(n: u16) -> ZoneId {
        let mut zone = [0; 36];
        zone[..2].copy_from_slice(&n.to_be_bytes());
        zone
    }

    impl Known {
        fn of(numbers: impl IntoIterator<Item = u16>) -> Self {
            let mut known = Self::default();
            for n in numbers {
                let mut message = vec![0; 372];
                message[276..278].copy_from_slice(&n.to_be_bytes());
                known.take(vec![message]);
            }
            known
        }

        fn take(&mut self, messages: Vec<Vec<u8>>) {
            for message in messages {
                let n = u16::from_be_bytes([message[276], message[277]]);
                self.0.insert(zone(n), message);
            }
        }
    }

    impl Held for Known {
        fn digest(&self) -> Digest {
            *blake3::hash(&self.zones().concat()).as_bytes()
        }

        fn zones(&self) -> Vec<ZoneId> {
            self.0.keys().copied().collect()
        }

        fn message(&self, zone: &ZoneId) -> Option<Vec<u8>> {
            self.0.get(zone).cloned()
        }
    }

    async fn exchange(opener: &mut Known, acceptor: &mut Known, turn: u64) -> bool {
        let (mut near, mut far) = tokio::io::duplex(1_024);
        let (asked, answered) = tokio::join!(ask(&mut near, opener, turn), answer(&mut far, acceptor, turn));
        let (asked, answered) = (asked.expect("asks"), answered.expect("answers"));
        assert!(asked.messages.len() <= MAX_MESSAGES && answered.messages.len() <= MAX_MESSAGES);
        opener.take(asked.messages);
        acceptor.take(answered.messages);
        asked.is_more
    }

    #[tokio::test]
    async fn each_side_gets_what_it_lacks() {
        let (mut opener, mut acceptor) = (Known::of([1, 2, 3]), Known::of([3, 4]));
        assert!(!exchange(&mut opener, &mut acceptor, 7).await);
        assert_eq!(opener.zones(), Known::of([1, 2, 3, 4]).zones());
        assert_eq!(opener.zones(), acceptor.zones());
        let (mut near, far) = tokio::io::duplex(64);
        let asking = ask(&mut near, &opener, 0);
        let told = async {
            let (mut far, mut digest) = (far, [0; 32]);
            far.read_exact(&mut digest).await.expect("a digest");
            assert_eq!(digest, acceptor.digest(), "nothing to talk about");
            far.write_u8(0).await.expect("told");
        };
        let (asked, ()) = tokio::join!(asking, told);
        assert_eq!(asked.expect("done"), Brought::default());
    }

    #[tokio::test]
    async fn who_was_away_for_long_catches_up_in_several_exchanges() {
        let (mut opener, mut acceptor) = (Known::of(0..10), Known::of(100..300));
        let mut exchanges = 1;
        while exchange(&mut opener, &mut acceptor, exchanges).await {
            exchanges += 1;
        }
        assert_eq!(exchanges, 4, "200 messages, 64 each");
        assert_eq!((opener.0.len(), acceptor.0.len()), (210, 210));
    }

    #[tokio::test]
    async fn of_a_list_that_is_too_long_a_part_is_compared() {
        let (mut opener, mut acceptor) = (Known::of(0..5_000), Known::of(10..5_100));
        let mut turn = 0;
        while opener.0.len() < 5_100 || acceptor.0.len() < 5_100 {
            exchange(&mut opener, &mut acceptor, turn).await;
            turn += 1_009;
            assert!(turn < 1_009 * 1_000, "{} and {}", opener.0.len(), acceptor.0.len());
        }
        let zones = acceptor.zones();
        let of = |turn| match list(zones.clone(), turn) {
            List::Some { from, to, zones } => (from, to, zones),
            other => panic!("it is too long: {other:?}"),
        };
        assert_eq!(of(0), ([0; 36], zones[0], vec![zones[0]]));
        let (from, to, part) = of(MAX_LISTED as u64);
        assert_eq!((from, to, part.as_slice()), (zones[1], zones[MAX_LISTED], &zones[1..=MAX_LISTED]));
        assert_eq!(of((5_100 + MAX_LISTED - 2) as u64), (zones[5_099], [0xff; 36], vec![zones[5_099]]));
    }
}
