//! How many new hosts are dialled within a second (overlay.md, section 7, "dialling").
//!
//! A lookup learns addresses by the hundred, and a node that knocked at all of them at once would look like a scanner to
//! its provider, and be one for whoever made the addresses up. So a dial to a host that was not dialled lately waits for
//! its turn; when too many wait it is refused. Local addresses, hosts the user named, peers the user asked for and peers
//! the user trusts have no turn to wait for.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent};

use crate::DialGuard;

/// The time within which hosts are counted.
const SECOND: Duration = Duration::from_secs(1);
/// Longest wait for a turn. Half of what people wait for a lookup would be too long; the rest of a dial needs time too.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// How long a host that was dialled is not a new one.
const KNOWN_FOR: Duration = Duration::from_secs(600);
/// Hosts remembered; the one dialled first leaves for a new one.
const MAX_KNOWN: usize = 1_024;

/// When a host may be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// At once.
    Now,
    /// After this time.
    After(Duration),
    /// Not now: too many wait.
    Never,
}

/// Turns of new hosts.
#[derive(Debug)]
pub(crate) struct DialPace {
    /// 0: no limit.
    per_second: usize,
    /// When the newest of them are, or will be, dialled; as many as one second holds.
    turns: VecDeque<Instant>,
    known: HashMap<IpAddr, Instant>,
}

impl DialPace {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second: per_second as usize, turns: VecDeque::new(), known: HashMap::new() }
    }

    /// Changes the limit; turns that were given stay.
    pub(crate) fn set_per_second(&mut self, per_second: u32) {
        self.per_second = per_second as usize;
        while self.turns.len() > self.per_second {
            self.turns.pop_front();
        }
    }

    /// Its name, how many hosts are remembered, and the most that will be.
    pub(crate) fn room(&self) -> (&'static str, usize, usize) {
        ("hosts that were dialled lately", self.known.len(), MAX_KNOWN)
    }

    #[cfg(test)]
    pub(crate) fn per_second(&self) -> usize {
        self.per_second
    }

    /// The turn of a host, which is taken with this call.
    pub(crate) fn turn(&mut self, now: Instant, host: IpAddr) -> Turn {
        if self.per_second == 0 {
            return Turn::Now;
        }
        // Its other addresses wait as long as its first one does.
        if let Some(at) = self.known.get(&host)
            && now.saturating_duration_since(*at) < KNOWN_FOR
        {
            return turn_at(now, *at);
        }
        let is_full = self.turns.len() >= self.per_second;
        let at = match self.turns.front() {
            Some(first) if is_full => (*first + SECOND).max(now),
            _ => now,
        };
        if at > now + MAX_WAIT {
            return Turn::Never;
        }
        if is_full {
            self.turns.pop_front();
        }
        self.turns.push_back(at);
        self.remember(host, at);
        turn_at(now, at)
    }

    fn remember(&mut self, host: IpAddr, at: Instant) {
        if self.known.len() >= MAX_KNOWN
            && let Some(first) = self.known.iter().min_by_key(|(_, at)| **at).map(|(host, _)| *host)
        {
            self.known.remove(&first);
        }
        self.known.insert(host, at);
    }
}

fn turn_at(now: Instant, at: Instant) -> Turn {
    match at.checked_duration_since(now) {
        Some(wait) if !wait.is_zero() => Turn::After(wait),
        _ => Turn::Now,
    }
}

/// Why a dial failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PacedError<E> {
    /// It would have waited for too long.
    #[error("not dialled: too many new hosts are dialled just now")]
    TooMany,
    /// The transport's own.
    #[error(transparent)]
    Transport(E),
}

/// A transport whose dials to new hosts wait for their turn. Stands around all others, so that each dial is seen once.
pub(crate) struct Paced<T> {
    transport: T,
    guard: DialGuard,
}

impl<T> Paced<T> {
    pub(crate) fn new(transport: T, guard: DialGuard) -> Self {
        Self { transport, guard }
    }
}

