#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod app;
mod copy;
mod scan;
mod share;
mod shares;
mod turns;

pub use app::Files;
