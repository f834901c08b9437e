#![doc = include_str!("../README.md")]

mod api;
mod config;
mod events;
mod home;
mod local;
mod names;
mod network;
mod rows;
mod start;

pub use api::{SocketGuard, bind, serve};
pub use config::{Config, ConfigError, set_listen};
pub use home::HomeError;
pub use names::NamesConfig;
pub use start::{NodeOptions, RunningNode, StartError, start};
