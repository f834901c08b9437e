//! `/p2pnode/clock/1`: what time it is elsewhere (specs/overlay.md, 9). Whoever accepts writes the microseconds since 1970 as
//! u64, big-endian, and closes; nothing is read from whoever asks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use p2p_api::ClockCheck;
use p2p_identity::PeerId;
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use crate::network::Network;
use crate::telling;

const PROTOCOL: &str = "/p2pnode/clock/1";
/// Peers that are asked.
const MAX_ASKED: usize = 8;
/// How long all of them have.
const ASK_TIME: Duration = Duration::from_secs(2);

/// Microseconds since 1970; 0 before that.
fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Tells whoever asks, until it is stopped.
pub(crate) async fn tell(network: Network, stop: CancellationToken) {
    telling::tell(network, PROTOCOL, |_| now_us().to_be_bytes(), stop).await;
}

/// Asks peers, and compares with the median of what they say.
pub(crate) async fn check(network: &Network, peers: &[PeerId]) -> ClockCheck {
    let asking = peers.iter().take(MAX_ASKED).map(|peer| tokio::time::timeout(ASK_TIME, ask(network, *peer)));
    let mut asking: FuturesUnordered<_> = asking.collect();
    let mut ahead_us = Vec::with_capacity(MAX_ASKED);
    while let Some(told) = asking.next().await {
        match told {
            Ok(Ok(us)) => ahead_us.push(us),
            Ok(Err(error)) => tracing::debug!(%error, "a peer does not tell the time"),
            Err(_) => {}
        }
    }
    ClockCheck { peers: ahead_us.len() as u32, ahead_ms: median(ahead_us).map(|us| us / 1_000) }
}

/// By how many microseconds this clock is ahead of a peer's: half the round trip is taken for the way back.
async fn ask(network: &Network, peer: PeerId) -> std::io::Result<i64> {
    let opened = network.open_stream(peer, PROTOCOL, ASK_TIME).await;
    let (_, mut stream) = opened.map_err(|error| std::io::Error::other(error.to_string()))?;
    let (begun, before_us) = (Instant::now(), now_us());
    let theirs = stream.read_u64().await?;
    let half_us = u64::try_from(begun.elapsed().as_micros() / 2).unwrap_or(u64::MAX);
    Ok(ahead(before_us.saturating_add(half_us), theirs))
}

fn ahead(ours: u64, theirs: u64) -> i64 {
    let by = i64::try_from(ours.abs_diff(theirs)).unwrap_or(i64::MAX);
    if ours >= theirs { by } else { -by }
}

/// The middle one; of two in the middle the lower.
fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_liar_does_not_move_the_median_far_and_no_time_is_too_far_off() {
        assert_eq!(median(Vec::new()), None);
        assert_eq!(median(vec![5]), Some(5));
        assert_eq!(median(vec![7, i64::MAX, 5]), Some(7));
        assert_eq!(median(vec![i64::MIN, 5, 7, i64::MIN]), Some(i64::MIN));
        assert_eq!((ahead(5, 7), ahead(7, 5), ahead(0, u64::MAX), ahead(u64::MAX, 0)), (-2, 2, -i64::MAX, i64::MAX));
    }
}
