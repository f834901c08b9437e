//! How this node finds others in its local networks, for `p2p doctor lan`.

use p2p_api::LanInfo;
use p2p_transport::our_peer_id;

use crate::network::{Network, Snapshot};

pub(super) fn info(network: &Network, snapshot: &Snapshot) -> LanInfo {
    let (state, near) = (network.near_state(), network.near_peers());
    let networks = state.networks.iter();
    LanInfo {
        networks: networks.map(|known| format!("{} {}/{}", known.interface, known.ip, known.prefix)).collect(),
        mdns: snapshot.mdns,
        mdns_found: snapshot.mdns_found.len() as u32,
        remembered: state.remembered.len() as u32,
        remembered_connected: state.remembered.intersection(&near).count() as u32,
        asked: state.asked.map_or(0, |(_, number)| number as u32),
        asked_s_ago: state.asked.map(|(at, _)| at.elapsed().as_secs()),
        virtual_interfaces: state.virtual_interfaces,
        router_answers: state
            .networks
            .iter()
            .filter(|known| known.gateway.is_some())
            .map(|known| !known.is_pending)
            .max(),
        silent: snapshot.silent.len() as u32,
        refusing: snapshot.refusing.len() as u32,
        same_router: state.same_router,
        linked: state.linked,
        relays: snapshot.relays.iter().filter_map(our_peer_id).filter(|relay| near.contains(relay)).count() as u32,
    }
}
