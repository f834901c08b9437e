//! Taking the port: loopback only, and a taken port is no reason for the node not to run.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};
use tracing::{debug, warn};

use crate::Settings;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Bytes that the system holds for a reader. Nobody is far away on loopback, so more would only cost memory where many
/// readers are slow.
const SEND_BUFFER_BYTES: u32 = 256 * 1024;

/// An address that others could reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway listens on this computer only, and {0} is not an address of it alone")]
pub struct NotLoopback(pub IpAddr);

/// Listeners at one port. Empty, with a warning in the log, where the port is taken.
pub(crate) fn listen(settings: &Settings) -> Result<Vec<TcpListener>, NotLoopback> {
    if let Some(open) = settings.addresses.iter().find(|address| !address.is_loopback()) {
        return Err(NotLoopback(*open));
    }
    let mut listeners = Vec::new();
    let mut port = settings.port;
    for (index, ip) in settings.addresses.iter().enumerate() {
        let address = SocketAddr::new(*ip, port);
        match bind(address) {
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

fn bind(address: SocketAddr) -> io::Result<(TcpListener, u16)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As a listener of the standard library: a port that was in use a moment ago can be taken again.
    socket.set_reuseaddr(true)?;
    // Accepted connections have it too.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}
