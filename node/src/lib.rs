#![doc = include_str!("../README.md")]

mod api;
mod app_keys;
mod clock;
mod config;
mod events;
mod grants;
mod home;
mod keys;
mod local;
mod names;
mod nat;
mod network;
mod opened;
mod people;
mod rows;
mod start;
mod streams;
mod telling;
mod topics;
mod values;

pub use api::{Access, Listeners, SocketGuard, bind, serve};
pub use config::{Config, ConfigError, set_listen};
pub use home::HomeError;
pub use names::{NamesConfig, NamesInDns};
pub use opened::{OpenHome, Waited};
pub use p2p_transport::RelayMode;
pub use start::{NodeOptions, RunningNode, StartError, start, start_in};
