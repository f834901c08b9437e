//! Contacts on the local network, by tags that strangers cannot read: announced, heard, dialled.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use p2p_identity::LanTag;
use p2p_transport::{KnownTags, LanPorts, LanTags, MAX_LAN_TAGS, lan_addresses};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Network;

/// Pauses after the first announcements in a network that is new; a contact that comes later announces itself.
const BURST: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
/// The pause after each further one.
const EVERY: Duration = Duration::from_secs(60);
/// How often it is looked whether this computer is in another network.
const LOOK: Duration = Duration::from_secs(15);

/// The tags of this hour.
#[derive(Clone, Default)]
pub(crate) struct Beacons {
    /// Of this user, one for each contact.
    pub(crate) own: Vec<LanTag>,
    /// Of the contacts.
    pub(crate) known: Arc<KnownTags>,
}

/// Whether this node says where it is, or only hears contacts who do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LanMode {
    /// It is announced openly already.
    Hear,
    /// These announcements are all there is.
    HearAndAnnounce,
}

/// When what is due.
struct Plan {
    announced: usize,
    announce_at: Instant,
    look_at: Instant,
}

impl Plan {
    fn new(now: Instant) -> Self {
        Self { announced: 0, announce_at: now, look_at: now }
    }

    fn begin_anew(&mut self, now: Instant) {
        (self.announced, self.announce_at) = (0, now);
    }

    fn on_announced(&mut self, now: Instant) {
        self.announce_at = now + BURST.get(self.announced).copied().unwrap_or(EVERY);
        self.announced = self.announced.saturating_add(1);
    }
}

/// Runs until `stop`. While there are no tags there is no socket.
pub(crate) async fn run(
    network: Network,
    mode: LanMode,
    mut beacons: watch::Receiver<Beacons>,
    stop: CancellationToken,
) {
    let keep = stop.clone();
    let running = async move {
        while beacons.wait_for(|beacons| !beacons.known.is_empty()).await.is_ok() {
            match LanTags::open() {
                Ok(tags) => hear(&network, mode, &mut beacons, tags).await,
                Err(error) => {
                    tracing::warn!(%error, "contacts are not looked for in the local network");
                    return;
                }
            }
        }
    };
    keep.run_until_cancelled(running).await;
}

/// Until there are no tags any more.
async fn hear(network: &Network, mode: LanMode, beacons: &mut watch::Receiver<Beacons>, mut tags: LanTags) {
    let mut plan = Plan::new(Instant::now());
    let mut round = 0;
    loop {
        let now_known = beacons.borrow_and_update().clone();
        if now_known.known.is_empty() {
            return;
        }
        let announce_at = (mode == LanMode::HearAndAnnounce).then_some(plan.announce_at);
        let wake = announce_at.map_or(plan.look_at, |at| at.min(plan.look_at));
        tokio::select! {
            changed = beacons.changed() => match changed {
                Ok(()) => plan.begin_anew(Instant::now()),
                Err(_) => return,
            },
            (peer, addresses) = tags.heard(&now_known.known) => network.on_lan_contact(peer, addresses).await,
            () = tokio::time::sleep_until(wake) => {
                let now = Instant::now();
                if now >= plan.look_at {
                    plan.look_at = now + LOOK;
                    if tags.join(&addresses().await) {
                        plan.begin_anew(now);
                    }
                }
                if mode == LanMode::HearAndAnnounce && now >= plan.announce_at {
                    let ports = ports(&network.snapshot().listen);
                    if ports != LanPorts::default() {
                        tags.announce(&window(&now_known.own, round), ports);
                        round = round.wrapping_add(1);
                    }
                    plan.on_announced(now);
                }
            }
        }
    }
}

async fn addresses() -> BTreeSet<Ipv4Addr> {
    tokio::task::spawn_blocking(lan_addresses).await.unwrap_or_default()
}

/// The tags whose turn it is, where there are more than one announcement has room for.
fn window(own: &[LanTag], round: usize) -> Vec<LanTag> {
    if own.len() <= MAX_LAN_TAGS {
        return own.to_vec();
    }
    own.iter().cycle().skip(round.wrapping_mul(MAX_LAN_TAGS) % own.len()).take(MAX_LAN_TAGS).copied().collect()
}

/// Where others on the link can reach this node.
fn ports(listen: &[Multiaddr]) -> LanPorts {
    let mut ports = LanPorts::default();
    for address in listen {
        let parts: Vec<Protocol<'_>> = address.iter().take(3).collect();
        match parts.as_slice() {
            [Protocol::Ip4(ip), ..] if ip.is_loopback() => {}
            [Protocol::Ip4(_), Protocol::Udp(port), Protocol::QuicV1] => ports.quic = Some(*port),
            [Protocol::Ip4(_), Protocol::Tcp(port)] => ports.tcp = Some(*port),
            _ => {}
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use p2p_identity::IdentityId;

    use super::*;

    #[test]
    fn more_tags_than_fit_take_turns() {
        let own: Vec<LanTag> = (0..100u64).map(|n| LanTag::new(&[1; 32], n, &IdentityId::from([2; 32]))).collect();
        let mut seen = BTreeSet::new();
        for round in 0..4 {
            let tags = window(&own, round);
            assert_eq!(tags.len(), MAX_LAN_TAGS);
            seen.extend(tags.iter().map(|tag| tag.tag));
        }
        assert_eq!(seen.len(), own.len(), "each has its turn");
        assert_eq!(window(&own[..64], 3), own[..64]);
    }

    #[test]
    fn only_ports_that_others_reach_are_announced() {
        let listen = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("an address")).collect::<Vec<_>>();
        let only_here = listen(&["/ip4/127.0.0.1/tcp/4001", "/ip6/::1/tcp/4001"]);
        assert_eq!(ports(&only_here), LanPorts::default());
        let open = listen(&["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.5/tcp/4001", "/ip4/192.168.1.5/udp/4002/quic-v1"]);
        assert_eq!(ports(&open), LanPorts { tcp: Some(4001), quic: Some(4002) });
        let relayed =
            listen(&["/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf/p2p-circuit"]);
        assert_eq!(ports(&relayed), LanPorts::default(), "that is the relay's");
    }

    #[test]
    fn the_first_announcements_come_at_0_1_and_3_seconds_then_each_minute() {
        let begun = Instant::now();
        let mut plan = Plan::new(begun);
        let mut at = Vec::new();
        for _ in 0..5 {
            at.push((plan.announce_at - begun).as_secs());
            plan.on_announced(plan.announce_at);
        }
        assert_eq!(at, [0, 1, 3, 63, 123]);
    }
}
