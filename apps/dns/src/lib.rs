#![doc = include_str!("../README.md")]

mod answer;
mod question;
mod records;
mod server;

pub use server::{BindError, Dns};
