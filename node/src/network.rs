//! The swarm loop: one task that owns the network, and the handle through which everybody else asks it. It never
//! blocks: hashing and disk run elsewhere.

mod addresses;
mod candidates;
mod handle;
mod lan;
mod near;
mod swarm;

pub(crate) use candidates::run as tell_candidates;
pub(crate) use handle::{
    Announcement, ConnectionInfo, DialTarget, FoundValue, Judged, Network, PublishRefused, PutError, Snapshot,
    peer_stream,
};
pub(crate) use lan::{Beacons, LanMode, run as look_for_contacts};
pub(crate) use near::run as remember_neighbours;
pub(crate) use swarm::{NetworkConfig, spawn};
