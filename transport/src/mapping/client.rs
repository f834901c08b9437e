//! What is asked of the router, when, and what its answers mean. Decides only: datagrams and the time are its inputs.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use super::wire::{self, Answer, Kind, Nonce};

/// For how long a port is asked, in seconds; the router may give less.
const LIFETIME_S: u32 = 3_600;
/// More than a day is not believed.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3_600);
/// Renewals are no closer together than this (RFC 6887, section 11.2.1).
const MIN_RENEWAL: Duration = Duration::from_secs(4);
/// When the tries of a request are over, counted from the first; the last is that of nobody answering. Two seconds in all.
const TRIES: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_millis(500), Duration::from_millis(750)];
/// After so many tries in PCP the router is asked in NAT-PMP: one that knows only that should say so, and some do not.
const PCP_TRIES: usize = 2;
/// A router that said nothing, or no, is asked again after this.
const REST: Duration = Duration::from_secs(600);

/// In which protocol a router gave a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MappingProtocol {
    /// The Port Control Protocol, RFC 6887.
    Pcp,
    /// Its predecessor, RFC 6886.
    NatPmp,
}

/// A port of this computer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Port {
    pub(crate) kind: Kind,
    pub(crate) number: u16,
}

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The router leads what comes to `outside` to the port.
    Mapped { port: Port, outside: SocketAddrV4, protocol: MappingProtocol },
    /// It still does.
    Renewed,
    /// It does so no longer.
    Lost { port: Port, outside: SocketAddrV4 },
    /// It does not want to; the number of the reason in its protocol.
    Refused { code: u16 },
    /// It did not answer.
    Silent,
}

#[derive(Debug)]
enum State {
    /// The request was sent `tries` times; the next try, or giving up, is at `next`.
    Asking { tries: usize, next: Instant },
    /// Given until `expires`; asked again at `renew`.
    Given { external: u16, renew: Instant, expires: Instant, is_asked: bool },
    /// Nothing until then.
    Resting { until: Instant },
}

#[derive(Debug)]
struct Entry {
    port: Port,
    nonce: Nonce,
    state: State,
    /// What was last said about it.
    told: Option<SocketAddrV4>,
    /// Where it is from; PCP tells with each port.
    address: Option<Ipv4Addr>,
}

/// The conversation with one router.
#[derive(Debug)]
pub(super) struct Client {
    own: Ipv4Addr,
    entries: Vec<Entry>,
    /// The protocol in which the router answered.
    protocol: Option<MappingProtocol>,
    /// The router's own address, as NAT-PMP tells it.
    address: Option<Ipv4Addr>,
    /// An answer about that is awaited.
    is_address_asked: bool,
}

impl Client {
    /// A conversation about those ports of `own`, each with a number that ties answers to it.
    pub(super) fn new(own: Ipv4Addr, ports: impl IntoIterator<Item = (Port, Nonce)>, now: Instant) -> Self {
        let entry = |(port, nonce)| Entry {
            port,
            nonce,
            state: State::Asking { tries: 0, next: now },
            told: None,
            address: None,
        };
        let entries = ports.into_iter().map(entry).collect();
        Self { own, entries, protocol: None, address: None, is_address_asked: false }
    }

