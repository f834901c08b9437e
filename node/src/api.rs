//! The server of the local API (overlay.md 2): HTTP/1.1 and JSON over a unix socket, in front of any
//! [`p2p_api::Node`]. It only translates: paths and bytes into calls, answers and errors into bytes.
//!
//! Dropping a connection drops the stream behind its answer, and with it the work: that is how a client cancels.

mod apps;
mod body;
mod drives;
mod events;
mod files;
mod history;
mod names;
mod network;
mod problem;
mod router;
mod server;
mod socket;
mod upload;
mod writers;

pub use server::serve;
pub use socket::{SocketGuard, bind};

#[cfg(test)]
mod tests;
