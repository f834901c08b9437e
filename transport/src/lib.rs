#![doc = include_str!("../README.md")]

mod address;
mod behaviour;
mod book;
mod build;
mod config;
mod dialled;
mod ending;
mod expected;
mod gossip;
mod guard;
mod lan_network;
mod lan_tags;
mod limits;
mod lingering;
mod mapping;
mod pace;
mod proven;
mod reach;
mod security;
mod streams;
mod tested;
mod tls;
mod topics;
mod trusted;

pub use address::{
    AddressScope, PathKind, TransportKind, dialable_from, ip_of, is_global_ip, path_kind, relay_of, remote_address,
    scope, transport_kind, with_peer,
};
pub use behaviour::{Behaviour, BehaviourEvent, Parts};
pub use book::AddressBook;
pub use build::{BuildError, build_swarm, keypair, libp2p_peer_id, our_peer_id};
pub use config::{Config, LimitsConfig, Profile, RelayMode};
pub use expected::{nobody_answered, other_peer};
pub use gossip::GossipTopic;
pub use guard::DialGuard;
pub use lan_network::{LanNetwork, NetworkId, lan_networks, virtual_interfaces, wake_gateway};
pub use lan_tags::{KnownTags, LanPorts, LanTags, MAX_LAN_TAGS, lan_addresses};
pub use limits::{Limits, Refusal, Refusals};
pub use mapping::{MappingEvent, MappingProtocol, PortMapping};
pub use proven::ProvenPeers;
pub use reach::RELAY_PROTOCOL;
pub use streams::{
    AcceptError, ByteStream, IncomingStream, OpenError, OpenedStream, Preference, StreamControl, Streams,
};
pub use tested::Tested;
pub use tls::TlsError;
pub use topics::Topic;
pub use trusted::TrustedPeers;
