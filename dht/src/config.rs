//! What can be set about the DHT, with defaults.

use std::time::Duration;

use libp2p::StreamProtocol;
use serde::{Deserialize, Serialize};

/// How long a lookup may take. The library's 60 s only delay the bad news.
pub(crate) const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one peer may take to answer a request. The library's 10 s are those of the whole lookup: a few silent peers would
/// use them up.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a provider record lives (drives.md 8.3).
pub(crate) const PROVIDER_TTL: Duration = Duration::from_secs(24 * 3600);
/// How often this node says again what it provides: twice in the life of a record, so one failure is survived. Kademlia's
/// own repetition would send all at once.
pub(crate) const REPUBLISH: Duration = Duration::from_secs(12 * 3600);
/// Largest Kademlia message in bytes (overlay.md 6, note b).
pub(crate) const MAX_PACKET_BYTES: usize = 16 * 1024;

/// Settings of the DHT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether this node answers queries. `auto` answers at once while no DHT server is connected at a global address
    /// (this computer, a LAN, the first public node), otherwise once strangers are known to reach it.
    pub mode: ModeSetting,
    /// Multiaddrs with `/p2p/<peer id>` of nodes to start from.
    pub bootstrap: Vec<String>,
    /// Requests a second that one peer may send, 20 by default; five times that at once. A peer that sends more is
    /// disconnected, unless it is one of `transport.limits.trusted_peers`. 0 = no limit.
    pub requests_per_second: u32,
    /// The same for all peers of one group of global addresses together (an IPv4 /24 or an IPv6 /48), 50 by default.
    pub requests_per_second_per_group: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: ModeSetting::default(),
            bootstrap: Vec::new(),
            requests_per_second: 20,
            requests_per_second_per_group: 50,
        }
    }
}

/// See [`Config::mode`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModeSetting {
    /// By the rule.
    #[default]
    Auto,
    /// Always answer.
    Server,
    /// Never answer.
    Client,
}

/// The protocol name of a network's DHT (overlay.md 6, rule 1).
pub(crate) fn protocol(network: &str) -> StreamProtocol {
    StreamProtocol::try_from_owned(format!("/p2pnode/{network}/kad/1")).expect("starts with a slash")
}