    /// When there is something to do next.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let of = |entry: &Entry| match entry.state {
            State::Asking { next, .. } => next,
            State::Given { renew, .. } => renew,
            State::Resting { until } => until,
        };
        self.entries.iter().map(of).min()
    }

    /// What is to be sent now, and what silence means.
    pub(super) fn on_time(&mut self, now: Instant) -> (Vec<Vec<u8>>, Vec<Outcome>) {
        let (mut out, mut outcomes) = (Vec::new(), Vec::new());
        let mut has_asked_address = false;
        for at in 0..self.entries.len() {
            let (ask, outcome) = self.step(at, now);
            outcomes.extend(outcome);
            let Some(tries) = ask else { continue };
            let protocol = self.protocol.unwrap_or(match tries {
                ..PCP_TRIES => MappingProtocol::Pcp,
                _ => MappingProtocol::NatPmp,
            });
            if protocol == MappingProtocol::NatPmp && !std::mem::replace(&mut has_asked_address, true) {
                self.is_address_asked = true;
                out.push(wire::nat_pmp_address());
            }
            out.extend(self.entries.get(at).map(|entry| self.request(entry, protocol, LIFETIME_S)));
        }
        (out, outcomes)
    }

    /// Moves one entry on. How often it was asked before, if it is to be asked now.
    fn step(&mut self, at: usize, now: Instant) -> (Option<usize>, Option<Outcome>) {
        let Some(entry) = self.entries.get_mut(at) else { return (None, None) };
        match &mut entry.state {
            State::Asking { next, .. } if now < *next => (None, None),
            State::Asking { tries, next } => match TRIES.get(*tries) {
                Some(wait) => {
                    *tries += 1;
                    *next = now + *wait;
                    (Some(*tries - 1), None)
                }
                None => {
                    entry.state = State::Resting { until: now + REST };
                    (None, Some(Outcome::Silent))
                }
            },
            State::Given { renew, .. } if now < *renew => (None, None),
            State::Given { renew, expires, is_asked, .. } if now < *expires => {
                *is_asked = true;
                // Half of what is left, and half of that: an answer that was lost costs nothing.
                *renew = (now + ((*expires - now) / 2).max(MIN_RENEWAL)).min(*expires);
                (Some(0), None)
            }
            State::Given { .. } => {
                entry.state = State::Asking { tries: 0, next: now };
                let (port, lost) = (entry.port, entry.told.take());
                // The router may be another one by now.
                self.protocol = None;
                self.address = None;
                (None, lost.map(|outside| Outcome::Lost { port, outside }))
            }
            State::Resting { until } if now < *until => (None, None),
            State::Resting { .. } => {
                entry.state = State::Asking { tries: 0, next: now };
                self.protocol = None;
                (None, None)
            }
        }
    }

    fn request(&self, entry: &Entry, protocol: MappingProtocol, lifetime_s: u32) -> Vec<u8> {
        let Port { kind, number } = entry.port;
        let external = match entry.state {
            State::Given { external, .. } => external,
            _ => number,
        };
        match protocol {
            MappingProtocol::Pcp => wire::pcp_map(self.own, entry.nonce, kind, number, external, lifetime_s),
            MappingProtocol::NatPmp => {
                // Giving back is a request for no port.
                wire::nat_pmp_map(kind, number, if lifetime_s == 0 { 0 } else { external }, lifetime_s)
            }
        }
    }

    /// What a datagram of the router means.
    pub(super) fn on_datagram(&mut self, bytes: &[u8], now: Instant) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        match wire::decode(bytes) {
            Some(Answer::Pcp { result, lifetime_s, nonce, kind, internal, external, address }) => {
                let port = Port { kind, number: internal };
                let Some(entry) = self.entries.iter_mut().find(|e| e.port == port && e.nonce == nonce) else {
                    return outcomes;
                };
                if !entry.is_awaited() {
                    return outcomes;
                }
                self.protocol = Some(MappingProtocol::Pcp);
                entry.address = Some(address);
                outcomes.extend(entry.on_answer(result.into(), lifetime_s, external, now));
            }
            Some(Answer::NatPmp { result, lifetime_s, kind, internal, external }) => {
                let port = Port { kind, number: internal };
                let Some(entry) = self.entries.iter_mut().find(|e| e.port == port && e.is_awaited()) else {
                    return outcomes;
                };
                self.protocol = Some(MappingProtocol::NatPmp);
                entry.address = None;
                outcomes.extend(entry.on_answer(result, lifetime_s, external, now));
            }
            Some(Answer::Address { result: 0, address }) if std::mem::take(&mut self.is_address_asked) => {
                self.address = Some(address);
            }
            Some(Answer::OtherVersion) if self.protocol.is_none() => {
                self.protocol = Some(MappingProtocol::NatPmp);
                for entry in &mut self.entries {
                    if let State::Asking { next, .. } = &mut entry.state {
                        *next = now;
                    }
                }
            }
            _ => {}
        }
        outcomes.extend(self.news());
        outcomes
    }

    /// What is so now and was not told.
    fn news(&mut self) -> Vec<Outcome> {
        let mut news = Vec::new();
        let Some(protocol) = self.protocol else { return news };
        for entry in &mut self.entries {
            let State::Given { external, .. } = entry.state else { continue };
            let Some(address) = entry.address.or(self.address) else { continue };
            let outside = SocketAddrV4::new(address, external);
            if entry.told == Some(outside) {
                continue;
            }
            let port = entry.port;
            news.extend(entry.told.replace(outside).map(|outside| Outcome::Lost { port, outside }));
            news.push(Outcome::Mapped { port, outside, protocol });
        }
        news
    }

    /// Gives everything back: what is to be sent.
    pub(super) fn release(&self) -> Vec<Vec<u8>> {
        let Some(protocol) = self.protocol else { return Vec::new() };
        let given = self.entries.iter().filter(|entry| matches!(entry.state, State::Given { .. }));
        given.map(|entry| self.request(entry, protocol, 0)).collect()
    }
}

