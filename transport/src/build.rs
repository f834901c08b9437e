//! From a key and a configuration to a swarm.

use std::time::Duration;

use futures::future::Either;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, MemoryTransport};
use libp2p::core::upgrade::Version;
use libp2p::identity::{Keypair, ed25519};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{PeerId, Swarm, Transport, dns, noise, quic, relay, tcp, yamux};
use p2p_identity::SecretKey;

use crate::pace::Paced;
use crate::security::Security;
use crate::{Config, DialGuard, ProvenPeers, expected};

/// How long a connection may take, from the first packet to the last word of the handshake. Shorter than the 10 s after which
/// who asked us to test an address stops waiting for the answer.
const CONNECTION_TIME: Duration = Duration::from_secs(8);
/// Streams one connection may have open, in each direction (overlay.md, section 7).
const MAX_STREAMS: usize = 256;
/// Inbound streams that are still agreeing on a protocol; further ones are reset.
const MAX_NEGOTIATING_STREAMS: usize = 16;
/// QUIC receive window of a stream, in bytes: 100 MiB/s at 160 ms. Over loopback 1 GiB takes 3.5 to 4.3 s with 1, 4 and 16 MiB
/// alike, and 2.7 s with 64 MiB, for 0.1 CPU seconds more on the sending side and four times the memory that a stranger can
/// fill.
const QUIC_STREAM_WINDOW: u32 = 16 * 1024 * 1024;
/// QUIC receive window of a connection, in bytes.
const QUIC_CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;

/// Why a swarm could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The key was refused.
    #[error("the transport key is not usable: {0}")]
    Key(String),
    /// A transport could not be set up.
    #[error("cannot set up {what}: {reason}")]
    Transport {
        /// Which transport.
        what: &'static str,
        /// What it said.
        reason: String,
    },
}

/// The key in the form the swarm wants it.
pub fn keypair(secret: &SecretKey) -> Result<Keypair, BuildError> {
    let mut seed = *secret.seed();
    let key = ed25519::SecretKey::try_from_bytes(&mut seed).map_err(|error| BuildError::Key(error.to_string()))?;
    Ok(ed25519::Keypair::from(key).into())
}

/// Our form of a libp2p peer id; `None` for peers whose id is not an Ed25519 key.
pub fn our_peer_id(peer: &PeerId) -> Option<p2p_identity::PeerId> {
    peer.to_base58().parse().ok()
}

/// The libp2p form of a peer id.
pub fn libp2p_peer_id(peer: &p2p_identity::PeerId) -> Option<PeerId> {
    peer.to_string().parse().ok()
}

/// A swarm over relays, TCP, QUIC, the in-memory transport, and DNS names in front of them.
///
/// TCP offers TLS 1.3 first, then Noise: with hardware help for its cipher TLS costs a fraction of what Noise costs per
/// byte. What `guard` refuses is never dialled, and new hosts one after the other; who answers at an address and is not whom it
/// names is as good as nobody; peers outside `proven` have few streams. Must be called inside a tokio runtime.
pub fn build_swarm<B: NetworkBehaviour>(
    keypair: &Keypair,
    config: &Config,
    guard: &DialGuard,
    proven: &ProvenPeers,
    relays: relay::client::Transport,
    behaviour: B,
) -> Result<Swarm<B>, BuildError> {
    // First: the others would take a relay's address for that of its peer.
    let connections = through_relays(keypair, relays, proven)?
        .or_transport(over_tcp(keypair, guard, proven)?)
        .or_transport(over_quic(keypair, guard, proven))
        .or_transport(in_memory(keypair, proven)?)
        .map(|connection, _| match connection {
            Either::Left(Either::Left(relayed_or_tcp)) => relayed_or_tcp.into_inner(),
            Either::Left(Either::Right(quic)) => quic,
            Either::Right(memory) => memory,
        })
        .and_then(|connection, end| expected::check(connection, &end));
    let names = dns::tokio::Transport::system(connections).map_err(|error| failed("DNS", &error))?;
    // Once more in front of the names: what a name leads to is known only behind them.
    let paced = Paced::new(guard.around(names), guard.clone());
    let transport = TransportTimeout::new(paced, CONNECTION_TIME).boxed();
    let swarm = libp2p::swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(config.idle_timeout())
        .with_max_negotiating_inbound_streams(MAX_NEGOTIATING_STREAMS)
        // Nobody waits to hear that the other side speaks a protocol: what is asked goes out with its name, and a request
        // costs one round trip instead of two.
        .with_substream_upgrade_protocol_override(Version::V1Lazy);
    Ok(Swarm::new(transport, behaviour, keypair.public().to_peer_id(), swarm))
}

type Connections = Boxed<(PeerId, StreamMuxerBox)>;

fn through_relays(
    keypair: &Keypair,
    relays: relay::client::Transport,
    proven: &ProvenPeers,
) -> Result<Connections, BuildError> {
    // The relay sees every byte, so the peers encrypt among themselves.
    let security = Security::new(keypair).map_err(|error| failed("TLS and Noise", &error))?;
    let proven = proven.clone();
    let upgraded = relays.upgrade(Version::V1Lazy).authenticate(security).multiplex(yamux_config());
    Ok(upgraded.map(move |(peer, muxer), _| (peer, StreamMuxerBox::new(proven.around(peer, muxer)))).boxed())
}

fn over_tcp(keypair: &Keypair, guard: &DialGuard, proven: &ProvenPeers) -> Result<Connections, BuildError> {
    let security = Security::new(keypair).map_err(|error| failed("TLS and Noise", &error))?;
    let proven = proven.clone();
    let tcp = guard.around(tcp::tokio::Transport::new(tcp::Config::default().nodelay(true)));
    let upgraded = tcp.upgrade(Version::V1Lazy).authenticate(security).multiplex(yamux_config());
    Ok(upgraded.map(move |(peer, muxer), _| (peer, StreamMuxerBox::new(proven.around(peer, muxer)))).boxed())
}

fn over_quic(keypair: &Keypair, guard: &DialGuard, proven: &ProvenPeers) -> Connections {
    let mut config = quic::Config::new(keypair);
    config.max_concurrent_stream_limit = MAX_STREAMS as u32;
    config.max_stream_data = QUIC_STREAM_WINDOW;
    config.max_connection_data = QUIC_CONNECTION_WINDOW;
    let proven = proven.clone();
    let quic = guard.around(quic::tokio::Transport::new(config));
    quic.map(move |(peer, muxer), _| (peer, StreamMuxerBox::new(proven.around(peer, muxer)))).boxed()
}

fn in_memory(keypair: &Keypair, proven: &ProvenPeers) -> Result<Connections, BuildError> {
    let noise = noise::Config::new(keypair).map_err(|error| failed("Noise", &error))?;
    let proven = proven.clone();
    let upgraded = MemoryTransport::default().upgrade(Version::V1Lazy).authenticate(noise).multiplex(yamux_config());
    Ok(upgraded.map(move |(peer, muxer), _| (peer, StreamMuxerBox::new(proven.around(peer, muxer)))).boxed())
}

fn failed(what: &'static str, error: &dyn std::fmt::Display) -> BuildError {
    BuildError::Transport { what, reason: error.to_string() }
}

fn yamux_config() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(MAX_STREAMS);
    config
}
