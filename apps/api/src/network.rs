//! Who this node is and whom it is connected to.

use std::time::Duration;

use p2p_identity::PeerId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// Round-trip time in milliseconds.
    pub rtt_ms: f64,
    /// How the connection runs.
    pub kind: PathKind,
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
