//! Who answers at an address is who was called there, or nobody did.
//!
//! A dial goes to all known addresses of a peer at once, and the first connection counts. The library compares the peer with
//! the one that was wanted only after that: where somebody else answers first, such as another node on this computer or
//! whoever has the peer's old address now, the whole dial has failed, however many right addresses it had. So the comparison
//! is made here, for each address by itself.

use std::future::{Ready, ready};

use libp2p::PeerId;
use libp2p::core::ConnectedPoint;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::TransportError;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::DialError;

/// Another peer than the one that was dialled.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("another node is there: {0}")]
struct OtherPeer(PeerId);

/// Why a connection is not used. The peer is its source, as what stands around an error shows no more of it than that.
#[derive(Debug, thiserror::Error)]
#[error("not the peer that was dialled")]
pub(crate) struct Unexpected(#[source] OtherPeer);

type Connection = (PeerId, StreamMuxerBox);

/// Lets a connection through whose peer is the one at the end of the dialled address, if one is named there.
pub(crate) fn check((peer, muxer): Connection, end: &ConnectedPoint) -> Ready<Result<Connection, Unexpected>> {
    let wanted = match end {
        ConnectedPoint::Dialer { address, .. } => match address.iter().last() {
            Some(Protocol::P2p(wanted)) => Some(wanted),
            _ => None,
        },
        ConnectedPoint::Listener { .. } => None,
    };
    ready(match wanted {
        Some(wanted) if wanted != peer => Err(Unexpected(OtherPeer(peer))),
        _ => Ok((peer, muxer)),
    })
}

/// Who answered at one of the addresses instead of the peer that was dialled.
pub fn other_peer(error: &DialError) -> Option<PeerId> {
    let DialError::Transport(tried) = error else { return None };
    tried.iter().find_map(|(_, error)| {
        let mut error: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(this) = error {
            if let Some(OtherPeer(peer)) = this.downcast_ref() {
                return Some(*peer);
            }
            // An I/O error shows the source of what it holds, but not that itself.
            let held = this.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            error = held.map(|held| held as _).or_else(|| this.source());
        }
        None
    })
}

/// Whether a peer was dialled and nobody answered, or another one: not where this node itself kept from dialling it.
pub fn nobody_answered(error: &DialError) -> bool {
    let DialError::Transport(tried) = error else { return false };
    // The kinds of errors lie deep in those of the transports, which all show them.
    let is_tried = |error: &TransportError<std::io::Error>| matches!(error, TransportError::Other(error) if !format!("{error:?}").contains("TooMany"));
    tried.iter().any(|(_, error)| is_tried(error))
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use libp2p::swarm::dial_opts::DialOpts;
    use libp2p::swarm::{SwarmEvent, dummy};
    use libp2p::{Multiaddr, Swarm, relay};

    use super::*;
    use crate::{Config, DialGuard, ProvenPeers, build_swarm};

    async fn node(ports: usize) -> (Swarm<dummy::Behaviour>, Vec<Multiaddr>) {
        let keypair = libp2p::identity::Keypair::generate_ed25519();
        let (relays, _) = relay::client::new(keypair.public().to_peer_id());
        let (guard, proven) = (DialGuard::default(), ProvenPeers::default());
        let mut swarm =
            build_swarm(&keypair, &Config::default(), &guard, &proven, relays, dummy::Behaviour).expect("a swarm");
        let mut addresses = Vec::new();
        for _ in 0..ports {
            swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("an address")).expect("listens");
        }
        while addresses.len() < ports {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                addresses.push(address);
            }
        }
        (swarm, addresses)
    }

    fn run(mut swarm: Swarm<dummy::Behaviour>) -> tokio::task::AbortHandle {
        tokio::spawn(async move { while swarm.next().await.is_some() {} }).abort_handle()
    }

    /// Dials a peer at these addresses.
    async fn dial(swarm: &mut Swarm<dummy::Behaviour>, peer: PeerId, at: Vec<Multiaddr>) -> Result<PeerId, DialError> {
        swarm.dial(DialOpts::peer_id(peer).addresses(at).build()).expect("dials");
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { peer_id, .. } => return Ok(peer_id),
                SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error),
                _ => {}
            }
        }
    }

    #[tokio::test]
    async fn a_peer_is_reached_although_another_one_answers_at_an_address_of_it() {
        let (mut caller, _) = node(0).await;
        let (wanted, right) = node(1).await;
        let (other, wrong) = node(7).await;
        let (wanted_id, other_id) = (*wanted.local_peer_id(), *other.local_peer_id());
        let (wanted, other) = (run(wanted), run(other));
        let error = dial(&mut caller, wanted_id, wrong[..1].to_vec()).await.expect_err("it is somebody else");
        assert_eq!((other_peer(&error), nobody_answered(&error)), (Some(other_id), true), "{error:?}");
        // Who is wrong answers at several addresses, so it nearly always is the first.
        for _ in 0..20 {
            let at = [wrong.clone(), right.clone()].concat();
            assert_eq!(dial(&mut caller, wanted_id, at).await.expect("reached"), wanted_id);
            caller.disconnect_peer_id(wanted_id).expect("was connected");
            while !matches!(caller.select_next_some().await, SwarmEvent::ConnectionClosed { .. }) {}
        }
        let error = dial(&mut caller, wanted_id, vec!["/ip4/127.0.0.1/tcp/1".parse().expect("one")]).await;
        assert_eq!(other_peer(&error.expect_err("nobody is there")), None);
        wanted.abort();
        other.abort();
    }
}
