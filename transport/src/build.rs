//! From a key and a configuration to a swarm.

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::MemoryTransport;
use libp2p::core::upgrade::Version;
use libp2p::identity::{Keypair, ed25519};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{PeerId, Swarm, SwarmBuilder, Transport, noise, quic, tcp, yamux};
use p2p_identity::SecretKey;

use crate::security::Security;
use crate::{Config, DialGuard, ProvenPeers};

/// Streams one connection may have open, in each direction (overlay.md, section 7).
const MAX_STREAMS: usize = 256;
/// Inbound streams that are still agreeing on a protocol; further ones are reset.
const MAX_NEGOTIATING_STREAMS: usize = 16;
/// QUIC receive window of a stream, in bytes: 100 MiB/s at 160 ms.
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

/// A swarm over TCP, QUIC, the in-memory transport, and DNS names in front of them.
///
/// TCP offers TLS 1.3 first, then Noise: with hardware help for its cipher TLS costs a fraction of what Noise costs per
/// byte. What `guard` refuses is never dialled; peers outside `proven` have few streams. Must be called inside a tokio
/// runtime.
pub fn build_swarm<B: NetworkBehaviour>(
    keypair: Keypair,
    config: &Config,
    guard: &DialGuard,
    proven: &ProvenPeers,
    behaviour: B,
) -> Result<Swarm<B>, BuildError> {
    let (around_tcp, around_quic) = (guard.clone(), guard.clone());
    let (on_tcp, on_quic, in_memory) = (proven.clone(), proven.clone(), proven.clone());
    let swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_other_transport(|keypair| {
            let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
            let security = Security::new(keypair)?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
                around_tcp
                    .around(tcp)
                    .upgrade(Version::V1Lazy)
                    .authenticate(security)
                    .multiplex(yamux_config())
                    .map(move |(peer, muxer), _| (peer, StreamMuxerBox::new(on_tcp.around(peer, muxer)))),
            )
        })
        .map_err(|error| BuildError::Transport { what: "TCP", reason: format!("{error:?}") })?
        .with_other_transport(|keypair| {
            let mut config = quic::Config::new(keypair);
            config.max_concurrent_stream_limit = MAX_STREAMS as u32;
            config.max_stream_data = QUIC_STREAM_WINDOW;
            config.max_connection_data = QUIC_CONNECTION_WINDOW;
            around_quic
                .around(quic::tokio::Transport::new(config))
                .map(move |(peer, muxer), _| (peer, StreamMuxerBox::new(on_quic.around(peer, muxer))))
        })
        .map_err(|error| BuildError::Transport { what: "QUIC", reason: format!("{error:?}") })?
        .with_other_transport(|keypair| {
            let noise = noise::Config::new(keypair)?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
                MemoryTransport::default()
                    .upgrade(Version::V1Lazy)
                    .authenticate(noise)
                    .multiplex(yamux_config())
                    .map(move |(peer, muxer), _| (peer, StreamMuxerBox::new(in_memory.around(peer, muxer)))),
            )
        })
        .map_err(|error| BuildError::Transport { what: "the in-memory transport", reason: format!("{error:?}") })?
        .with_dns()
        .map_err(|error| BuildError::Transport { what: "DNS", reason: error.to_string() })?
        .with_behaviour(|_| behaviour)
        .map_err(|error| BuildError::Transport { what: "behaviours", reason: format!("{error:?}") })?
        .with_swarm_config(|swarm| {
            swarm
                .with_idle_connection_timeout(config.idle_timeout())
                .with_max_negotiating_inbound_streams(MAX_NEGOTIATING_STREAMS)
                // Nobody waits to hear that the other side speaks a protocol: what is asked goes out with its name, and
                // a request costs one round trip instead of two.
                .with_substream_upgrade_protocol_override(Version::V1Lazy)
        })
        .build();
    Ok(swarm)
}

fn yamux_config() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(MAX_STREAMS);
    config
}