impl Entry {
    fn is_awaited(&self) -> bool {
        match self.state {
            State::Asking { tries, .. } => tries > 0,
            State::Given { is_asked, .. } => is_asked,
            State::Resting { .. } => false,
        }
    }

    fn on_answer(&mut self, result: u16, lifetime_s: u32, external: u16, now: Instant) -> Vec<Outcome> {
        if result != 0 || lifetime_s == 0 || external == 0 {
            self.state = State::Resting { until: now + REST };
            let port = self.port;
            let lost = self.told.take().map(|outside| Outcome::Lost { port, outside });
            return lost.into_iter().chain([Outcome::Refused { code: result }]).collect();
        }
        let was_given = matches!(self.state, State::Given { external: before, .. } if before == external);
        // One that gives less than two renewals take is asked no more often for it.
        let lifetime = Duration::from_secs(lifetime_s.into()).clamp(MIN_RENEWAL * 2, MAX_LIFETIME);
        let renew = now + lifetime / 2;
        self.state = State::Given { external, renew, expires: now + lifetime, is_asked: false };
        was_given.then_some(Outcome::Renewed).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PORT: Port = Port { kind: Kind::Tcp, number: 4101 };
    const OWN: Ipv4Addr = Ipv4Addr::new(192, 168, 50, 2);
    const OUTSIDE: Ipv4Addr = Ipv4Addr::new(9, 8, 7, 6);

    fn client(now: Instant) -> Client {
        Client::new(OWN, [(PORT, [5; 12])], now)
    }

    /// A PCP answer to a request.
    fn granted(request: &[u8], external: u16, lifetime_s: u32) -> Vec<u8> {
        let mut answer = request.to_vec();
        answer[1] |= 0x80;
        answer[3] = 0;
        answer[4..8].copy_from_slice(&lifetime_s.to_be_bytes());
        answer[42..44].copy_from_slice(&external.to_be_bytes());
        answer[56..60].copy_from_slice(&OUTSIDE.octets());
        answer
    }

    fn mapped(external: u16, protocol: MappingProtocol) -> Outcome {
        Outcome::Mapped { port: PORT, outside: SocketAddrV4::new(OUTSIDE, external), protocol }
    }

    #[test]
    fn a_port_is_asked_for_renewed_at_half_its_life_and_given_back() {
        let mut now = Instant::now();
        let mut client = client(now);
        let (sent, _) = client.on_time(now);
        assert_eq!(sent, [wire::pcp_map(OWN, [5; 12], Kind::Tcp, 4101, 4101, LIFETIME_S)]);
        assert_eq!(client.on_datagram(&granted(&sent[0], 4105, 100), now), [mapped(4105, MappingProtocol::Pcp)]);
        assert_eq!(client.next_wake(), Some(now + Duration::from_secs(50)));
        assert_eq!(client.on_datagram(&granted(&sent[0], 9, 100), now), [], "nothing was asked");
        now += Duration::from_secs(50);
        let (sent, _) = client.on_time(now);
        assert_eq!(sent, [wire::pcp_map(OWN, [5; 12], Kind::Tcp, 4101, 4105, LIFETIME_S)]);
        assert_eq!(client.on_datagram(&granted(&sent[0], 4105, 100), now), [Outcome::Renewed]);
        now += Duration::from_secs(50);
        let (sent, _) = client.on_time(now);
        let lost = Outcome::Lost { port: PORT, outside: SocketAddrV4::new(OUTSIDE, 4105) };
        let moved = client.on_datagram(&granted(&sent[0], 4106, 100), now);
        assert_eq!(moved, [lost, mapped(4106, MappingProtocol::Pcp)]);
        assert_eq!(client.release(), [wire::pcp_map(OWN, [5; 12], Kind::Tcp, 4101, 4106, 0)]);
    }

    #[test]
    fn what_is_not_renewed_is_lost_and_asked_for_again() {
        let start = Instant::now();
        let mut client = client(start);
        let (sent, _) = client.on_time(start);
        client.on_datagram(&granted(&sent[0], 4101, 100), start);
        let (mut now, mut asked, mut seen) = (start, 0, Vec::new());
        while seen.is_empty() {
            now = client.next_wake().expect("always");
            let (sent, outcomes) = client.on_time(now);
            asked += sent.len();
            seen.extend(outcomes);
        }
        assert_eq!(seen, [Outcome::Lost { port: PORT, outside: SocketAddrV4::new(OUTSIDE, 4101) }]);
        assert_eq!(now, start + Duration::from_secs(100));
        assert!((3..8).contains(&asked), "asked {asked} times in the second half");
        assert_eq!(client.on_time(now).0.len(), 1);
    }

    #[test]
    fn a_router_that_knows_only_nat_pmp_is_asked_in_it() {
        let now = Instant::now();
        let mut client = client(now);
        client.on_time(now);
        assert_eq!(client.on_datagram(&[0, 0x81, 0, 1], now), []);
        let (sent, _) = client.on_time(now);
        assert_eq!(sent, [wire::nat_pmp_address(), wire::nat_pmp_map(Kind::Tcp, 4101, 4101, LIFETIME_S)]);
        let given = [0, 0x82, 0, 0, 0, 0, 0, 1, 0x10, 5, 0x10, 6, 0, 0, 0, 200];
        assert_eq!(client.on_datagram(&given, now), [], "where the router is, is not known yet");
        let address = [&[0, 0x80, 0, 0, 0, 0, 0, 1][..], &OUTSIDE.octets()].concat();
        assert_eq!(client.on_datagram(&address, now), [mapped(0x1006, MappingProtocol::NatPmp)]);
        assert_eq!(client.on_datagram(&address, now), []);
        let now = client.next_wake().expect("a renewal");
        assert_eq!(client.on_time(now).0.len(), 2, "the address may have changed");
        assert_eq!(client.on_datagram(&given, now), [Outcome::Renewed]);
        assert_eq!(client.release(), [wire::nat_pmp_map(Kind::Tcp, 4101, 0, 0)]);
    }

    #[test]
    fn a_router_that_says_nothing_is_left_alone_after_two_seconds() {
        let start = Instant::now();
        let mut client = client(start);
        let (mut now, mut seen, mut asked) = (start, Vec::new(), Vec::new());
        while seen.is_empty() {
            let (sent, outcomes) = client.on_time(now);
            asked.extend(sent);
            seen.extend(outcomes);
            now = client.next_wake().expect("always");
        }
        assert_eq!(seen, [Outcome::Silent]);
        assert_eq!(now, start + Duration::from_secs(2) + REST);
        // Twice in PCP, then in NAT-PMP.
        assert_eq!(asked.iter().filter(|datagram| datagram[0] == 2).count(), PCP_TRIES);
        assert_eq!(asked.iter().filter(|datagram| datagram.len() == 12).count(), TRIES.len() - PCP_TRIES);
        assert!(client.release().is_empty());
    }

    #[test]
    fn a_refusal_is_told_and_not_argued_with() {
        let now = Instant::now();
        let mut client = client(now);
        let (sent, _) = client.on_time(now);
        let mut no = granted(&sent[0], 0, 30);
        no[3] = 2;
        assert_eq!(client.on_datagram(&no, now), [Outcome::Refused { code: 2 }]);
        assert_eq!(client.next_wake(), Some(now + REST));
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        let now = Instant::now();
        let mut client = client(now);
        let (sent, _) = client.on_time(now);
        for at in [24, 36, 41] {
            let mut other = granted(&sent[0], 4101, 100);
            other[at] ^= 1;
            assert_eq!(client.on_datagram(&other, now), [], "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_the_client_never_spins(
            answers in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..64), 0_u8..3, any::<u32>()), 0..40),
        ) {
            let mut now = Instant::now();
            let start = now;
            let mut client = client(now);
            for (noise, choice, lifetime_s) in answers {
                let (sent, _) = client.on_time(now);
                match (choice, sent.last()) {
                    (0, _) => drop(client.on_datagram(&noise, now)),
                    (1, Some(request)) if request.len() == 60 => drop(client.on_datagram(&granted(request, 4101, lifetime_s), now)),
                    _ => drop(client.on_datagram(&[0, 0x81, 0, 1], now)),
                }
                now = client.next_wake().expect("always");
            }
            // From here on nobody answers: a bounded number of datagrams an hour.
            let (until, mut sent) = (now.max(start) + Duration::from_secs(3_600), 0);
            while now < until {
                sent += client.on_time(now).0.len();
                now = client.next_wake().expect("always").max(now);
                prop_assert!(sent < 100);
            }
        }
    }
}
