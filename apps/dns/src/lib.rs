#![doc = include_str!("../README.md")]

mod answer;
mod question;
mod records;
mod server;
mod upstream;

pub use server::{BindError, Dns};
