//! Taking the port: loopback only, and a taken port is no reason for the node not to run.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpListener;
use tracing::{debug, warn};

use crate::Settings;

/// An address that others could reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway listens on this computer only, and {0} is not an address of it alone")]
pub struct NotLoopback(pub IpAddr);

/// Listeners at one port. Empty, with a warning in the log, where the port is taken.
pub(crate) async fn listen(settings: &Settings) -> Result<Vec<TcpListener>, NotLoopback> {
    if let Some(open) = settings.addresses.iter().find(|address| !address.is_loopback()) {
        return Err(NotLoopback(*open));
    }
    let mut listeners = Vec::new();
    let mut port = settings.port;
    for (index, ip) in settings.addresses.iter().enumerate() {
        let address = SocketAddr::new(*ip, port);
        match bind(address).await {
            Ok((listener, taken)) => {
                port = taken;
                listeners.push(listener);
            }
            Err(error) if index == 0 => {
                warn!(%address, %error, "no web gateway: the address cannot be used; another program may have the port");
                return Ok(Vec::new());
            }
            // Most often a computer without IPv6.
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => debug!(%address, %error, "not listening here"),
            Err(error) => warn!(%address, %error, "another program has this port; it may be asked instead of us"),
        }
    }
    Ok(listeners)
}

async fn bind(address: SocketAddr) -> io::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind(address).await?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}
