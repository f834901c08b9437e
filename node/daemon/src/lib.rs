#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod again;
mod failure;
mod log;
mod name_tools;
mod open_files;
mod ports;
mod private_memory;
mod ready;
mod settings;
mod signals;
mod start;

pub use failure::{Failure, api_error};
pub use log::{LogError, Verbosity, init_log, levels};
pub use name_tools::name_tools;
pub use p2p_node::RelayMode;
pub use ready::{Ready, State};
pub use settings::{Flags, GatewayFlag, load_config};
pub use signals::{StopSignal, StopSignals};
pub use start::{Place, open_node, run_daemon};
