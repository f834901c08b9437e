#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod app;
mod dashboard;
mod entrance;
mod guard;
mod host;
mod human;
mod jobs;
mod listen;
mod news;
mod places;
mod proxy;
mod random;
mod rates;
mod server;
mod settings;
mod shield;
mod site;
mod socket;

pub use app::Gateway;
pub use listen::NotLoopback;
pub use settings::{DEFAULT_PORT, Settings};
