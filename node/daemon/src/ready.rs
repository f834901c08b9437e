//! The lines that say that a node runs, or what it waits for.

use std::fmt;
use std::path::PathBuf;

use serde_json::json;

/// What a daemon tells when it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// This node's id.
    pub peer_id: String,
    /// Multiaddrs it listens on.
    pub listen: Vec<String>,
    /// The local socket.
    pub api: PathBuf,
    /// Address of the web gateway, if it runs.
    pub gateway: Option<String>,
}

impl Ready {
    /// One line of JSON (cli.md, `p2pnode start`).
    pub fn to_json(&self) -> String {
        let Self { peer_id, listen, api, gateway } = self;
        json!({
            "event": "ready", "peer_id": peer_id, "listen": listen, "api": api.to_string_lossy(), "gateway": gateway,
        })
        .to_string()
    }
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Node {} is ready.", self.peer_id)?;
        for address in &self.listen {
            writeln!(f, "  listens on {address}")?;
        }
        writeln!(f, "  local API  {}", self.api.display())?;
        write!(f, "Stop it with Ctrl-C or `p2pnode stop`.")
    }
}

/// How far a daemon has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Ready(Ready),
    /// It waits for the passphrase before it starts.
    Closed {
        /// The local socket, at which it waits.
        api: PathBuf,
    },
}

impl State {
    /// One line of JSON (cli.md, `p2pnode start`).
    pub fn to_json(&self) -> String {
        match self {
            Self::Ready(ready) => ready.to_json(),
            Self::Closed { api } => json!({ "event": "closed", "api": api.to_string_lossy() }).to_string(),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(ready) => ready.fmt(f),
            Self::Closed { .. } => f.write_str("The node is closed and waits for its passphrase: p2p unlock"),
        }
    }
}
