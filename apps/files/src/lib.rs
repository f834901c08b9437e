#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod app;
mod copy;
mod keep;
mod profile;
mod scan;
mod share;
mod shares;
mod turns;
mod watch;

pub use app::Files;
