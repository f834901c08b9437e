#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod client;
mod connection;
mod contract;
mod file;
mod history;
mod names;
mod people;
mod response;
mod streams;
mod upload;
mod writers;

pub use client::{Client, ConnectError};
pub use response::{Bytestream, Response};
pub use upload::RequestBody;