impl<T> Transport for Paced<T>
where
    T: Transport + Unpin,
    T::Dial: Send + 'static,
    T::Output: 'static,
    T::Error: 'static,
{
    type Output = T::Output;
    type Error = PacedError<T::Error>;
    type ListenerUpgrade = futures::future::MapErr<T::ListenerUpgrade, fn(T::Error) -> PacedError<T::Error>>;
    type Dial = Pin<Box<dyn Future<Output = Result<T::Output, PacedError<T::Error>>> + Send>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        self.transport.listen_on(id, address).map_err(|error| error.map(PacedError::Transport))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.transport.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<Self::Error>> {
        let wait = match self.guard.turn(&address, Instant::now()) {
            Turn::Now => Duration::ZERO,
            Turn::After(wait) => wait,
            Turn::Never => return Err(TransportError::Other(PacedError::TooMany)),
        };
        // Nothing is sent before the dial is polled.
        let dial = self.transport.dial(address, options).map_err(|error| error.map(PacedError::Transport))?;
        Ok(Box::pin(async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            dial.await.map_err(PacedError::Transport)
        }))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        use futures::TryFutureExt;
        let wrap: fn(T::Error) -> PacedError<T::Error> = PacedError::Transport;
        let event = std::task::ready!(Pin::new(&mut self.transport).poll(cx));
        Poll::Ready(event.map_upgrade(|upgrade| upgrade.map_err(wrap)).map_err(wrap))
    }
}

impl DialGuard {
    fn turn(&self, address: &Multiaddr, now: Instant) -> Turn {
        let Some(host) = self.host_with_a_turn(address, now) else { return Turn::Now };
        let turn = self.pace().lock().unwrap_or_else(PoisonError::into_inner).turn(now, host);
        if turn == Turn::Never {
            tracing::debug!(%address, "not dialled: too many new hosts just now");
            self.count_too_many();
        }
        turn
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn host(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0909_0000 + n).into()
    }

    #[test]
    fn no_second_sees_more_than_eight_new_hosts() {
        let (mut pace, start) = (DialPace::new(8), Instant::now());
        let mut dialled = Vec::new();
        for n in 0..200 {
            let now = start + Duration::from_millis(u64::from(n) * 50);
            match pace.turn(now, host(n)) {
                Turn::Now => dialled.push(now),
                Turn::After(wait) => dialled.push(now + wait),
                Turn::Never => {}
            }
        }
        assert!(dialled.is_sorted());
        for (first, ninth) in dialled.iter().zip(dialled.iter().skip(8)) {
            assert!(*ninth >= *first + SECOND, "{:?}", *ninth - *first);
        }
        assert!((80..=105).contains(&dialled.len()), "the rate is used: {}", dialled.len());
    }

    #[test]
    fn a_flood_of_hosts_is_refused_and_a_known_one_is_not() {
        let (mut pace, now) = (DialPace::new(8), Instant::now());
        let turns: Vec<Turn> = (0..100).map(|n| pace.turn(now, host(n))).collect();
        assert_eq!(turns.iter().filter(|turn| **turn == Turn::Now).count(), 8);
        assert_eq!(turns.iter().filter(|turn| matches!(turn, Turn::After(_))).count(), 16, "two seconds' worth wait");
        assert_eq!(pace.turn(now, host(99)), Turn::Never);
        assert_eq!(pace.turn(now, host(0)), Turn::Now, "one that was dialled is not new");
        assert_eq!(pace.turn(now, host(8)), Turn::After(SECOND), "its second address waits as its first does");
        assert_eq!(pace.turn(now + Duration::from_secs(4), host(99)), Turn::Now);
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let (mut pace, start) = (DialPace::new(8), Instant::now());
        for n in 0..3_000 {
            let _ = pace.turn(start + Duration::from_millis(125) * n, host(n));
        }
        assert!(pace.known.len() <= MAX_KNOWN && pace.turns.len() <= 8);
    }
}
