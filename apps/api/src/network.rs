//! Who this node is and whom it is connected to.

use std::time::Duration;

use p2p_identity::PeerId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::NatInfo;

/// How long a call waits for the network where nothing else is said.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether other peers can dial this node; a tested fact, not a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reachability {
    /// Another peer really dialled us.
    Public,
    /// Peers tried and could not.
    Private,
    /// Nobody has tried yet.
    Unknown,
}

/// Whether this node answers DHT queries or only asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DhtMode {
    /// Answers queries and stores records.
    Server,
    /// Only asks.
    Client,
}

/// How a connection runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    /// Within the local network or this computer.
    Lan,
    /// Straight over the Internet.
    Direct,
    /// Through a relay.
    Relayed,
}

/// The way a connection goes, more finely than [`PathKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeerPath {
    /// Within the local network or this computer.
    Lan,
    /// Straight over the Internet.
    Direct,
    /// Straight over the Internet, through a hole that both sides made in their routers at the same moment.
    Punched,
    /// Through a relay.
    Relayed,
}

impl PeerPath {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Direct => "direct",
            Self::Punched => "punched",
            Self::Relayed => "relayed",
        }
    }
}

impl From<PathKind> for PeerPath {
    /// What is known of the way where nobody tells whether a hole was made.
    fn from(kind: PathKind) -> Self {
        match kind {
            PathKind::Lan => Self::Lan,
            PathKind::Direct => Self::Direct,
            PathKind::Relayed => Self::Relayed,
        }
    }
}

/// What came of asking the router for a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PortMappingState {
    /// The settings say not to ask.
    Off,
    /// No answer yet.
    Asking,
    /// It leads a port of its own to this node.
    Mapped,
    /// It would, and stands behind another router itself.
    Nested,
    /// It does not want to.
    Refused,
    /// No router answers, in any protocol.
    Silent,
}

/// What the router does for this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PortMapping {
    /// What came of it.
    pub state: PortMappingState,
    /// Protocols in which a port was given: `upnp`, `pcp`, `nat_pmp`.
    #[serde(default)]
    pub protocols: Vec<String>,
    /// Multiaddrs at the router that lead to this node.
    #[serde(default)]
    pub addresses: Vec<String>,
}

/// Who and how this node is (`p2pnode status`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeInfo {
    /// This node's id.
    #[schema(value_type = String)]
    pub peer_id: PeerId,
    /// Version of the program.
    pub version: String,
    /// Name of the overlay network, `main` by default.
    pub network: String,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Multiaddrs this node listens on.
    pub listen: Vec<String>,
    /// Multiaddrs at which others reach it.
    pub external: Vec<String>,
    /// Whether others can dial it.
    pub reachability: Reachability,
    /// Connected peers.
    pub peers: u32,
    /// Peers in the DHT's routing table.
    pub dht_peers: u32,
    /// Server or client.
    pub dht_mode: DhtMode,
    /// Relays in use.
    pub relays: Vec<String>,
    /// What the router does for it, where the node tells.
    #[serde(default)]
    pub port_mapping: Option<PortMapping>,
    /// How the router treats its ports, as far as it was measured; an older node does not tell.
    #[serde(default)]
    pub nat: Option<NatInfo>,
    /// Resident memory in bytes; 0 where the system does not tell.
    pub rss_bytes: u64,
    /// Drives known to this node.
    pub drives: u32,
    /// Address of the web gateway, if it runs.
    pub gateway: Option<String>,
    /// Whether the keys are locked: what needs one waits until they are unlocked.
    #[serde(default)]
    pub locked: bool,
    /// Sentences about what was recovered or moved aside at the start, and what the user should know since.
    #[serde(default)]
    pub notices: Vec<String>,
    /// How it finds others in its local networks; an older node does not tell.
    #[serde(default)]
    pub lan: Option<LanInfo>,
}

