//! What can be set.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// The port in every address of a site. Origins contain it, so it stays the same.
pub const DEFAULT_PORT: u16 = 8642;

/// Settings of a [`crate::Gateway`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Loopback addresses to listen on, all at one port. Without the first there is no gateway; the others are taken
    /// where the system has them. Default: 127.0.0.1, then ::1.
    pub addresses: Vec<IpAddr>,
    /// The port, 8642 by default; 0 takes a free one, for tests: links and stored data of sites are lost with it.
    pub port: u16,
    /// How long a request waits for its first byte, and a body for its next, before it is given up. Default: 30 s.
    pub patience: Duration,
    /// How long a client may take no bytes at all before its connection is cut. Default: 60 s.
    pub write_timeout: Duration,
    /// Open connections; more wait in the listener's queue. Default: 1,200, so that 1,000 slow readers leave room.
    pub max_connections: usize,
    /// Drives whose state is kept in memory. Default: 64; the one not used for longest goes first.
    pub max_open_drives: u64,
    /// Memory for small files, in bytes. Default: 32 MiB; 0 keeps none.
    pub cache_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            addresses: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            port: DEFAULT_PORT,
            patience: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            max_connections: 1_200,
            max_open_drives: 64,
            cache_bytes: 32 * 1024 * 1024,
        }
    }
}

impl Settings {
    /// Listens at one address only.
    pub fn at(address: SocketAddr) -> Self {
        Self { addresses: vec![address.ip()], port: address.port(), ..Self::default() }
    }
}
