//! How this node finds others in its local networks, for `p2p doctor lan`.

use p2p_api::LanInfo;

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
    }
}
