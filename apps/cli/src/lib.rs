#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod arguments;
mod commands;
mod console;
mod drive;
mod environment;
mod failure;
mod human;
mod interrupt;
mod link;
mod local_names;
mod node;
mod passphrase;
mod place;
mod progress;
mod qr;
mod run;
mod session;
mod withheld;

pub use environment::{
    Environment, MakeBlock, NameTools, NodeEnvironment, NodeOptions, OpenBlock, RunningNode, Stay, Streams, Verbosity,
    VerifyRevocation,
};
pub use node::{GatewaySetting, RelaySetting, StartOptions};
pub use run::{run, run_node};