/// How a node finds others in its local networks (`p2p doctor lan`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct LanInfo {
    /// Networks it is in: interface, address and length of the prefix, such as `eth0 192.168.1.5/24`.
    pub networks: Vec<String>,
    /// Whether it asks by multicast (mDNS).
    pub mdns: bool,
    /// Peers that answered so since the start.
    pub mdns_found: u32,
    /// Interfaces behind which no other computer is (bridges of containers, tunnels), which multicast goes to as well.
    pub virtual_interfaces: Vec<String>,
    /// Whether the router of one of the networks answers; `None` where there is none.
    pub router_answers: Option<bool>,
    /// Peers remembered from earlier in these networks.
    pub remembered: u32,
    /// Those of them that are connected within the network.
    pub remembered_connected: u32,
    /// Remembered peers that were dialled where they were met, the last time this was done.
    pub asked: u32,
    /// Seconds since then.
    pub asked_s_ago: Option<u64>,
    /// Neighbours of whom nothing came back the last time they were dialled.
    pub silent: u32,
    /// Neighbours whose computer answered the last time, but no node.
    pub refusing: u32,
    /// Friends that were found to be behind the same router, by what they told over a relay.
    pub same_router: u32,
    /// Addresses in local networks that links told.
    pub linked: u32,
    /// Relays in the local network that know this node, of all in `relays`.
    pub relays: u32,
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PeerInfo {
    /// The peer's id.
    #[schema(value_type = String)]
    pub peer: PeerId,
    /// Its address on the best connection.
    pub address: String,
    /// How the connection runs.
    pub kind: PathKind,
    /// `tcp`, `quic` or `memory`.
    pub transport: String,
    /// Round-trip time in milliseconds, when measured.
    pub rtt_ms: Option<f64>,
    /// What the peer says it runs.
    pub agent: Option<String>,
    /// Whether we dialled.
    pub outbound: bool,
    /// Open connections to it.
    pub connections: u32,
    /// The way that connection goes; an older node does not tell.
    #[serde(default)]
    pub path: Option<PeerPath>,
    /// The relay in between, where there is one.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub relay: Option<PeerId>,
    /// How the router on its side treats its ports, where the peer has told.
    #[serde(default)]
    pub nat: Option<NatInfo>,
    /// Why it is reached through a relay only, where that is known: a sentence without its capital and its full stop.
    #[serde(default)]
    pub why_relayed: Option<String>,
}

impl PeerInfo {
    /// The way, or as much of it as an older node tells.
    pub fn way(&self) -> PeerPath {
        self.path.unwrap_or_else(|| self.kind.into())
    }
}

/// `POST /v1/peers/dial`: whom to connect to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DialRequest {
    /// A multiaddr, or a peer id that is found through LAN and DHT.
    pub target: String,
    /// Seconds until it counts as failed; 30 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<f64>,
}

/// The answer to a dial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dialed {
    /// Who answered.
    #[schema(value_type = String)]
    pub peer: PeerId,
    /// At which address.
    pub address: String,
}

/// The answer to a ping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Ping {
    /// Who was asked.
    #[schema(value_type = String)]
    pub peer: PeerId,
    /// Round-trip time in milliseconds, the mean of [`Self::round_trips_ms`].
    pub rtt_ms: f64,
    /// How the connection runs.
    pub kind: PathKind,
    /// The way it goes; an older node does not tell.
    #[serde(default)]
    pub path: Option<PeerPath>,
    /// The relay in between, where there is one.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub relay: Option<PeerId>,
    /// The peer's address on that connection.
    #[serde(default)]
    pub address: Option<String>,
    /// `tcp`, `quic` or `memory`.
    #[serde(default)]
    pub transport: Option<String>,
    /// Each round trip in milliseconds, in order.
    #[serde(default)]
    pub round_trips_ms: Vec<f64>,
    /// How the router on its side treats its ports, where the peer has told.
    #[serde(default)]
    pub nat: Option<NatInfo>,
    /// Why it is reached through a relay only, where that is known: a sentence without its capital and its full stop.
    #[serde(default)]
    pub why_relayed: Option<String>,
}

impl Ping {
    /// The way, or as much of it as an older node tells.
    pub fn way(&self) -> PeerPath {
        self.path.unwrap_or_else(|| self.kind.into())
    }

    /// The shortest and the longest round trip, in milliseconds.
    pub fn range_ms(&self) -> (f64, f64) {
        let trips = || self.round_trips_ms.iter().copied();
        (trips().reduce(f64::min).unwrap_or(self.rtt_ms), trips().reduce(f64::max).unwrap_or(self.rtt_ms))
    }
}

/// A peer that says it provides a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Provider {
    /// The peer.
    #[schema(value_type = String)]
    pub peer: PeerId,
    /// Multiaddrs, as far as known.
    pub addresses: Vec<String>,
}
