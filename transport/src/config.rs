//! What can be set about transports, with defaults (overlay.md, section 7).

use std::time::Duration;

use libp2p::PeerId;
use serde::{Deserialize, Serialize};

/// For whom this node is a relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RelayMode {
    /// For nobody.
    #[default]
    Off,
    /// For trusted peers, without caps.
    Trusted,
    /// For everybody, within caps.
    Public,
}

/// For how many this node is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// `server` while the node is reached at a global address of its own interface, else `home`.
    #[default]
    Auto,
    /// For its owner: the limits as they stand.
    Home,
    /// For many: four times as many connections, new ones, and hosts dialled.
    Server,
}

/// Settings of the transport part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Multiaddrs to listen on. Port 0 takes a free port.
    pub listen: Vec<String>,
    /// Whether to look for peers on the local network by mDNS. Announces the peer id there.
    pub mdns: bool,
    /// Whether contacts are recognised on the local network by tags that change every hour and say nothing to others. With
    /// `mdns` off they are all that is announced.
    pub lan_tags: bool,
    /// Whether to ask the router for a port (UPnP, PCP and NAT-PMP, at once). It is renewed while the node runs, and given
    /// back when it stops.
    pub port_mapping: bool,
    /// Whether this node is a relay for others: `off`, `trusted` (the peers of `limits.trusted_peers`, without caps) or
    /// `public` (anybody, at most 32 circuits of 256 MiB and an hour each).
    pub relay: RelayMode,
    /// Relays of your own, as multiaddrs that end in `/p2p/<peer id>`: asked before those that are found.
    pub relays: Vec<String>,
    /// Connections without any stream close after this many seconds. Longer keeps more sockets open, shorter makes
    /// apps dial again.
    pub idle_timeout_s: u64,
    /// Limits for what strangers can make grow.
    pub limits: LimitsConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1", "/ip6/::/tcp/0", "/ip6/::/udp/0/quic-v1"]
                .map(str::to_owned)
                .to_vec(),
            mdns: true,
            lan_tags: true,
            port_mapping: true,
            relay: RelayMode::Off,
            relays: Vec::new(),
            idle_timeout_s: 60,
            limits: LimitsConfig::default(),
        }
    }
}

impl Config {
    /// The idle limit as a duration.
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_s)
    }
}

/// Limits of connections (overlay.md, section 7, home profile; see [`Profile`]). Rules about addresses count global addresses only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// `auto`, `home`, or `server`, which has four times as many connections, new ones and hosts dialled. `auto` is
    /// `server` while the node is reached at a global address of its own. Memory and what one address may do stay as they are.
    pub profile: Profile,
    /// Established inbound connections.
    pub established_in: u32,
    /// Established outbound connections.
    pub established_out: u32,
    /// Established connections in all.
    pub established: u32,
    /// Inbound connections that are still being negotiated.
    pub pending_in: u32,
    /// Dials under way.
    pub pending_out: u32,
    /// Connections to one peer.
    pub per_peer: u32,
    /// Inbound connections from one global IPv4 address.
    pub per_ipv4: u32,
    /// Inbound connections from one global IPv6 /56.
    pub per_ipv6_56: u32,
    /// Inbound connections from one global IPv6 /48.
    pub per_ipv6_48: u32,
    /// New inbound connections a second for the whole node; the burst is five times that.
    pub new_per_second: u32,
    /// New inbound connections a second from one global address group; the burst is eight times that.
    pub new_per_second_per_ip: u32,
    /// New global hosts a second that this node dials unasked; more wait for two seconds at most. 0 = no limit. Hosts that the
    /// user named and trusted peers do not count.
    pub new_hosts_per_second: u32,
    /// Above this many resident MiB new inbound connections are refused; an eighth more, and idle ones of strangers are
    /// closed. 0 = 80 % of the smaller of 256 MiB and an eighth of the memory.
    pub memory_mib: u64,
    /// Peer ids that meet no limit here but the total and `per_peer`, e.g. your own other nodes. A quarter of all connections
    /// is kept free for them.
    pub trusted_peers: Vec<String>,
}

impl LimitsConfig {
    /// The trusted peers. Texts that are no peer ids are left out with a warning.
    pub fn trusted(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.trusted_peers.iter().filter_map(|text| {
            text.parse().inspect_err(|error| tracing::warn!(peer = %text, %error, "not a peer id, ignored")).ok()
        })
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            profile: Profile::Auto,
            established_in: 256,
            established_out: 256,
            established: 384,
            pending_in: 64,
            pending_out: 32,
            per_peer: 4,
            per_ipv4: 8,
            per_ipv6_56: 8,
            per_ipv6_48: 64,
            new_per_second: 10,
            new_per_second_per_ip: 1,
            new_hosts_per_second: 8,
            memory_mib: 0,
            trusted_peers: Vec::new(),
        }
    }
}
